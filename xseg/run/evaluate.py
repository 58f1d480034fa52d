"""`xseg.evaluate(config, weights)`: numbers, tables and pictures of all metrics of a config."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from xseg.config import config_name, fill_context, fill_num_classes, load_config
from xseg.engine import keep_freed_memory
from xseg.engine.processes import processes, quiet, unwrap_model
from xseg.engine.runner import build_runner
from xseg.evaluation import Metric
from xseg.run.load import resolve_weights, without_downloads
from xseg.run.train import check_launcher
from xseg.weights import Weights, load_weights, read_weights


def evaluate(
    config: Config | str | os.PathLike,
    weights: str | os.PathLike | None = None,
    *,
    out: str | os.PathLike | None = None,
    num_worst: int = 8,
    launcher: str = "none",
    overrides: dict | None = None,
    data_root: str | os.PathLike | None = None,
    deploy: str | None = None,
    panoptic: bool = False,
    backend: str | None = None,
    windows: dict | None = None,
) -> Report:
    """Evaluate weights on the validation data of a config (its `test_dataloader` if it has one).

    Args:
        config: path or name of a config, or a Config.
        weights: a work dir, of which the best checkpoint is used, or any source that `xseg.weights.read_weights` reads
            (a file, a published name, …); None uses the `weights` of the config.
        out: folder for metrics.json and the files of the metrics; None uses `default_folder(…)`.
        num_worst: number of worst images to draw.
        launcher: "pytorch" under torchrun, "slurm" under srun, otherwise "none".
        overrides: {"val_dataloader.batch_size": 4, …}.
        data_root: folder of the data set, instead of the `root` in the config.
        deploy: "fp32", "bf16" or "fp16" evaluates the deployment form of the model, see `Model.deploy`.
        panoptic: also compute panoptic quality; the model must be a `JointModel` with instance masks.
        backend: computes the deployment form; see `xseg.deploy.backends`.
        windows: arguments of `Model.set_windows`, to predict in windows.

    Raises ValueError if neither the call nor the config names weights, or if the weights have no head.
    """
    check_launcher(launcher)
    cfg = load_config(config, overrides, data_root)
    source = weights or cfg.get("weights")
    if not source:
        raise ValueError(
            f"{config_name(cfg)} has no `weights` of its own; name a checkpoint, a work dir or published weights"
        )
    out = Path(out or default_folder(source, cfg))
    weights = read_weights(resolve_weights(source))
    fill_context(cfg, weights)
    set_up(cfg, out, launcher)
    if panoptic:
        add_metric(cfg, "PanopticMetric")
    return run_test(cfg, weights, out, num_worst, deploy, backend, windows)


def run_test(
    cfg: Config,
    weights: Weights,
    out: Path,
    num_worst: int,
    deploy: str | None,
    backend: str | None,
    windows: dict | None = None,
) -> Report:
    """Evaluate weights by a config that `set_up` has prepared, and write the report; see `evaluate` for arguments."""
    keep_freed_memory()
    with quiet(), processes(cfg):
        runner = build_runner(cfg)
        metrics = [metric for metric in runner.test_evaluator.metrics if isinstance(metric, Metric)]
        for metric in metrics:
            metric.num_worst = num_worst
        if windows:
            getattr(runner.model, "module", runner.model).set_windows(**windows)
        put_in_weights(runner, weights, deploy, backend)
        start = time.perf_counter()
        runner.test()
        report = Report(
            metrics,
            images=len(runner.test_dataloader.dataset),
            seconds=round(time.perf_counter() - start, 2),
            weights=str(weights.path),
        )
        report.write(out)
        unwrap_model(runner)
    return report


class Report(dict):
    """The content of metrics.json: the numbers of every metric, images, seconds, weights.

    All processes of an evaluation hold the same numbers; only the main process writes and prints. The report keeps its
    metrics, with all detections and the worst images; `dict(report)` holds the numbers without them.
    """

    def __init__(self, metrics: list[Metric], **facts):
        super().__init__()
        for metric in metrics:
            self.update(metric.report())
        self.update(facts)
        self.metrics, self.is_main = metrics, is_main_process()
        self.folder: Path | None = None
        self.files: list[str] = []  # in `folder`

    def write(self, out: str | os.PathLike) -> None:
        """Write metrics.json and the files of the metrics into the folder `out`."""
        if not self.is_main:
            return
        self.folder, self.files = Path(out), ["metrics.json"]
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "metrics.json").write_text(json.dumps(self, indent=1))
        for metric in self.metrics:
            self.files += [name for name in metric.write(self.folder) if name not in self.files]

    def print(self) -> None:
        """Print a table for every metric, and the names of the written files."""
        if not self.is_main:
            return
        from rich.console import Console

        console = Console(soft_wrap=True)
        for index, metric in enumerate(self.metrics):
            title = None if index else f"{self['images']} images in {self['seconds']:.1f} s"
            console.print(metric.table().rich(title=title))
        if self.folder is not None:
            console.print(f"{self.folder}/{', '.join(self.files)}", highlight=False)


def put_in_weights(runner: Runner, weights: Weights, deploy: str | None, backend: str | None) -> None:
    """Load the weights; with `deploy` or `backend`, replace the runner's model by its deployment form."""
    model = getattr(runner.model, "module", runner.model)
    if fresh := load_weights(model, weights):
        raise ValueError(f"{weights.path} holds only a backbone: {len(fresh)} tensors of the head are missing")
    if deploy or backend:
        runner.model = model.deploy(deploy, backend=backend or "torch")


def default_folder(source: str | os.PathLike, cfg: Config) -> Path:
    """`eval` in the work dir or beside the checkpoint; `work_dirs/<config>/eval` for weights that are not on disk."""
    path = Path(source)
    if path.exists():
        return (path if path.is_dir() else path.parent) / "eval"
    return Path("work_dirs") / config_name(cfg) / "eval"


def set_up(cfg: Config, out: Path, launcher: str) -> None:
    """Reduce a training config to the parts that an evaluation needs."""
    for part in ("dataloader", "evaluator", "cfg"):
        cfg.setdefault(f"test_{part}", cfg[f"val_{part}"])
    fill_num_classes(cfg, "test_dataloader")
    without_downloads(cfg.model)
    cfg.weights = None
    for key in [key for key in cfg if key.startswith(("train_", "val_"))]:
        cfg[key] = None
    cfg.optim_wrapper = cfg.param_scheduler = None
    cfg.visualizer = dict(type="Curves", vis_backends=[dict(type="LocalVisBackend")])
    cfg.test_cfg = {}  # mmengine's TestLoop
    cfg.custom_hooks, cfg.load_from, cfg.resume, cfg.launcher = [dict(type="ThreadsHook")], None, False, launcher
    cfg.work_dir, cfg.experiment_name = str(out / "log"), f"eval-{time.time_ns()}"


def add_metric(cfg: Config, name: str) -> None:
    """Add a metric by its registered name, unless the config has it."""
    metrics = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
    if name not in {getattr(metric["type"], "__name__", metric["type"]) for metric in metrics}:
        cfg.test_evaluator = [*metrics, dict(type=name)]
