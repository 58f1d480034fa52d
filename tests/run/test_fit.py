"""From a folder to a trained and evaluated model, and the plan that repeats it."""

import json

import cv2
import numpy as np
import pytest
import torch
from labelled import shape, write_labelme

import xseg
from xseg.cli import main
from xseg.engine import read_checkpoint
from xseg.plan import Choices

SMALL = dict(size=65, batch_size=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight images of 72 x 96 with a bright and a dark rectangle, without a split."""
    root = tmp_path_factory.mktemp("mine") / "mine"
    rng = np.random.default_rng(0)
    for index in range(8):
        x, y = (int(value) for value in rng.integers(4, 30, 2))
        boxes = {"bright": [[x, y], [x + 20, y + 20]], "dark": [[x + 30, y], [x + 55, y + 15]]}
        write_labelme(root, f"{index}", [shape(name, points, "rectangle") for name, points in boxes.items()], (72, 96))
        image = rng.integers(100, 140, (72, 96, 3)).astype(np.uint8)
        image[y : y + 20, x : x + 20], image[y : y + 15, x + 30 : x + 55] = 250, 5
        cv2.imwrite(str(root / f"{index}.png"), image)
    return root


@pytest.mark.parametrize("task", ["segmentation", pytest.param("detection", marks=pytest.mark.slow)])
def test_a_folder_becomes_a_model_and_its_plan_repeats_it(folder, task, tmp_path, capsys):
    before = sorted(path.name for path in folder.iterdir())
    work_dir = tmp_path / "run"
    report = xseg.fit(folder, work_dir=work_dir, choices=Choices(task=task, epochs=1, **SMALL))
    assert report["images"] == 2 and sorted(path.name for path in folder.iterdir()) == before
    output = capsys.readouterr().out
    assert "8 images with outlines (labelme)" in output and "20% of 8 images" in output
    splits = json.loads((work_dir / "plan" / "splits.json").read_text())
    assert (len(splits["train"]), len(splits["val"])) == (6, 2)
    assert (work_dir / "eval" / "metrics.json").is_file() and "| batch size |" in (
        work_dir / "plan/plan.md"
    ).read_text()
    assert len((work_dir / "plan" / "plan.py").read_text().splitlines()) < 60
    again = xseg.train(work_dir / "plan" / "plan.py", work_dir=tmp_path / "again")
    first = read_checkpoint(work_dir / "iter_3.pth")["state_dict"]
    second = read_checkpoint(tmp_path / "again" / "iter_3.pth")["state_dict"]
    assert again.iter == 3 and all(torch.equal(second[key], value) for key, value in first.items())
    result = xseg.load(work_dir).predict(folder / "0.png")
    assert result.image.shape == (72, 96, 3)


def test_the_command_plans_without_training(folder, tmp_path, capsys):
    out = tmp_path / "plan"
    plan = ["plan", f"{folder}", "--out", f"{out}", "--minutes", "1", "--task", "instances", "--size", "64"]
    assert main(plan) == 0
    output = capsys.readouterr().out
    assert "xseg train" in output and "as you say" in output
    assert sorted(path.name for path in out.iterdir()) == ["plan.md", "plan.py", "splits.json"]
    assert "'minutes': 1" in (out / "plan.py").read_text()


def test_what_cannot_be_planned_is_told(folder, tmp_path, capsys):
    assert main(["train", f"{folder}", "--task", "classification", "--work-dir", f"{tmp_path}"]) == 1
    assert "can train instances or segmentation or detection or panoptic, not classification" in capsys.readouterr().err
    assert main(["train", f"{folder}", "--resume"]) == 1
    assert "--resume: for a config; `xseg plan" in capsys.readouterr().err
    assert main(["train", "quickstart", "--minutes", "3"]) == 1
    assert "--minutes: for DATA only; quickstart is a config" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="no such file or folder of data"):
        xseg.fit(tmp_path / "nowhere")
