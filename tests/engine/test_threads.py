"""The number of CPU threads follows the load, on a simulated machine and in a training."""

import os
import re
import subprocess
import sys

import pytest
import torch

from xseg.cli import main
from xseg.engine import Threads, are_fixed, set_threads


class Machine:
    """A clock, and the seconds of a step: `costs[threads]`, which a test changes as other programs start and end."""

    def __init__(self, costs, **arguments):
        self.costs, self.time = dict(costs), 0.0
        self.threads = max(costs)
        self.lines = []
        apply = lambda count: setattr(self, "threads", count)  # noqa: E731
        self.chooser = Threads(max(costs), clock=lambda: self.time, apply=apply, **arguments)

    def work(self, steps, size=1.0):
        """Seconds that the steps take."""
        start = self.time
        for _ in range(steps):
            self.time += self.costs[self.threads] * size
            if line := self.chooser.done(size):
                self.lines.append(line)
        return self.time - start


IDLE = {1: 0.18, 2: 0.11}
BUSY = {1: 0.4, 2: 1.2}


def test_an_idle_machine_keeps_its_threads():
    machine = Machine(IDLE)
    seconds = machine.work(5000)
    assert machine.chooser.count == 2 and not machine.lines
    assert seconds < 1.04 * 5000 * IDLE[2]


def test_threads_follow_the_load():
    machine = Machine(IDLE)
    machine.work(200)
    machine.costs = BUSY
    seconds = machine.work(300)
    assert machine.threads == 1 and seconds < 1.1 * 300 * BUSY[1]
    assert machine.lines == ["1 thread instead of 2, which is 3.0 times as fast now"]
    machine.costs = IDLE
    assert machine.work(1000) < 1.1 * 1000 * IDLE[2]
    assert machine.threads == 2 and "2 threads instead of 1" in machine.lines[1] and len(machine.lines) == 2


@pytest.mark.parametrize("best", [1, 2, 4, 8, 16])
def test_the_best_of_many_is_reached(best):
    """A valley of costs, each number half as good as the one nearer to the best."""
    costs = {count: 0.1 * max(best / count, count / best) for count in (1, 2, 4, 8, 16)}
    machine = Machine(costs)
    machine.work(4000)
    assert machine.threads == machine.chooser.count == best
    assert machine.work(3000) < 1.1 * 3000 * 0.1


def test_slow_steps_do_not_spend_the_time_on_trials():
    machine = Machine({1: 9.0, 2: 5.0})
    assert machine.work(2000) < 1.05 * 2000 * 5.0


def test_a_small_gain_changes_nothing():
    machine = Machine({1: 0.108, 2: 0.11})
    machine.work(3000)
    assert machine.chooser.count == 2


def test_large_images_are_no_load():
    """Times count for each pixel: a larger image takes longer on the same machine."""
    machine = Machine(IDLE)
    for size in (1, 4, 2, 8) * 50:
        machine.work(3, size)
    assert machine.chooser.count == 2 and not machine.lines


def test_a_pause_does_not_count():
    machine = Machine(IDLE)
    machine.work(100)
    for _ in range(20):
        machine.time += 60  # a validation
        machine.chooser.pause()
        machine.work(20)
    assert machine.chooser.count == 2 and not machine.lines


def test_a_person_decides(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    monkeypatch.setenv("MKL_NUM_THREADS", "")
    before = torch.get_num_threads()
    assert not are_fixed()
    try:
        set_threads(1)
        assert are_fixed() and torch.get_num_threads() == 1 and os.environ["OMP_NUM_THREADS"] == "1"
    finally:
        torch.set_num_threads(before)
    with pytest.raises(ValueError, match="threads must be 1 or more, got 0"):
        set_threads(0)


def test_the_option_is_checked(capsys, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert main(["predict", "nowhere", "x.jpg", "--threads", "0"]) == 1
    assert "threads must be 1 or more" in capsys.readouterr().err


CODE = """
import itertools
import xseg.engine.threads as threads
from xseg.cli import main
costs = iter(itertools.chain([1.0] * 8, [0.1] * 99))  # whatever runs after eight steps is ten times as fast
clock = itertools.accumulate(costs)
init = threads.Threads.__init__
threads.Threads.__init__ = lambda self: init(self, most=2, every=0.0, clock=lambda: next(clock))
main(["train", "quickstart", "--work-dir", "run", "--cfg-options", "train_cfg.max_iters=16",
      "train_cfg.val_interval=99", "train_dataloader.dataset.num_images={'train': 16, 'val': 2}",
      "val_dataloader.dataset.num_images={'train': 16, 'val': 2}"])
"""


@pytest.mark.slow
def test_a_training_says_so(tmp_path):
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", CODE], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(r"The load of the CPU has changed: 1 thread instead of 2, which is \d+\.\d times", done.stdout)
