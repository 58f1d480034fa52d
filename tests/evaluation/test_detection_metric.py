"""The metric in mmengine's evaluator: what it takes, keeps and reports, and that ranks do not change its numbers."""

import json
import multiprocessing

import pytest
import torch
from mmengine.registry import METRICS

from heads.contract import Instances
from xseg.data import ShapesDetection, collate, encode_masks
from xseg.evaluation import DetectionMetric
from xseg.evaluation.detection import in_order
from xseg.evaluation.entries import Entry

META = dict(classes=("car", "cat"), palette=[(1, 2, 3), (4, 5, 6)], category_ids=[3, 17])


def sample(id=1, boxes=((10, 10, 50, 50),), labels=(0,), **more):
    count = len(boxes)
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    known = dict(boxes_xyxy=boxes, labels=torch.tensor(labels, dtype=torch.int64), meta=dict(id=id, size_hw=(80, 90)))
    return known | dict(iscrowd=torch.zeros(count, dtype=torch.bool)) | more


def result(boxes=((10, 10, 50, 50),), scores=(0.9,), labels=(0,), **more):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return dict(
        instances=Instances(boxes, torch.tensor(scores), torch.tensor(labels, dtype=torch.int64), more.get("masks"))
    )


def evaluated(pairs, **arguments):
    metric = METRICS.build(dict(type="DetectionMetric", **arguments))
    metric.dataset_meta = META
    for known, seen in pairs:
        metric.process(dict(samples=[known]), [seen])
    return metric, metric.evaluate(len(pairs))


def test_names_and_percent():
    metric, metrics = evaluated([(sample(), result())])
    assert list(metrics)[:6] == [f"bbox_mAP{end}" for end in ("", "_50", "_75", "_s", "_m", "_l")]
    assert metrics["bbox_mAP"] == metrics["bbox_AR_100"] == 100 and metrics["bbox_mAP_s"] is None
    assert metric.report()["bbox_AP"] == {"car": 100, "cat": None}
    table = metric.table()
    assert table.columns == ("class", "bbox AP %") and table.totals == [("mean", "100.00")]
    assert metric.results == [], "the next evaluation starts anew"
    metric.process(dict(samples=[sample()]), [result((), (), ())])
    assert metric.evaluate(1)["bbox_mAP"] == 0


def test_nothing_to_find_is_no_number():
    _, metrics = evaluated([(sample(boxes=(), labels=()), result())])
    assert set(metrics.values()) == {None}


def test_crowd_and_difficult_are_ignored():
    """One hit and one detection on a marked object: all right. Unmarked, the second object is missed at low score."""
    boxes = ((10, 10, 50, 50), (60, 10, 89, 50))
    seen = result((boxes[0], (60, 10, 89, 45), (62, 12, 89, 49)), (0.3, 0.9, 0.8), (0, 0, 0))
    for key in ("iscrowd", "difficult"):
        known = sample(boxes=boxes, labels=(0, 0), **{key: torch.tensor([False, True])})
        _, metrics = evaluated([(known, seen)], kinds=["bbox", "voc07", "voc12"])
        assert metrics["bbox_mAP"] == metrics["voc07_mAP"] == metrics["voc12_mAP"] == 100
    _, metrics = evaluated([(sample(boxes=boxes, labels=(0, 0)), seen)], kinds=["bbox", "voc12"])
    assert metrics["bbox_mAP"] < 100 and metrics["voc12_mAP"] < 100


def test_area_of_the_annotation_decides_what_is_small():
    """The box has 1600 pixels, the object in it 900: small."""
    _, metrics = evaluated([(sample(area=torch.tensor([900.0])), result())])
    assert metrics["bbox_mAP_s"] == 100 and metrics["bbox_mAP_m"] is None


def test_masks_are_evaluated_where_both_have_them(tmp_path):
    dataset = ShapesDetection(tmp_path / "s", num_images=dict(train=4, val=1), size_hw=(64, 64), with_masks=True)
    batch = collate([dataset[index] for index in range(4)])
    results = []
    for known in batch["samples"]:
        count = len(known["labels"])
        masks = known["masks"].bool()
        masks[:, ::2] = False  # half of the pixels: the box is right, the mask has IoU 1/2 or less
        results.append(Instances(known["boxes_xyxy"], torch.ones(count), known["labels"], masks))
    metric = DetectionMetric()
    metric.dataset_meta = dataset.metainfo
    metric.process(batch, [dict(instances=item) for item in results])
    metrics = metric.evaluate(4)
    assert metrics["bbox_mAP"] == 100 and metrics["segm_mAP"] < 20
    metric.process(batch, [dict(instances=item._replace(masks=encode_masks(item.masks))) for item in results])
    assert metric.evaluate(4) == metrics, "run lengths, as the model gives them"
    (tmp_path / "out").mkdir()
    assert metric.write(tmp_path / "out")[:2] == ["results.bbox.json", "results.segm.json"]
    rows = json.loads((tmp_path / "out" / "results.segm.json").read_text())
    assert len(rows) == sum(len(known["labels"]) for known in batch["samples"])
    assert {row["category_id"] for row in rows} <= {1, 2, 3, 4} and rows[0]["segmentation"]["size"] == [64, 64]
    metric.process(batch, [dict(instances=item._replace(masks=None)) for item in results])
    assert "segm_mAP" not in metric.evaluate(4)


def test_backends_agree():
    pairs = [
        (sample(1), result()),
        (sample(2, labels=(1,)), result(((12, 11, 50, 47), (0, 0, 9, 9)), (0.4, 0.9), (1, 0))),
    ]
    outcomes = [evaluated(pairs, backend=backend)[1] for backend in ("faster_coco_eval", "pycocotools")]
    assert outcomes[0] == outcomes[1] and 0 < outcomes[0]["bbox_mAP"] < 100


def test_at_most_a_hundred_detections_are_kept():
    scores = torch.linspace(0, 1, 150)
    metric, _ = evaluated([(sample(), result([(10, 10, 50, 50)] * 150, scores.tolist(), [0] * 150))])
    assert len(metric.entries) == 1 and len(metric.entries[0].detections.scores) == 100
    assert metric.entries[0].detections.scores[0] == 1 and metric.entries[0].detections.scores.min() > 0.3


def test_results_go_back_to_the_files_categories(tmp_path):
    metric, _ = evaluated([(sample(7), result(labels=(1,)))])
    assert metric.write(tmp_path)[0] == "results.bbox.json"
    (row,) = json.loads((tmp_path / "results.bbox.json").read_text())
    assert row == dict(image_id=7, category_id=17, bbox=[10, 10, 40, 40], score=pytest.approx(0.9))


def test_images_of_ranks_come_in_order_and_once():
    """Five images on two ranks; a padding sampler gives the first one again."""

    def part(*ids):
        return [Entry(id, (1, 1), None, None) for id in ids]

    assert [entry.id for entry in in_order([part(0, 2, 4), part(1, 3)])] == [0, 1, 2, 3, 4]
    assert [entry.id for entry in in_order([part(0, 2, 4), part(1, 3, 0)])] == [0, 1, 2, 3, 4]
    assert in_order([[], []]) == []


def test_two_processes_report_the_numbers_of_one(tmp_path):
    """Five images, three on one rank and two on the other, one of them wrong, with a tie in score across ranks."""
    _, expected = evaluated([(sample(id), images_result(id)) for id in range(5)], kinds=["bbox", "voc12"])
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=run_rank, args=(rank, tmp_path)) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    for rank in (0, 1):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == expected
    assert 0 < expected["bbox_mAP"] < 100


def images_result(id):
    return result(((10, 10, 50, 50 - 3 * id), (60, 0, 70, 9)), (0.5 + 0.1 * (id % 2), 0.5), (0, 0))


def run_rank(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    pairs = [(sample(id), images_result(id)) for id in range(rank, 5, 2)]
    _, metrics = evaluated(pairs, kinds=["bbox", "voc12"])
    (folder / f"{rank}.json").write_text(json.dumps(metrics))
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    "seen, message",
    [
        (result(scores=(float("nan"),)), "image 5: boxes and scores must be finite"),
        (result(boxes=((0, 0, float("inf"), 1),)), "image 5: boxes and scores must be finite"),
        (result(labels=(2,)), r"image 5: labels must be in 0\.\.1, got 2 to 2"),
        (result(labels=(-1,)), r"image 5: labels must be in 0\.\.1, got -1 to -1"),
        (result(scores=(0.1, 0.2)), r"image 5: boxes, scores, labels .* equal lengths, got \[1, 2, 1\]"),
    ],
)
def test_wrong_results_name_the_image(seen, message):
    with pytest.raises(ValueError, match=message):
        evaluated([(sample(5), seen)])


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"kinds must list some of bbox, segm, voc07, voc12"):
        DetectionMetric(kinds=["boxes"])
    with pytest.raises(ValueError, match="kinds must"):
        DetectionMetric(kinds="bbox")
    with pytest.raises(ValueError, match="backend must be"):
        DetectionMetric(backend="numpy")
    with pytest.raises(ValueError, match="image 1: the ground truth has no masks"):
        evaluated([(sample(), result())], kinds=["segm"])
