"""Hooks of every training: seeds per step, stop on signals and NaN, equal buffers on all ranks, throughput."""

import math
import os
import random
import signal
import sys
import threading
import time
from collections import deque

import numpy as np
import torch
from mmengine.dist import all_reduce, broadcast
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import HOOKS

from .seeds import mix_seed


@HOOKS.register_module()
class StepSeedHook(Hook):
    """Seeds torch, numpy and random before every step from (seed, rank, iteration).

    Dropout and stochastic depth of a step then do not depend on earlier steps, so that a resumed run equals one that
    was never interrupted.
    """

    priority = "VERY_HIGH"

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        seed = mix_seed(runner.seed, 2, runner.rank, runner.iter)
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)


@HOOKS.register_module()
class StopOnNanHook(Hook):
    """Stops a run whose loss is not finite, before a checkpoint is written.

    Gradients are not checked: fp16 loss scaling skips steps whose gradients overflow, and that is no fault.
    """

    priority = "HIGH"

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        losses = {
            name: float(torch.as_tensor(value).detach()) for name, value in (outputs or {}).items() if "loss" in name
        }
        if all(math.isfinite(value) for value in losses.values()):
            return
        shown = ", ".join(f"{name} {value:g}" for name, value in losses.items())
        raise FloatingPointError(
            f"loss must be finite, got {shown} at iteration {runner.iter + 1} "
            f"(lr {runner.optim_wrapper.get_lr()['lr'][0]:g}); lower the learning rate or warm it up, clip gradients "
            "(optim_wrapper.clip_grad), or train with --amp bf16 instead of fp16. The last checkpoint is untouched."
        )


@HOOKS.register_module()
class StopOnSignalHook(Hook):
    """On SIGTERM (from a job scheduler) or Ctrl-C: finishes the iteration, saves a checkpoint and stops.

    Sets `runner.stopped_by_signal`; `xseg.train` then exits with 128 + signal, which is 143 for SIGTERM. A second
    Ctrl-C stops at once. A second SIGTERM does not, as SLURM and torchrun both send one. Several ranks stop at the same
    iteration: they exchange their signals every `interval` iterations. A signal during a validation takes effect after
    it.
    """

    priority = "LOWEST"  # after CheckpointHook, which may have saved this iteration

    def __init__(self, interval: int = 10) -> None:
        self.interval = interval
        self.received = 0
        self.agreed = 0
        self._before: dict = {}

    def before_train(self, runner) -> None:
        runner.stopped_by_signal = None
        self.received = self.agreed = 0
        if threading.current_thread() is threading.main_thread():  # Python allows handlers only there
            self._before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        self._agree(runner)
        wrapper = runner.optim_wrapper
        if not self.agreed or not wrapper.should_update():  # the accumulated gradient would be lost
            return
        runner.logger.warning(f"Stopping at iteration {runner.iter + 1}: {signal.Signals(self.agreed).name}")
        self._save(runner)
        runner.stopped_by_signal = self.agreed
        runner.train_loop.stop_training = True

    def after_train(self, runner) -> None:
        self.restore()

    def restore(self) -> None:
        """Restore the earlier signal handlers.

        After a SIGTERM, further ones stay ignored: the process is about to exit, and its exit code must say that the
        checkpoint is saved.
        """
        for number, handler in self._before.items():
            ending = number == self.received == signal.SIGTERM
            signal.signal(number, signal.SIG_IGN if ending else handler)  # Python's exit keeps only SIG_IGN
        self._before = {}

    def _note(self, number: int, frame) -> None:
        self.received = number
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, self._before.get(signal.SIGINT, signal.default_int_handler))

    def _agree(self, runner) -> None:
        if runner.world_size == 1:
            self.agreed = self.received
        elif not self.agreed and (runner.iter + 1) % self.interval == 0:
            flag = torch.tensor(self.received)
            all_reduce(flag, "max")
            self.agreed = int(flag)

    def _save(self, runner) -> None:
        step = runner.iter + 1
        for hook in runner.hooks:
            if isinstance(hook, CheckpointHook):
                if os.path.basename(hook.last_ckpt or "") != f"iter_{step}.pth":
                    hook._save_checkpoint(runner)  # also keeps last_checkpoint and max_keep_ckpts
                return
        runner.save_checkpoint(runner.work_dir, f"iter_{step}.pth", by_epoch=False, backend_args=dict(backend="atomic"))


@HOOKS.register_module()
class BroadcastBuffersHook(Hook):
    """Copies the buffers of rank 0 (BatchNorm statistics) to all ranks before a validation.

    All ranks then validate the model that is saved.
    """

    priority = "LOW"  # after EMAHook, which swaps in its averages

    def before_val_epoch(self, runner) -> None:
        if runner.world_size > 1:
            for buffer in runner.model.buffers():
                broadcast(buffer)


@HOOKS.register_module()
class ThroughputHook(Hook):
    """Logs `images_per_s` over all ranks (mean of the last `window` iterations), and on a CPU `memory_mb`.

    `memory_mb` is the peak resident size of the process in MiB. On CUDA, mmengine logs `memory`.
    """

    priority = "NORMAL"  # before LoggerHook

    def __init__(self, window: int = 10) -> None:
        self.times: deque[float] = deque(maxlen=window)
        self.since = 0.0

    def before_train_epoch(self, runner) -> None:
        self.since = time.perf_counter()

    def after_val(self, runner) -> None:
        self.since = time.perf_counter()  # validation is not training time

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        now = time.perf_counter()
        self.times.append(now - self.since)
        self.since = now
        images = len(data_batch["images"]) * runner.world_size * len(self.times)
        runner.message_hub.update_scalar("train/images_per_s", images / max(sum(self.times), 1e-9))
        if not torch.cuda.is_available() and sys.platform != "win32":
            import resource  # not on Windows

            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB, on macOS bytes
            runner.message_hub.update_scalar("train/memory_mb", peak / (2**20 if sys.platform == "darwin" else 2**10))


@HOOKS.register_module()
class ProfileHook(Hook):
    """Keeps the metrics of every validation, with the iteration and the seconds of training before it.

    `runner.message_hub.get_info("profile")` is a list of dict(step, seconds, **metrics). The seconds do not include
    validations. The list is saved in every checkpoint, so that a resumed run continues it.
    """

    priority = "NORMAL"  # before CheckpointHook

    def before_train(self, runner) -> None:
        self.seconds = runner.message_hub.runtime_info.get("train_seconds", 0.0)
        self.since = time.perf_counter()

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        now = time.perf_counter()
        self.seconds += now - self.since
        self.since = now
        runner.message_hub.update_info("train_seconds", self.seconds)

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        rows = [row for row in runner.message_hub.runtime_info.get("profile", []) if row["step"] < runner.iter]
        values = {name: float(value) for name, value in (metrics or {}).items()}
        runner.message_hub.update_info("profile", [*rows, dict(step=runner.iter, seconds=self.seconds, **values)])

    def after_val(self, runner) -> None:
        self.since = time.perf_counter()
