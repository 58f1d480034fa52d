"""Bilinear upsampling of logits to labels or scores, tile by tile, so that a fine map of all classes never exists.

Upsampling is a product with one banded matrix an axis. So a tile of the fine map is two small products, it is used up
while it lies in the cache, and its gradient goes back through the transposed products: deterministic, no scattering.
On a GPU, kernels do the same work in one pass (`heads.kernels.upsampling_triton`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from backbones.kernels.dispatch import has_triton

TILE_VALUES = {"cpu": 2**20, "cuda": 2**26}  # logits of a tile: what caches hold; 256 MiB
TILE_WIDTH = 256  # pixels; the product along a row costs as much per pixel as the tile is wide in coarse ones
MOST_CLASSES = 256  # labels are uint8

Place = tuple[slice, slice, slice]  # images, rows, columns


def upsample(logits: Tensor, size_hw: Sequence[int], align_corners: bool) -> Tensor:
    """The fine map as a tensor, for what is exported and for losses that want it."""
    if tuple(logits.shape[-2:]) == tuple(size_hw):
        return logits
    return F.interpolate(logits, tuple(size_hw), mode="bilinear", align_corners=align_corners)


class Upsampling(NamedTuple):
    """Logits (N, C, h, w) and the matrices that make a fine map of them: rows (H, h), columns (W, w), on the CPU."""

    logits: Tensor
    rows: Tensor
    columns: Tensor

    def then(self, size_hw: Sequence[int], align_corners: bool) -> Upsampling:
        """The fine map resized once more."""
        rows, columns = (
            weights if len(weights) == size else bilinear_weights(size, len(weights), align_corners) @ weights
            for weights, size in zip((self.rows, self.columns), size_hw, strict=True)
        )
        return Upsampling(self.logits, rows, columns)

    def mirrored(self) -> Upsampling:
        """The fine map with left and right exchanged."""
        return self._replace(columns=self.columns.flip(0))


class CoarseLogits(NamedTuple):
    """Logits (N, C, h, w) of a map of `size_hw` pixels, whose first `crop_hw` rows and columns are asked for."""

    logits: Tensor
    size_hw: Sequence[int]
    crop_hw: Sequence[int]
    align_corners: bool

    def upsampling(self) -> Upsampling:
        rows, columns = (
            bilinear_weights(size, coarse, self.align_corners)[:crop]
            for size, crop, coarse in zip(self.size_hw, self.crop_hw, self.logits.shape[-2:], strict=True)
        )
        return Upsampling(self.logits, rows, columns)

    def labels(self) -> Tensor:
        """The class of the largest upsampled logit, the first of equal ones: (N, *crop_hw) uint8."""
        if has_kernels(self.logits):
            from heads.kernels.upsampling_triton import labels

            _check_classes(self.logits)
            return labels(self.logits, self.size_hw, self.crop_hw, self.align_corners)
        return labels_of([self.upsampling()])


@torch.no_grad()
def labels_of(maps: Sequence[Upsampling]) -> Tensor:
    """The classes (N, H, W) uint8 of the largest logit or, of several maps, of the largest mean probability."""
    logits, size_hw = maps[0].logits, (len(maps[0].rows), len(maps[0].columns))
    _check_classes(logits)
    labels = torch.empty(len(logits), *size_hw, dtype=torch.uint8, device=logits.device)
    for place, scores in _scores(maps):
        labels[place] = winners(scores)
    return labels


def winners(scores: Tensor) -> Tensor:
    """The class of the largest score, the first of equal ones: (N, C, H, W) -> (N, H, W) uint8.

    The scores are overwritten. What `argmax` gives, in operations that a CPU does on many values at once: it takes a
    tenth of the time of `argmax` and half of that of `max`.
    """
    classes = scores.shape[1]
    ranks = torch.arange(classes, 0, -1, dtype=scores.dtype, device=scores.device)[:, None, None]
    best = scores.eq_(scores.amax(1, keepdim=True)).mul_(ranks).amax(1)
    return (classes - best.clamp_(min=1)).to(torch.uint8)  # where a score is not a number, the last class


@torch.no_grad()
def scores_of(maps: Sequence[Upsampling]) -> Tensor:
    """(N, C, H, W): the logits or, of several maps, the sum of their probabilities."""
    logits, size_hw = maps[0].logits, (len(maps[0].rows), len(maps[0].columns))
    out = torch.empty(*logits.shape[:2], *size_hw, dtype=wide(logits[:0]).dtype, device=logits.device)
    for (images, rows, columns), scores in _scores(maps):
        out[images, :, rows, columns] = scores
    return out


def _scores(maps: Sequence[Upsampling]) -> Iterator[tuple[Place, Tensor]]:
    """Tile by tile the scores (n, C, rows, columns) of all maps together, and their place in (N, H, W)."""
    maps = [m._replace(logits=widened(m.logits)) for m in maps]
    with torch.autocast(maps[0].logits.device.type, enabled=False):
        for tiles in zip(*map(cut, maps), strict=True):
            views = [tile.of(m.logits) for tile, m in zip(tiles, maps, strict=True)]
            yield tiles[0].place, views[0] if len(views) == 1 else sum(view.softmax(1) for view in views)


class Band(NamedTuple):
    """A part of one axis: its pixels, the coarse pixels that they see, and the weights between the two."""

    pixels: slice
    taps: slice
    weights: Tensor


class Tile(NamedTuple):
    """A part of the fine map, of some images."""

    images: slice
    rows: Band
    columns: Band

    @property
    def place(self) -> Place:
        return self.images, self.rows.pixels, self.columns.pixels

    def of(self, logits: Tensor) -> Tensor:
        """Coarse logits (N, C, h, w) -> upsampled ones (n, C, rows, columns), a tensor of its own."""
        seen = logits[self.images, :, self.rows.taps, self.columns.taps]
        return self.rows.weights @ (seen @ self.columns.weights.T)

    def add_to(self, grad: Tensor, tile: Tensor) -> None:
        """The gradient of the tile on its way back, added to that (N, C, h, w) of the coarse logits."""
        seen = grad[self.images, :, self.rows.taps, self.columns.taps]
        seen += self.rows.weights.T @ (tile @ self.columns.weights)


def cut(upsampling: Upsampling) -> list[Tile]:
    """The fine map in tiles of about `TILE_VALUES` logits: whole images if they are small, else parts of one."""
    logits, rows, columns = upsampling
    if not len(logits) or not len(rows) or not len(columns):
        return []
    across = -(-len(columns) // TILE_WIDTH)
    tile_rows = TILE_VALUES[logits.device.type] * across // (logits.shape[1] * len(columns))
    down, count = -(-len(rows) // max(1, tile_rows)), max(1, tile_rows // (len(rows) * across))
    images = [slice(start, start + count) for start in range(0, len(logits), count)]
    return [
        Tile(*parts) for parts in itertools.product(images, _bands(rows, down, logits), _bands(columns, across, logits))
    ]


def _bands(weights: Tensor, count: int, like: Tensor) -> list[Band]:
    bands = []
    edges = [round(index * len(weights) / count) for index in range(count + 1)]
    for start, stop in itertools.pairwise(edges):
        seen = weights[start:stop].any(0).nonzero()
        taps = slice(int(seen[0]), int(seen[-1]) + 1)
        bands.append(Band(slice(start, stop), taps, weights[start:stop, taps].to(like)))
    return bands


def bilinear_weights(size: int, coarse: int, align_corners: bool) -> Tensor:
    """The (size, coarse) float64 matrix that resizes one axis as `F.interpolate(mode="bilinear")` does."""
    pixels = torch.arange(size, dtype=torch.float64)
    at = pixels * (coarse - 1) / max(size - 1, 1) if align_corners else (pixels + 0.5) * coarse / size - 0.5
    distance = at.clamp(0, coarse - 1)[:, None] - torch.arange(coarse)
    return (1 - distance.abs()).clamp(min=0)


def wide(logits: Tensor) -> Tensor:
    """In float32, or float64 if they are."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def widened(logits: Tensor) -> Tensor:
    """The same for computing without autograd, one class after the other in memory."""
    return wide(logits.detach()).contiguous()


def has_kernels(logits: Tensor) -> bool:
    """Whether the Triton kernels can serve: on a GPU that has Triton, and not for float64."""
    return logits.is_cuda and logits.dtype != torch.float64 and has_triton()


def _check_classes(logits: Tensor) -> None:
    if logits.shape[1] > MOST_CLASSES:
        raise ValueError(f"labels are uint8, so there are at most {MOST_CLASSES} classes, got {logits.shape[1]}")
