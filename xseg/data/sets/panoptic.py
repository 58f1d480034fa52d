"""The base of panoptic data sets: instances of the things, and a mask of all classes."""

import numpy as np
from mmengine.registry import DATASETS
from torch import Tensor

from xseg.data.read.images import read_mask
from xseg.data.sample import Transforms
from xseg.data.sets.detection import DetectionDataset
from xseg.data.sets.segmentation import SegmentationDataset


@DATASETS.register_module()
class PanopticDataset(DetectionDataset):
    """A data set of objects and a data set of masks of the same images, joined.

    A sample is that of `DetectionDataset` with `mask` (H, W) uint8, 255 = ignore. `labels` count the things alone, and
    `mask` counts all classes. `metainfo` has all classes, and the positions of the things among them.

    Args:
        instances: without transforms; with masks if panoptic quality is evaluated.
        semantic: without transforms; its classes include those of `instances`, by name.
    """

    @staticmethod
    def describe(instances: DetectionDataset, semantic: SegmentationDataset, **_) -> dict:
        """`metainfo` of a data set with these arguments: dict(classes, palette, things, category_ids)."""
        return joined_metainfo(instances.metainfo, semantic.metainfo)

    def __init__(self, instances: DetectionDataset, semantic: SegmentationDataset, transforms: Transforms = None):
        self._metainfo = PanopticDataset.describe(instances, semantic)
        self.instances, self.semantic = instances, semantic
        self.mask_of = {image: mask for _, image, mask in semantic.pairs}
        if lone := [str(image.path) for image in instances.images if self.mask_of.get(image.path) is None]:
            raise ValueError(f"{lone[0]} and {len(lone) - 1} more images with objects have no mask")
        super().__init__(
            instances.images, None, instances.classes, instances.palette, instances.category_ids, transforms
        )

    @property
    def metainfo(self) -> dict:
        return dict(self._metainfo)

    def labels_of(self, index: int) -> np.ndarray:
        return self.instances.labels_of(index)

    def objects_of(self, index: int) -> dict[str, Tensor]:
        _, path, size_hw = self.images[index]
        mask = read_mask(self.mask_of[path])
        if tuple(mask.shape) != tuple(size_hw):
            raise ValueError(f"{self.mask_of[path]} is {tuple(mask.shape)} (H, W), but {path} is {tuple(size_hw)}")
        return self.instances.objects_of(index) | dict(mask=self.semantic.map_labels(mask, self.mask_of[path]))


def joined_metainfo(instances: dict, semantic: dict) -> dict:
    """dict(classes, palette, things, category_ids) of the metainfo of objects and of masks.

    `things` are the positions of the objects' classes among those of the masks.
    """
    if unknown := [name for name in instances["classes"] if name not in semantic["classes"]]:
        raise ValueError(f"instances have the classes {', '.join(unknown)}, which the masks do not have")
    things = tuple(semantic["classes"].index(name) for name in instances["classes"])
    return dict(**semantic, things=things, category_ids=instances["category_ids"])
