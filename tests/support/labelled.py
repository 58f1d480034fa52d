"""Folders of labels as labelling programs write them, for tests."""

import json

import numpy as np

from xseg.data.read.images import write_mask


def write_labelme(root, name, shapes, size_hw=(40, 60)):
    path = root / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mask(path.with_suffix(".png"), np.zeros(size_hw, np.uint8))
    content = dict(shapes=shapes, imagePath=f"{path.stem}.png", imageHeight=size_hw[0], imageWidth=size_hw[1])
    path.write_text(json.dumps(content))


def shape(label, points, kind="polygon"):
    return dict(label=label, points=points, shape_type=kind, group_id=None)
