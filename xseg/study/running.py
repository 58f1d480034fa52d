"""Training every variant with every seed, each run once: finished ones are skipped, interrupted ones resumed."""

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
    """Of a variant's model."""

    parameters: int
    gmac: float  # multiply-adds of one image at the size that the model classifies, in 10^9


class Run(NamedTuple):
    """What one training left."""

    seed: int
    profile: list[dict]  # dict(step, seconds, and every metric) a validation
    diverged: str = ""  # what stopped it

    def final(self, metric: str) -> float | None:
        """The metric at the end; None for a run that diverged."""
        return None if self.diverged else self.profile[-1][metric]

    @property
    def steps_per_s(self) -> float | None:
        """Median over the stretches between validations, data loading included."""
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
        """seed -> the metric at the end, of the runs that got there."""
        return {run.seed: run.final(metric) for run in self.runs if not run.diverged}

    def mean_std(self, metric: str) -> tuple[float | None, float | None]:
        """Over seeds; the standard deviation is the sample's (n - 1), None for one seed."""
        values = [*self.finals(metric).values()]
        return (mean(values) if values else None), (stdev(values) if len(values) > 1 else None)

    @property
    def steps_per_s(self) -> float | None:
        rates = [run.steps_per_s for run in self.runs if run.steps_per_s is not None]
        return median(rates) if rates else None


def dry_run(study: Study, overrides: Mapping | None = None, data_root=None) -> dict[str, Cost]:
    """Variant -> cost, after every variant's config has been read, checked and built."""
    return {variant: cost_of(study.load(variant, overrides, data_root)) for variant in study.variants}


def run_study(
    study: Study,
    out: str | os.PathLike,
    *,
    overrides: Mapping | None = None,
    data_root: str | os.PathLike | None = None,
    amp: str | None = None,
) -> list[Result]:
    """Train what is not trained yet below `out`, seed by seed, so that an unfinished study has all variants.

    A run's folder is out/runs/VARIANT/seed-N, with result.json once it is finished; its last checkpoint stays.

    Raises:
        ValueError: a folder holds a run of other settings.
        SystemExit: a signal stopped it, after saving; the same call goes on.
    """
    configs = {variant: study.load(variant, overrides, data_root) for variant in study.variants}
    costs = {variant: cost_of(cfg) for variant, cfg in configs.items()}
    runs: dict[str, list[Run]] = {variant: [] for variant in configs}
    grid = [(variant, seed) for seed in study.seeds for variant in configs]
    for number, (variant, seed) in enumerate(grid, start=1):
        folder = Path(out) / "runs" / slug(variant) / f"seed-{seed}"
        heading = f"[{number}/{len(grid)}] {study.name}: {variant}, seed {seed}"
        done = (folder / "result.json").exists()
        if not done:
            print(heading, flush=True)
        run = train_once(configs[variant], folder, seed, amp)
        shown = f"diverged: {run.diverged}" if run.diverged else f"{study.metric} {run.final(study.metric):.2f}"
        print(f"{heading}: {shown}{' (finished before)' if done else ''}", flush=True)
        runs[variant].append(run)
    return [Result(variant, costs[variant], runs[variant]) for variant in configs]


def train_once(cfg: Config, folder: Path, seed: int, amp: str | None = None) -> Run:
    """One training, or what it left in `folder` when it was finished before."""
    text = f"{cfg.pretty_text}\nseed = {seed}\namp = {amp}\n"
    settings, result = folder / "settings.py", folder / "result.json"
    if settings.exists() and settings.read_text() != text:
        raise ValueError(
            f"{folder} holds a run of other settings ({_difference(settings.read_text(), text)}); give another --out, "
            "or remove the folder"
        )
    if result.exists():
        return Run(**json.loads(result.read_text()))
    folder.mkdir(parents=True, exist_ok=True)
    _write(settings, text)
    cfg = copy.deepcopy(cfg)
    cfg.setdefault("custom_hooks", []).append(dict(type="ProfileHook"))
    resumed = any(folder.glob("*.pth"))
    diverged, profile = "", []
    try:
        runner = train(cfg, work_dir=folder, resume=resumed, seed=seed, amp=amp)
        profile = runner.message_hub.get_info("profile")
        del runner
    except FloatingPointError as error:
        diverged = str(error).partition(";")[0]
    gc.collect()  # the runner, and its data loaders' workers
    for checkpoint in latest_checkpoints(folder)[1:]:
        checkpoint.unlink()
    run = Run(seed, profile, diverged)
    _write(result, json.dumps(run._asdict(), indent=1))
    return run


def cost_of(cfg: Config) -> Cost:
    """Parameters and multiply-adds of a classifier's config, counted without computing."""
    from xseg.benchmark.timing import count_gflop

    if "num_classes" not in cfg.model.get("head", {}):
        fill_num_classes(cfg, "train_dataloader")
    model = build_without_memory(cfg.model.to_dict())
    if model.task not in ("classification", "multilabel"):
        raise ValueError(f"a study compares classifiers, but {cfg.filename} is of a {type(model).__name__}")
    parameters = sum(p.numel() for p in model.parameters())
    gflop = count_gflop(model.eval(), torch.zeros(1, 3, model.crop_size, model.crop_size))
    return Cost(parameters, gflop / 2)


def _difference(before: str, now: str) -> str:
    """The first line that differs."""
    pairs = zip(before.splitlines(), now.splitlines(), strict=False)
    old, new = next(((a, b) for a, b in pairs if a != b), ("more", "less"))
    return f"there {old.strip()!r}, here {new.strip()!r}"


def _write(path: Path, text: str) -> None:
    fresh = path.with_suffix(".part")
    fresh.write_text(text)
    os.replace(fresh, path)
