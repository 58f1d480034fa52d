"""What a resumed run may change takes effect, what it may not is refused by name; a run is not mixed with another."""

import json
from pathlib import Path

import pytest
import torch
from toy import toy_config

from xseg.cli import main
from xseg.config import load_config
from xseg.engine import read_checkpoint
from xseg.engine.resume import changed, check_work_dir
from xseg.engine.saving import settings_of
from xseg.run.train import train


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Four iterations of a schedule of four."""
    folder = tmp_path_factory.mktemp("four")
    train(toy_config(max_iters=4), work_dir=folder)
    return folder


def rates(folder: Path) -> list[float]:
    """The logged learning rate of every iteration."""
    lines = [json.loads(line) for path in folder.glob("*/vis_data/scalars.json") for line in path.open()]
    return [line["base_lr"] for line in sorted(lines, key=lambda line: line["step"]) if "base_lr" in line]


def poly(step: int, max_iters: int, lr: float = 0.01) -> float:
    return lr * (1 - step / max_iters) ** 0.9


def test_a_longer_schedule_takes_effect(run, tmp_path):
    """The saved schedule won: iterations 5 to 8 were trained at the rate at which it had ended."""
    runner = train(toy_config(max_iters=8), work_dir=tmp_path, resume=run / "iter_4.pth")
    assert runner.iter == 8
    assert rates(tmp_path) == pytest.approx([poly(step, 8) for step in range(4, 8)])


def test_another_rate_takes_effect(run, tmp_path):
    """It was ignored: the checkpoint's won."""
    cfg = toy_config(max_iters=8)
    cfg.optim_wrapper.optimizer.lr = 0.002
    runner = train(cfg, work_dir=tmp_path, resume=run / "iter_2.pth")
    assert rates(tmp_path) == pytest.approx([poly(step, 8, 0.002) for step in range(2, 8)])
    groups = runner.optim_wrapper.optimizer.param_groups
    assert {group["initial_lr"] for group in groups} == {0.002, 0.001}  # the backbone's: backbone_lr_mult=0.5


def test_warm_up_and_steps_are_repeated_exactly(tmp_path):
    """A run whose schedule is changed at iteration 6 has from there on, bit by bit, the rates of one that had it."""

    def config(milestone: int):
        cfg = toy_config(max_iters=12)
        warm_up = dict(type="LinearLR", by_epoch=False, start_factor=0.1, begin=0, end=4)
        step = dict(type="MultiStepLR", by_epoch=False, milestones=[milestone, 9], gamma=0.1, begin=0, end=12)
        cfg.param_scheduler = [warm_up, step]
        return cfg

    train(config(3), work_dir=tmp_path / "one")
    train(config(5), work_dir=tmp_path / "other")
    (tmp_path / "one" / "iter_12.pth").unlink()
    train(config(5), work_dir=tmp_path / "new", resume=tmp_path / "one" / "iter_10.pth")
    assert rates(tmp_path / "new") == rates(tmp_path / "other")[10:]


def test_a_schedule_that_ends_before_the_run_is_refused(run, tmp_path):
    """Also in a run of its own: the last four iterations were at a rate of nearly 0."""
    cfg = toy_config(max_iters=4)
    cfg.train_cfg.max_iters = 8
    for resume in (False, run / "iter_4.pth"):
        with pytest.raises(
            ValueError, match=r"max_iters is 8, but param_scheduler \(PolyLR\) .*; set param_scheduler\.end=9 too"
        ):
            train(cfg, work_dir=tmp_path, resume=resume)
    assert not list(tmp_path.iterdir())
    cfg.param_scheduler.eta_min = 1e-3  # a rate of its own after the end
    train(cfg, work_dir=tmp_path)


def test_a_schedule_that_follows_validations_cannot_be_replaced(run, tmp_path):
    cfg = toy_config(max_iters=8)
    cfg.param_scheduler = dict(type="ReduceOnPlateauLR", monitor="mIoU")
    with pytest.raises(ValueError, match=r"scheduler 0 of param_scheduler \(ReduceOnPlateauLR\) follows the results"):
        train(cfg, work_dir=tmp_path, resume=run / "iter_4.pth")


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("model.classes", 3, "model.classes: not set in the checkpoint, 3 now"),
        ("optim_wrapper.optimizer.weight_decay", 0.2, "weight_decay: 0.1 in the checkpoint, 0.2 now"),
        ("optim_wrapper.optimizer.type", "SGD", "'AdamW' in the checkpoint, 'SGD' now"),
        ("train_dataloader.dataset.size", 6, "train_dataloader.dataset.size: not set in the checkpoint, 6 now"),
        ("train_dataloader.sampler.shuffle", False, "train_dataloader.sampler.shuffle"),
        ("custom_hooks", [dict(type="EMAHook")], "EMAHook.type: not set in the checkpoint"),
    ],
)
def test_what_may_not_change_is_refused_by_name(run, tmp_path, place, value, told):
    """These were taken over in silence, or ended in an error about tensors."""
    cfg = toy_config(max_iters=4)
    if place == "custom_hooks":
        cfg.custom_hooks += value
    else:
        cfg.merge_from_dict({place: value})
    with pytest.raises(ValueError, match=r"iter_4\.pth: a resumed run must keep these settings") as caught:
        train(cfg, work_dir=tmp_path, resume=run / "iter_4.pth")
    assert told in str(caught.value) and "--load-from" in str(caught.value)
    assert not list(tmp_path.iterdir())  # refused before anything is written


def test_amp_is_a_setting_too(run, tmp_path):
    with pytest.raises(ValueError, match=r"optim_wrapper\.type: 'OptimWrapper' in the checkpoint, 'AmpOptimWrapper'"):
        train(toy_config(max_iters=4), work_dir=tmp_path, resume=run / "iter_4.pth", amp="bf16")


def test_what_may_change_does(run, tmp_path):
    cfg = toy_config(max_iters=8, workers=1)
    cfg.train_cfg.val_interval = 8
    cfg.train_dataloader.batch_size = 3
    cfg.default_hooks.checkpoint.interval = 4
    cfg.optim_wrapper.clip_grad = dict(max_norm=1.0)
    cfg.custom_hooks.append(dict(type="EmptyCacheHook"))
    train(cfg, work_dir=tmp_path, resume=run / "iter_4.pth")
    checkpoint = read_checkpoint(tmp_path / "iter_8.pth")
    assert checkpoint["message_hub"]["runtime_info"]["position"] == 4 * 2 + 4 * 3
    assert [path.name for path in tmp_path.glob("*.pth")] == ["iter_8.pth"]  # the best was that of iteration 4


def test_a_checkpoint_without_settings_follows_the_configs_schedule(run, tmp_path):
    """Those that were written before settings were kept."""
    checkpoint = torch.load(run / "iter_4.pth", weights_only=True)
    del checkpoint["meta"]["settings"]
    torch.save(checkpoint, tmp_path / "iter_4.pth")
    assert train(toy_config(max_iters=6), work_dir=tmp_path, resume=True).iter == 6
    assert rates(tmp_path) == pytest.approx([poly(step, 6) for step in (4, 5)])


def test_equal_configs_have_equal_settings(tmp_path):
    """With classes or names for types, and tuples or lists: a run can be resumed by the config that it saved."""
    cfg = load_config("shapes/fcos")
    for name in ("saved.py", "saved.json"):
        cfg.dump(tmp_path / name)
        assert changed(settings_of(cfg), settings_of(load_config(tmp_path / name))) == {}
    assert settings_of(cfg)["model.head.type"] == "FCOS"


def test_a_used_work_dir_wants_to_be_told(run, tmp_path):
    """A new run mixed its files with the old one's, and killed before its first checkpoint it resumed the old one."""
    train(toy_config(max_iters=4), work_dir=tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    (tmp_path / "notes.txt").write_text("mine")
    for resume in (False, run / "iter_4.pth"):  # also a checkpoint of another run
        with pytest.raises(FileExistsError, match=r"holds a run \(.*\.pth\): .*--resume.*--work-dir.*--overwrite"):
            train(toy_config(max_iters=2), work_dir=tmp_path, resume=resume)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != "notes.txt"} == before
    with pytest.raises(ValueError, match="resume and overwrite exclude each other"):
        train(toy_config(), work_dir=tmp_path, resume=True, overwrite=True)
    with pytest.raises(FloatingPointError):  # the new run ends before its first checkpoint
        train(toy_config(max_iters=2, spoil_at=0), work_dir=tmp_path, overwrite=True)
    assert not list(tmp_path.glob("*.pth")) and not (tmp_path / "last_checkpoint").exists()
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 1  # its own log
    assert (tmp_path / "notes.txt").read_text() == "mine"
    check_work_dir(tmp_path, resume=False)  # logs without checkpoints are no run
    assert train(toy_config(max_iters=2), work_dir=tmp_path, resume=True).iter == 2  # the old one was at 4


def test_overwrite_on_the_command_line(tmp_path, capsys):
    """The old run is removed only when the new one can start: a misspelt option loses nothing."""
    old = tmp_path / "iter_7.pth"
    old.write_bytes(b"old")
    command = ["train", "quickstart", "--work-dir", f"{tmp_path}", "--data-root", f"{tmp_path}/shapes"]
    options = ["model.backbone.width=0.125", "train_cfg.max_iters=1", "train_dataloader.batch_size=2"]
    for loader in ("train_dataloader", "val_dataloader"):
        options += [f"{loader}.num_workers=0", f"{loader}.persistent_workers=False"]
        options += [f"{loader}.dataset.num_images={{'train': 2, 'val': 1}}"]
    assert main([*command, "--cfg-options", *options]) == 1
    assert f"{tmp_path} holds a run (iter_7.pth)" in capsys.readouterr().err
    assert main([*command, "--overwrite", "--cfg-options", *options, "model.backbone.depth=1"]) == 1
    assert old.exists()
    assert main([*command, "--overwrite", "--cfg-options", *options]) == 0
    assert not old.exists() and (tmp_path / "iter_1.pth").exists()
