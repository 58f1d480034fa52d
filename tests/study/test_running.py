"""`xseg study` on a grid of two variants and two seeds of four steps each, run as a command."""

import json
import os
import signal

import pytest

from xseg.cli import main
from xseg.engine import ProfileHook

TINY = [
    "model.backbone.width=0.125",
    "model.channels_last=False",
    "train_cfg.max_iters=4",
    "train_cfg.val_interval=2",
    "default_hooks.checkpoint.interval=2",
    "param_scheduler.1.end=5",
    *(
        f"{loader}_dataloader.{option}"
        for loader in ("train", "val")
        for option in (
            "batch_size=4",
            "num_workers=0",
            "persistent_workers=False",
            "dataset.num_images={'train': 4, 'val': 6}",
        )
    ),
]


def study(folder, *options, seeds=("0", "1"), extra=()):
    command = ["study", "residual", "--data-root", f"{folder.parent}/shapes", "--out", f"{folder}", "--seeds", *seeds]
    return main([*command, *options, "--cfg-options", *TINY, *extra])


def results(folder):
    return {str(p.parent.relative_to(folder)): json.loads(p.read_text()) for p in folder.rglob("result.json")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "whole"
    assert study(folder) == 0
    return folder


def test_a_study_leaves_a_table_plots_and_a_page(finished):
    report = json.loads((finished / "study.json").read_text())
    assert [row["variant"] for row in report["rows"]] == ["with residuals", "without"]
    for row in report["rows"]:
        finals = [run["profile"][-1]["top1"] for run in row["runs"]]
        assert row["mean"] == pytest.approx(sum(finals) / 2)
        assert row["std"] == pytest.approx(abs(finals[0] - finals[1]) / 2**0.5)
        assert [[r["step"] for r in run["profile"]] for run in row["runs"]] == [[2, 4], [2, 4]]
        assert all(0 < run["profile"][0]["seconds"] < run["profile"][1]["seconds"] for run in row["runs"])
    assert report["rows"][0]["parameters"] > report["rows"][1]["parameters"]
    assert "| with residuals | " in (finished / "study.md").read_text()
    page = (finished / "index.html").read_text()
    assert page.count('src="data:image/png;base64,iVBOR') == 2 and 'src="http' not in page
    assert (finished / "profile_time.png").stat().st_size > 10_000
    assert [p.name for p in (finished / "runs/without/seed-1").glob("*.pth")] == ["iter_4.pth"]


def test_finished_runs_are_not_trained_again(finished, capsys, monkeypatch):
    monkeypatch.setattr("xseg.study.running.train", None)
    assert study(finished) == 0
    assert capsys.readouterr().out.count("(already finished)") == 4


@pytest.mark.slow
def test_a_stopped_study_continues_to_the_numbers_of_an_unbroken_one(finished, tmp_path, monkeypatch):
    """SIGTERM comes in the third step of the second run; then the same command runs again."""
    count = iter(range(1000))

    def stop(hook, runner, *args, **kwargs):
        if next(count) == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(ProfileHook, "before_train_iter", stop)
    with pytest.raises(SystemExit) as stopped:
        study(tmp_path / "s", seeds=["0"])
    signal.signal(signal.SIGTERM, before)
    assert stopped.value.code == 143
    assert [*results(tmp_path / "s")] == ["runs/with-residuals/seed-0"]
    assert (tmp_path / "s/runs/without/seed-0/iter_3.pth").exists()
    assert study(tmp_path / "s", seeds=["0"]) == 0
    unbroken = results(finished)
    for name, again in results(tmp_path / "s").items():
        run = unbroken[name]
        assert [(r["step"], r["top1"]) for r in again["profile"]] == [(r["step"], r["top1"]) for r in run["profile"]]
        assert again["profile"][0]["seconds"] < again["profile"][1]["seconds"]


def test_a_folder_of_other_settings_is_refused(finished, capsys):
    assert study(finished, extra=["optim_wrapper.optimizer.lr=0.5"]) == 1
    error = capsys.readouterr().err
    assert "holds a run of other settings (there" in error and "lr=0.5" in error and "--out" in error


def test_a_run_that_diverges_is_reported_and_the_others_continue(tmp_path, capsys):
    assert (
        study(tmp_path / "d", seeds=["0"], extra=["optim_wrapper.optimizer.lr=1e38", "optim_wrapper.clip_grad=None"])
        == 0
    )
    assert "diverged" in (tmp_path / "d" / "study.md").read_text()


def test_dry_run_and_list(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["study", "order", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "1,372,676" in shown and "6 runs" in shown and not list(tmp_path.iterdir())
    assert main(["study", "list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6
    assert main(["study", "residual", "--cfg-options", "train_cfg.max_iter=3"]) == 1
    assert "did you mean 'train_cfg.max_iters'" in capsys.readouterr().err
    assert main(["study", "residual", "--cfg-options", "model.type=Segmentor", "--dry-run"]) == 1
