"""Data sets for models that see every pixel and every object: instances of the things, and a mask of all classes."""

import os
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from mmengine.registry import DATASETS
from torch import Tensor

from xseg.data.read.images import read_mask
from xseg.data.sets.cityscapes import CityscapesInstances
from xseg.data.sets.coco import ShapesDetection
from xseg.data.sets.detection import DetectionDataset
from xseg.data.sets.segmentation_sets import Cityscapes, SegmentationDataset, Shapes

Path_ = str | os.PathLike
Transforms = Sequence[Callable | dict] | None


@DATASETS.register_module()
class PanopticDataset(DetectionDataset):
    """A data set of objects and one of masks over the same images, as one.

    A sample is that of `DetectionDataset` with `mask` (H, W) uint8, 255 = ignore, where both agree on the classes of
    things: labels count the things, masks all classes. `metainfo` holds all classes and which of them are things.

    Args:
        instances: with masks if panoptic quality is to be evaluated; without transforms.
        semantic: its classes hold those of `instances`, by name; without transforms.
    """

    def __init__(self, instances: DetectionDataset, semantic: SegmentationDataset, transforms: Transforms = None):
        if unknown := [name for name in instances.classes if name not in semantic.classes]:
            raise ValueError(f"instances have the classes {', '.join(unknown)}, which are none of the masks'")
        self.instances, self.semantic = instances, semantic
        self.mask_of = {image: mask for _, image, mask in semantic.pairs}
        if lone := [str(image.path) for image in instances.images if self.mask_of.get(image.path) is None]:
            raise ValueError(f"{lone[0]} and {len(lone) - 1} more of the images with objects have no mask")
        super().__init__(
            instances.images, None, instances.classes, instances.palette, instances.category_ids, transforms
        )

    @property
    def metainfo(self) -> dict:
        things = tuple(self.semantic.classes.index(name) for name in self.classes)
        return dict(**self.semantic.metainfo, things=things, category_ids=self.category_ids)

    def labels_of(self, index: int) -> np.ndarray:
        return self.instances.labels_of(index)

    def objects_of(self, index: int) -> dict[str, Tensor]:
        _, path, size_hw = self.images[index]
        mask = read_mask(self.mask_of[path])
        if tuple(mask.shape) != tuple(size_hw):
            raise ValueError(f"{self.mask_of[path]} is {tuple(mask.shape)} (H, W), but {path} is {tuple(size_hw)}")
        return self.instances.objects_of(index) | dict(mask=self.semantic.map_labels(mask, self.mask_of[path]))


@DATASETS.register_module()
class ShapesPanoptic(PanopticDataset):
    """`Shapes` and `ShapesDetection` as one: the background is stuff, everything else a thing."""

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


@DATASETS.register_module()
class CityscapesPanoptic(PanopticDataset):
    """Cityscapes' 19 classes, from gtFine's labelIds and instanceIds; 8 of them are things, groups are crowds."""

    standard: ClassVar = dict(
        **Cityscapes.standard,
        things=tuple(Cityscapes.standard["classes"].index(name) for name in CityscapesInstances.standard["classes"]),
    )

    def __init__(self, root: Path_, split: str = "train", transforms: Transforms = None):
        super().__init__(CityscapesInstances(root, split, with_masks=True), Cityscapes(root, split), transforms)
