"""Drawn shapes as data sets of every task; `xseg.data.sets.shapes_drawing` draws them."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mmengine.registry import DATASETS

from xseg.data.read.classes import SHAPES_CLASSES
from xseg.data.read.coco import read_coco
from xseg.data.sample import Path_, Transforms
from xseg.data.sets.classification import ClassificationDataset, Labelled, MultiLabelDataset
from xseg.data.sets.coco import CocoDetection
from xseg.data.sets.detection import DetectionDataset
from xseg.data.sets.panoptic import PanopticDataset, joined_metainfo
from xseg.data.sets.segmentation import SegmentationDataset
from xseg.data.sets.shapes_drawing import shapes_counts, write_shapes
from xseg.data.sets.voc import VOC


@DATASETS.register_module()
class Shapes(VOC):
    """Drawn scenes of circles, squares, triangles and rings, written to `root` in VOC layout on first use.

    All splits share one folder and need the same `num_images`, `size_hw` and `seed`. Other values rewrite the folder.

    Args:
        num_images: scenes per split, dict(train=…, val=…).
    """

    @staticmethod
    def describe(**_) -> dict:
        """dict(classes, palette); nothing is drawn."""
        return SegmentationDataset.describe(SHAPES_CLASSES)

    def __init__(
        self,
        root: Path_ = "data/shapes",
        split: str = "train",
        num_images: dict[str, int] | None = None,
        size_hw: Sequence[int] = (128, 128),
        seed: int = 0,
        transforms: Transforms = (),
    ):
        write_shapes(root, **shapes_counts(num_images), size_hw=size_hw, seed=seed)
        super().__init__(root, split, classes=SHAPES_CLASSES, transforms=transforms)


@DATASETS.register_module()
class ShapesDetection(CocoDetection):
    """The scenes of `Shapes` with a box and a mask of the visible part of each object; written on first use.

    Classes are circle, square, triangle and ring. `num_images`, `size_hw` and `seed` must be those of `Shapes` if both
    use one folder.
    """

    @staticmethod
    def describe(**_) -> dict:
        """dict(classes, palette, category_ids); nothing is drawn."""
        return DetectionDataset.describe(SHAPES_CLASSES[1:])

    def __init__(
        self,
        root: Path_ = "data/shapes",
        split: str = "train",
        num_images: dict[str, int] | None = None,
        size_hw: Sequence[int] = (128, 128),
        seed: int = 0,
        transforms: Sequence[Callable | dict] | None = None,
        with_masks: bool = False,
        keep_empty: bool = True,
    ):
        write_shapes(root, **shapes_counts(num_images), size_hw=size_hw, seed=seed)
        file = f"annotations/instances_{split}.json"
        super().__init__(
            "JPEGImages", file, root=root, transforms=transforms, with_masks=with_masks, keep_empty=keep_empty
        )


@DATASETS.register_module()
class ShapesClassification(ClassificationDataset):
    """The objects of `Shapes`, each cut out of its scene: circle, square, triangle or ring.

    The scenes are those of `Shapes` with the same arguments, in the same folder, and are drawn on first use.

    Args:
        num_images: scenes per split, dict(train=…, val=…), with 1 to 5 objects each.
        min_area: pixels; objects whose visible part is smaller are left out.
    """

    @staticmethod
    def describe(**_) -> dict:
        """dict(classes); nothing is drawn."""
        return ClassificationDataset.describe(SHAPES_CLASSES[1:])

    def __init__(
        self,
        root: Path_ = "data/shapes",
        split: str = "train",
        num_images: dict[str, int] | None = None,
        size_hw: Sequence[int] = (128, 128),
        seed: int = 0,
        min_area: int = 200,
        transforms: Transforms = None,
    ):
        write_shapes(root, **shapes_counts(num_images), size_hw=size_hw, seed=seed)
        content = read_coco(Path(root) / "annotations" / f"instances_{split}.json")
        file_of = {image["id"]: image["file_name"] for image in content["images"]}
        images = []
        for item in content["annotations"]:
            x, y, width, height = item["bbox"]
            if item["area"] >= min_area:
                name = file_of[item["image_id"]]
                box_xyxy = (x, y, x + width, y + height)
                path = str(Path(root) / "JPEGImages" / name)
                images.append(Labelled(f"{Path(name).stem}_{item['id']}", path, item["category_id"] - 1, box_xyxy))
        super().__init__(images, SHAPES_CLASSES[1:], transforms)


@DATASETS.register_module()
class ShapesMultiLabel(MultiLabelDataset):
    """The scenes of `Shapes`, each labelled with the classes in it: circle, square, triangle, ring.

    The scenes are those of `Shapes` with the same arguments, in the same folder, and are drawn on first use.

    Args:
        num_images: scenes per split, dict(train=…, val=…).
        min_area: pixels; an object whose visible part is smaller does not count.
    """

    @staticmethod
    def describe(**_) -> dict:
        """dict(classes); nothing is drawn."""
        return ClassificationDataset.describe(SHAPES_CLASSES[1:])

    def __init__(
        self,
        root: Path_ = "data/shapes",
        split: str = "train",
        num_images: dict[str, int] | None = None,
        size_hw: Sequence[int] = (128, 128),
        seed: int = 0,
        min_area: int = 200,
        transforms: Transforms = None,
    ):
        write_shapes(root, **shapes_counts(num_images), size_hw=size_hw, seed=seed)
        content = read_coco(Path(root) / "annotations" / f"instances_{split}.json")
        labels: dict[int, set[int]] = {image["id"]: set() for image in content["images"]}
        for item in content["annotations"]:
            if item["area"] >= min_area:
                labels[item["image_id"]].add(item["category_id"] - 1)
        folder = Path(root) / "JPEGImages"
        paths = {image["id"]: folder / image["file_name"] for image in content["images"]}
        images = [Labelled(path.stem, str(path), tuple(sorted(labels[id]))) for id, path in paths.items()]
        super().__init__(images, SHAPES_CLASSES[1:], transforms)


@DATASETS.register_module()
class ShapesPanoptic(PanopticDataset):
    """`Shapes` and `ShapesDetection` joined: the background is stuff, and all other classes are things."""

    @staticmethod
    def describe(**_) -> dict:
        """dict(classes, palette, things, category_ids); nothing is drawn."""
        return joined_metainfo(ShapesDetection.describe(), Shapes.describe())

    def __init__(
        self,
        root: Path_ = "data/shapes",
        split: str = "train",
        num_images: dict[str, int] | None = None,
        size_hw: Sequence[int] = (128, 128),
        seed: int = 0,
        transforms: Transforms = None,
    ):
        drawn = dict(root=root, split=split, num_images=num_images, size_hw=size_hw, seed=seed)
        super().__init__(ShapesDetection(**drawn, with_masks=True), Shapes(**drawn), transforms)
