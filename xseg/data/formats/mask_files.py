"""Masks of classes beside images, however the files are named and sorted into folders."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import NamedTuple

from xseg.data.formats import mask_config
from xseg.data.formats.catalog import MASKS, Catalog, Evidence, Format, Item, split_of
from xseg.data.formats.class_lists import names_of_values
from xseg.data.formats.masks import understand
from xseg.data.formats.tree import Tree, folders, stem
from xseg.data.read.images import read_size_hw

MASK_WORDS = (
    "masks?|labels?|labelids|labeltrainids|gt|gtfine|seg|segs|segmentations?|semantic|annotations?|annots?|"
    "groundtruth|ground_truth|targets?|trainannot|valannot|testannot|segmentationclass|l|lbl|matte"
)
IMAGE_WORDS = "images?|imgs?|jpegimages|photos?|pics?|pictures?|input|inputs|leftimg8bit|rgb|data|dataset"
OTHER_WORDS = "segmentationobject|instances?|instanceids|color|colour|polygons|disparity|depth|camera|panoptic.*"
_MASK_FOLDER = re.compile(f"^(?:.*[_-])?(?:{MASK_WORDS})(?:[_-].*)?$|^.+annot$", re.I)
_OTHER = re.compile(f"(?:^|[_-])(?:{OTHER_WORDS})$", re.I)
_AFFIX = re.compile(f"^(?P<a>.+?)(?:[_.-](?:{MASK_WORDS}))+$|^(?:(?:{MASK_WORDS})[_.-])+(?P<b>.+)$", re.I)
_IMAGE_AFFIX = re.compile(f"^(?P<a>.+?)(?:[_.-](?:{IMAGE_WORDS}))+$|^(?:(?:{IMAGE_WORDS})[_.-])+(?P<b>.+)$", re.I)
LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".gif")


class Pair(NamedTuple):
    """Names of an image and of its mask in the tree."""

    image: str
    mask: str
    sure: bool  # a folder or an ending says which of the two is the mask


def find(tree: Tree) -> Evidence | None:
    if tree.file:
        return None
    if any("SegmentationClass" in folders(name) for name in tree.images) or mask_config.find(tree):
        return None  # formats of their own
    pairs = pair(tree)
    if not pairs:
        return None
    example = pairs[0]
    return Evidence(len(pairs), f"masks such as {example.mask} for {example.image}", weak=not example.sure)


def read(tree: Tree) -> Catalog:
    pairs = pair(tree)
    if not pairs:
        raise ValueError(f"{tree.root}: no image has a mask of the same name; see --format masks in docs/own_data.md")
    named = names_of_values(tree, pairs[0].mask)
    one = next((part for part in reversed(folders(pairs[0].mask)) if not _MASK_FOLDER.match(part)), "object")
    if split_of([one]) or len(folders(pairs[0].mask)) < 2:
        one = "object"
    made = understand([tree.path(row.mask) for row in pairs], named and named[0], one)
    items = []
    for row in pairs:
        split = split_of(folders(row.image)) or split_of(folders(row.mask))
        path = tree.path(row.image)
        items.append(Item(row.image.rpartition(".")[0], path, read_size_hw(path), split, mask=tree.path(row.mask)))
    lone = sorted(set(_images_of(tree, pairs)) - {row.image for row in pairs})
    notes = list(made.notes)
    if lone:
        notes.append(f"{len(lone)} images without a mask are left out, first {lone[0]}")
    used = [name for row in pairs for name in (row.image, row.mask)] + ([named[1]] if named else [])
    return Catalog(
        "masks",
        tree.root,
        MASKS,
        made.classes,
        tuple(items),
        palette=made.palette,
        values=made.values,
        ignored=tree.unused(used),
        notes=tuple(notes),
    )


def pair(tree: Tree) -> list[Pair]:
    """Images and their masks: by folders or endings that say "mask", otherwise by one stem in one folder."""
    masks = [name for name in tree.images if _says_mask(name) and name.lower().endswith(LOSSLESS)]
    images = [name for name in tree.images if not _says_mask(name) and not _says_other(name)]
    pairs = _by_key(images, masks)
    if pairs:
        return sorted(pairs)
    groups = defaultdict(list)
    for name in tree.images:
        groups[folders(name), stem(name)].append(name)
    twins = [sorted(names, key=lambda name: name.lower().endswith(LOSSLESS)) for names in groups.values()]
    return sorted(
        Pair(image, mask, False)
        for image, mask in (names for names in twins if len(names) == 2)
        if mask.lower().endswith(LOSSLESS) and not image.lower().endswith(LOSSLESS)
    )


def _by_key(images: list[str], masks: list[str]) -> list[Pair]:
    """Pairs whose names and folders agree, less the words that tell images from masks."""
    by_place, by_stem = defaultdict(list), defaultdict(list)
    for name in images:
        by_place[_place(name), _key(name)].append(name)
        by_stem[_key(name)].append(name)
    best: dict[str, Pair] = {}
    for mask in masks:
        rivals = by_place[_place(mask), _key(mask)] or by_stem[_key(mask)]
        if len(rivals) == 1:
            known = best.get(rivals[0])
            if known is None or _rank(mask) > _rank(known.mask):
                best[rivals[0]] = Pair(rivals[0], mask, True)
    return list(best.values())


def _rank(mask: str) -> int:
    """Of several masks of an image, Cityscapes' training ids are the ones to learn."""
    name = stem(mask).lower()
    return 2 if name.endswith("labeltrainids") else 1 if not _OTHER.search(name) else 0


def _place(name: str) -> tuple[str, ...]:
    """The folders, without those that only say that images or masks lie there."""
    words = re.compile(f"^(?:{MASK_WORDS}|{IMAGE_WORDS}|semantic_segmentation)$", re.I)
    parts = [re.sub(r"annot$", "", part) for part in folders(name) if not words.match(part)]
    strip = re.compile(f"^(?:{MASK_WORDS}|{IMAGE_WORDS})[_-]|[_-](?:{MASK_WORDS}|{IMAGE_WORDS})$", re.I)
    return tuple(strip.sub("", part).lower() for part in parts if part)


def _key(name: str) -> str:
    base = stem(name)
    if re.fullmatch(f"{MASK_WORDS}|{IMAGE_WORDS}", base, re.I) and folders(name):
        return folders(name)[-1].lower()  # one folder an image: 12/image.png and 12/mask.png
    for pattern in (_AFFIX, _IMAGE_AFFIX):
        if match := pattern.match(base):
            base = match["a"] or match["b"]
    return base.lower()


def _says_mask(name: str) -> bool:
    base = stem(name)
    if _says_other(name):
        return False
    if _AFFIX.match(base) or re.fullmatch(MASK_WORDS, base, re.I):
        return True
    roles = [part for part in folders(name) if _MASK_FOLDER.match(part) or re.fullmatch(IMAGE_WORDS, part, re.I)]
    return bool(roles) and not re.fullmatch(IMAGE_WORDS, roles[-1], re.I)


def _says_other(name: str) -> bool:
    """Instance ids, depths, colour copies and panoptic PNGs are neither images nor masks of classes."""
    return bool(_OTHER.search(stem(name))) or any(re.fullmatch(OTHER_WORDS, part, re.I) for part in folders(name))


def _images_of(tree: Tree, pairs: list[Pair]) -> list[str]:
    """Images in the folders of paired images."""
    places = {folders(row.image) for row in pairs}
    taken = {row.mask for row in pairs}
    return [n for n in tree.images if folders(n) in places and n not in taken and not _says_mask(n)]


FORMAT = Format("masks", "images, and masks of classes (PNG) with the same names in a folder of their own", find, read)
