"""Annotated regions of images as masks of classes and as tables of objects."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from xseg.data.formats import Item, Region
from xseg.data.read.classes import IGNORE
from xseg.data.read.images import read_segment_ids
from xseg.data.read.rle import decode_masks, encode_masks, run_lengths
from xseg.data.sets.detection import Objects, clip_boxes, spans_of, to_xywh
from xseg.data.sets.panoptic import objects_in_segments


def draw_regions(item: Item, shift: int = 1) -> Tensor:
    """(H, W) uint8: the label of the object at each pixel plus `shift`, 0 elsewhere, 255 for crowds and bare boxes.

    Objects are drawn from the largest to the smallest, so that a small one in front of a large one is seen.
    """
    mask = torch.zeros(item.size_hw, dtype=torch.uint8)
    drawn = [(region, run_lengths(_outline(region), item.size_hw)) for region in item.regions]
    pixels = decode_masks([code for _, code in drawn], item.size_hw).bool()
    order = torch.argsort(-pixels.sum((1, 2)), stable=True).tolist()
    for row in sorted(order, key=lambda row: not _is_ignored(drawn[row][0])):  # ignored ones lie below all others
        region = drawn[row][0]
        mask[pixels[row]] = IGNORE if _is_ignored(region) else region.label + shift
    return mask


def region_objects(items: Sequence[Item], with_masks: bool) -> Objects:
    """The regions of all images as one table. With masks, an object without an outline becomes a crowd."""
    regions = [region for item in items for region in item.regions or ()]
    image_of = np.repeat(np.arange(len(items)), [len(item.regions or ()) for item in items])
    sizes_hw = np.array([item.size_hw for item in items], np.int64).reshape(-1, 2)[image_of]
    stated = np.array([region.box_xyxy for region in regions], np.float64).reshape(-1, 4)

    def place(row: int) -> str:
        return f"{items[image_of[row]].path}: object {row - int(np.searchsorted(image_of, image_of[row])) + 1}"

    boxes_xyxy, valid = clip_boxes(stated, sizes_hw, place, drop_invalid=True)
    kept = [(regions[row], tuple(sizes_hw[row])) for row in np.flatnonzero(valid)]
    masks = None
    if with_masks:
        codes = [run_lengths(_outline(region), size_hw)["counts"] for region, size_hw in kept]
        masks = np.array([code.encode("ascii") for code in codes], dtype=object)
    crowd = [region.crowd or (with_masks and region.outline is None) for region, _ in kept]
    return Objects(
        spans=spans_of(image_of[valid], len(items)),
        boxes_xyxy=boxes_xyxy[valid],
        stated_xywh=to_xywh(stated[valid]),
        labels=np.array([region.label for region, _ in kept], np.int64),
        iscrowd=np.array(crowd, bool),
        area=np.full(len(kept), np.nan),
        masks=masks,
    )


def segment_objects(items: Sequence[Item], things: Sequence[int], with_masks: bool) -> Objects:
    """The things of panoptic segments as one table; every PNG is read once."""
    made = []
    for item in items:
        parts = objects_in_segments(read_segment_ids(item.mask), item.segments, things, item.mask)
        columns = (parts["boxes_xyxy"].tolist(), parts["labels"].tolist(), parts["iscrowd"].tolist())
        codes = encode_masks(parts["masks"])
        regions = [
            Region(label, tuple(box), code, crowd) for box, label, crowd, code in zip(*columns, codes, strict=True)
        ]
        made.append(item._replace(regions=tuple(regions)))
    return region_objects(made, with_masks)


def _outline(region: Region) -> list[list[float]] | dict:
    if region.outline is not None:
        return region.outline
    x1, y1, x2, y2 = region.box_xyxy
    return [[x1, y1, x2, y1, x2, y2, x1, y2]]


def _is_ignored(region: Region) -> bool:
    return region.crowd or region.outline is None
