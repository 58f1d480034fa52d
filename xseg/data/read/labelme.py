"""labelme's files, one JSON per image.

Format: https://github.com/wkentaro/labelme. Shapes with the same label and group_id are parts of one object.
"""

import base64
import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xseg.data.read.images import read_image, read_values
from xseg.data.read.json_file import read_json
from xseg.data.read.outlines import ellipse
from xseg.data.read.rle import MAX_OUTLINE, encode_masks, mask_areas, run_lengths

WITHOUT_AREA = ("point", "points", "line", "linestrip")


class LabelmeImage(NamedTuple):
    """One file of labelme."""

    path: Path  # of the image
    size_hw: tuple[int, int]
    objects: list[dict]  # dict(label, bbox (x, y, width, height), area, iscrowd, segmentation), as in COCO's JSON
    left_out: int  # shapes that are not among the objects


def read_labelme(path: Path, drop_invalid: bool = False) -> LabelmeImage:
    """Read one file. Polygons, rectangles and circles become polygons, and masks become run lengths.

    Points and lines have no area and are left out.

    Args:
        drop_invalid: leave out objects without area inside the image. By default such an object is an error.

    Raises:
        FileNotFoundError, ValueError: with the file, the number of the shape (from 1) and the fault.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list) or not content.get("imagePath"):
        raise ValueError(f"{path} is not a file of labelme, which has shapes and imagePath; move it elsewhere")
    image = _image_path(path, content)
    size_hw = content.get("imageHeight"), content.get("imageWidth")
    if not all(size_hw):
        size_hw = tuple(read_image(image).shape[1:])
    parts: dict[tuple, list] = {}
    left_out = 0
    for number, shape in enumerate(content["shapes"], start=1):
        place = f"{path}: shape {number}"
        label, group = (shape.get("label") or "").strip(), shape.get("group_id")
        if not label:
            raise ValueError(f"{place} has no label")
        if shape.get("shape_type") in WITHOUT_AREA:
            left_out += 1
            continue
        key = (label, "alone", number) if group is None else (label, "group", group)
        parts.setdefault(key, []).append((place, _outline(shape, size_hw, f"{place} ({label})")))
    objects = []
    for (label, *_), pieces in parts.items():
        item = _object(pieces, size_hw)
        if item is not None:
            objects.append(item | dict(label=label))
        elif drop_invalid:
            left_out += 1
        else:
            raise ValueError(
                f"{pieces[0][0]} ({label}) has no area inside the image of {size_hw} (H, W); correct it, or leave such "
                "objects out with --drop-invalid"
            )
    return LabelmeImage(image, tuple(size_hw), objects, left_out)


def _image_path(path: Path, content: dict) -> Path:
    stated = content["imagePath"].replace("\\", "/")  # as written on Windows
    for image in (path.parent / stated, path.parent / Path(stated).name):
        if image.exists():
            return Path(os.path.normpath(image))
    inside = ". `labelme_export_json` extracts it from imageData" if content.get("imageData") else ""
    raise FileNotFoundError(f"{path}: its image {stated} is missing; copy it into the same folder{inside}")


def _outline(shape: dict, size_hw: tuple[int, int], place: str) -> list[float] | np.ndarray:
    """A polygon x, y, x, y, …, or a mask (H, W) uint8."""
    kind = shape.get("shape_type") or "polygon"
    try:
        points = np.asarray(shape.get("points"), np.float64).reshape(-1, 2)
    except (TypeError, ValueError):
        points = np.full((1, 2), np.nan)
    if not np.isfinite(points).all():
        raise ValueError(f"{place}: points must be a list of [x, y], got {str(shape.get('points'))[:60]}")
    if np.abs(points).max(initial=0) > MAX_OUTLINE:
        raise ValueError(f"{place}: points must lie within {MAX_OUTLINE} pixels, got {np.abs(points).max():g}")
    count = len(points)
    if (kind == "polygon" and count >= 3) or (kind == "rectangle" and count == 4):
        return points.ravel().tolist()
    if kind == "rectangle" and count == 2:
        (x1, y1), (x2, y2) = points.tolist()
        return [x1, y1, x2, y1, x2, y2, x1, y2]
    if kind == "circle" and count == 2:
        return ellipse(points[0], *2 * [math.dist(*points)])
    if kind == "mask" and count == 2:
        return _pasted(shape.get("mask"), points, size_hw, place)
    raise ValueError(f"{place}: a {kind} of {count} points cannot be converted; draw it again")


def _pasted(code: object, corners: np.ndarray, size_hw: tuple[int, int], place: str) -> np.ndarray:
    """(H, W) uint8 with the mask in `code`, a PNG in base64, at the first corner."""
    try:
        content = base64.b64decode(code)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{place}: its mask is not a PNG in base64: {error}") from error
    patch = read_values(content, f"{place}: its mask")[0] > 0
    mask = np.zeros(size_hw, np.uint8)
    x, y = corners[0].astype(int)
    if patch.ndim != 2 or min(x, y) < 0 or y + patch.shape[0] > size_hw[0] or x + patch.shape[1] > size_hw[1]:
        raise ValueError(f"{place}: a mask of {patch.shape} pixels at x {x}, y {y} does not fit into {size_hw} (H, W)")
    mask[y : y + patch.shape[0], x : x + patch.shape[1]] = patch
    return mask


def _object(pieces: list[tuple], size_hw: tuple[int, int]) -> dict | None:
    """The annotation of all parts of an object; None if it has no pixel in the image."""
    from pycocotools import mask as coco_mask

    polygons = [outline for _, outline in pieces if isinstance(outline, list)]
    masks = [outline for _, outline in pieces if isinstance(outline, np.ndarray)]
    codes = encode_masks(np.stack(masks)) if masks else []
    if polygons:
        try:
            codes.append(run_lengths(polygons, size_hw))
        except ValueError as error:
            raise ValueError(f"{pieces[0][0]}: {error}") from error
    merged = coco_mask.merge(codes) if len(codes) > 1 else codes[0]
    (area,) = mask_areas([merged])
    if area == 0:
        return None
    if masks:
        code = run_lengths(merged, size_hw)
        return dict(bbox=coco_mask.toBbox(merged).tolist(), area=area, iscrowd=0, segmentation=code)
    points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in polygons]).clip(0, size_hw[::-1])
    low, sides = points.min(axis=0), np.ptp(points, axis=0)
    return dict(bbox=[*low.tolist(), *sides.tolist()], area=area, iscrowd=0, segmentation=polygons)
