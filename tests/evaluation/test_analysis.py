"""What `xseg eval` leaves beside the numbers of a detector, from detections with one error of each kind."""

import json

import numpy as np
import pytest
import torch

from heads.contract import Instances
from xseg.data import ShapesDetection, collate, read_image
from xseg.evaluation import DetectionMetric
from xseg.evaluation.analysis import worst_images


@pytest.fixture(scope="module")
def metric(tmp_path_factory):
    """Five images: all right, nothing found, one of another class, one misplaced and one of no object, one twice."""
    folder = tmp_path_factory.mktemp("shapes") / "s"
    dataset = ShapesDetection(folder, num_images=dict(train=5, val=1), with_masks=True)
    batch = collate([dataset[index] for index in range(5)])
    results = [
        Instances(s["boxes_xyxy"], torch.full(s["labels"].shape, 0.9), s["labels"], s["masks"])
        for s in batch["samples"]
    ]
    results[1] = results[1].rows(slice(0))
    labels, boxes = results[2].labels.clone(), results[3].boxes_xyxy.clone()
    labels[0] = (labels[0] + 1) % 4
    boxes[0, 2] = boxes[0, 0] + 0.4 * (boxes[0, 2] - boxes[0, 0])
    boxes[1] = torch.tensor([0.0, 0.0, 4.0, 4.0])
    results[2], results[3] = results[2]._replace(labels=labels), results[3]._replace(boxes_xyxy=boxes)
    results[4] = results[4].rows(torch.tensor([*range(len(results[4].labels)), 0]))
    results[4].scores[-1] = 0.6
    metric = DetectionMetric(num_worst=3)
    metric.dataset_meta = dataset.metainfo
    metric.process(batch, [dict(instances=item) for item in results])
    metric.evaluate(5)
    return metric


def test_what_is_written(metric, tmp_path):
    names = metric.write(tmp_path)
    assert names[2:] == ["analysis.json", "curves.bbox.png", "curves.segm.png", "worst/", "report.md"]
    assert all((tmp_path / name).exists() for name in names)
    found = json.loads((tmp_path / "analysis.json").read_text())["bbox"]
    objects = sum(len(entry.truth.labels) for entry in metric.entries)
    lost = len(metric.entries[1].truth.labels)
    counts = found["errors"]["counts"]
    assert counts == dict(classification=1, localisation=1, both=0, duplicate=1, background=1, missed=lost + 1)
    assert found["errors"]["AP50"] == pytest.approx(metric.report()["bbox_mAP_50"], abs=1e-3)
    assert objects > lost + 3 and all(value >= 0 for value in found["errors"]["delta_AP50"].values())
    for name, sizes in found["AP"].items():
        assert sizes["AP"] == metric.report()["bbox_AP"][name]
        assert sizes["large"] is None, "no object has 96^2 pixels"
    curve = found["precision"]["0.50"]["circle"]
    assert len(curve) == 101 and np.mean(curve) == pytest.approx(found["AP"]["circle"]["AP50"], abs=0.01)
    text = (tmp_path / "report.md").read_text()
    assert "| classification | 1 |" in text and "](curves.segm.png)" in text and text.count("](worst/") == 3


def test_the_worst_images_come_first(metric, tmp_path):
    """Nothing found of M objects: M errors. Otherwise placed and invented: two wrong and two not found."""
    worst = worst_images(metric.entries, "bbox", 5)
    expected = sorted([len(metric.entries[1].truth.labels), 4, 2, 1], reverse=True)
    assert [item.num_errors for item in worst] == expected, "the image without errors is left out"
    metric.write(tmp_path)
    pictures = sorted((tmp_path / "worst").glob("*.jpg"))
    assert [path.name.split("_")[1] for path in pictures] == [f"errors{count}" for count in expected[:3]]
    height, width = read_image(pictures[0]).shape[1:]
    assert height > 500 and width > 1000, "128 pixels are enlarged fourfold, twice side by side"


def test_nothing_found_and_nothing_to_find(tmp_path):
    metric = DetectionMetric(num_worst=2)
    metric.dataset_meta = dict(classes=("a", "b"))
    metric.evaluate(0)
    metric.write(tmp_path)
    found = json.loads((tmp_path / "analysis.json").read_text())["bbox"]
    assert found["errors"]["AP50"] is None and found["AP"]["a"]["small"] is None
    assert set(found["precision"]["0.50"]["a"]) == {None}
    assert "| a | – | – |" in (tmp_path / "report.md").read_text()
