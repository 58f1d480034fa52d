"""Folders of labels as labelling programs write them, for tests."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from xseg.data.formats.catalog import OUTLINES, Catalog, Item, Region
from xseg.data.read.images import write_mask


def write_labelme(root, name, shapes, size_hw=(40, 60)):
    path = root / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mask(path.with_suffix(".png"), np.zeros(size_hw, np.uint8))
    content = dict(shapes=shapes, imagePath=f"{path.stem}.png", imageHeight=size_hw[0], imageWidth=size_hw[1])
    path.write_text(json.dumps(content))


def shape(label, points, kind="polygon"):
    return dict(label=label, points=points, shape_type=kind, group_id=None)


def sample_catalog(kind=OUTLINES):
    """Two images of train, one of them without objects, and one of val; a box, a triangle, a square."""
    box = Region(2, (10, 5, 30, 25), [[10, 5, 30, 5, 30, 25, 10, 25]])
    triangle = Region(0, (0, 0, 20, 30), [[0, 0, 20, 0, 0, 30]])
    square = Region(1, (6, 8, 16, 18), [[6, 8, 16, 8, 16, 18, 6, 18]])
    rows = (("a", (40, 60), "train", (box, triangle)), ("b", (30, 50), "train", ()), ("c", (40, 60), "val", (square,)))
    items = []
    for name, size_hw, split, regions in rows:
        if kind != OUTLINES:
            regions = tuple(region._replace(outline=None) for region in regions)
        items.append(Item(name, Path(f"{name}.png"), size_hw, split, regions=regions))
    return Catalog("", Path(), kind, ("ant", "bee", "cat"), tuple(items))


def write_blank(path, size_hw):
    """A black image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mask(path, np.zeros(size_hw, np.uint8))


def coco_content(catalog, items):
    """COCO's JSON of some items, with ids from 1 and gaps between those of categories."""
    images, annotations = [], []
    for id, item in enumerate(items, start=1):
        images.append(dict(id=id, file_name=item.path.name, height=item.size_hw[0], width=item.size_hw[1]))
        for region in item.regions:
            x1, y1, x2, y2 = region.box_xyxy
            outline = region.outline or []
            annotations.append(
                dict(id=len(annotations) + 1, image_id=id, category_id=3 * region.label + 1, iscrowd=int(region.crowd))
                | dict(bbox=[x1, y1, x2 - x1, y2 - y1], area=(x2 - x1) * (y2 - y1), segmentation=outline)
            )
    categories = [dict(id=3 * label + 1, name=name, supercategory="") for label, name in enumerate(catalog.classes)]
    return dict(info={}, licenses=[], images=images, annotations=annotations, categories=categories)


def write_coco(catalog, root):
    """COCO's 2017 layout: annotations/instances_train2017.json, train2017/."""
    (root / "annotations").mkdir(parents=True)
    for split in sorted({item.split for item in catalog.items}):
        items = catalog.of_split(split)
        for item in items:
            write_blank(root / f"{split}2017" / item.path.name, item.size_hw)
        (root / f"annotations/instances_{split}2017.json").write_text(json.dumps(coco_content(catalog, items)))


def yolo_line(region, size_hw):
    """A box if the region has no outline, otherwise its polygon."""
    height, width = size_hw
    if region.outline is None:
        x1, y1, x2, y2 = region.box_xyxy
        values = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
    else:
        values = [value / side for value, side in zip(region.outline[0], (width, height) * 99, strict=False)]
    return " ".join([str(region.label), *(f"{value:.6f}" for value in values)])


def write_yolo(catalog, root):
    """Ultralytics' layout: data.yaml, images/train, labels/train; an image without objects has no label file."""
    for item in catalog.items:
        write_blank(root / "images" / item.split / item.path.name, item.size_hw)
        label = root / "labels" / item.split / f"{item.path.stem}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        if item.regions:
            label.write_text("\n".join(yolo_line(region, item.size_hw) for region in item.regions) + "\n")
    names = "".join(f"  {label}: {name}\n" for label, name in enumerate(catalog.classes))
    (root / "data.yaml").write_text(
        f"path: /home/jo/datasets/mine\ntrain: images/train\nval: images/val\nnames:\n{names}"
    )


def write_panoptic(root):
    """COCO's panoptic layout with train and val, an image each of 20 x 30: a crowd of ants, a bee, and grass."""
    categories = [dict(id=3, name="ant", isthing=1), dict(id=5, name="bee", isthing=1), dict(id=90, name="grass")]
    ids = np.zeros((20, 30, 3), np.uint8)  # RGB; (0, 0, 0) is not labelled
    ids[:10, :10], ids[10:, :10], ids[:, 10:20] = (7, 0, 0), (0, 1, 0), (0, 0, 1)
    infos = [dict(id=7, category_id=3, iscrowd=1), dict(id=256, category_id=5), dict(id=65536, category_id=90)]
    contents = {}
    for number, split in enumerate(("train2017", "val2017")):
        write_blank(root / "images" / split / f"{number}.png", (20, 30))
        place = root / "annotations" / f"panoptic_{split}"
        place.mkdir(parents=True)
        Image.fromarray(ids).save(place / f"{number}.png")
        contents[split] = dict(
            images=[dict(id=number, file_name=f"{number}.png", height=20, width=30)],
            annotations=[dict(image_id=number, file_name=f"{number}.png", segments_info=infos)],
            categories=categories,
        )
        place.with_suffix(".json").write_text(json.dumps(contents[split]))
    return contents


WRITERS = {  # format -> function of a catalog and a folder
    "coco": write_coco,
    "yolo": write_yolo,
}
