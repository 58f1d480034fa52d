"""Training that ends when its time ends: the length follows the speed of this machine, and the schedule the length."""

from __future__ import annotations

import time
from collections.abc import Sequence

from mmengine.dist import broadcast_object_list, is_distributed
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from xseg.engine.loops import TrainLoop

FIRST_CHECK = 20  # iterations; the first ones warm up
TOLERANCE = 0.03  # of the length; smaller corrections are not made


@HOOKS.register_module()
class DeadlineHook(Hook):
    """Shorten or lengthen a training while it runs, so that it ends in time on a busy machine as on an idle one.

    Learning-rate schedulers that last until the end of training follow: from its present value the rate falls to its
    end value at the new last iteration. Each change is logged and kept in `changes`, with which the same run can be
    repeated exactly.

    Args:
        minutes: for training with its validations and what comes after; None changes nothing but what `changes` says.
        validation: seconds that a validation is expected to take, until one was measured.
        step: seconds that an iteration was expected to take; on a busier machine validations take longer too.
        after: time of the evaluation that follows the training, in validations.
        changes: [(iteration, max_iters), …] of a run that is repeated. They replace the clock.
    """

    priority = "LOW"  # behind the hooks that count the iteration

    def __init__(
        self,
        minutes: float | None = None,
        validation: float = 0.0,
        step: float | None = None,
        after: float = 0.0,
        changes: Sequence[Sequence[int]] = (),
    ):
        if minutes is not None and minutes <= 0:
            raise ValueError(f"minutes must be above 0, got {minutes}")
        self.minutes, self.validation, self.step, self.after = minutes, validation, step, after
        self.replayed = {int(at): int(length) for at, length in changes}
        self.changes: list[tuple[int, int]] = []

    def before_train(self, runner) -> None:
        self._start = time.monotonic()
        self._longest_validation, self._next, self._mark = None, FIRST_CHECK, None
        for at, length in runner.message_hub.runtime_info.get("deadline_changes", ()):
            self.changes.append((at, length))
        if self.changes:  # a resumed run; the schedulers have resumed their own state
            runner.train_loop._max_iters = self.changes[-1][1]

    def before_val(self, runner) -> None:
        self._val_start = time.monotonic()

    def after_val(self, runner) -> None:
        took = time.monotonic() - self._val_start
        self._longest_validation = max(self._longest_validation or 0.0, took)
        self._mark = None

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        done = runner.iter + 1
        if self.replayed or self.minutes is None:
            if done in self.replayed:
                self._change(runner, done, self.replayed[done])
            return
        if self._mark is None:
            self._mark = (done, time.monotonic())  # the speed is measured since the last validation or check
        if done >= self._next and done > self._mark[0]:
            length = self._length(runner, done)
            self._next = done + max(5, min(length // 20, (length - done) // 4))  # closer together towards the end
            self._mark = (done, time.monotonic())
            if abs(length - runner.max_iters) > TOLERANCE * runner.max_iters:
                self._change(runner, done, length)

    def _length(self, runner, done: int) -> int:
        """How many iterations there will be when the time is over, at the present speed."""
        now = time.monotonic()
        seconds_per_iteration = (now - self._mark[1]) / (done - self._mark[0])
        left = 60 * self.minutes - (now - self._start)
        loop = runner.train_loop
        validations = 0
        if runner.val_loop is not None and loop.val_begin <= loop.max_iters:
            validations = 1 + max(0, (loop.max_iters - 1) // loop.val_interval - done // loop.val_interval)
        slower = max(1.0, seconds_per_iteration / self.step) if self.step else 1.0
        left -= (validations + self.after) * (self._longest_validation or self.validation * slower)
        length = [max(done + 1, done + int(left / seconds_per_iteration))]
        if is_distributed():
            broadcast_object_list(length)  # all ranks end together
        return length[0]

    def _change(self, runner, at: int, length: int) -> None:
        before = runner.max_iters
        set_length(runner, length)
        self.changes.append((at, length))
        runner.message_hub.runtime_info["deadline_changes"] = list(self.changes)
        runner.logger.info(f"{length} iterations in place of {before}, as fit into the time")


def set_length(runner, max_iters: int) -> None:
    """Let a running training end at another iteration, together with the schedulers that last until its end."""
    loop: TrainLoop = runner.train_loop
    before, loop._max_iters = loop._max_iters, max_iters
    for scheduler in runner.param_schedulers:
        extra = scheduler.end - before
        if not scheduler.by_epoch and extra in (0, 1):  # PolyLR ends one iteration later, see `end_schedules`
            scheduler.end = max_iters + extra
            scheduler.total_iters = scheduler.end - scheduler.begin - 1
