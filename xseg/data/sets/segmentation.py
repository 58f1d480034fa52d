"""The base of segmentation data sets: reads, checks and augments pairs of an image and a mask."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.registry import DATASETS, TRANSFORMS
from torch import Tensor
from torchvision import tv_tensors

from xseg.data.cache import DecodedCache
from xseg.data.draw import DrawnDataset
from xseg.data.read.classes import IGNORE, check_classes, read_classes, voc_palette
from xseg.data.read.images import compact, read_image, read_mask
from xseg.data.sample import Path_, Transforms

Pair = tuple[str, Path, Path | None]  # id, image, mask


@DATASETS.register_module()
class SegmentationDataset(DrawnDataset):
    """Images with masks of class indices.

    A sample is dict(image (3, H, W) uint8 RGB, mask (H, W) uint8 with 255 = ignore, meta=dict(id, path, size_hw)).
    size_hw is (height, width) of the image as read, before the transforms. A pair without a mask path gives no mask.

    Args:
        pairs: (id, image path, mask path or None).
        classes: names in the order of ids, or the path of a classes.txt.
        palette: RGB per class; VOC's colours if None.
        transforms: callables on the sample, in which image and mask are tv_tensors, or their configs.
        label_map: 256 entries, value in the file -> class id; 255 = ignore, -1 = not allowed in a file.
        cache: folder for decoded images and masks, see `DecodedCache`; None decodes every time.
    """

    @staticmethod
    def describe(classes: Sequence[str] | Path_, palette: Sequence[Sequence[int]] | None = None, **_) -> dict:
        """`metainfo` of a data set with these arguments, without building it: dict(classes, palette)."""
        names = _classes(classes)
        colours = [tuple(colour) for colour in palette or voc_palette(len(names))]
        if len(colours) != len(names):
            raise ValueError(f"palette must have one colour per class, got {len(colours)} for {len(names)}")
        return dict(classes=names, palette=colours)

    def __init__(
        self,
        pairs: Sequence[Pair],
        classes: Sequence[str] | Path_,
        palette: Sequence[Sequence[int]] | None = None,
        transforms: Transforms = None,
        label_map: Sequence[int] | None = None,
        cache: Path_ | None = None,
    ):
        if not pairs:
            raise ValueError(f"{type(self).__name__} has no images: the list of pairs is empty")
        self.pairs = [(str(id), Path(image), mask and Path(mask)) for id, image, mask in pairs]
        described = SegmentationDataset.describe(classes, palette)
        self.classes, self.palette = described["classes"], described["palette"]
        self.transforms = [TRANSFORMS.build(item) if isinstance(item, dict) else item for item in transforms or ()]
        if label_map is None:
            label_map = [label if label in (*range(len(self.classes)), IGNORE) else -1 for label in range(256)]
        self.label_map = np.asarray(label_map, dtype=np.int16)
        if self.label_map.shape != (256,):
            raise ValueError(f"label_map must have 256 entries, got shape {self.label_map.shape}")
        allowed = self.label_map >= 0
        # If a value is not allowed, at least one id is unused; the look-up table marks refused values with it.
        self._refused = None if allowed.all() else min({*range(256)} - {*self.label_map[allowed].tolist()})
        self._look_up = np.where(allowed, self.label_map, self._refused or 0).astype(np.uint8)
        self.cache = None if cache is None else DecodedCache(cache)

    @property
    def metainfo(self) -> dict:
        """mmengine passes it to metrics and visualizers and stores it in checkpoints."""
        return dict(classes=self.classes, palette=self.palette)

    def __len__(self) -> int:
        return len(self.pairs)

    def sample(self, index: int) -> dict:
        id, image_path, _ = self.pairs[index]
        image = tv_tensors.Image(self._read_image(image_path))
        sample = dict(image=image, meta=dict(id=id, path=str(image_path), size_hw=tuple(image.shape[1:])))
        mask = self._labels(index)
        if mask is not None:
            check_same_size(image.shape[-2:], mask.shape[-2:], image_path, self.pairs[index][2] or "as annotated")
            sample["mask"] = tv_tensors.Mask(mask)
        for transform in self.transforms:
            sample = transform(sample)
        sample["image"] = compact(sample["image"].as_subclass(Tensor))
        if "mask" in sample:
            sample["mask"] = compact(sample["mask"].as_subclass(Tensor))
        return sample

    def _labels(self, index: int) -> Tensor | None:
        """(H, W) uint8 class ids of an image; None where it has no mask."""
        mask_path = self.pairs[index][2]
        return None if mask_path is None else self._read_labels(mask_path)

    def _read_image(self, path: Path) -> Tensor:
        if self.cache is None:
            return read_image(path)
        return self.cache.get(path, b"image", lambda: read_image(path).permute(1, 2, 0)).permute(2, 0, 1)

    def _read_labels(self, path: Path) -> Tensor:
        def read() -> Tensor:
            return self.map_labels(read_mask(path), path)

        return read() if self.cache is None else self.cache.get(path, self.label_map.tobytes(), read)

    def map_labels(self, mask: Tensor, path: Path_) -> Tensor:
        """Class ids of the values in a mask file; ValueError with the first pixel whose value is not allowed."""
        values = np.ascontiguousarray(mask)
        labels = cv2.LUT(values, self._look_up)  # five times as fast as numpy's indexing
        if self._refused is not None and (refused := cv2.inRange(labels, self._refused, self._refused)).any():
            row, column = np.unravel_index(refused.argmax(), refused.shape)
            raise ValueError(
                f"{path}: label {values[row, column]} at row {row}, column {column}, "
                f"but the data set has {len(self.classes)} classes (ignore {IGNORE})"
            )
        return torch.from_numpy(labels)


def check_same_size(size_hw: Sequence[int], mask_hw: Sequence[int], image_path: Path_, mask_path: Path_) -> None:
    """ValueError with both files and sizes if image and mask differ in size."""
    (height, width), (mask_height, mask_width) = size_hw, mask_hw
    if (height, width) != (mask_height, mask_width):
        turned = (height, width) == (mask_width, mask_height)
        hint = "; the image may carry an EXIF rotation that the mask does not" if turned else ""
        raise ValueError(
            f"{image_path} is {width}x{height} pixels (width x height), "
            f"but its mask {mask_path} is {mask_width}x{mask_height}{hint}"
        )


def _classes(classes: Sequence[str] | Path_) -> tuple[str, ...]:
    if isinstance(classes, Path_):
        return read_classes(classes)
    return check_classes(list(classes), "classes")
