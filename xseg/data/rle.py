"""Instance masks as run lengths: the form in which COCO stores them and results travel.

A run-length mask is dict(size=[H, W], counts=text), pycocotools' compressed form with `counts` as str, so that it can
be written to JSON as it stands.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

RunLengths = dict  # dict(size=[H, W], counts=str)


def encode_masks(masks: Tensor | np.ndarray) -> list[RunLengths]:
    """(M, H, W) bool or 0/1 -> M run-length masks."""
    from pycocotools import mask as coco_mask

    values = masks.cpu().numpy() if isinstance(masks, Tensor) else masks
    if values.ndim != 3:
        raise ValueError(f"masks must have shape (M, H, W), got {tuple(values.shape)}")
    codes = (coco_mask.encode(np.asfortranarray(value, dtype=np.uint8)) for value in values)
    return [dict(size=[int(side) for side in code["size"]], counts=code["counts"].decode("ascii")) for code in codes]


def encode_region(pixels: np.ndarray, top: int, left: int, size_hw: Sequence[int]) -> RunLengths:
    """Run-length mask of an image that is empty but for (h, w) bool at (top, left); work and memory are the region's,
    however large the image."""
    from pycocotools import mask as coco_mask

    height, width = (int(side) for side in size_hw)
    columns = np.pad(pixels.T.astype(np.int8), ((0, 0), (1, 1)))
    column, row = np.nonzero(np.diff(columns))  # where runs begin and end, one after the other down the columns
    edges = (column + left) * height + row + top
    inner = edges[1:-1].reshape(-1, 2)  # (end, next begin): the same where a run goes on at the top of the next column
    edges = np.concatenate(
        [[0], edges[:1], inner[inner[:, 0] != inner[:, 1]].ravel(), edges[1:][-1:], [height * width]]
    )
    counts = np.diff(edges)
    counts = counts if counts[-1] or len(counts) == 1 else counts[:-1]  # no run behind the last pixel
    code = coco_mask.frPyObjects(dict(size=[height, width], counts=counts.tolist()), height, width)
    return dict(size=[height, width], counts=code["counts"].decode("ascii"))


def decode_masks(codes: Sequence[RunLengths], size_hw: Sequence[int]) -> Tensor:
    """M run-length masks of an image of `size_hw` -> (M, H, W) uint8, 0 or 1."""
    from pycocotools import mask as coco_mask

    masks = torch.zeros(len(codes), *size_hw, dtype=torch.uint8)
    for mask, code in zip(masks, codes, strict=True):
        mask.copy_(torch.from_numpy(coco_mask.decode(code)))
    return masks


def mask_areas(codes: Sequence[RunLengths]) -> np.ndarray:
    """(M,) float64: the pixels of each mask."""
    from pycocotools import mask as coco_mask

    return np.array([float(coco_mask.area(code)) for code in codes])


def run_lengths(segmentation: list | dict, size_hw: Sequence[int]) -> RunLengths:
    """COCO's three ways to write a mask, polygons and run lengths as numbers or as text, as one.

    Raises:
        ValueError: it is none of the three, or of another size than the image; the message has no file name.
    """
    from pycocotools import mask as coco_mask

    height, width = (int(side) for side in size_hw)
    if isinstance(segmentation, list):
        _check_polygons(segmentation)
        code = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation, dict) and {"size", "counts"} <= segmentation.keys():
        if list(segmentation["size"]) != [height, width]:
            raise ValueError(f"run lengths of size {segmentation['size']} for an image of {[height, width]} (H, W)")
        code = segmentation
        if isinstance(code["counts"], list):
            if sum(code["counts"]) != height * width or min(code["counts"]) < 0:
                raise ValueError(f"run lengths that sum to {sum(code['counts'])}, not to {height * width} pixels")
            code = coco_mask.frPyObjects(code, height, width)
    else:
        raise ValueError("a segmentation must be a list of polygons or dict(size, counts)")
    counts = code["counts"]
    return dict(size=[height, width], counts=counts if isinstance(counts, str) else counts.decode("ascii"))


def _check_polygons(polygons: list) -> None:
    """What pycocotools would take for a box, read beyond its end, or turn into an empty mask."""
    if not polygons:
        raise ValueError("an empty list of polygons")
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise ValueError(f"a polygon must be a list of at least 3 points x, y, x, y, …, got {str(polygon)[:60]}")
        if not np.isfinite(np.asarray(polygon, dtype=np.float64)).all():
            raise ValueError("a polygon with a coordinate that is not finite")
