"""The base of panoptic data sets: instances of the things, and a mask of all classes."""

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.registry import DATASETS
from torch import Tensor

from xseg.data.read.classes import IGNORE
from xseg.data.read.images import read_mask
from xseg.data.sample import Transforms
from xseg.data.sets.detection import DetectionDataset
from xseg.data.sets.segmentation import SegmentationDataset
from xseg.data.transforms.pixels import boxes_around


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


def objects_in_segments(
    ids: np.ndarray, segments: Sequence[tuple[int, int, bool]], things: Sequence[int], place: object
) -> dict[str, Tensor]:
    """The entries of a panoptic sample from COCO's PNG.

    Args:
        ids: (H, W) int64, the segment at each pixel; 0 is void.
        segments: (id, label, is a crowd) of each segment.
        things: labels of the classes with instances; the labels of the objects count these alone.
        place: names the file in messages.

    Raises:
        ValueError: a segment has no pixel, or a pixel no segment.
    """
    known, which = np.unique(ids, return_inverse=True)
    position = {int(id): at for at, id in enumerate(known)}
    remedy = "use the JSON and the PNGs of one release"
    if unknown := position.keys() - {0} - {id for id, *_ in segments}:
        raise ValueError(f"{place}: segment {min(unknown)} is not in the JSON; {remedy}")
    classes, objects = np.full(len(known), IGNORE, np.uint8), []  # objects: (label, crowd, row in `known`)
    for id, label, crowd in segments:
        if id not in position:
            raise ValueError(f"{place}: segment {id} has no pixel; {remedy}")
        classes[position[id]] = label
        if label in things:
            objects.append((things.index(label), int(crowd), position[id]))
    which = torch.from_numpy(which.reshape(ids.shape))
    labels, crowds, rows = torch.tensor(objects, dtype=torch.int64).reshape(-1, 3).unbind(1)
    masks = which == rows[:, None, None]
    return dict(
        boxes_xyxy=boxes_around(masks),
        labels=labels,
        iscrowd=crowds.bool(),
        area=masks.sum((1, 2)).double(),
        masks=masks.byte(),
        mask=torch.from_numpy(classes)[which],
    )
