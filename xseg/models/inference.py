"""Inference: from a network's logits to one label per pixel, with windows, several scales and flipping.

Source: multi-scale and flip as in Chen et al. 2018 (arXiv:1802.02611), Section 4.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from heads.kernels.upsampling import CoarseLogits, Upsampling, labels_of, scores_of, winners

Network = Callable[[Tensor], CoarseLogits]  # (N, 3, H, W) -> logits of any resolution that cover H x W


@dataclass
class Inference:
    """Predict the labels of whole images or, with `window_hw`, of overlapping windows whose scores are averaged.

    Windows bound the memory: scores are kept for one row of windows at a time, never for the whole image. Each image
    or window is computed at every scale and, with `flip`, also mirrored; their probabilities are averaged.

    Args:
        window_hw: size of a window in pixels; None for the whole image.
        overlap: minimum share of a window that overlaps the next one.
        scales: factors by which each image or window is resized.
        flip: average with the mirrored image.
        min_size_hw: pad images to at least this size, right and below, with the mean colour. DeepLab evaluates VOC at
            513 x 513 this way.
        longest: first resize images so that the longer side has this many pixels; the labels are resized back
            (nearest). DeepLab evaluates ADE20K this way.
        align_corners: how images are resized between scales. True as in TensorFlow: 513 pixels become 257 at scale
            0.5, without smoothing. False: 513 pixels become 256, with smoothing.
    """

    window_hw: Sequence[int] | None = None
    overlap: float = 1 / 3
    scales: Sequence[float] = (1.0,)
    flip: bool = False
    min_size_hw: Sequence[int] = (1, 1)
    align_corners: bool = False
    longest: int | None = None

    def __post_init__(self):
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap must be a share of the window in [0, 1), got {self.overlap}")
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"scales must be positive factors, at least one, got {tuple(self.scales)}")
        self.window_hw = None if self.window_hw is None else tuple(self.window_hw)
        self.scales, self.min_size_hw = tuple(self.scales), tuple(self.min_size_hw)

    def __call__(self, network: Network, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> labels (N, H, W) uint8."""
        if self.longest is None:
            return self._labels(network, images)
        size = images.shape[-2:]
        resized = F.interpolate(images, self._fitted(size), mode="bilinear", align_corners=self.align_corners)
        labels = self._labels(network, resized).unsqueeze(1)
        return F.interpolate(labels, size, mode="nearest-exact").squeeze(1)

    def largest_hw(self, size_hw: Sequence[int]) -> tuple[int, int]:
        """The largest input that the network computes at once for images of this size."""
        seen = [max(least, size) for least, size in zip(self.min_size_hw, self._fitted(size_hw), strict=True)]
        if self.window_hw is not None:
            seen = [min(window, size) for window, size in zip(self.window_hw, seen, strict=True)]
        return tuple(math.ceil(size * max(self.scales)) for size in seen)

    def _fitted(self, size_hw: Sequence[int]) -> list[int]:
        """The size scaled so that its longer side is `longest`; unchanged without `longest`."""
        if self.longest is None:
            return list(size_hw)
        return [max(1, round(size * self.longest / max(size_hw))) for size in size_hw]

    def _labels(self, network: Network, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        pad_h, pad_w = (max(least - size, 0) for least, size in zip(self.min_size_hw, (height, width), strict=True))
        images = F.pad(images, (0, pad_w, 0, pad_h))
        if self.window_hw is not None:
            labels = self._slide(network, images)
        elif self.scales == (1.0,) and not self.flip:
            labels = network(images).labels()
        else:
            labels = labels_of(self.views(network, images))
        return labels[:, :height, :width]

    def views(self, network: Network, images: Tensor) -> list[Upsampling]:
        """Coarse logits at every scale, plain and mirrored, each with its upsampling to the size of the images."""
        views = []
        size = images.shape[-2:]
        for scale in self.scales:
            scaled = images if scale == 1 else self._scale(images, scale)
            views.append(network(scaled).upsampling().then(size, self.align_corners))
            if self.flip:
                views.append(network(scaled.flip(-1)).upsampling().mirrored().then(size, self.align_corners))
        return views

    def _scale(self, images: Tensor, scale: float) -> Tensor:
        if self.align_corners:
            size = [max(1, int((s - 1) * scale + 1)) for s in images.shape[-2:]]
            return F.interpolate(images, size, mode="bilinear", align_corners=True)
        size = [max(1, round(s * scale)) for s in images.shape[-2:]]
        return F.interpolate(images, size, mode="bilinear", antialias=True)

    def _slide(self, network: Network, images: Tensor) -> Tensor:
        """Labels from rows of windows, top to bottom; a pixel row is final once no later window covers it."""
        count, _, height, width = images.shape
        window_h, window_w = min(self.window_hw[0], height), min(self.window_hw[1], width)
        labels = images.new_empty((count, height, width), dtype=torch.uint8)
        tops = list(starts(height, window_h, self.overlap))
        strip = None  # summed scores of the pixel rows that the next row of windows covers too
        for top, following in zip(tops, [*tops[1:], height], strict=True):
            row, hits = None, images.new_zeros(width)
            for left in starts(width, window_w, self.overlap):
                scores = scores_of(self.views(network, images[..., top : top + window_h, left : left + window_w]))
                if row is None:
                    row = scores.new_zeros((count, scores.shape[1], window_h, width))
                row[..., left : left + window_w] += scores
                hits[left : left + window_w] += 1
            row /= hits
            if strip is not None:
                row[..., : strip.shape[-2], :] += strip
            done = following - top
            labels[:, top : top + done] = winners(row[..., :done, :])
            strip = row[..., done:, :]
        return labels


def starts(size: int, window: int, overlap: float) -> Iterator[int]:
    """First pixels of evenly spread windows that cover `size` pixels with at least this overlap."""
    step = max(1, int(window * (1 - overlap)))
    count = -(-(size - window) // step) + 1
    return (round(index * (size - window) / max(count - 1, 1)) for index in range(count))
