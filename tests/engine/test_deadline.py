"""Trainings that end when their time ends."""

import pytest
import torch
from toy import toy_config

from xseg.engine import DeadlineHook, read_checkpoint
from xseg.run.train import train


@pytest.fixture
def clock(monkeypatch):
    """Time that passes by a fixed step at each look, so that no test depends on the machine."""
    now = [0.0]

    def monotonic():
        now[0] += 1.0
        return now[0]

    monkeypatch.setattr("xseg.engine.deadline.time.monotonic", monotonic)
    return now


def config(max_iters, **deadline):
    cfg = toy_config(max_iters)
    cfg.default_hooks.deadline = dict(type="DeadlineHook", **deadline)
    cfg.train_cfg.val_interval = max_iters
    cfg.default_hooks.checkpoint.interval = max_iters
    return cfg


def rates(runner):
    return [group["lr"] for group in runner.optim_wrapper.param_groups]


def test_a_slow_machine_trains_less_and_its_rate_still_falls_to_the_end(tmp_path, clock):
    """Looks at the clock cost a second each; a third of the iterations fits. The rate still falls to its end."""
    runner = train(config(200, minutes=1.0), work_dir=tmp_path / "a")
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, DeadlineHook))
    assert hook.changes and runner.iter == hook.changes[-1][1] != 200
    whole = train(toy_config(runner.iter), work_dir=tmp_path / "b")
    assert max(rates(runner)) == pytest.approx(max(rates(whole)), rel=1.0) and max(rates(runner)) < 2e-3


def test_the_same_changes_repeat_the_run_to_the_bit(tmp_path, clock):
    first = train(config(60, minutes=0.4), work_dir=tmp_path / "a")
    (hook,) = (hook for hook in first.hooks if isinstance(hook, DeadlineHook))
    assert hook.changes
    again = train(config(60, changes=hook.changes), work_dir=tmp_path / "b")
    assert again.iter == first.iter
    files = [sorted((tmp_path / name).glob("iter_*.pth"))[-1] for name in "ab"]
    states = [read_checkpoint(file)["state_dict"] for file in files]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_without_minutes_nothing_changes(tmp_path, clock):
    runner = train(config(25), work_dir=tmp_path)
    assert runner.iter == 25
    with pytest.raises(ValueError, match="minutes must be above 0"):
        DeadlineHook(minutes=0)
