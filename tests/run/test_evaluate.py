"""The report of an evaluation: numbers of all metrics, written and printed by the main process only."""

import json

import torch
from mmengine.config import Config

import xseg.run.evaluate as module
from xseg.evaluation import Metric, SegmentationMetric
from xseg.run.evaluate import Report, default_folder


class Images(Metric):
    """Counts images, and writes a file of its own."""

    leading = "count"

    def update(self, prediction, sample):
        self.add([1])

    def compute(self):
        return {"count": float(self.total)}

    def write(self, out):
        (out / "list.txt").write_text("1")
        return ["list.txt", "metrics.json"]


def report():
    metrics = [SegmentationMetric(), Images()]
    mask = torch.tensor([[0, 1]], dtype=torch.uint8)
    for metric in metrics:
        metric.dataset_meta = dict(classes=("cat", "dog"))
        metric.process(dict(samples=[dict(mask=mask)]), [dict(mask=mask)])
        metric.evaluate(1)
    return Report(metrics, images=1, seconds=0.25)


def test_the_report_is_written_and_printed(tmp_path, capsys):
    made = report()
    made.write(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == made
    assert made["mIoU"] == 100 and made["count"] == 1 and made["seconds"] == 0.25
    assert made.files == ["metrics.json", "confusion.png", "worst/", "list.txt"], "each name once"
    made.print()
    printed = capsys.readouterr().out
    assert "1 images in 0.2 s" in printed and "│ dog" in printed and "│ count" in printed
    assert printed.splitlines()[-1] == f"{tmp_path}/out/metrics.json, confusion.png, worst/, list.txt"


def test_other_processes_neither_write_nor_print(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(module, "is_main_process", lambda: False)
    made = report()
    made.write(tmp_path / "out")
    made.print()
    assert made["mIoU"] == 100 and not list(tmp_path.iterdir()) and not capsys.readouterr().out


def test_default_folder(tmp_path):
    """In a work dir, beside a checkpoint, and in a folder of the config's name for weights that are not on disk."""
    (tmp_path / "iter_3.pth").touch()
    for source in (tmp_path, tmp_path / "iter_3.pth"):
        assert default_folder(source, Config({})) == tmp_path / "eval"
    assert str(default_folder("timm:xception65", Config({}))) == "work_dirs/config/eval"
