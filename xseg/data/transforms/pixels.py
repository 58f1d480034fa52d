"""Augmentations in the style of torchvision.transforms.v2, whose own can be used as well (`type=v2.RandomRotation`).

Input and output are uint8. All random numbers come from torch's global generator; see `Draw`.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.registry import TRANSFORMS
from torch import Tensor
from torchvision import tv_tensors
from torchvision.ops import masks_to_boxes
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from xseg.data.read.classes import IGNORE


@TRANSFORMS.register_module()
class RandomScaleCrop(v2.Transform):
    """Scale by a random factor and crop at a random place.

    Only the window that becomes the crop is resampled, which costs the pixels of the crop. This is our own because it
    was measured better than torchvision's resize and crop of the whole image.

    The window has crop / scale source pixels. If it is larger than the image, the image lies at offset 0 and the rest
    of the crop is padded: images with `fill`, semantic masks with 255, masks of objects with 0. Objects that vanish are
    dropped, and boxes of objects with masks are fitted to the remaining part.

    Args:
        size_hw: of the crop, in pixels.
        scale: smallest and largest factor.
        step: draw from lowest, lowest + step, … (DeepLab: 0.25); None draws uniformly.
        max_class_share: draw again, up to `tries` windows, if one class has more than this share of the valid pixels
            of the window, or if no pixel is valid (cat_max_ratio of mmsegmentation, 0.75 there). 1 takes the first
            window.
        fill: RGB of the padding.

    Source: Chen et al. 2018 (arXiv:1802.02611), Sec. 4.
    """

    def __init__(
        self,
        size_hw: Sequence[int],
        scale: Sequence[float] = (0.5, 2.0),
        step: float | None = None,
        max_class_share: float = 1.0,
        fill: Sequence[int] = (127, 127, 127),
        tries: int = 10,
    ):
        super().__init__()
        _check_window(size_hw, scale)
        if step is not None and step <= 0:
            raise ValueError(f"step must be positive or None, got {step}")
        if not 0 < max_class_share <= 1:
            raise ValueError(f"max_class_share must be in (0, 1], got {max_class_share}")
        if tries < 1:
            raise ValueError(f"tries must be at least 1, got {tries}")
        self.size_hw, self.scale, self.step = tuple(size_hw), tuple(scale), step
        self.max_class_share, self.fill, self.tries = max_class_share, list(fill), tries

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        image_hw = v2.query_size(flat_inputs)
        scale = self._draw_scale()
        window_hw = [max(1, round(crop / scale)) for crop in self.size_hw]
        kept_hw = [min(window, image) for window, image in zip(window_hw, image_hw, strict=True)]
        out_hw = [
            max(1, round(kept * crop / window))
            for kept, crop, window in zip(kept_hw, self.size_hw, window_hw, strict=True)
        ]
        mask = next((value for value in flat_inputs if _is_semantic(value)), None)
        for _ in range(self.tries):
            top, left = (
                int(torch.randint(image - kept + 1, ())) for image, kept in zip(image_hw, kept_hw, strict=True)
            )
            if self.max_class_share == 1 or mask is None:
                break
            window = mask[..., top : top + kept_hw[0], left : left + kept_hw[1]]
            if largest_class_share(window) <= self.max_class_share:
                break
        return dict(top=top, left=left, kept_hw=kept_hw, out_hw=out_hw)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        (height, width), out_hw = params["kept_hw"], params["out_hw"]
        value = self._call_kernel(F.crop, inpt, params["top"], params["left"], height, width)
        if [height, width] != out_hw:
            value = _resize(value, out_hw)
        right, below = self.size_hw[1] - out_hw[1], self.size_hw[0] - out_hw[0]
        if not (right or below):
            return value
        if isinstance(value, tv_tensors.Image):
            return tv_tensors.wrap(_pad(value.as_subclass(Tensor), right, below, self.fill), like=value)
        return self._call_kernel(F.pad, value, [0, 0, right, below], fill=IGNORE if _is_semantic(value) else 0)

    def forward(self, sample: dict) -> dict:
        return fit_boxes(drop_vanished(super().forward(sample)))

    def _draw_scale(self) -> float:
        low, high = self.scale
        if self.step is None:
            return low + (high - low) * float(torch.rand(()))
        return low + self.step * int(torch.randint(int((high - low) / self.step + 1e-6) + 1, ()))


@TRANSFORMS.register_module()
class RandomResize(v2.Transform):
    """Resize to a shorter edge drawn from a list. The aspect ratio is kept and the longer edge is bounded.

    For multi-scale training of detectors: shortest=(640, 672, …, 800), longest=1333. Objects that vanish are dropped.

    Args:
        shortest: shorter edges to draw from, in pixels; with one entry the size is fixed.
        longest: largest longer edge, in pixels.
    """

    def __init__(self, shortest: Sequence[int], longest: int):
        super().__init__()
        if not shortest or min(shortest) < 1:
            raise ValueError(f"shortest must list edges of at least 1 pixel, got {shortest}")
        if longest < max(shortest):
            raise ValueError(f"longest must be at least the largest of shortest, {max(shortest)}, got {longest}")
        self.shortest, self.longest = tuple(shortest), longest

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        image_hw = v2.query_size(flat_inputs)
        edge = self.shortest[int(torch.randint(len(self.shortest), ()))]
        scale = min(edge / min(image_hw), self.longest / max(image_hw))
        return dict(out_hw=[max(1, round(side * scale)) for side in image_hw])

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return _resize(inpt, params["out_hw"])

    def forward(self, sample: dict) -> dict:
        return drop_vanished(super().forward(sample))


@TRANSFORMS.register_module()
class ScaleJitter(v2.Transform):
    """Fit the image into `size_hw` times a random factor with its aspect ratio, then crop to `size_hw` at random.

    A smaller result is not padded, because batches are padded on the device. Objects that vanish are dropped, and boxes
    of objects with masks are fitted to the remaining part.

    Args:
        size_hw: largest size of the result, in pixels.
        scale: smallest and largest factor, drawn uniformly.

    Source: large-scale jittering of Ghiasi et al. 2021 (arXiv:2012.07177), Sec. 3. Only the window that is kept is
    resampled, see `RandomScaleCrop`.
    """

    def __init__(self, size_hw: Sequence[int], scale: Sequence[float] = (0.1, 2.0)):
        super().__init__()
        _check_window(size_hw, scale)
        self.size_hw, self.scale = tuple(size_hw), tuple(scale)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        image_hw = v2.query_size(flat_inputs)
        low, high = self.scale
        scale = low + (high - low) * float(torch.rand(()))
        scale *= min(size / image for size, image in zip(self.size_hw, image_hw, strict=True))
        kept_hw = [min(image, max(1, round(size / scale))) for size, image in zip(self.size_hw, image_hw, strict=True)]
        out_hw = [min(size, max(1, round(kept * scale))) for size, kept in zip(self.size_hw, kept_hw, strict=True)]
        top, left = (int(torch.randint(image - kept + 1, ())) for image, kept in zip(image_hw, kept_hw, strict=True))
        return dict(top=top, left=left, kept_hw=kept_hw, out_hw=out_hw)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        value = self._call_kernel(F.crop, inpt, params["top"], params["left"], *params["kept_hw"])
        return _resize(value, params["out_hw"])

    def forward(self, sample: dict) -> dict:
        return fit_boxes(drop_vanished(super().forward(sample)))


@TRANSFORMS.register_module()
class RandomFlip(v2.RandomHorizontalFlip):
    """Mirror left and right with probability `p`: torchvision's transform under the name in configs and checkpoints."""


@TRANSFORMS.register_module()
class PhotometricDistortion(v2.RandomPhotometricDistort):
    """SSD's random changes of brightness, contrast, saturation and hue of the image, each with probability `p`.

    Unlike torchvision's transform, it does not shuffle the colour channels, as is usual in segmentation.
    """

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return super().make_params(flat_inputs) | dict(channel_permutation=None)


# Keys of a sample with one row per object.
PER_OBJECT = ("boxes_xyxy", "stated_xywh", "labels", "iscrowd", "area", "difficult", "masks")


def drop_vanished(sample: dict, min_side: float = 1.0) -> dict:
    """The sample without the objects of which too little is left; unchanged if it has no boxes.

    Boxes are first clipped to the image. An object is removed from all keys of `PER_OBJECT` if its box is narrower or
    lower than `min_side` pixels, or if it has a mask without a pixel.
    """
    if "boxes_xyxy" not in sample:
        return sample
    boxes = F.clamp_bounding_boxes(sample["boxes_xyxy"], clamping_mode="hard")
    plain = boxes.as_subclass(Tensor)
    left = (plain[:, 2:] - plain[:, :2] >= min_side).all(dim=1)
    if "masks" in sample:
        left &= (sample["masks"].as_subclass(Tensor).flatten(1) > 0).any(dim=1)
    sample = sample | dict(boxes_xyxy=boxes)
    for key in sample.keys() & set(PER_OBJECT):
        value = sample[key]
        kept = value.as_subclass(Tensor)[left]
        sample[key] = tv_tensors.wrap(kept, like=value) if isinstance(value, tv_tensors.TVTensor) else kept
    return sample


def fit_boxes(sample: dict) -> dict:
    """The sample with tight boxes around the masks of objects at its border, which a crop may have cut.

    The visible part of such an object may be smaller than its clipped box. Boxes inside the image stay as annotated,
    because they are finer than masks of whole pixels. Every mask must have a pixel, as after `drop_vanished`.
    """
    if "masks" not in sample or "boxes_xyxy" not in sample:
        return sample
    boxes = sample["boxes_xyxy"].as_subclass(Tensor).clone()
    height, width = sample["boxes_xyxy"].canvas_size
    cut = (boxes[:, :2] <= 0).any(dim=1) | (boxes[:, 2:] >= boxes.new_tensor([width, height])).any(dim=1)
    boxes[cut] = boxes_around(sample["masks"].as_subclass(Tensor)[cut])
    return sample | dict(boxes_xyxy=tv_tensors.wrap(boxes, like=sample["boxes_xyxy"]))


def boxes_around(masks: Tensor) -> Tensor:
    """(M, H, W) non-empty masks -> (M, 4) float32 tight boxes; x2, y2 is the edge after the last pixel."""
    if len(masks) == 0:
        return torch.zeros(0, 4)
    return masks_to_boxes(masks) + torch.tensor([0.0, 0, 1, 1])


def largest_class_share(mask: Tensor) -> float:
    """Share of the most frequent class among the pixels that are not 255; 1 if there are none."""
    counts = mask.as_subclass(Tensor).flatten().bincount(minlength=256)[:IGNORE]
    return float(counts.max() / counts.sum()) if counts.any() else 1.0


def resample(image: Tensor, out_hw: Sequence[int]) -> Tensor:
    """(C, H, W) uint8 resized bilinearly, with antialiasing if it shrinks; within one grey level of torchvision.

    Images that only grow need no antialiasing and are resized by opencv, in less than half of torchvision's time.
    """
    if image.shape[-2] > out_hw[0] or image.shape[-1] > out_hw[1] or image.dtype != torch.uint8:
        return F.resize_image(image, list(out_hw), antialias=True)
    pixels = cv2.resize(image.permute(1, 2, 0).numpy(), (out_hw[1], out_hw[0]), interpolation=cv2.INTER_LINEAR)
    return torch.from_numpy(pixels.reshape(*out_hw, -1)).permute(2, 0, 1)


def resample_labels(mask: Tensor, out_hw: Sequence[int]) -> Tensor:
    """(…, H, W) resized to the nearest source pixel, computed in integers and therefore without rounding errors."""
    values, shrinks = mask.numpy(), out_hw[0] < mask.shape[-2]
    for axis in (-2, -1) if shrinks else (-1, -2):  # columns take longer and come when there are fewer rows
        size = out_hw[axis]
        if values.shape[axis] != size:
            values = values.take((2 * np.arange(size) + 1) * values.shape[axis] // (2 * size), axis)
    return torch.from_numpy(values)


def _is_semantic(value: Any) -> bool:
    """Whether the value is a mask (H, W) of classes; masks of objects are (M, H, W)."""
    return isinstance(value, tv_tensors.Mask) and value.ndim == 2


def _pad(image: Tensor, right: int, below: int, fill: Sequence[int]) -> Tensor:
    """(3, H, W) padded with one colour on the right and below; opencv needs a seventh of torchvision's time."""
    pixels = image.permute(1, 2, 0).numpy()
    padded = cv2.copyMakeBorder(pixels, 0, below, 0, right, cv2.BORDER_CONSTANT, value=fill)
    return torch.from_numpy(padded).permute(2, 0, 1)


def _resize(value: Any, out_hw: Sequence[int]) -> Any:
    """Image, boxes and masks resampled to (height, width); other values are returned unchanged."""
    if isinstance(value, tv_tensors.Mask | tv_tensors.Image):
        by_kind = resample_labels if isinstance(value, tv_tensors.Mask) else resample
        return tv_tensors.wrap(by_kind(value.as_subclass(Tensor), out_hw), like=value)
    if isinstance(value, tv_tensors.TVTensor):
        return F.resize(value, list(out_hw))
    return value


def _check_window(size_hw: Sequence[int], scale: Sequence[float]) -> None:
    if len(size_hw) != 2 or min(size_hw) < 1:
        raise ValueError(f"size_hw must be (height, width) of at least 1 pixel, got {size_hw}")
    if len(scale) != 2 or not 0 < scale[0] <= scale[1]:
        raise ValueError(f"scale must be (lowest, highest) with 0 < lowest <= highest, got {scale}")
