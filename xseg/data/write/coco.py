"""COCO's JSON: instances.json with images, categories with ids from 1, and annotations with their score.

Objects without a hole are polygons, those with one are run lengths of exactly the predicted pixels.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from xseg.data.read.rle import encode_region
from xseg.data.write.objects import Labels, Object, Row


def write_image(row: Row, labels: Labels, out: Path) -> dict:
    image = dict(file_name=row.file, height=row.size_hw[0], width=row.size_hw[1])
    return dict(image=image, annotations=[_annotation(item, row.size_hw) for item in row.objects])


def write_whole(entries: Sequence[dict], labels: Labels, out: Path) -> None:
    content = dict(
        images=[dict(id=number, **entry["image"]) for number, entry in enumerate(entries, start=1)],
        annotations=[],
        categories=[dict(id=number, name=name) for number, name in enumerate(labels.names, start=1)],
    )
    for image_id, entry in enumerate(entries, start=1):
        for annotation in entry["annotations"]:
            content["annotations"].append(dict(id=len(content["annotations"]) + 1, image_id=image_id) | annotation)
    out.mkdir(parents=True, exist_ok=True)
    (out / "instances.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _annotation(item: Object, size_hw: tuple[int, int]) -> dict:
    x1, y1, x2, y2 = item.box_xyxy
    entry = dict(category_id=item.label + 1, bbox=[x1, y1, x2 - x1, y2 - y1], area=(x2 - x1) * (y2 - y1), iscrowd=0)
    if item.score is not None:
        entry["score"] = round(item.score, 4)
    if item.patch is not None:
        entry["area"] = int(item.patch.pixels.sum())
        entry["segmentation"] = (
            encode_region(item.patch.pixels, item.patch.top, item.patch.left, size_hw)
            if item.has_holes
            else [ring.outer.ravel().tolist() for ring in item.rings]
        )
    return entry
