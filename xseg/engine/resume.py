"""Resume a run: settings that may differ from those of the checkpoint, and runs that a work dir already holds."""

import os
import re
import shutil
import warnings
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from mmengine.logging import print_log

# Patterns of config keys. A resumed run must keep all others as they are in the checkpoint.
SCHEDULE = ("param_scheduler*", "optim_wrapper.optimizer.lr", "auto_scale_lr*")
MAY_CHANGE = (
    *SCHEDULE,
    "train_cfg.max_iters",
    "train_cfg.val_*",
    "train_cfg.dynamic_intervals*",
    "optim_wrapper.accumulative_counts",
    "optim_wrapper.clip_grad*",
    *(
        f"train_dataloader.{name}"
        for name in ("batch_size", "num_workers", "persistent_workers", "pin_memory", "prefetch_factor", "timeout")
    ),
    "train_dataloader.dataset.root",
    "train_dataloader.dataset.cache",
    "model.inference*",
    "model.selection*",
    "model.channels_last",
    "model.compiled",
    "model.backbone.pretrained",  # only read before the first iteration, as `weights` is
    "model.backbone.weights",
)
UNSET = "not set"
LOG_FOLDER = re.compile(r"\d{8}_\d{6}")  # of mmengine: date and time of the start


def check_settings(saved: Mapping[str, object], now: Mapping[str, object], source: str | os.PathLike) -> None:
    """Raise ValueError if a resumed run changes settings that it must keep.

    Args:
        saved, now: settings of the checkpoint and of the config, from `settings_of`.
        source: path of the checkpoint, for the error.
    """
    changes = changed(saved, now)
    refused = [place for place in changes if not _matches(place, MAY_CHANGE)]
    if refused:
        shown = "; ".join(f"{place}: {_told(changes[place])}" for place in refused[:5])
        more = f"; … ({len(refused)} in all)" if len(refused) > 5 else ""
        raise ValueError(
            f"{source}: a resumed run must keep these settings: {shown}{more}. Resume with the options and the config "
            "of the run, or start a new run from its weights with --load-from"
        )


def changed(saved: Mapping[str, object], now: Mapping[str, object]) -> dict[str, tuple[object, object]]:
    """{place: (in the checkpoint, now)} of the settings that differ."""
    places = dict.fromkeys([*saved, *now])
    pairs = {place: (saved.get(place, UNSET), now.get(place, UNSET)) for place in places}
    return {place: (before, after) for place, (before, after) in pairs.items() if before != after}


def apply_changes(runner, checkpoint: dict, settings: Mapping[str, object]) -> None:
    """Log the settings that a resumed run changes, and write a changed schedule into the checkpoint.

    Args:
        checkpoint: if the schedule changed, its learning rates and schedulers are replaced before the runner loads
            them.
        settings: settings of the config, from `settings_of`.
    """
    saved = checkpoint["meta"].get("settings")  # None in older checkpoints, where the config's schedule is used
    changes = changed(saved or {}, settings)
    for place, values in changes.items() if saved else ():
        print_log(f"Resumed with another {place}: {_told(values)}", "current")
    if any(_matches(place, SCHEDULE) for place in changes):
        _follow_schedule(runner, checkpoint)


def _follow_schedule(runner, checkpoint: dict) -> None:
    """Step the new schedulers as often as the checkpoint has iterations, and write them into the checkpoint.

    The learning rate is then that of a run with this schedule from the beginning.
    """
    schedulers, groups = runner.param_schedulers or [], runner.optim_wrapper.param_groups
    step = checkpoint["meta"]["iter"]
    for number, scheduler in enumerate(schedulers):
        if getattr(scheduler, "need_val_args", False):
            raise ValueError(
                f"scheduler {number} of param_scheduler ({type(scheduler).__name__}) follows the results of "
                "validations, which are not repeated: a resumed run cannot change the schedule; leave it as it was"
            )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected call of `scheduler.step")
        for _ in range(step):
            for scheduler in schedulers:
                if not scheduler.by_epoch:
                    scheduler.step()
    names = {"lr", *(scheduler.param_name for scheduler in schedulers)}
    optimizer = checkpoint["optimizer"]
    base = optimizer.get("base_param_settings")  # a group that mmengine keeps for its log
    for saved, fresh in zip([*optimizer["param_groups"], *([base] if base else [])], groups, strict=True):
        saved.update({key: value for key, value in fresh.items() if key.removeprefix("initial_") in names})
    checkpoint["param_schedulers"] = [scheduler.state_dict() for scheduler in schedulers]
    print_log(f"Learning rate from iteration {step + 1}: {groups[0]['lr']:g}, by the schedule of the config", "current")


def check_work_dir(work_dir: Path, resume: bool | str | os.PathLike) -> None:
    """Raise FileExistsError if the folder holds a run other than the one to resume."""
    checkpoints = _checkpoints(work_dir)
    own = resume is True or (resume and Path(resume).resolve().parent == work_dir.resolve())
    if checkpoints and not own:
        raise FileExistsError(
            f"{work_dir} holds a run ({checkpoints[0].name}): continue it with --resume, name a new folder with "
            "--work-dir, or delete that run with --overwrite"
        )


def clear_work_dir(work_dir: Path, keep: str) -> None:
    """Remove the checkpoints and logs of earlier runs; other files stay.

    Args:
        keep: name of the log folder of the run that starts.
    """
    checkpoints = _checkpoints(work_dir)
    for path in [*checkpoints, work_dir / "last_checkpoint"]:
        path.unlink(missing_ok=True)
    for folder in work_dir.iterdir():
        if folder.is_dir() and LOG_FOLDER.fullmatch(folder.name) and folder.name != keep:
            shutil.rmtree(folder)
    if checkpoints:
        print_log(f"Removed the run that {work_dir} held ({len(checkpoints)} checkpoints)", "current")


def _checkpoints(work_dir: Path) -> list[Path]:
    return sorted(path for pattern in ("iter_*.pth", "epoch_*.pth", "best_*.pth") for path in work_dir.glob(pattern))


def _matches(place: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(place, pattern) for pattern in patterns)


def _told(values: tuple[object, object]) -> str:
    before, after = (value if value is UNSET else f"{value!r:.80}" for value in values)
    return f"{before} in the checkpoint, {after} now"
