"""The number of CPU threads, found by timing the work itself, because other programs may run beside it.

The threads of an operation wait for each other. If a program takes one of their cores, all of them wait for the thread
that lost its core, and two threads can be several times slower than one.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

FIXED_BY = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def are_fixed() -> bool:
    """Whether a person has set the number of threads, by the environment or by `set_threads`."""
    return any(os.environ.get(name) for name in FIXED_BY)


def may_choose(model: object) -> bool:
    """Whether a model computes with PyTorch's threads on a CPU, and nobody has set their number."""
    parameters = list(model.parameters()) if hasattr(model, "parameters") else []  # other engines have none
    return bool(parameters) and all(item.device.type == "cpu" for item in parameters) and not are_fixed()


def set_threads(count: int) -> None:
    """Compute with so many threads, also in processes that this one starts; nothing else chooses them then."""
    if count < 1:
        raise ValueError(f"threads must be 1 or more, got {count}")
    os.environ["OMP_NUM_THREADS"] = str(count)
    torch.set_num_threads(count)


class Threads:
    """Chooses the number of threads of repeated work.

    `done` is called after each step of the work. Now and then, and as soon as the pace changes by a third, some steps
    run with half as many and twice as many threads, and the fastest number stays. Trials take at most about
    `share` of the time.

    Args:
        most: largest number of threads; default: `torch.get_num_threads()`.
        trial: steps that are timed with each number, after one that is not.
        every: seconds between trials, at least.
        share: of the time that trials may cost.
        gain: another number must be faster by this share.
        clock, apply: replace the clock and `torch.set_num_threads` in tests.
    """

    def __init__(
        self,
        most: int | None = None,
        trial: int = 3,
        every: float = 20.0,
        share: float = 0.03,
        gain: float = 0.05,
        clock: Callable[[], float] = time.perf_counter,
        apply: Callable[[int], None] = torch.set_num_threads,
    ):
        self.most = self.count = torch.get_num_threads() if most is None else most
        self.trial, self.every, self.share, self.gain = trial, every, share, gain
        self._clock, self._apply = clock, apply
        self._last: float | None = None  # time of the last step
        self._skip = trial  # steps that are not timed; the first of all warm up
        self._samples: deque[float] = deque(maxlen=trial)  # seconds per unit of work
        self._search: Generator[int, float, int] | None = None
        self._costs: dict[int, float] = {}  # of the last trials: threads -> seconds per unit
        self._began = self._next = 0.0

    def pause(self) -> None:
        """The time until the next `done` does not count, as during a validation."""
        self._last = None

    def done(self, work: float = 1.0) -> str | None:
        """A step is done; returns a line for the log if another number of threads stays from now on.

        Args:
            work: size of the step, such as the pixels of an image. Times are compared for each unit.
        """
        if self.most == 1:
            return None
        now = self._clock()
        last, self._last = self._last, now
        if last is None:
            return None
        if self._skip:
            self._skip -= 1
            return None
        self._samples.append((now - last) / work)
        if len(self._samples) < self.trial:
            return None
        cost = sum(self._samples) / self.trial
        if self._search is None:
            if self._is_due(cost, now):
                self._began, self._costs = now, {self.count: cost}
                self._search = self._numbers()
                return self._advance(None, now)
            return None
        return self._advance(cost, now)

    def _is_due(self, cost: float, now: float) -> bool:
        """After the time, or as soon as the pace has changed by a third."""
        usual = self._costs.get(self.count)
        changed = usual is not None and not 2 / 3 < cost / usual < 3 / 2
        return now >= self._next or (changed and now >= self._began + self.every / 4)

    def _numbers(self) -> Generator[int, float, int]:
        """Yields numbers of threads to try, receives their cost, and returns the best number."""
        best = self.count
        for step in (lambda count: count // 2, lambda count: min(2 * count, self.most)):
            while 1 <= (number := step(best)) and number not in self._costs:
                self._costs[number] = yield number
                if self._costs[number] > (1 - self.gain) * self._costs[best]:
                    break
                best = number
        return best

    def _advance(self, cost: float | None, now: float) -> str | None:
        self._samples.clear()
        self._skip = 1
        try:
            self._apply(self._search.send(cost))
        except StopIteration as end:
            return self._settle(end.value, now)
        return None

    def _settle(self, best: int, now: float) -> str | None:
        self._apply(best)
        before, self.count, self._search = self.count, best, None
        mean = sum(self._costs.values()) / len(self._costs)
        lost = (now - self._began) * max(0.0, 1 - self._costs[best] / mean)
        self._next = now + max(self.every, lost / self.share)
        if best == before:
            return None
        times = self._costs[before] / self._costs[best]
        return f"{best} thread{'s' * (best > 1)} instead of {before}, which is {times:.1f} times as fast now"


@HOOKS.register_module()
class ThreadsHook(Hook):
    """Chooses the number of threads of a training or an evaluation on a CPU, unless a person has fixed it.

    The time between steps counts, so that loader workers on the same cores count too. Sums of another number of threads
    differ in their last digits: a run with fixed threads repeats to the bit, one with chosen threads does if the log
    names the same changes.
    """

    priority = "LOWEST"

    def __init__(self) -> None:
        self.threads: Threads | None = None

    def before_run(self, runner) -> None:
        self.threads = Threads() if runner.world_size == 1 and may_choose(runner.model) else None

    def after_run(self, runner) -> None:
        if self.threads:
            torch.set_num_threads(self.threads.most)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self._done(runner)

    def before_val_epoch(self, runner) -> None:
        self._pause()

    def after_val_epoch(self, runner, metrics=None) -> None:
        self._pause()

    def after_test_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        images = (data_batch or {}).get("images", ())
        self._done(runner, sum(image.shape[-2] * image.shape[-1] for image in images) or 1.0)

    def _done(self, runner, work: float = 1.0) -> None:
        if self.threads and (line := self.threads.done(work)):
            runner.logger.info(f"The load of the CPU has changed: {line}")

    def _pause(self) -> None:
        if self.threads:
            self.threads.pause()
