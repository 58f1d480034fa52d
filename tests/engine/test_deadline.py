"""Trainings that end when their time ends."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from toy import toy_config

from xseg.engine import DeadlineHook, deadline, read_checkpoint
from xseg.run.train import train


class Clock(Hook):
    """A clock on which an iteration takes a second and a validation five."""

    def __init__(self, deadline_module, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(deadline_module, "time", SimpleNamespace(monotonic=lambda: self.now))

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.now += 1

    def after_val_epoch(self, runner, metrics=None):
        self.now += 5


@pytest.fixture
def clock(monkeypatch):
    hook = Clock(deadline, monkeypatch)
    register = Runner.register_custom_hooks
    monkeypatch.setattr(Runner, "register_custom_hooks", lambda self, hooks: register(self, [*(hooks or ()), hook]))
    return hook


def config(max_iters, **arguments):
    cfg = toy_config(max_iters)
    cfg.default_hooks.deadline = dict(type="DeadlineHook", **arguments)
    cfg.train_cfg.val_interval = max_iters
    cfg.default_hooks.checkpoint.interval = max_iters
    return cfg


def rates(runner):
    return [group["lr"] for group in runner.optim_wrapper.param_groups]


def test_a_slow_machine_trains_less_and_its_rate_still_falls_to_the_end(tmp_path, clock):
    """60 of 200 iterations fit. The rate still falls to its end."""
    runner = train(config(200, minutes=1.0), work_dir=tmp_path / "a")
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, DeadlineHook))
    assert hook.changes and runner.iter == hook.changes[-1][1] and 50 < runner.iter <= 60
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


@pytest.mark.parametrize("arguments", [dict(validation=10.0), dict(validation=2.5, step=0.25)])
def test_time_is_kept_for_what_follows(tmp_path, clock, arguments):
    """20 seconds of 60 for two validations; where an iteration takes four times as long as planned, they do too."""
    runner = train(config(200, minutes=1.0, after=1.0, **arguments), work_dir=tmp_path)
    assert 35 <= runner.iter <= 41


def test_a_run_without_validations_keeps_no_time_for_them(tmp_path, clock):
    cfg = config(200, minutes=1.0, validation=30.0)
    cfg.train_cfg.val_begin = 10**9
    assert 55 <= train(cfg, work_dir=tmp_path).iter <= 60
