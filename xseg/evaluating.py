"""`xseg.evaluate(config, weights)`: numbers, a table, a confusion matrix and the worst images."""

from __future__ import annotations

import copy
import json
import os
import time
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.dist import is_main_process

from xseg.config import fill_num_classes, load_config
from xseg.data.classes import voc_palette
from xseg.data.images import read_image
from xseg.drawing import confusion_picture, legend, overlay, panel, write_image
from xseg.engine import keep_freed_memory
from xseg.evaluation import SegmentationMetric
from xseg.loading import resolve_weights, without_downloads
from xseg.training import build_runner, processes, quiet
from xseg.weights import load_weights, read_weights


def evaluate(
    config: Config | str | os.PathLike,
    weights: str | os.PathLike | None = None,
    *,
    out: str | os.PathLike | None = None,
    num_worst: int = 8,
    launcher: str = "none",
    overrides: dict | None = None,
    data_root: str | os.PathLike | None = None,
) -> dict:
    """Evaluate weights on the validation data of a config (its `test_dataloader` if it has one).

    Args:
        weights: a work dir, of which the best checkpoint is taken, or anything that `xseg.weights.read_weights` takes:
            a file, a published name, …; default the config's own `weights`.
        out: folder for metrics.json, confusion.png and worst/*.jpg; default `default_folder(…)`.
        num_worst: how many of the images with the lowest mean IoU are drawn.

    Returns: what metrics.json holds: mIoU, mAcc, aAcc in percent, per-class values, absent classes, sizes, times.
    """
    cfg = copy.deepcopy(config) if isinstance(config, Config) else load_config(config, overrides, data_root)
    source = weights or cfg.get("weights")
    if not source:
        raise ValueError(
            f"{_name(cfg)} names no weights of its own: name a checkpoint, a work dir or published weights"
        )
    out = Path(out or default_folder(source, cfg))
    weights = read_weights(resolve_weights(source))
    set_up(cfg, out, num_worst, launcher)
    keep_freed_memory()
    with quiet(), processes(cfg):
        runner = build_runner(cfg)
        model = getattr(runner.model, "module", runner.model)
        if fresh := load_weights(model, weights):
            raise ValueError(f"{weights.path} holds a backbone alone, {len(fresh)} tensors of the head are not in it")
        start = time.perf_counter()
        runner.test()
        seconds = time.perf_counter() - start
        metric = next(m for m in runner.test_evaluator.metrics if isinstance(m, SegmentationMetric))
        meta = metric.dataset_meta
        report = report_of(metric, meta["classes"])
        report |= {
            "images": len(runner.test_dataloader.dataset),
            "seconds": round(seconds, 2),
            "weights": str(weights.path),
        }
        if is_main_process():
            write_report(out, report, metric, meta)
    return report


def default_folder(source: str | os.PathLike, cfg: Config) -> Path:
    """`eval` beside a checkpoint or in its work dir, `work_dirs/<config>/eval` for weights from elsewhere."""
    path = Path(source)
    if path.exists():
        return (path if path.is_dir() else path.parent) / "eval"
    return Path("work_dirs") / _name(cfg) / "eval"


def _name(cfg: Config) -> str:
    return Path(cfg.filename).stem if cfg.filename else "config"


def set_up(cfg: Config, out: Path, num_worst: int, launcher: str) -> None:
    """Leave in a training's config what an evaluation needs."""
    for part in ("dataloader", "evaluator", "cfg"):
        cfg.setdefault(f"test_{part}", cfg[f"val_{part}"])
    fill_num_classes(cfg, "test_dataloader")
    without_downloads(cfg.model)
    cfg.weights = None
    for key in [key for key in cfg if key.startswith(("train_", "val_"))]:
        cfg[key] = None
    cfg.optim_wrapper = cfg.param_scheduler = cfg.visualizer = None
    cfg.test_cfg = {}  # mmengine's TestLoop
    evaluator = cfg.test_evaluator
    for metric in evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]:
        metric["num_worst"] = num_worst
    cfg.custom_hooks, cfg.load_from, cfg.resume, cfg.launcher = [], None, False, launcher
    cfg.work_dir, cfg.experiment_name = str(out / "log"), f"eval-{time.time_ns()}"


def report_of(metric: SegmentationMetric, classes: tuple[str, ...]) -> dict:
    """Scores as plain values in percent; None where a class is not in the ground truth."""
    s = metric.scores
    percent = [None if v is None else round(100 * v, 4) for v in (s.mean_iou, s.mean_accuracy, s.pixel_accuracy)]
    rounded = [[None if v is None else round(100 * v, 4) for v in values] for values in (s.iou, s.accuracy)]
    return {
        **dict(zip(("mIoU", "mAcc", "aAcc"), percent, strict=True)),
        "IoU": dict(zip(classes, rounded[0], strict=True)),
        "Acc": dict(zip(classes, rounded[1], strict=True)),
        "absent": [classes[index] for index in s.absent],
    }


def write_report(out: Path, report: dict, metric: SegmentationMetric, meta: dict) -> None:
    """metrics.json, confusion.png and worst/NN_iouXX_<id>.jpg: image, ground truth, prediction."""
    out.mkdir(parents=True, exist_ok=True)
    classes, palette = meta["classes"], meta.get("palette") or voc_palette(len(meta["classes"]))
    report["confusion"] = metric.confusion.tolist()
    (out / "metrics.json").write_text(json.dumps(report, indent=1))
    confusion_picture(out / "confusion.png", metric.confusion.numpy(), classes)
    for stale in out.glob("worst/*.jpg"):
        stale.unlink()
    for rank, item in enumerate(metric.worst, start=1):
        image = read_image(item.path).permute(1, 2, 0).numpy()
        truth, prediction = item.truth.numpy(), item.prediction.numpy()
        tiles = [image, overlay(image, truth, palette), overlay(image, prediction, palette)]
        picture = panel(tiles, ["image", "ground truth", f"prediction, mIoU {100 * item.mean_iou:.1f}"])
        shown = sorted({*truth[truth < 255].flatten().tolist(), *prediction.flatten().tolist()})
        key = legend([classes[i] for i in shown], [palette[i] for i in shown], picture.shape[1])
        name = f"{rank:02d}_iou{100 * item.mean_iou:.0f}_{Path(item.id).name}.jpg"
        write_image(out / "worst" / name, np.vstack([picture, key]))


def print_report(report: dict, out: Path) -> None:
    """A table of the classes, and where the pictures are."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{report['images']} images in {report['seconds']:.1f} s", title_justify="left")
    table.add_column("class")
    for name in ("IoU %", "accuracy %"):
        table.add_column(name, justify="right")
    for name in report["IoU"]:
        values = (report["IoU"][name], report["Acc"][name])
        table.add_row(name, *("not in ground truth" if v is None else f"{v:.2f}" for v in values))
    table.add_section()
    table.add_row("mean", f"{report['mIoU']:.2f}", f"{report['mAcc']:.2f}")
    table.add_row("pixels", "", f"{report['aAcc']:.2f}")
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(f"{out}/metrics.json, confusion.png, worst/", highlight=False)
