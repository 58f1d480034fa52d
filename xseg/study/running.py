"""Train every variant with every seed; finished runs are skipped, interrupted runs are resumed."""

from __future__ import annotations

import copy
import gc
import json
import os
from collections.abc import Mapping
from pathlib import Path
from statistics import mean, median, stdev
from typing import NamedTuple

import torch
from mmengine.config import Config

from xseg.config import fill_num_classes
from xseg.engine import latest_checkpoints
from xseg.run.load import build_without_memory
from xseg.run.train import train
from xseg.study.study import Study, slug


class Cost(NamedTuple):
    """Size of a variant's model."""

    parameters: int
    gmac: float  # 10^9 multiply-adds for one image of the model's crop size


class Run(NamedTuple):
    """The record of one training."""

    seed: int
    profile: list[dict]  # one dict(step, seconds, and every metric) per validation
    diverged: str = ""  # the reason if it diverged

    def final(self, metric: str) -> float | None:
        """The metric of the last validation; None for a run that diverged."""
        return None if self.diverged else self.profile[-1][metric]

    @property
    def steps_per_s(self) -> float | None:
        """Median over the intervals between validations, with data loading."""
        starts = [dict(step=0, seconds=0.0), *self.profile]
        pairs = zip(starts, self.profile, strict=False)
        rates = [(b["step"] - a["step"]) / (b["seconds"] - a["seconds"]) for a, b in pairs]
        return median(rates) if rates else None


class Result(NamedTuple):
    """All runs of one variant."""

    variant: str
    cost: Cost
    runs: list[Run]

    def finals(self, metric: str) -> dict[int, float]:
        """seed -> the metric of the last validation, for runs that did not diverge."""
        return {run.seed: run.final(metric) for run in self.runs if not run.diverged}

    def mean_std(self, metric: str) -> tuple[float | None, float | None]:
        """Mean and sample standard deviation (n - 1) over seeds; None without values, or of one value."""
        values = [*self.finals(metric).values()]
        return (mean(values) if values else None), (stdev(values) if len(values) > 1 else None)

    @property
    def steps_per_s(self) -> float | None:
        rates = [run.steps_per_s for run in self.runs if run.steps_per_s is not None]
        return median(rates) if rates else None


def dry_run(study: Study, overrides: Mapping | None = None, data_root=None) -> dict[str, Cost]:
    """Variant -> cost; reads, checks and builds the config of every variant."""
    return {variant: cost_of(study.load(variant, overrides, data_root)) for variant in study.variants}


def run_study(
    study: Study,
    out: str | os.PathLike,
    *,
    overrides: Mapping | None = None,
    data_root: str | os.PathLike | None = None,
    amp: str | None = None,
) -> list[Result]:
    """Train the runs that are not finished yet below `out`.

    The first seed of all variants comes first, so that an unfinished study can already be compared. The folder of a
    run is out/runs/VARIANT/seed-N; a finished run has result.json there, and its last checkpoint stays.

    Raises:
        ValueError: a folder holds a run of other settings.
        SystemExit: a signal stopped the study after a checkpoint was saved; the same call continues it.
    """
    configs = {variant: study.load(variant, overrides, data_root) for variant in study.variants}
    costs = {variant: cost_of(cfg) for variant, cfg in configs.items()}
    runs: dict[str, list[Run]] = {variant: [] for variant in configs}
    grid = [(variant, seed) for seed in study.seeds for variant in configs]
    for number, (variant, seed) in enumerate(grid, start=1):
        folder = Path(out) / "runs" / slug(variant) / f"seed-{seed}"
        heading = f"[{number}/{len(grid)}] {study.name}: {variant}, seed {seed}"
        finished = (folder / "result.json").exists()
        if not finished:
            print(heading, flush=True)
        run = train_once(configs[variant], folder, seed, amp)
        outcome = f"diverged: {run.diverged}" if run.diverged else f"{study.metric} {run.final(study.metric):.2f}"
        print(f"{heading}: {outcome}{' (already finished)' if finished else ''}", flush=True)
        runs[variant].append(run)
    return [Result(variant, costs[variant], runs[variant]) for variant in configs]


def train_once(cfg: Config, folder: Path, seed: int, amp: str | None = None) -> Run:
    """Train in `folder` and return the run; a run that is finished there is read, an interrupted one resumed."""
    text = f"{cfg.pretty_text}\nseed = {seed}\namp = {amp}\n"
    settings, result = folder / "settings.py", folder / "result.json"
    if settings.exists() and settings.read_text() != text:
        raise ValueError(
            f"{folder} holds a run of other settings ({_difference(settings.read_text(), text)}); name another --out "
            "or remove the folder"
        )
    if result.exists():
        return Run(**json.loads(result.read_text()))
    folder.mkdir(parents=True, exist_ok=True)
    _write(settings, text)
    cfg = copy.deepcopy(cfg)
    cfg.setdefault("custom_hooks", []).append(dict(type="ProfileHook"))
    resume = any(folder.glob("*.pth"))
    diverged, profile = "", []
    try:
        runner = train(cfg, work_dir=folder, resume=resume, seed=seed, amp=amp)
        profile = runner.message_hub.get_info("profile")
        del runner
    except FloatingPointError as error:
        diverged = str(error).partition(";")[0]
    gc.collect()  # frees the runner and the workers of its data loaders
    for checkpoint in latest_checkpoints(folder)[1:]:
        checkpoint.unlink()
    run = Run(seed, profile, diverged)
    _write(result, json.dumps(run._asdict(), indent=1))
    return run


def cost_of(cfg: Config) -> Cost:
    """Parameters and multiply-adds of a classifier's config, counted on meta tensors."""
    from xseg.benchmark.timing import count_gflop

    if "num_classes" not in cfg.model.get("head", {}):
        fill_num_classes(cfg, "train_dataloader")
    model = build_without_memory(cfg.model.to_dict())
    if model.task not in ("classification", "multilabel"):
        raise ValueError(f"a study compares classifiers, but {cfg.filename} builds a {type(model).__name__}")
    parameters = sum(p.numel() for p in model.parameters())
    gflop = count_gflop(model.eval(), torch.zeros(1, 3, model.crop_size, model.crop_size))
    return Cost(parameters, gflop / 2)


def _difference(before: str, now: str) -> str:
    """The first line that differs between two texts."""
    pairs = zip(before.splitlines(), now.splitlines(), strict=False)
    old, new = next(((a, b) for a, b in pairs if a != b), ("more", "less"))
    return f"there {old.strip()!r}, here {new.strip()!r}"


def _write(path: Path, text: str) -> None:
    fresh = path.with_suffix(".part")
    fresh.write_text(text)
    os.replace(fresh, path)
