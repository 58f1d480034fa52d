"""The training loop: mmengine's iteration loop, with a resumed run that starts at its position in the data."""

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
    """Raise ValueError if the learning rate falls to 0 before the run ends, as the rest of the run would be useless."""
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
    """Train for `max_iters` iterations, with a validation every `val_interval` and at the end.

    A resumed run continues the data stream at the image where the checkpoint left it, also with another batch size or
    number of ranks. If a validation was due at the checkpoint, the resumed run does it first.

    Args: as in mmengine's IterBasedTrainLoop. The sampler of the data loader must have `skip_to`, as TrainSampler has.
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
        # IterBasedTrainLoop.__init__ would start the workers at position 0, before the position is known.
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
                "train_dataloader.sampler must have skip_to(position), which "
                f"{type(self.dataloader.sampler).__name__} has not; write sampler=dict(type=TrainSampler)"
            )

    def run(self):
        self._check_accumulation()
        self.runner.call_hook("before_train")
        self.runner.call_hook("before_train_epoch")
        self._decide_current_val_interval()
        if self._iter > 0 and self._validation_due():
            self._validate()  # interrupted, or done before; a repetition changes nothing
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
        # Before the hooks of this iteration, so that a checkpoint which they save counts this batch.
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
        """Raise ValueError for checkpoints between two optimizer steps, which lose the accumulated gradient."""
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
                        f"a checkpoint there would lose the accumulated gradient: take {-(-value // counts) * counts}"
                    )


@contextmanager
def _own_signals(dataloader) -> Iterator[None]:
    """Workers that are started in this context end only by a SIGTERM of their parent.

    A SIGTERM to the whole process group (SLURM), or Ctrl-C, would otherwise end the workers before the last iteration.
    A SIGTERM to this process takes effect after the context. Systems without sigwaitinfo (macOS, Windows) are left as
    they are.
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
    """A `worker_init_fn` that ignores Ctrl-C and foreign SIGTERMs, and then calls the given one."""

    def __init__(self, then) -> None:
        self.then = then

    def __call__(self, worker: int) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # not inherited where workers are spawned
        threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
        if self.then is not None:
            self.then(worker)


def _end_with_parent(parent: int) -> None:
    # multiprocessing ends its workers at exit by SIGTERM and waits for them, so the SIGTERM of the parent must count
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
