"""pycocotools as the reference: random ground truths and results as files, and its twelve numbers for two files."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np

from xseg.data import encode_masks

CATEGORIES = [dict(id=id, name=f"c{id}") for id in (90, 3, 17)]
SIZE = dict(height=120, width=160)


def painted(box):
    """Run lengths of the part of a box inside the image, without every fifth row."""
    mask = np.zeros((1, 120, 160), np.uint8)
    x, y, width, height = (int(side) for side in box)
    mask[0, max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)] = 1
    mask[0, ::5] = 0
    return encode_masks(mask)[0]


def random_files(seed, keys, per_image=6, num_images=9, clipped=False):
    """A ground truth and results, with unordered image ids, equal scores, crowds, and objects of all sizes.

    Args:
        keys: of every result: "bbox", "segmentation" or both.
        clipped: all boxes of the ground truth lie inside their images; otherwise some leave them or have no area.
    """
    rng = np.random.default_rng(seed)

    def box():
        x, y, width, height = [*rng.uniform(-10, 120, 2), *rng.uniform(0, 150, 2) ** rng.choice([0.7, 1])]
        x, y = (x / 4, y / 4) if width * height > 9000 else (x, y)  # keeps large boxes mostly inside
        if clipped:
            x, y = max(x, 0), min(max(y, 0), 100)
            width, height = min(width + 2, 160 - x), min(height + 2, 120 - y)
        return [round(side, 1) for side in (x, y, width, height)]

    truth = dict(images=[dict(id=int(id), **SIZE) for id in rng.permutation(num_images)], categories=CATEGORIES)
    truth["annotations"], results = [], []
    for image in truth["images"]:
        for _ in range(rng.integers(0, per_image)):
            where, category = box(), int(rng.choice((90, 3, 17)))
            row = dict(id=len(truth["annotations"]) + 1, image_id=image["id"], category_id=category, bbox=where)
            row |= dict(area=where[2] * where[3] * 0.8, iscrowd=int(rng.random() < 0.2), segmentation=painted(where))
            truth["annotations"].append(row)
            for _ in range(rng.integers(0, per_image)):
                near = (np.array(where) + rng.normal(0, 3, 4)).clip([-99, -99, 0, 0]).tolist()
                what = dict(bbox=near, segmentation=painted(near))
                score = float(rng.integers(1, 9) / 8)
                result = dict(image_id=image["id"], category_id=category, score=score)
                results.append(result | {key: what[key] for key in keys})
    rng.shuffle(results)
    return truth, results


def write(folder, truth, results):
    """Write gt.json and dt.json to the folder; returns their paths."""
    paths = folder / "gt.json", folder / "dt.json"
    for path, content in zip(paths, (truth, results), strict=True):
        path.write_text(json.dumps(content))
    return [str(path) for path in paths]


def official(truth: str | Path, results: str | Path, kind: str):
    """pycocotools on two files: its twelve numbers, its twelve lines, and AP by class over all IoUs."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()) as printed:
        known = COCO(str(truth))
        run = COCOeval(known, known.loadRes(str(results)), kind)
        run.evaluate()
        run.accumulate()
        run.summarize()
    table = run.eval["precision"][..., 0, 2]
    by_class = [table[..., label][table[..., label] > -1] for label in range(table.shape[-1])]
    lines = [line for line in printed.getvalue().splitlines() if "@[" in line]
    return run.stats.tolist(), lines, [values.mean() if values.size else None for values in by_class]
