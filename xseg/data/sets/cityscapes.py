"""Cityscapes, from the files of leftImg8bit and gtFine as downloaded.

In the instance ids of gtFine, a pixel of an object is 1000 times the label id of its class plus a running number. A
pixel of a group of objects that are not annotated one by one is the label id alone; such a region is a crowd.

Source: cityscapesscripts/preparation/json2instanceImg.py and evaluation/evalInstanceLevelSemanticLabeling.py
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.registry import DATASETS
from torch import Tensor

from xseg.data.read.classes import CITYSCAPES, CITYSCAPES_CLASSES, CITYSCAPES_PALETTE, cityscapes_label_map
from xseg.data.read.images import read_ids, read_size_hw
from xseg.data.read.layout import remedy, require_folder
from xseg.data.sample import Path_, Transforms
from xseg.data.sets.detection import DetectionDataset, ImageFile
from xseg.data.sets.panoptic import PanopticDataset, joined_metainfo
from xseg.data.sets.segmentation import SegmentationDataset

_THING_NAMES = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")  # those that are evaluated
CITYSCAPES_THINGS = tuple(label for label in CITYSCAPES if label.name in _THING_NAMES)


@DATASETS.register_module()
class CityscapesInstances(DetectionDataset):
    """The 8 classes of Cityscapes that have instances, with boxes and masks; groups are crowds.

    Objects are read together with their image, and `labels_of` reads a file, so that no file is read at the start. For
    balanced sampling, or to leave out images without objects, convert to COCO with `xseg data convert cityscapes`.

    Args:
        with_masks: add instance masks to the samples.
    """

    @staticmethod
    def describe(**_) -> dict:
        """dict(classes, palette, category_ids); no file is read."""
        return DetectionDataset.describe(_THING_NAMES, [label.colour for label in CITYSCAPES_THINGS])

    def __init__(
        self,
        root: Path_,
        split: str = "train",
        transforms: Sequence[Callable | dict] | None = None,
        with_masks: bool = False,
    ):
        files, self.id_files = [], []
        for id, image, mask in Cityscapes(root, split).pairs:
            files.append(ImageFile(id, image, read_size_hw(image)))
            self.id_files.append(mask.with_name(f"{id}_gtFine_instanceIds.png"))
        self.with_masks = with_masks
        super().__init__(files, None, **CityscapesInstances.describe(), transforms=transforms)

    def objects_of(self, index: int) -> dict[str, Tensor]:
        path, (_, image_path, size_hw) = self.id_files[index], self.images[index]
        ids = read_ids(path)
        if ids.shape != size_hw:
            raise ValueError(
                f"{path} is {ids.shape} pixels (H, W), but {image_path} is {size_hw}; copy both files again"
            )
        objects = instances_of(ids)
        if not self.with_masks:
            del objects["masks"]
        return objects


def instances_of(ids: np.ndarray) -> dict[str, Tensor]:
    """(H, W) instance ids -> dict(boxes_xyxy, labels, iscrowd, area, masks) as in a sample.

    Objects are in the order of classes, and a group comes before the instances of its class.
    """
    counts = np.bincount(ids.ravel().clip(0))
    present = np.flatnonzero(counts)
    label_of = {label.id: index for index, label in enumerate(CITYSCAPES_THINGS)}
    rows = sorted(  # (label, id)
        (label_of[label_id], int(id))
        for id in present
        if (label_id := int(id if id < 1000 else id // 1000)) in label_of
    )
    masks = np.zeros((len(rows), *ids.shape), np.uint8)
    boxes = np.zeros((len(rows), 4), np.float32)
    for mask, box, (_, id) in zip(masks, boxes, rows, strict=True):
        np.equal(ids, id, out=mask.view(bool))
        x, y, width, height = cv2.boundingRect(mask)
        box[:] = x, y, x + width, y + height
    return dict(
        boxes_xyxy=torch.from_numpy(boxes),
        labels=torch.tensor([label for label, _ in rows], dtype=torch.int64),
        iscrowd=torch.tensor([id < 1000 for _, id in rows], dtype=torch.bool),
        area=torch.tensor([float(counts[id]) for _, id in rows], dtype=torch.float64),
        masks=torch.from_numpy(masks),
    )


@DATASETS.register_module()
class Cityscapes(SegmentationDataset):
    """Cityscapes' fine annotations, 19 classes, read from the labelIds files as downloaded."""

    @staticmethod
    def describe(**_) -> dict:
        """dict(classes, palette); no file is read."""
        return SegmentationDataset.describe(CITYSCAPES_CLASSES, CITYSCAPES_PALETTE)

    def __init__(self, root: Path_, split: str = "train", transforms: Transforms = (), cache: Path_ | None = None):
        root = Path(root)
        image_dir, mask_dir = root / "leftImg8bit" / split, root / "gtFine" / split
        layout = f"leftImg8bit/{split}/CITY/*_leftImg8bit.png, gtFine/{split}/CITY/*_gtFine_labelIds.png"
        for folder in (root, image_dir, mask_dir):
            require_folder(folder, root, layout, _CITYSCAPES_SOURCE)
        ending = "_leftImg8bit.png"
        pairs = []
        for image in sorted(image_dir.glob(f"*/*{ending}")):
            id = image.name.removesuffix(ending)
            pairs.append((id, image, mask_dir / image.parent.name / f"{id}_gtFine_labelIds.png"))
        if not pairs:
            raise FileNotFoundError(f"{image_dir} holds no CITY/*{ending}; {remedy(root, layout, _CITYSCAPES_SOURCE)}")
        described = Cityscapes.describe()
        super().__init__(pairs, **described, transforms=transforms, label_map=cityscapes_label_map(), cache=cache)


@DATASETS.register_module()
class CityscapesPanoptic(PanopticDataset):
    """Cityscapes' 19 classes, from labelIds and instanceIds of gtFine; 8 classes are things, and groups are crowds."""

    @staticmethod
    def describe(**_) -> dict:
        """dict(classes, palette, things, category_ids); no file is read."""
        return joined_metainfo(CityscapesInstances.describe(), Cityscapes.describe())

    def __init__(self, root: Path_, split: str = "train", transforms: Transforms = None):
        super().__init__(CityscapesInstances(root, split, with_masks=True), Cityscapes(root, split), transforms)


_CITYSCAPES_SOURCE = "https://www.cityscapes-dataset.com (leftImg8bit_trainvaltest.zip, gtFine_trainvaltest.zip)"
