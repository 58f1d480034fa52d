"""The base of all metrics: what a person writes, the sum over processes, the worst images."""

import json
import multiprocessing

import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.registry import METRICS

from xseg.evaluation import (
    ClassificationMetric,
    DetectionMetric,
    Metric,
    MultiLabelMetric,
    PanopticMetric,
    SegmentationMetric,
    Table,
)


class WrongPixels(Metric):
    """The example of the module: whole numbers, lower is better."""

    leading = "wrong"
    higher_is_better = False

    def update(self, prediction, sample):
        wrong = prediction["mask"].cpu() != sample["mask"]
        self.add([wrong.sum(), wrong.numel()])
        self.keep_worst(-float(wrong.sum()), sample["meta"]["id"], lambda: sample["meta"]["id"])

    def compute(self):
        wrong, pixels = self.total.tolist()
        return {"wrong": 100 * wrong / pixels}


def evaluated(wrong_pixels, **options):
    """Images of four pixels, with so many of them wrong."""
    metric = WrongPixels(**options)
    metric.dataset_meta = dict(classes=("a", "b"))
    for id, count in wrong_pixels.items():
        mask = (torch.arange(4) < count).byte()
        metric.process(dict(samples=[dict(mask=torch.zeros_like(mask), meta=dict(id=id))]), [dict(mask=mask)])
    return metric, metric.evaluate(len(wrong_pixels))


def test_ten_lines_make_a_metric():
    """1 + 4 + 0 of 12 pixels are wrong; the evaluation after it starts from nothing."""
    metric, values = evaluated({0: 1, 1: 4, 2: 0})
    assert values == {"wrong": pytest.approx(100 * 5 / 12)} and metric.total.tolist() == [5, 12]
    assert metric.report() == values and metric.write(None) == []
    assert metric.table() == Table(("metric", "value"), [("wrong", "41.67")])
    with pytest.raises(ValueError, match="there was no image to evaluate"):
        metric.evaluate(0)


def test_mmengines_evaluator_takes_it():
    evaluator = Evaluator([WrongPixels(), dict(type="SegmentationMetric")])
    evaluator.dataset_meta = dict(classes=("a", "b"))
    mask = torch.tensor([[0, 1]], dtype=torch.uint8)
    evaluator.process([dict(mask=mask)], dict(samples=[dict(mask=mask, meta=dict(id=0, path="0.png"))]))
    assert evaluator.evaluate(1) == {"wrong": 0, "mIoU": 100, "mAcc": 100, "aAcc": 100}


def test_the_worst_images_do_not_depend_on_the_order():
    """Most wrong first, of equal ones the lower id."""
    wrong = {7: 1, 3: 4, 5: 4, 1: 2, 2: 2, 9: 0}
    for ids in (list(wrong), sorted(wrong), sorted(wrong, reverse=True)):
        metric, _ = evaluated({id: wrong[id] for id in ids}, num_worst=3)
        assert metric.worst == [3, 5, 1]
    assert evaluated(wrong)[0].worst == []


def test_an_incomplete_metric_lists_all_that_is_missing():
    class Nothing(Metric):
        pass

    with pytest.raises(ValueError) as caught:
        Nothing()
    message = str(caught.value)
    assert message.startswith("Nothing is no complete metric")
    assert all(part in message for part in ("leading = ", "update(self, prediction, sample)", "compute(self)"))
    assert "\n" not in message

    class Batches(Metric):
        leading = "x"

        def process(self, data_batch, data_samples):
            self.add([len(data_samples)])

        def compute(self):
            return {"y": float(self.total)}

    batches = Batches()  # `process` stands for `update`
    batches.process({}, [{}, {}])
    with pytest.raises(ValueError, match=r"Batches.leading must name a number of compute\(\), which are y; got 'x'"):
        batches.evaluate(2)


@pytest.mark.parametrize(
    ("metric", "leading"),
    [
        (SegmentationMetric(), "mIoU"),
        (ClassificationMetric(), "top1"),
        (MultiLabelMetric(), "MAP100"),
        (PanopticMetric(), "PQ"),
        (DetectionMetric(), "bbox_mAP"),
        (DetectionMetric(kinds=["segm"]), "segm_mAP"),
        (DetectionMetric(kinds=["segm", "bbox"]), "bbox_mAP"),
        (DetectionMetric(kinds=["bbox", "voc07", "voc12"]), "voc12_mAP"),
        (DetectionMetric(kinds=["bbox", "voc07"]), "voc07_mAP"),
    ],
)
def test_every_metric_names_its_leading_number(metric, leading):
    assert metric.leading == leading and metric.higher_is_better
    assert METRICS.get(type(metric).__name__) is type(metric)


def test_counts_are_summed_without_overflow():
    metric = WrongPixels()
    for _ in range(3):
        metric.add(torch.tensor([200, 1], dtype=torch.uint8))
    metric.gather()
    assert metric.total.tolist() == [600, 3] and metric.total.dtype == torch.int64
    metric.add(torch.tensor([0.5]))
    metric.gather()
    assert metric.total.dtype == torch.float64


def test_three_processes_one_without_an_image(tmp_path):
    """The sum and the worst images are those of one process."""
    metric, expected = evaluated(WRONG, num_worst=2)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=run_rank, args=(rank, tmp_path)) for rank in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    for rank in range(3):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == [expected, metric.total.tolist(), metric.worst]


WRONG = {0: 1, 1: 3, 2: 4, 3: 3}


def run_rank(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=3)
    share = {id: count for id, count in WRONG.items() if id % 2 == rank}  # nothing for the third
    metric, values = evaluated(share, num_worst=2)
    (folder / f"{rank}.json").write_text(json.dumps([values, metric.total.tolist(), metric.worst]))
    torch.distributed.destroy_process_group()
