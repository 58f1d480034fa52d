"""xseg.train on a toy model: a run that was killed and resumed equals the unbroken one bit for bit."""

import os
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import pytest
import torch
from toy import ToyData, toy_config

from xseg.engine import TrainSampler, read_checkpoint
from xseg.run.train import train

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Sums over several threads round differently, and the subprocesses have one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def own_sigterm():
    """Restore the handler of SIGTERM: after a stopped run the process ignores the signal."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def launch(*args: object) -> subprocess.Popen:
    """Start a module in the first folder among its arguments, because mmengine leaves .dist_test in the current one."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support"), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, args)],
        cwd=next(arg for arg in args if isinstance(arg, Path)),
        env=os.environ | dict(PYTHONPATH=paths, OMP_NUM_THREADS="1"),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def assert_same(a, b, where: str = "") -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}[{i}]")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b, where


def assert_same_training(one: Path, other: Path) -> None:
    a, b = (read_checkpoint(folder / "iter_8.pth") for folder in (one, other))
    for key in ("state_dict", "optimizer", "param_schedulers", "ema_state_dict"):
        assert (key in a) == (key in b)
        if key in a:
            assert_same(a[key], b[key], key)
    assert a["message_hub"]["runtime_info"]["position"] == 16


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    train(toy_config(ema=True), work_dir=folder)
    return folder


def test_checkpoint_is_plain_and_carries_its_model(unbroken):
    checkpoint = torch.load(unbroken / "iter_8.pth", weights_only=True)
    assert checkpoint["meta"]["xseg"] == dict(
        model=dict(type="toy.ToyModel"), classes=("a", "b"), palette=[(0, 0, 0), (1, 2, 3)], iter=8
    )
    assert "cfg" not in checkpoint["meta"] and "config" not in checkpoint["meta"]
    assert sorted(p.name for p in unbroken.glob("*.pth")) == ["best_mIoU_iter_4.pth", "iter_6.pth", "iter_8.pth"]
    log = next(unbroken.glob("2*/vis_data/scalars.json")).read_text()
    assert "images_per_s" in log and "mIoU" in log


def test_killed_run_resumes_to_the_same_bits(unbroken, tmp_path):
    """SIGKILL in iteration 6 of 8, after the checkpoint of iteration 4; EMA, AdamW, dropout, 2 workers."""
    process = launch("toy", tmp_path, "--ema", "--workers", 2, "--signal", "SIGKILL", "--at", 6)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, output
    moved = tmp_path.with_name("moved")
    tmp_path.rename(moved)  # a work dir may move between the runs
    runner = train(toy_config(ema=True), work_dir=moved, resume=True)  # without workers: the same order of images
    stream = list(islice(TrainSampler(ToyData(), seed=3), 16))
    assert runner.train_dataloader.dataset.asked == stream[8:]  # the first half is not loaded again
    assert_same_training(unbroken, moved)
    assert sorted(p.name for p in moved.glob("*.pth")) == ["best_mIoU_iter_4.pth", "iter_6.pth", "iter_8.pth"]


def test_sigterm_to_the_whole_group_saves_and_exits_143(tmp_path):
    """SLURM sends the signal to the workers too. The many iterations keep the run from ending before the signal."""
    process = launch("toy", tmp_path, "--workers", 2, "--max-iters", 1_000_000)
    deadline = time.monotonic() + 60
    while not (tmp_path / "last_checkpoint").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGTERM)
    time.sleep(0.1)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)  # torchrun forwards a second one
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143, output
    last = Path((tmp_path / "last_checkpoint").read_text()).name
    assert read_checkpoint(tmp_path / last)["meta"]["iter"] == int(last[5:-4])


def test_stopped_run_resumes_to_the_same_bits(unbroken, tmp_path):
    stop = dict(type="ActAtIteration", at=5, number=signal.SIGTERM)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as caught:
        train(toy_config(ema=True, extra_hooks=(stop,)), work_dir=tmp_path)
    assert caught.value.code == 143 and (tmp_path / "iter_5.pth").is_file()
    assert signal.getsignal(signal.SIGINT) is before
    train(toy_config(ema=True), work_dir=tmp_path, resume=tmp_path / "iter_5.pth")
    assert_same_training(unbroken, tmp_path)


def test_resume_makes_up_for_an_interrupted_validation(tmp_path):
    stop = dict(type="ActAtIteration", at=4, number=signal.SIGTERM)
    with pytest.raises(SystemExit):
        train(toy_config(extra_hooks=(stop,)), work_dir=tmp_path)
    assert not list(tmp_path.glob("best*"))
    train(toy_config(), work_dir=tmp_path, resume=True)
    assert (tmp_path / "best_mIoU_iter_4.pth").is_file()


def test_resume_keeps_its_seed_and_refuses_another(tmp_path, unbroken):
    with pytest.raises(ValueError, match=r"seed must be that of the resumed run \(3\), got 4"):
        train(toy_config(), work_dir=tmp_path, resume=unbroken / "iter_6.pth", seed=4)


def test_resume_starts_anew_in_an_empty_folder_but_not_over_unreadable_files(tmp_path):
    runner = train(toy_config(max_iters=2), work_dir=tmp_path / "new", resume=True)
    assert runner.iter == 2
    (tmp_path / "iter_2.pth").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="none readable"):
        train(toy_config(max_iters=2), work_dir=tmp_path, resume=True)


def test_nan_stops_before_it_is_saved(tmp_path):
    with pytest.raises(FloatingPointError, match=r"loss nan at iteration 4 .*bf16"):
        train(toy_config(spoil_at=3), work_dir=tmp_path)
    assert sorted(p.name for p in tmp_path.glob("*.pth")) == ["iter_2.pth"]


def test_load_from_stays_loaded(tmp_path, unbroken):
    cfg = toy_config(max_iters=1)
    cfg.optim_wrapper.optimizer.update(lr=0.0, weight_decay=0.0)
    runner = train(cfg, work_dir=tmp_path, load_from=unbroken / "iter_8.pth", seed=9)
    weights = read_checkpoint(unbroken / "iter_8.pth")["state_dict"]
    for name, value in runner.model.named_parameters():
        assert torch.equal(value, weights[name]), name


def test_accumulation_must_fit_the_checkpoints(tmp_path):
    cfg = toy_config()
    cfg.optim_wrapper.accumulative_counts = 3
    with pytest.raises(ValueError, match=r"multiple of optim_wrapper.accumulative_counts \(3\), got 4.*take 6"):
        train(cfg, work_dir=tmp_path)


def test_a_sampler_that_cannot_skip_is_refused(tmp_path):
    cfg = toy_config()
    cfg.train_dataloader.sampler = dict(type="InfiniteSampler")
    with pytest.raises(ValueError, match="TrainSampler"):
        train(cfg, work_dir=tmp_path)


def test_bf16_and_dry_run(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = toy_config()
    runner = train(cfg, amp="bf16", dry_run=True)
    assert cfg.train_cfg.max_iters == 8 and cfg.optim_wrapper.type == "OptimWrapper"  # the caller's config is unchanged
    assert type(runner.optim_wrapper).__name__ == "AmpOptimWrapper"
    assert "Dry run OK: 2 iterations" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    cfg = toy_config()
    cfg.default_hooks.checkpoint.save_best = "mIuO"
    cfg.default_hooks.checkpoint.rule = "greater"
    with pytest.raises(KeyError, match="mIuO"):
        train(cfg, dry_run=True)


def test_wrong_arguments_are_named(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="amp must be 'bf16' or 'fp16', got 'int8'"):
        train(toy_config(), work_dir=tmp_path, amp="int8")
    with pytest.raises(ValueError, match="exclude each other"):
        train(toy_config(), work_dir=tmp_path, resume=True, load_from="w.pth")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="under torchrun"):
        train(toy_config(), work_dir=tmp_path)


def test_two_ranks_end_with_the_same_weights(tmp_path):
    process = launch(
        "torch.distributed.run",
        *("--nproc-per-node=2", "--master-port=29617", "-m", "toy", tmp_path, "--launcher=pytorch"),
    )
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output
    zero, one = (torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1))
    assert zero["state"] == one["state"]
    # threads of gloo that outlive the run could abort the process
    assert not [name for name in zero["threads"] + one["threads"] if "gloo" in name]
    checkpoint = read_checkpoint(tmp_path / "iter_8.pth")
    info = checkpoint["message_hub"]["runtime_info"]
    assert info["position"] == 8 * 2 * 2 and info["best_score"] == 7.0  # every image evaluated once, no padding
    assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())
