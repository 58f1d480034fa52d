"""The training loop: mmengine's iteration loop, but a resumed run goes on at its position instead of re-reading."""

import inspect
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.hooks import CheckpointHook
from mmengine.optim import CosineAnnealingLR, PolyLR
from mmengine.registry import LOOPS
from mmengine.runner import IterBasedTrainLoop
from mmengine.runner.base_loop import BaseLoop
from mmengine.runner.utils import calc_dynamic_intervals

from xseg.engine.registry import resolve


def check_schedule(cfg: Config) -> None:
    """ValueError if the learning rate falls to 0 before the run ends: the iterations after that would train nothing."""
    schedulers, max_iters = cfg.get("param_scheduler") or [], cfg.train_cfg.get("max_iters", 0)
    several = isinstance(schedulers, (list, tuple))
    for number, scheduler in enumerate(schedulers if several else [schedulers]):
        cls = resolve(scheduler.get("type"))
        falls = inspect.isclass(cls) and issubclass(cls, (PolyLR, CosineAnnealingLR)) and not scheduler.get("eta_min")
        end = scheduler.get("end", max_iters)
        if falls and not scheduler.get("eta_min_ratio") and not scheduler.get("by_epoch", True) and end < max_iters:
            place = f"param_scheduler.{number}" if several else "param_scheduler"
            raise ValueError(
                f"train_cfg.max_iters is {max_iters}, but {place} ({cls.__name__}) lets the learning rate fall to 0 "
                f"by iteration {end}; set {place}.end={max_iters + 1} too"
            )


@LOOPS.register_module()
class TrainLoop(IterBasedTrainLoop):
    """Train for `max_iters` iterations, validate every `val_interval` and at the end.

    A resumed run starts the data stream where the checkpoint left it, counted in images, so that it goes on even
    with another batch size or number of ranks; and it first makes up a validation that the interruption cut off.

    Args: as mmengine's IterBasedTrainLoop. The sampler of the data loader must have `skip_to`, as TrainSampler has.
    """

    def __init__(
        self,
        runner,
        dataloader,
        max_iters: int,
        val_begin: int = 1,
        val_interval: int = 1000,
        dynamic_intervals: list[tuple[int, int]] | None = None,
    ) -> None:
        # Not IterBasedTrainLoop's: that one starts the workers here, at position 0, before we know the position.
        BaseLoop.__init__(self, runner, dataloader)
        if max_iters != int(max_iters) or max_iters < 1:
            raise ValueError(f"max_iters must be a whole number of at least 1, got {max_iters}")
        self._max_iters = int(max_iters)
        self._max_epochs = 1
        self._epoch = 0
        self._iter = 0
        self.val_begin = val_begin
        self.val_interval = val_interval
        self.stop_training = False  # set by EarlyStoppingHook and StopOnSignalHook
        self.dynamic_milestones, self.dynamic_intervals = calc_dynamic_intervals(val_interval, dynamic_intervals)
        self.runner.visualizer.dataset_meta = getattr(self.dataloader.dataset, "metainfo", None)
        if not hasattr(self.dataloader.sampler, "skip_to"):
            raise ValueError(
                "train_dataloader.sampler must be able to skip_to a position, which "
                f"{type(self.dataloader.sampler).__name__} is not; write sampler=dict(type=TrainSampler)"
            )

    def run(self):
        self._check_accumulation()
        self.runner.call_hook("before_train")
        self.runner.call_hook("before_train_epoch")
        self._decide_current_val_interval()
        if self._iter > 0 and self._validation_due():
            self._validate()  # it was cut off, or is repeated: it changes nothing
        batches = self._batches() if self._iter < self._max_iters else iter(())
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(batches))
            self._decide_current_val_interval()
            if self._validation_due() and not getattr(self.runner, "stopped_by_signal", None):
                self._validate()
        self.runner.call_hook("after_train_epoch")
        self.runner.call_hook("after_train")
        return self.runner.model

    def run_iter(self, data_batch) -> None:
        # Before the hooks of this iteration: the checkpoint that they may save counts this batch as seen.
        self._position += self._images_per_iter
        self.runner.message_hub.update_info("position", self._position)
        super().run_iter(data_batch)

    def _batches(self) -> Iterator:
        batch_size = getattr(self.dataloader.batch_sampler, "batch_size", None) or self.dataloader.batch_size
        self._images_per_iter = batch_size * get_world_size()
        self._position = 0
        if self._iter > 0:
            known = self.runner.message_hub.get_info("position")
            self._position = self._iter * self._images_per_iter if known is None else known
        self.dataloader.sampler.skip_to(self._position, self._images_per_iter)
        with _own_signals(self.dataloader):
            return iter(self.dataloader)

    def _validation_due(self) -> bool:
        at_interval = self._iter % self.val_interval == 0 or self._iter == self._max_iters
        return self.runner.val_loop is not None and self._iter >= self.val_begin and at_interval

    def _validate(self) -> None:
        with _own_signals(self.runner.val_loop.dataloader):
            self.runner.val_loop.run()

    def _check_accumulation(self) -> None:
        """A checkpoint between two optimizer steps would lose the gradient gathered so far."""
        counts = getattr(self.runner.optim_wrapper, "_accumulative_counts", 1)
        intervals = {"val_interval": [self.val_interval, *self.dynamic_intervals]}
        for hook in self.runner.hooks:
            if isinstance(hook, CheckpointHook) and not hook.by_epoch and hook.interval > 0:
                intervals["default_hooks.checkpoint.interval"] = [hook.interval]
        for name, values in intervals.items():
            for value in values:
                if value % counts:
                    raise ValueError(
                        f"{name} must be a multiple of optim_wrapper.accumulative_counts ({counts}), got {value}; "
                        f"a checkpoint saved there would lose a partial gradient: take {-(-value // counts) * counts}"
                    )


@contextmanager
def _own_signals(dataloader) -> Iterator[None]:
    """Workers started in here end by their parent's SIGTERM only, and SIGTERM waits until we are through.

    One sent to the whole group (SLURM), or Ctrl-C, would otherwise take the data away before the last iteration is
    done. Where there is no sigwaitinfo (macOS, Windows) nothing is changed.
    """
    if not hasattr(signal, "sigwaitinfo"):
        yield
        return
    if not isinstance(dataloader.worker_init_fn, _OwnSignals):
        dataloader.worker_init_fn = _OwnSignals(dataloader.worker_init_fn)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # inherited by the workers
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _OwnSignals:
    def __init__(self, then) -> None:
        self.then = then

    def __call__(self, worker: int) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # not inherited where workers are spawned
        threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
        if self.then is not None:
            self.then(worker)


def _end_with_parent(parent: int) -> None:
    # multiprocessing terminates its workers by SIGTERM at exit and then waits for them: that one must not be lost
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
