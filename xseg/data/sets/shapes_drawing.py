"""Shapes: a data set drawn from a seed, so that a training run needs no download.

A scene is a list of objects that are drawn in order, so that later ones cover earlier ones. `render` returns the image
and the object at each pixel, from which masks and boxes follow. Colour, size and pose do not depend on the class.
Outline and texture do, as for most objects in photographs, so that minutes of training on a CPU are enough.
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from xseg.data.read.classes import IGNORE, SHAPES_CLASSES, voc_palette
from xseg.data.read.images import write_mask
from xseg.data.read.rle import encode_masks
from xseg.data.sample import Path_

RULE = 3  # increase it when the files change: folders with another rule are written again
STAMP = "shapes.json"
_SHIFT = 4  # opencv's fixed-point coordinates: 1/16 pixel


class Shape(NamedTuple):
    """One object of a scene."""

    label: int  # index into SHAPES_CLASSES
    centre_xy: tuple[float, float]  # pixels
    radius: float  # of the circle around it, pixels
    angle: float  # radians
    colour: np.ndarray  # (3,) RGB
    second_colour: np.ndarray  # of the texture
    texture: str
    texture_angle: float
    texture_period: float  # pixels


# factors of the radius, which make the areas of the classes more equal
GROWTH = {"circle": 1.0, "square": 1.15, "triangle": 1.3, "ring": 1.1}
TEXTURES = {"circle": "plain", "square": "checks", "triangle": "stripes", "ring": "clouds"}


def draw_scene(rng: np.random.Generator, size_hw: Sequence[int]) -> tuple[np.ndarray, list[Shape]]:
    """A background (H, W, 3) float32 RGB, and 2 to 5 objects at distances that leave most of each visible."""
    height, width = size_hw
    background = _background(rng, height, width)
    mean_colour = background.mean(axis=(0, 1))
    scene: list[Shape] = []
    for _ in range(rng.integers(2, 6)):
        label = int(rng.integers(1, len(SHAPES_CLASSES)))
        radius = rng.uniform(18, 36) * GROWTH[SHAPES_CLASSES[label]] * min(height, width) / 128
        for _ in range(12):
            centre = rng.uniform(0.6 * radius, (width, height) - np.float64(0.6 * radius))
            if all(np.hypot(*(centre - other.centre_xy)) > 0.75 * (radius + other.radius) for other in scene):
                break
        else:
            continue
        colour = _colour_unlike(rng, mean_colour)
        scene.append(
            Shape(
                label=label,
                centre_xy=(float(centre[0]), float(centre[1])),
                radius=float(radius),
                angle=float(rng.uniform(0, 2 * np.pi)),
                colour=colour,
                second_colour=_colour_unlike(rng, colour),
                texture=TEXTURES[SHAPES_CLASSES[label]],
                texture_angle=float(rng.uniform(0, np.pi)),
                texture_period=float(rng.uniform(5, 14)),
            )
        )
    return background, scene


def render(background: np.ndarray, scene: Sequence[Shape], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The image (H, W, 3) uint8 RGB, and (H, W) uint8: 0 for the background, else 1 + the index of the object."""
    image = background.copy()
    seen = np.zeros(image.shape[:2], np.uint8)
    light = rng.uniform(0, 2 * np.pi)
    for number, shape in enumerate(scene, start=1):
        cover = _cover(shape, seen.shape)
        x, y = shape.centre_xy
        shade = cv2.GaussianBlur(_cover(shape._replace(centre_xy=(x + 2, y + 3)), seen.shape), (0, 0), 3)[..., None]
        image *= 1 - 0.35 * shade  # a soft shadow
        paint = _paint(shape, seen.shape, light, rng)
        image += cover[..., None] * (paint - image)
        seen[cover >= 0.5] = number
    image += rng.normal(0, rng.uniform(2, 7), image.shape)  # sensor noise
    return np.clip(image, 0, 255).astype(np.uint8), seen


def semantic_mask(scene: Sequence[Shape], seen: np.ndarray) -> np.ndarray:
    """(H, W) class ids; the pixels on both sides of every outline are 255, as in VOC."""
    labels = np.array([0, *(shape.label for shape in scene)], np.uint8)
    square = np.ones((3, 3), np.uint8)
    mask = labels[seen]
    mask[cv2.dilate(seen, square) != cv2.erode(seen, square)] = IGNORE
    return mask


def instances(scene: Sequence[Shape], seen: np.ndarray) -> list[dict]:
    """One COCO annotation without ids per visible object: dict(category_id, bbox, area, iscrowd, segmentation).

    The category is the class. Box (x, y, width, height in pixels) and mask cover the visible pixels of the object.
    """
    annotations = []
    for number, shape in enumerate(scene, start=1):
        mask = seen == number
        if not mask.any():  # covered by later objects
            continue
        x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
        (code,) = encode_masks(mask[None])
        annotations.append(
            dict(
                category_id=shape.label,
                bbox=[x, y, width, height],
                area=int(mask.sum()),
                iscrowd=0,
                segmentation=code,
            )
        )
    return annotations


def shapes_counts(num_images: dict[str, int] | None) -> dict[str, int]:
    """dict(num_train, num_val) for `write_shapes` from dict(train=…, val=…); missing entries are 400 and 100."""
    counts = dict(train=400, val=100) | dict(num_images or {})
    if unknown := counts.keys() - {"train", "val"}:
        raise ValueError(f"num_images takes train and val, got {', '.join(sorted(unknown))}")
    return {f"num_{split}": count for split, count in counts.items()}


def write_shapes(
    root: Path_,
    num_train: int = 400,
    num_val: int = 100,
    size_hw: Sequence[int] = (128, 128),
    seed: int = 0,
) -> None:
    """Write the data set to `root` in VOC layout, unless it is already there with these parameters.

    Boxes and instance masks are written as COCO's JSON, annotations/instances_{train,val}.json.

    The folder is complete as soon as it exists, also if several processes write it at the same time.

    Raises:
        FileExistsError: `root` has content that this function did not write.
    """
    if min(num_train, num_val) < 1 or min(size_hw) < 32:
        raise ValueError(
            f"num_images must be at least 1 and size_hw at least 32, got {num_train}, {num_val} and size_hw {size_hw}"
        )
    root = Path(root)
    stamp = dict(rule=RULE, num_train=num_train, num_val=num_val, size_hw=list(size_hw), seed=seed)
    if _stamp_of(root) == stamp:
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        fresh.chmod(0o755)
        _write_tree(fresh, stamp)
        if _stamp_of(root) not in (None, stamp):  # our own folder with other parameters is moved away
            old = fresh.with_name(f"{fresh.name}.old")
            with contextlib.suppress(FileNotFoundError):  # another process moved it
                os.replace(root, old)
            shutil.rmtree(old, ignore_errors=True)
        try:
            os.replace(fresh, root)
        except OSError:  # another process was first
            if _stamp_of(root) != stamp:
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _stamp_of(root: Path) -> dict | None:
    """The parameters of the folder's content; None if the folder is missing or empty."""
    try:
        return json.loads((root / STAMP).read_text())
    except json.JSONDecodeError:
        return {}
    except (FileNotFoundError, NotADirectoryError):
        if root.is_file() or (root.is_dir() and any(root.iterdir())):
            raise FileExistsError(
                f"{root} exists and has no {STAMP}, so it is not a Shapes folder; choose another root"
            ) from None
        return None


def _write_tree(root: Path, stamp: dict) -> None:
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation", "annotations"):
        (root / folder).mkdir(parents=True)
    for number, split in enumerate(("train", "val")):
        ids = [f"{split}_{index:05d}" for index in range(stamp[f"num_{split}"])]
        seeds = [(stamp["seed"], number, index) for index in range(len(ids))]  # an image does not depend on num_images
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # NumPy and opencv release the GIL for most of the work
            objects = list(pool.map(lambda id, seed: _write_scene(root, id, seed, stamp["size_hw"]), ids, seeds))
        (root / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(ids) + "\n")
        _write_coco(root / "annotations" / f"instances_{split}.json", ids, objects, stamp["size_hw"])
    (root / "classes.txt").write_text("\n".join(SHAPES_CLASSES) + "\n")
    (root / STAMP).write_text(json.dumps(stamp, indent=2) + "\n")


def _write_scene(root: Path, id: str, seed: Sequence[int], size_hw: Sequence[int]) -> list[dict]:
    """Draw one scene, write its image and mask, and return its `instances`."""
    rng = np.random.default_rng(seed)
    background, scene = draw_scene(rng, size_hw)
    image, seen = render(background, scene, rng)
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])
    (root / "JPEGImages" / f"{id}.jpg").write_bytes(jpeg.tobytes())
    palette = voc_palette(len(SHAPES_CLASSES))
    write_mask(root / "SegmentationClass" / f"{id}.png", semantic_mask(scene, seen), palette)
    return instances(scene, seen)


def _write_coco(path: Path, ids: Sequence[str], objects: Sequence[list[dict]], size_hw: Sequence[int]) -> None:
    height, width = size_hw
    numbered = [dict(image_id=image_id, **item) for image_id, rows in enumerate(objects, start=1) for item in rows]
    content = dict(
        images=[
            dict(id=image_id, file_name=f"{id}.jpg", height=height, width=width)
            for image_id, id in enumerate(ids, start=1)
        ],
        annotations=[dict(id=id, **item) for id, item in enumerate(numbered, start=1)],
        categories=[dict(id=id, name=name) for id, name in enumerate(SHAPES_CLASSES[1:], start=1)],
    )
    path.write_text(json.dumps(content) + "\n")


def _cover(shape: Shape, size_hw: tuple[int, int]) -> np.ndarray:
    """(H, W) float32 in 0..1: the share of each pixel that the object covers."""
    cover = np.zeros(size_hw, np.uint8)
    corners = {"square": 4, "triangle": 3}.get(SHAPES_CLASSES[shape.label], 72)
    _fill(cover, shape, corners, shape.radius, 255)
    if SHAPES_CLASSES[shape.label] == "ring":
        _fill(cover, shape, corners, 0.55 * shape.radius, 0)
    return cover.astype(np.float32) / 255


def _fill(canvas: np.ndarray, shape: Shape, corners: int, radius: float, value: int) -> None:
    angles = shape.angle + np.arange(corners) * 2 * np.pi / corners
    points_xy = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius + shape.centre_xy
    points_xy = np.round(points_xy * 2**_SHIFT).astype(np.int32)
    cv2.fillPoly(canvas, [points_xy], value, lineType=cv2.LINE_AA, shift=_SHIFT)


def _paint(shape: Shape, size_hw: tuple[int, int], light: float, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) float32 RGB: the texture of the object on the whole canvas, brighter towards the light."""
    y, x = np.mgrid[: size_hw[0], : size_hw[1]].astype(np.float32)
    x, y = x - shape.centre_xy[0], y - shape.centre_xy[1]
    cos, sin = np.cos(shape.texture_angle), np.sin(shape.texture_angle)
    u, v = ((cos * x + sin * y) / shape.texture_period, (cos * y - sin * x) / shape.texture_period)
    if shape.texture == "stripes":
        blend = _edge(np.sin(2 * np.pi * u))
    elif shape.texture == "checks":
        blend = _edge(np.sin(np.pi * u) * np.sin(np.pi * v) * 2)
    elif shape.texture == "clouds":
        blend = _clouds(rng, size_hw)
    else:
        blend = np.zeros(size_hw, np.float32)
    paint = shape.colour + blend[..., None] * (shape.second_colour - shape.colour)
    brightness = 1 + 0.22 * (np.cos(light) * x + np.sin(light) * y) / shape.radius
    return (paint * np.clip(brightness, 0.6, 1.4)[..., None]).astype(np.float32)


def _edge(wave: np.ndarray) -> np.ndarray:
    return np.clip(0.5 + 2 * wave, 0, 1).astype(np.float32)


def _background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A colour ramp between two colours, with clouds of a third colour and fine grain on top."""
    first, second, third = rng.uniform(20, 235, (3, 3))
    direction = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    ramp = np.cos(direction) * (x / width - 0.5) + np.sin(direction) * (y / height - 0.5)
    ramp = np.clip(ramp / 1.2 + 0.5, 0, 1)[..., None]
    canvas = first + ramp * 0.7 * (second - first)
    canvas = canvas + 0.5 * _clouds(rng, (height, width))[..., None] * (third - canvas)
    canvas += rng.uniform(0, 18) * (_clouds(rng, (height, width), coarsest=3) - 0.5)[..., None]
    return canvas.astype(np.float32)


def _clouds(rng: np.random.Generator, size_hw: Sequence[int], coarsest: int = 0) -> np.ndarray:
    """(H, W) float32 in 0..1: noise summed over scales; the amplitude halves from scale to finer scale."""
    height, width = size_hw
    total = np.zeros((height, width), np.float32)
    for octave in range(coarsest, coarsest + 4):
        cells = 3 * 2**octave
        noise = rng.random((cells, cells), dtype=np.float32)
        total += 0.5 ** (octave - coarsest) * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip((total - total.min()) / (np.ptp(total) + 1e-6), 0, 1)


def _colour_unlike(rng: np.random.Generator, other: np.ndarray) -> np.ndarray:
    """A random RGB colour with a Euclidean distance of more than 90 from the other one."""
    while True:
        colour = rng.uniform(15, 240, 3)
        if np.linalg.norm(colour - other) > 90:
            return colour
