"""Instance masks as run lengths, as in COCO's files and in our results.

A run-length mask is dict(size=[H, W], counts=text). This is the compressed form of pycocotools with `counts` as str,
which can be written to JSON.

The C code of pycocotools does not check its input. Invalid run lengths hang it or corrupt its memory, and polygons with
huge coordinates use up all memory. `run_lengths` and `decode_masks`, which read masks from files, therefore check
first. The parts written here (checks, parsing, `encode_region`) are kept because they were measured better than a
library.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

RunLengths = dict  # dict(size=[H, W], counts=str)
MAX_OUTLINE = (
    1_000_000  # pixels: longest outline of a polygon and largest coordinate, for which pycocotools takes 150 MB
)
_MAX_PIXELS = 2**32 - 1  # of an image: runs have 32 bits
_MAX_DIGITS = 7  # of 5 bits each, for a 32-bit number


def encode_masks(masks: Tensor | np.ndarray) -> list[RunLengths]:
    """(M, H, W) bool or 0/1 -> M run-length masks."""
    from pycocotools import mask as coco_mask

    values = masks.cpu().numpy() if isinstance(masks, Tensor) else masks
    if values.ndim != 3:
        raise ValueError(f"masks must have shape (M, H, W), got {tuple(values.shape)}")
    codes = (coco_mask.encode(np.asfortranarray(value, dtype=np.uint8)) for value in values)
    return [dict(size=[int(side) for side in code["size"]], counts=code["counts"].decode("ascii")) for code in codes]


def encode_region(pixels: np.ndarray, top: int, left: int, size_hw: Sequence[int]) -> RunLengths:
    """Run-length mask of an image that is empty outside of the (h, w) bool region at (top, left).

    Work and memory depend on the region alone, not on the image.
    """
    from pycocotools import mask as coco_mask

    height, width = (int(side) for side in size_hw)
    columns = np.pad(pixels.T.astype(np.int8), ((0, 0), (1, 1)))
    column, row = np.nonzero(np.diff(columns))  # begin and end of each run, column by column
    edges = (column + left) * height + row + top
    inner = edges[1:-1].reshape(-1, 2)  # (end, next begin): equal if a run continues at the top of the next column
    edges = np.concatenate(
        [[0], edges[:1], inner[inner[:, 0] != inner[:, 1]].ravel(), edges[1:][-1:], [height * width]]
    )
    counts = np.diff(edges)
    counts = counts if counts[-1] or len(counts) == 1 else counts[:-1]  # no empty run after the last pixel
    code = coco_mask.frPyObjects(dict(size=[height, width], counts=counts.tolist()), height, width)
    return dict(size=[height, width], counts=code["counts"].decode("ascii"))


def decode_masks(codes: Sequence[RunLengths], size_hw: Sequence[int]) -> Tensor:
    """M run-length masks of an image of `size_hw` -> (M, H, W) uint8, 0 or 1; raises the errors of `run_lengths`."""
    from pycocotools import mask as coco_mask

    masks = torch.zeros(len(codes), *size_hw, dtype=torch.uint8)
    for mask, code in zip(masks, codes, strict=True):
        mask.copy_(torch.from_numpy(coco_mask.decode(run_lengths(code, size_hw))))
    return masks


def mask_areas(codes: Sequence[RunLengths]) -> np.ndarray:
    """(M,) float64: number of pixels of each mask from `encode_masks` or `run_lengths`."""
    from pycocotools import mask as coco_mask

    return np.array([float(coco_mask.area(code)) for code in codes])


def mask_boxes(codes: Sequence[RunLengths]) -> np.ndarray:
    """(M, 4) float64 x, y, width, height: the tight box around each mask; zeros for an empty mask."""
    from pycocotools import mask as coco_mask

    return coco_mask.toBbox(list(codes)).reshape(-1, 4)


def run_lengths(segmentation: list | dict, size_hw: Sequence[int]) -> RunLengths:
    """A mask in any of COCO's three forms (polygons, run lengths as numbers or as text) as a run-length mask.

    Raises:
        ValueError: the segmentation has none of the three forms, or does not fit an image of that size. The message has
            no file name.
    """
    from pycocotools import mask as coco_mask

    height, width = (int(side) for side in size_hw)
    if not 0 < height * width <= _MAX_PIXELS:
        raise ValueError(f"a mask needs an image of 1 to {_MAX_PIXELS} pixels, got {height} x {width} (H x W)")
    if isinstance(segmentation, list):
        check_polygons(segmentation)
        code = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation, dict) and {"size", "counts"} <= segmentation.keys():
        size, counts = segmentation["size"], segmentation["counts"]
        if not isinstance(size, list | tuple) or list(size) != [height, width]:
            raise ValueError(f"run lengths of size {size} for an image of {[height, width]} (H, W)")
        if isinstance(counts, list):
            _check_runs(_numbers(counts), height * width)
            code = coco_mask.frPyObjects(dict(size=[height, width], counts=counts), height, width)
        else:
            _check_runs(_parse_counts(counts), height * width)
            code = segmentation
    else:
        raise ValueError("a segmentation must be a list of polygons or dict(size, counts)")
    counts = code["counts"]
    return dict(size=[height, width], counts=counts if isinstance(counts, str) else counts.decode("ascii"))


def _numbers(counts: list) -> np.ndarray:
    """The list as an array; ValueError if its entries are lists of several lengths."""
    try:
        return np.asarray(counts)
    except (ValueError, OverflowError) as error:
        raise ValueError("run lengths must be a list of whole numbers") from error


def _parse_counts(counts: str | bytes) -> np.ndarray:
    """(R,) int64 run lengths of pycocotools' text, whose values are not checked; ValueError for any other text.

    A number consists of digits of 5 bits, the lowest first, written as characters from "0" on. A digit with 32 added is
    followed by another. From the fourth on, a number is stored as its difference to the number two places before.

    Source: rleFrString in pycocotools' common/maskApi.c
    """
    if not isinstance(counts, str | bytes):
        raise ValueError(f"the counts of run lengths must be a list or a text, got {type(counts).__name__}")
    text = counts.encode("utf-8") if isinstance(counts, str) else counts
    digits = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not digits.size or digits.min() < 0 or digits.max() > 63 or digits[-1] & 32:
        raise ValueError(f"run lengths that are no text of COCO's: {text[:40]!r}")
    ends = np.flatnonzero(digits & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _MAX_DIGITS:
        raise ValueError(f"run lengths with a number of more than 32 bits: {text[:40]!r}")
    shifts = 5 * (np.arange(len(digits)) - np.repeat(starts, lengths))
    runs = np.add.reduceat((digits & 31) << shifts, starts)
    runs -= np.where(digits[ends] & 16, 1 << 5 * lengths, 0)  # negative: the highest bit is set
    for parity in (1, 2):
        runs[parity::2] = runs[parity::2].cumsum()
    return runs


def _check_runs(runs: np.ndarray, pixels: int) -> None:
    """ValueError for run lengths that do not fill the image exactly."""
    if runs.ndim != 1 or runs.dtype.kind != "i":
        raise ValueError("run lengths must be a list of whole numbers")
    if runs.sum() != pixels:
        raise ValueError(f"run lengths that sum to {runs.sum()}, not to {pixels} pixels")
    if runs.min() < 0:
        raise ValueError(f"run lengths with a negative number, {runs.min()}")


def check_polygons(polygons: list) -> None:
    """ValueError for polygons that pycocotools takes for boxes, reads beyond their end, or has no memory for."""
    if not polygons:
        raise ValueError("an empty list of polygons")
    for polygon in polygons:
        if _is_ordinary(polygon):
            continue
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise ValueError(f"a polygon must be a list of at least 3 points x, y, x, y, …, got {str(polygon)[:60]}")
        try:
            points = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"a polygon with a coordinate that is no number: {error}") from error
        if not np.isfinite(points).all():
            raise ValueError("a polygon with a coordinate that is not finite")
        steps = np.abs(points - np.roll(points, 1, axis=0)).max(axis=1)
        if np.abs(points).max() > MAX_OUTLINE or steps.sum() > MAX_OUTLINE:
            raise ValueError(
                f"a polygon of {steps.sum():.0f} pixels around, with coordinates up to {np.abs(points).max():g}; "
                f"both must be at most {MAX_OUTLINE}"
            )


def _is_ordinary(polygon: object) -> bool:
    """Whether a polygon is valid by a test that takes 3 us; False leaves it to the complete test, which takes 30 us."""
    try:
        low, high, total = min(polygon), max(polygon), sum(polygon)  # NaN may escape min and max, but not the sum
        half = len(polygon) / 2
        return (
            half >= 3
            and half % 1 == 0
            and -MAX_OUTLINE <= low <= high <= MAX_OUTLINE >= half * (high - low)
            and (-math.inf < total < math.inf and isinstance(polygon, list))
        )
    except (TypeError, ValueError, OverflowError):
        return False
