"""COCO's twelve numbers as pycocotools gives them for the same two files, from `eval-json` and from `xseg eval`."""

import numpy as np
import pytest
import torch
from official import SIZE, official, random_files, write
from PIL import Image

from heads.contract import Instances
from xseg.data import CocoDetection
from xseg.evaluation import CocoScores, DetectionMetric
from xseg.run.eval_json import evaluate_json

BOTH = ["bbox", "segmentation"]
RESULTS = {  # what results hold, what is compared
    "boxes": (["bbox"], "bbox"),
    "masks": (["segmentation"], "segm"),
    "boxes of both": (BOTH, "bbox"),
    "masks of both": (BOTH, "segm"),
    "boxes derived from masks": (["segmentation"], "bbox"),
}


def assert_equal(scores: CocoScores, expected: list[float]) -> None:
    ours = [-1 if value is None else value for value in scores.numbers.values()]
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("clipped", [True, False], ids=["clipped", "unclipped"])
@pytest.mark.parametrize("case", RESULTS)
def test_eval_json(case, clipped, tmp_path):
    """Where results hold both, pycocotools takes areas from the boxes, for masks too: AP of small, medium and large
    objects differed by up to 0.05. Boxes of masks alone were refused."""
    (keys, kind), table = RESULTS[case], []
    for seed in range(4):
        paths = write(tmp_path, *random_files(seed, keys, clipped=clipped))
        table.append(official(*paths, kind)[0])
        assert_equal(evaluate_json(*paths, kind).scores, table[-1])
    assert np.min(np.max(table, axis=0)) > 0, "objects of all sizes are found somewhere"


@pytest.mark.parametrize("clipped", [True, False], ids=["clipped", "unclipped"])
def test_eval_of_a_data_set(clipped, tmp_path):
    """The files that the metric writes, and the data set's own ground truth, through pycocotools."""
    for seed in range(4):
        truth, results = random_files(seed, BOTH, clipped=clipped)
        truth["annotations"] = [row for row in truth["annotations"] if seen_part(row["bbox"]) > 0]
        paths = write(tmp_path, with_images(truth, tmp_path), results)
        metric = evaluated(tmp_path, results)
        written = metric.write(tmp_path)
        for kind in ("bbox", "segm"):
            assert f"results.{kind}.json" in written
            expected, _, _ = official(paths[0], tmp_path / f"results.{kind}.json", kind)
            assert_equal(metric.scores[kind], expected)
            assert_equal(evaluate_json(paths[0], tmp_path / f"results.{kind}.json").scores, expected)


def seen_part(box_xywh) -> float:
    """Pixels of a box inside the image."""
    x, y, width, height = box_xywh
    sides = min(x + width, SIZE["width"]) - max(x, 0), min(y + height, SIZE["height"]) - max(y, 0)
    return max(sides[0], 0) * max(sides[1], 0)


def with_images(truth: dict, folder) -> dict:
    """The ground truth with file names, and empty images of those names."""
    for row in truth["images"]:
        row["file_name"] = f"{row['id']}.png"
        Image.new("RGB", (SIZE["width"], SIZE["height"])).save(folder / row["file_name"])
    return truth


def evaluated(folder, results: list[dict]) -> DetectionMetric:
    """`DetectionMetric` on gt.json, fed with the results as a model gives them."""
    dataset = CocoDetection(".", "gt.json", root=folder, with_masks=True)
    metric = DetectionMetric()
    metric.dataset_meta = dataset.metainfo
    label_of = {id: label for label, id in enumerate(dataset.metainfo["category_ids"])}
    for index in range(len(dataset)):
        sample = dataset[index]
        rows = [row for row in results if row["image_id"] == sample["meta"]["id"]]
        boxes = torch.tensor([row["bbox"] for row in rows]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        instances = Instances(
            boxes_xyxy=boxes,
            scores=torch.tensor([row["score"] for row in rows]),
            labels=torch.tensor([label_of[row["category_id"]] for row in rows], dtype=torch.int64),
            masks=[row["segmentation"] for row in rows],
        )
        metric.process(dict(samples=[sample]), [dict(instances=instances)])
    metric.evaluate(len(dataset))
    return metric


@pytest.mark.parametrize("area", ["stated", "not stated"])
def test_eval_and_eval_json_agree_where_no_area_is_stated(area, tmp_path):
    """Without an area pycocotools stops; here it is that of what is compared, boxes as the file has them, or masks."""
    for seed in range(4):
        truth, results = random_files(seed, BOTH)
        truth["annotations"] = [row for row in truth["annotations"] if seen_part(row["bbox"]) > 0]
        for row in truth["annotations"] if area == "not stated" else ():
            del row["area"]
        paths = write(tmp_path, with_images(truth, tmp_path), results)
        metric = evaluated(tmp_path, results)
        metric.write(tmp_path)
        for kind in ("bbox", "segm"):
            ours = evaluate_json(paths[0], tmp_path / f"results.{kind}.json").scores
            assert ours.numbers == metric.scores[kind].numbers


def test_annotation_0_is_found_here_and_never_by_pycocotools(tmp_path):
    """pycocotools notes the id of the object that a detection finds, and 0 stands for none: with annotations numbered
    from 0 it counts the first one's detection as wrong. Our numbers are those that it gives with other ids."""
    box = dict(image_id=1, category_id=1, bbox=[10, 10, 40, 40])
    truth = dict(images=[dict(id=1, **SIZE)], categories=[dict(id=1, name="car")])
    numbers = {}
    for id in (0, 1):
        truth["annotations"] = [dict(box, id=id, area=1600, iscrowd=0)]
        paths = write(tmp_path, truth, [dict(box, score=0.9)])
        numbers[id] = official(*paths, "bbox")[0][0]
        assert evaluate_json(*paths).scores.numbers["mAP"] == 1
    assert numbers == {0: 0, 1: pytest.approx(1)}
