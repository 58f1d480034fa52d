"""The best checkpoint is the one that the metric's leading number says."""

import pytest
from mmengine.registry import DATASETS, HOOKS, METRICS
from toy import toy_config

from xseg.config import load_config, shipped_configs
from xseg.engine import BestCheckpointHook
from xseg.evaluation import DetectionMetric, Metric, SegmentationMetric
from xseg.run.train import train

# Configs that save by another number than the first metric leads with, or by none.
STATED = {
    "shapes/joint": "bbox_mAP",
    "cityscapes/joint": "PQ",
    "cityscapes/mask_rcnn": "segm_mAP",
    "coco/mask_rcnn_lsj": "segm_mAP",
    "own/joint": "bbox_mAP",
    "shapes/study": None,
    "imagenet/study": None,
}


def trained_configs():
    return [name for name in shipped_configs() if load_config(name).get("train_cfg")]


def expected(name):
    if name in STATED:
        return STATED[name]
    kind = load_config(name).model.type.__name__
    if kind == "Detector":
        return "voc12_mAP" if name.startswith("voc/") else "bbox_mAP"
    return "mIoU" if kind == "Segmentor" else "MAP100" if "multilabel" in name else "top1"


@pytest.mark.parametrize("name", trained_configs())
def test_every_shipped_config_saves_the_best_by_the_number_of_its_task(name):
    cfg = load_config(name)
    hook = HOOKS.build(cfg.default_hooks.checkpoint)
    stated = cfg.val_evaluator if isinstance(cfg.val_evaluator, list) else [cfg.val_evaluator]
    if hook.follows_metric:
        assert hook.follow([METRICS.build(metric) for metric in stated])
    key = expected(name)
    assert hook.save_best == (None if key is None else [key])
    assert key is None or hook.rules == ["greater"]


def test_the_first_metric_that_names_a_number_leads():
    hook = BestCheckpointHook(interval=3, by_epoch=False)
    assert hook.save_best is None and not hook.follow([object()])
    assert hook.follow([object(), DetectionMetric(kinds=["segm"]), SegmentationMetric()])
    assert hook.save_best == ["segm_mAP"] and hook.interval == 3 and not hook.by_epoch
    assert not BestCheckpointHook(save_best=None).follows_metric
    assert BestCheckpointHook(save_best="loss_x").rules == ["less"]
    hook = BestCheckpointHook(rule="less")
    assert hook.follow([SegmentationMetric()]) and hook.rules == ["less"]


@METRICS.register_module(force=True)
class LastIndex(Metric):
    """A user's metric: rises from one validation to the next, and lower is better."""

    leading = "surprise"
    higher_is_better = False
    rounds = 0

    def update(self, prediction, sample):
        self.add([1])

    def compute(self):
        LastIndex.rounds += 1
        return {"images": float(self.total), "surprise": float(LastIndex.rounds)}


def toy(metric):
    cfg = toy_config(max_iters=8)
    checkpoint = {key: value for key, value in cfg.default_hooks.checkpoint.items() if key != "save_best"}
    cfg.default_hooks.checkpoint = dict(checkpoint, type="BestCheckpointHook")
    cfg.val_evaluator = dict(type=metric)
    return cfg


def test_a_metric_of_ten_lines_works_in_a_run(tmp_path):
    """Validations at 4 and 8: the first is the better, as lower is."""
    LastIndex.rounds = 0
    runner = train(toy("LastIndex"), work_dir=tmp_path)
    assert [path.name for path in tmp_path.glob("best_*")] == ["best_surprise_iter_4.pth"]
    assert runner.message_hub.get_scalar("val/images").current() == len(DATASETS.build(dict(type="ToyData")))
    assert "save_best" not in next(tmp_path.glob("*.py")).read_text()


def test_a_metric_without_a_leading_number_saves_no_best_and_says_so(tmp_path):
    cfg = toy("ToyMetric")
    train(cfg, work_dir=tmp_path)
    assert not list(tmp_path.glob("best_*"))
    log = next(tmp_path.glob("*/*.log")).read_text()
    assert "none of ToyMetric names its leading number; set default_hooks.checkpoint.save_best" in log


@METRICS.register_module(force=True)
class Incomplete(Metric):
    def compute(self):
        return {}


def test_an_incomplete_metric_stops_the_run_at_its_start(tmp_path):
    with pytest.raises(ValueError, match=r"Incomplete is no complete metric.*leading = .*; update\(self"):
        train(toy("Incomplete"), work_dir=tmp_path)
    assert not list(tmp_path.glob("*.pth"))
