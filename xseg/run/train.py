"""`xseg.train(config)`: one training, from a config to checkpoints. The command `xseg train` calls this."""

import itertools
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.registry import DATASETS
from mmengine.runner import Runner

from xseg.config import config_name, fill_context, fill_num_classes, load_config
from xseg.data.balance import balanced_label_weights, balanced_weights
from xseg.engine import StopOnSignalHook, find_resumable, keep_freed_memory, read_checkpoint
from xseg.engine.checkpoint import check_resumable
from xseg.engine.loops import check_schedule
from xseg.engine.processes import processes, quiet, unwrap_model
from xseg.engine.resume import check_settings, check_work_dir, clear_work_dir
from xseg.engine.runner import build_runner
from xseg.engine.saving import settings_of
from xseg.models.taps import mute, unseen_taps
from xseg.weights import Weights, load_weights, read_weights

LAUNCHERS = ("none", "pytorch", "slurm")
_RUNS = itertools.count()

# This file writes classes into a config by their registered names: a class itself could not be dumped.


def train(
    config: Config | str | os.PathLike,
    *,
    work_dir: str | os.PathLike | None = None,
    resume: bool | str | os.PathLike = False,
    load_from: str | os.PathLike | dict | None = None,
    amp: str | None = None,
    seed: int | None = None,
    launcher: str = "none",
    dry_run: bool = False,
    overwrite: bool = False,
    overrides: dict | None = None,
) -> Runner:
    """Train the model of a config; returns mmengine's Runner after the last iteration.

    `runner.model` is the model without a wrapper, also after a run of several processes.

    Args:
        config: a mmengine Config, or the path or name of one.
        work_dir: for checkpoints and logs; default: the config's, else `work_dirs/<name of the config>`.
        resume: a checkpoint, or True for the newest readable one in work_dir. In a work dir without a checkpoint the
            training starts from the beginning, so that a requeued job can always run the same command. Length,
            intervals, workers, learning rate and schedule may differ from the checkpoint's, and take effect; other
            changes are refused.
        load_from: initial weights, from any source that `xseg.weights` reads: of the whole model or of its backbone.
            Names and shapes must match. dict(path=…, new=["head.classifier"]) keeps the initial values of the named
            modules.
        amp: "bf16" or "fp16" for mixed precision.
        seed: of weights, order and augmentation; None: the config's. A resumed run keeps its own.
        launcher: "pytorch" under torchrun, "slurm" under srun, else "none".
        dry_run: only test the config: two optimizer steps, one validation batch and one checkpoint, in a temporary
            folder.
        overwrite: remove checkpoints and logs of another run from work_dir; without it, such a work_dir is an error.
        overrides: {"train_dataloader.batch_size": 4, …}.

    Raises SystemExit(128 + signal), 143 for SIGTERM, when a signal stops the run; a checkpoint is saved first.
    """
    cfg = load_config(config, overrides)
    fill_num_classes(cfg, "train_dataloader")
    _fill_class_weights(cfg)
    check_launcher(launcher)
    check_schedule(cfg)
    if resume and load_from:
        raise ValueError("resume and load_from exclude each other: a resumed run has weights already")
    if resume and overwrite:
        raise ValueError("resume and overwrite exclude each other: overwrite removes the checkpoints to resume from")
    if amp is not None:
        _set_amp(cfg, amp)
    if seed is not None:
        cfg.randomness = {**cfg.get("randomness", {}), "seed": seed}
    cfg.launcher = launcher
    if dry_run:
        with tempfile.TemporaryDirectory(prefix="xseg-dry-run-") as folder:
            _shorten(cfg)
            runner = _run(cfg, Path(folder), False, load_from)
            if runner.rank == 0:
                print(
                    f"Dry run OK: {runner.iter} iterations, one validation batch, one checkpoint ({config_name(cfg)})"
                )
            return runner
    work_dir = Path(work_dir or cfg.get("work_dir") or f"work_dirs/{config_name(cfg)}")
    if not overwrite:
        check_work_dir(work_dir, resume)
    return _run(cfg, work_dir, resume, load_from, seed, overwrite)


def _run(cfg: Config, work_dir: Path, resume, load_from, seed: int | None = None, overwrite: bool = False) -> Runner:
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = (
        f"{config_name(cfg)}-{next(_RUNS)}"  # two runs in one second would share logger and visualizer
    )
    checkpoint = _resumable(work_dir, resume)
    load_from = None if checkpoint else load_from or cfg.get("load_from")
    weights, new = _read_start(load_from) if load_from else (None, ())
    cfg.load_from, cfg.resume = None, False
    if checkpoint is not None:
        _set_resume(cfg, checkpoint, seed)
    crop = fill_context(cfg, weights, new)
    keep_freed_memory()
    with quiet(), processes(cfg):
        runner = build_runner(cfg)
        if crop:
            head = cfg.model.head
            runner.logger.info(
                f"For crops of {crop[0]} x {crop[1]}: atrous rates {head.rates}; image pooling in prediction over "
                f"{'the whole image' if head.pooling_hw is None else head.pooling_hw}. Change them by model.head.rates "
                "and model.head.pooling_hw"
            )
        if checkpoint is None:
            fresh = _start_from(runner, weights, new) if weights else None
            _mute_unseen_taps(runner, fresh)
        if overwrite and runner.rank == 0:  # only now: a mistake in the new run would have raised by here
            clear_work_dir(work_dir, keep=runner.timestamp)
        try:
            runner.train()
        finally:
            for hook in runner.hooks:
                if isinstance(hook, StopOnSignalHook):
                    hook.restore()
        _report(runner)
        unwrap_model(runner)
    if getattr(runner, "stopped_by_signal", None):
        raise SystemExit(128 + runner.stopped_by_signal)
    return runner


def _fill_class_weights(cfg: Config) -> None:
    """Replace class_weights="balanced" by numbers, from counts of pixels (segmentation losses) or labels (classifiers).

    This builds the training set, and the Runner builds it again from the config. The config cannot carry the data set:
    it holds plain values for checkpoints and is deep-copied.
    """
    for places, count in ((cfg.model.get("losses", ()), balanced_weights), ([cfg.model], balanced_label_weights)):
        places = [place for place in places if place.get("class_weights") == "balanced"]
        if places:
            weights = count(DATASETS.build(dict(cfg.train_dataloader.dataset)))
            for place in places:
                place["class_weights"] = weights


def check_launcher(launcher: str) -> None:
    """ValueError for a launcher that does not match the environment of this process."""
    if launcher not in LAUNCHERS:
        raise ValueError(f"launcher must be one of {', '.join(LAUNCHERS)}, got {launcher!r}")
    world_size = int(os.environ.get("WORLD_SIZE", 1))
    if launcher == "none" and world_size > 1:
        raise ValueError(
            f"launcher must be 'pytorch' under torchrun (WORLD_SIZE={world_size}), got 'none': add --launcher pytorch"
        )
    if launcher == "pytorch" and "LOCAL_RANK" not in os.environ:
        raise ValueError("launcher 'pytorch' needs torchrun: torchrun --nproc-per-node N -m xseg …")
    if launcher == "slurm" and not torch.cuda.is_available():
        raise ValueError("launcher 'slurm' needs CUDA; on CPU use torchrun and 'pytorch'")


def _set_amp(cfg: Config, amp: str) -> None:
    if amp not in ("bf16", "fp16"):
        raise ValueError(f"amp must be 'bf16' or 'fp16', got {amp!r}")
    if amp == "fp16" and not torch.cuda.is_available():
        raise ValueError("amp must be 'bf16' on CPU, got 'fp16'")
    cfg.optim_wrapper.pop("loss_scale", None)  # an argument of mmengine's wrapper
    cfg.optim_wrapper.update(type="XsegAmpOptimWrapper", dtype=amp)  # in place, so that lazy objects stay lazy


def _shorten(cfg: Config) -> None:
    """Shorten a run so that every part runs once: a misspelt hook argument or save_best key fails at once."""
    steps = 2 * cfg.optim_wrapper.get("accumulative_counts", 1)
    cfg.train_cfg.update(max_iters=steps, val_interval=steps, val_begin=1, dynamic_intervals=None)
    for hook in [*cfg.get("custom_hooks", []), *cfg.get("default_hooks", {}).values()]:
        for key in ("begin_iter", "save_begin"):
            if key in hook:
                hook[key] = 0
    if "checkpoint" in cfg.get("default_hooks", {}):
        cfg.default_hooks.checkpoint.interval = steps
    if cfg.get("val_dataloader"):
        world_size = int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", 1)))
        limit = cfg.val_dataloader.get("batch_size", 1) * world_size
        cfg.val_dataloader.sampler = dict(type="EvalSampler", limit=limit)


def _resumable(work_dir: Path, resume) -> Path | None:
    """The checkpoint to resume from, or None to start from the beginning.

    With resume=True a folder without any .pth gives None and a warning: a preempted job must be able to run the same
    command again even if it had no time to save. If no .pth is readable, that is an error: a new run would overwrite
    files that may still be rescued.
    """
    if resume is True:
        if not any(work_dir.glob("*.pth")):
            print_log(f"No checkpoint in {work_dir}: training starts from the beginning", logger="current", level=30)
            return None
        return find_resumable(work_dir)
    return Path(resume) if resume else None


def _set_resume(cfg: Config, path: Path, seed: int | None) -> None:
    checkpoint = read_checkpoint(path)
    check_resumable(checkpoint, path)
    saved = checkpoint["meta"].get("seed")
    if seed is not None and seed != saved:
        raise ValueError(f"seed must be that of the resumed run ({saved}), got {seed}; do not give a seed")
    fill_context(cfg, Weights(checkpoint["state_dict"], checkpoint["meta"], None, path))
    if "settings" in checkpoint["meta"]:
        check_settings(checkpoint["meta"]["settings"], settings_of(cfg), path)
    else:
        print_log(f"{path} does not hold the settings of its run; they are not compared", logger="current", level=30)
    cfg.randomness = {**cfg.get("randomness", {}), "seed": saved}
    cfg.load_from, cfg.resume = str(path), True


def _read_start(load_from) -> tuple[Weights, tuple[str, ...]]:
    """The initial weights, and the modules that keep their initial values; a wrong source raises here, early."""
    source = load_from if isinstance(load_from, dict) else dict(path=load_from)
    return read_weights(source["path"]), tuple(source.get("new", ()))


def _start_from(runner: Runner, weights: Weights, new: Sequence[str]) -> list[str]:
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    if hasattr(model, "init_weights"):
        model.init_weights()  # Runner.train() calls it unless it was called; it would overwrite the loaded weights
    return load_weights(model, weights, new)


def _mute_unseen_taps(runner: Runner, fresh: Sequence[str] | None) -> None:
    """Set kernel taps that see only padding in all training images to zero, and log a warning.

    Args:
        fresh: names of weights with initial values; None: all weights except those of a pretrained backbone.
    """
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    loader = runner.train_loop.dataloader
    with torch.random.fork_rng():
        torch.manual_seed(0)  # the same image on every rank
        batch = loader.collate_fn([loader.dataset[0]])
    data = model.data_preprocessor(batch, training=True)
    backbone = runner.cfg.model.get("backbone") or {}
    if fresh is not None:
        keep = set(model.state_dict()) - set(fresh)
    elif backbone.get("pretrained") or backbone.get("weights"):
        keep = {name for name in model.state_dict() if name.startswith("backbone.")}
    else:
        keep = set()
    muted = mute(model, unseen_taps(model, **data), keep)
    if muted:
        height, width = data["images"][0].shape[-2:]
        runner.logger.warning(
            f"In training images of {height} x {width} these kernel taps see only padding and cannot learn. They are "
            f"set to zero and stay zero: {'; '.join(muted)}. Train on larger crops, or with smaller atrous rates "
            "(model.head.rates) or fewer levels"
        )


def _report(runner: Runner) -> None:
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook):
            best = getattr(hook, "best_ckpt_path", None)
            runner.logger.info(f"Last checkpoint: {hook.last_ckpt}" + (f"; best: {best}" if best else ""))
