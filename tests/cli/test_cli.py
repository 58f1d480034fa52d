"""Whole commands on the built-in data set, run as a user types them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xseg.cli import main
from xseg.cli.options import literal

ROOT = Path(__file__).resolve().parents[2]
TINY = [
    "--cfg-options",
    "train_cfg.max_iters=6",
    "train_cfg.val_interval=3",
    "default_hooks.checkpoint.interval=3",
    "train_dataloader.batch_size=2",
    "train_dataloader.num_workers=0",
    "train_dataloader.persistent_workers=False",
    "val_dataloader.num_workers=0",
    "val_dataloader.persistent_workers=False",
    "model.backbone.width=0.125",
    *(f"{loader}_dataloader.dataset.num_images={{'train': 6, 'val': 5}}" for loader in ("train", "val")),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with the work dir of six iterations, and their data."""
    folder = tmp_path_factory.mktemp("trained")
    assert main(["train", "quickstart", "--data-root", f"{folder}/shapes", "--work-dir", f"{folder}/run", *TINY]) == 0
    return folder


def test_training_writes_checkpoints_logs_and_its_config(trained):
    run = trained / "run"
    assert {"iter_3.pth", "iter_6.pth", "last_checkpoint"} <= {p.name for p in run.iterdir()}
    assert len(list(run.glob("best_mIoU_*.pth"))) == 1
    assert (run / "quickstart.py").is_file()
    lines = [json.loads(line) for path in run.glob("*/vis_data/scalars.json") for line in path.read_text().splitlines()]
    assert {"loss", "lr", "images_per_s"} <= set().union(*lines)
    assert list(run.glob("*/vis_data/events.out.tfevents*"))
    torch.load(run / "iter_6.pth", weights_only=True)


def test_eval_prints_a_table_and_writes_numbers_and_pictures(trained, capsys):
    assert (
        main(["eval", "quickstart", f"{trained}/run", "--data-root", f"{trained}/shapes", "--worst", "2", *TINY]) == 0
    )
    assert "triangle" in capsys.readouterr().out
    report = json.loads((trained / "run" / "eval" / "metrics.json").read_text())
    assert report["images"] == 5
    assert sum(map(sum, report["confusion"])) <= 5 * 128 * 128
    assert len(list((trained / "run" / "eval" / "worst").glob("*.jpg"))) == 2
    assert Image.open(trained / "run" / "eval" / "confusion.png").size[0] > 300


def test_eval_with_the_config_that_the_run_saved(trained):
    """The saved config is complete, and gives the number that the run reported."""
    import xseg

    saved = xseg.evaluate(trained / "run" / "quickstart.py", trained / "run", out=trained / "again", num_worst=0)
    lines = [json.loads(x) for p in trained.glob("run/*/vis_data/scalars.json") for x in p.read_text().splitlines()]
    assert saved["mIoU"] in [line["mIoU"] for line in lines if "mIoU" in line]


def test_predict_writes_masks_colours_and_overlays(trained, tmp_path, capsys):
    images = trained / "shapes" / "JPEGImages"
    names = sorted(p.stem for p in images.iterdir())
    assert main(["predict", f"{trained}/run", f"{images}", "--out", f"{tmp_path}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(names) + 1
    assert " s  " in lines[0] and " %" in lines[0]
    for kind, suffix in (("mask", ".png"), ("colour", ".png"), ("overlay", ".jpg")):
        assert sorted(p.name for p in (tmp_path / kind).iterdir()) == [name + suffix for name in names]
    assert np.array(Image.open(tmp_path / "mask" / f"{names[0]}.png")).max() < 5
    pattern = f"{images}/*{names[0]}.jpg"
    options = ["--window", "64", "64", "--scales", "0.5", "1", "--flip", "--output-stride", "8"]
    assert main(["predict", f"{trained}/run", pattern, "--out", f"{tmp_path}/2", *options]) == 0
    assert len(list((tmp_path / "2" / "mask").iterdir())) == 1


def test_predict_names_a_broken_image_and_continues(trained, tmp_path, capsys):
    good = next((trained / "shapes" / "JPEGImages").iterdir())
    (tmp_path / "a.jpg").write_bytes(good.read_bytes()[:2000])
    (tmp_path / "b.jpg").write_bytes(good.read_bytes())
    assert main(["predict", f"{trained}/run", f"{tmp_path}", "--out", f"{tmp_path}/out"]) == 1
    out, err = capsys.readouterr()
    assert "a.jpg: failed" in out and "truncated" in out
    assert "1 of 2 images could not be read" in err
    assert (tmp_path / "out" / "mask" / "b.png").exists()


def test_dry_run_leaves_nothing(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "quickstart", "--data-root", f"{trained}/shapes", "--dry-run", *TINY]) == 0
    assert "Dry run OK" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(trained, tmp_path):
    """Bit for bit, with dropout, augmentation, BatchNorm and AdamW's moments."""
    common = ["train", "quickstart", "--data-root", f"{trained}/shapes", "--work-dir", f"{tmp_path}/run"]
    half = ["train_cfg.max_iters=3", "param_scheduler.1.end=7"]  # learning rates of the whole run
    assert main([*common, *TINY, *half]) == 0
    assert main([*common, "--resume", *TINY]) == 0
    resumed, unbroken = (
        torch.load(f"{run}/iter_6.pth", weights_only=True) for run in (tmp_path / "run", trained / "run")
    )
    for key, value in unbroken["state_dict"].items():
        assert torch.equal(resumed["state_dict"][key], value), key


def test_a_resumed_run_keeps_the_rates_of_the_weights_that_it_started_from(trained, tmp_path):
    """The config states no rates. Once the resumed run took those of the crop, (1, 2, 3), instead of the weights'."""
    command = ["train", "quickstart", "--data-root", f"{trained}/shapes", "--work-dir"]
    one, two = ([*TINY, f"train_cfg.max_iters={number}"] for number in (1, 2))
    assert main([*command, f"{tmp_path}/first", *one, "model.head.rates=(6, 12, 18)"]) == 0
    assert main([*command, f"{tmp_path}/run", "--load-from", f"{tmp_path}/first/iter_1.pth", *one]) == 0
    assert main([*command, f"{tmp_path}/run", "--resume", *two]) == 0
    saved = torch.load(tmp_path / "run" / "iter_2.pth", weights_only=True)
    assert list(saved["meta"]["xseg"]["model"]["head"]["rates"]) == [6, 12, 18]


def test_load_from_another_class_count_asks_for_the_new_classifier(trained, tmp_path, capsys):
    four = tmp_path / "four"
    (four / "ImageSets" / "Segmentation").mkdir(parents=True)
    for name in ("JPEGImages", "SegmentationClass"):
        (four / name).mkdir()
    Image.new("RGB", (64, 64)).save(four / "JPEGImages" / "x.jpg")
    Image.new("L", (64, 64)).save(four / "SegmentationClass" / "x.png")
    for split in ("train", "val"):
        (four / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("x\n")
    (four / "classes.txt").write_text("a\nb\n")
    options = [o for o in TINY if "num_images" not in o]
    command = [
        "train",
        "own/deeplabv3plus",
        "--data-root",
        f"{four}",
        "--work-dir",
        f"{tmp_path}/run",
    ]
    channels = [
        "model.head.channels=128",
        "model.head.low_channels=48",
        "model.channels_last=False",
        "default_hooks.checkpoint.save_best=aAcc",
    ]
    assert main([*command, "--load-from", f"{trained}/run/iter_6.pth", *options, *channels]) == 1
    assert "--new head.classifier" in capsys.readouterr().err
    assert (
        main([*command, "--load-from", f"{trained}/run/iter_6.pth", "--new", "head.classifier", *options, *channels])
        == 0
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "quickstrt"], "did you mean 'quickstart'"),
        (["train", "quickstart", "--cfg-options", "train_cfg.max_iter=3"], "did you mean 'train_cfg.max_iters'"),
        (["train", "deeplabv3plus_xception65_voc", "--data-root", "/nowhere"], "/nowhere"),
        (["predict", "nothing.pth", "x.jpg"], "x.jpg"),
        (["eval", "quickstart", "nothing.pth"], "nothing.pth"),
        (["train", "quickstart", "--new", "head"], "--load-from"),
    ],
)
def test_errors_are_one_line_that_names_the_place(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_weights_of_another_model_are_listed(trained, tmp_path, capsys):
    checkpoint = torch.load(trained / "run" / "iter_6.pth", weights_only=True)
    state = {k.replace("backbone.stem", "backbone.root"): v for k, v in checkpoint["state_dict"].items()}
    torch.save({"state_dict": state}, tmp_path / "other.pth")
    arguments = ["eval", "quickstart", f"{tmp_path}/other.pth", "--data-root", f"{trained}/shapes", *TINY]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert "missing" in error and "backbone.stem.0.conv.weight" in error
    assert "unexpected" in error and "backbone.root.0.conv.weight" in error


def test_a_checkpoint_that_names_foreign_code_is_refused(trained, tmp_path, capsys):
    checkpoint = torch.load(trained / "run" / "iter_6.pth", weights_only=True)
    checkpoint["meta"]["xseg"]["model"] = {"type": "os.system", "command": f"touch {tmp_path}/ran"}
    torch.save(checkpoint, tmp_path / "bad.pth")
    image = next((trained / "shapes" / "JPEGImages").iterdir())
    assert main(["predict", f"{tmp_path}/bad.pth", f"{image}"]) == 1
    assert "'os.system', which is no model of xseg: refused" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


def test_data_check_exits_with_3_on_faults(trained, tmp_path, capsys):
    import shutil

    shutil.copytree(trained / "shapes", tmp_path / "mine")
    arguments = ["data", "check", "own/deeplabv3plus", "--data-root", f"{tmp_path}/mine"]
    assert main(arguments) == 0
    mask = next((tmp_path / "mine" / "SegmentationClass").iterdir())
    labels = np.array(Image.open(mask))
    labels[12, 80] = 37
    Image.fromarray(labels).save(mask)
    capsys.readouterr()
    assert main(arguments) == 3
    assert "label 37 at row 12, column 80" in " ".join(capsys.readouterr().out.split())


def test_a_truncated_image_stops_training_with_its_name(trained, tmp_path, capsys):
    """The image is read in a worker process; its traceback is not shown."""
    import shutil

    shutil.copytree(trained / "shapes", tmp_path / "mine")
    for image in (tmp_path / "mine" / "JPEGImages").iterdir():
        image.write_bytes(image.read_bytes()[:2500])
    options = [o for o in TINY if "num_images" not in o and "train_dataloader.num_workers" not in o]
    options = [o for o in options if "train_dataloader.persistent" not in o]
    command = ["train", "own/deeplabv3plus", "--data-root", f"{tmp_path}/mine"]
    assert main([*command, "--work-dir", f"{tmp_path}/run", *options]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"xseg: error: {tmp_path}/mine/JPEGImages/train_")
    assert "truncated" in error
    assert len(error.splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("1e-3", 1e-3), ("true", True), ("None", None), ("[1, 2]", [1, 2]), ("a b", "a b"), ("x.pth", "x.pth")],
)
def test_override_values_are_literals_or_the_text_as_typed(text, value):
    assert literal(text) == value


def test_wrong_usage_exits_with_2():
    with pytest.raises(SystemExit) as caught:
        main(["train", "quickstart", "--cfg-options", "no-equals-sign"])
    assert caught.value.code == 2


@pytest.mark.parametrize("tool", ["train", "eval", "predict"])
def test_tools_are_the_same_commands(tool):
    done = subprocess.run([sys.executable, ROOT / "tools" / f"{tool}.py", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert f"xseg {tool}" in done.stdout


def test_help_imports_nothing_heavy():
    code = (
        "import sys, xseg.cli; xseg.cli.build_parser(); print({'torch', 'mmengine', 'cv2', 'numpy'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


def test_eval_under_torchrun_needs_its_launcher(trained, tmp_path, monkeypatch, capsys):
    """Without it every process would evaluate all images, and all would write into one folder."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["eval", "quickstart", f"{trained}/run", "--out", f"{tmp_path}/out"]) == 1
    assert "launcher must be 'pytorch' under torchrun (WORLD_SIZE=2), got 'none'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(trained, tmp_path):
    """Five images do not divide evenly between two processes; the confusion matrices are equal nevertheless."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29533"]
    script = ["-m", "xseg", "eval", "quickstart", f"{trained}/run", "--data-root", f"{trained}/shapes"]
    done = subprocess.run(
        [*command, *script, "--launcher", "pytorch", "--out", f"{tmp_path}/two", *TINY, "val_dataloader.batch_size=2"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("5 images in") == 1  # once every process printed the table
    assert main(["eval", *script[3:], "--out", f"{tmp_path}/one", *TINY]) == 0
    one, two = (json.loads((tmp_path / n / "metrics.json").read_text()) for n in ("one", "two"))
    assert one["confusion"] == two["confusion"]
    assert one["mIoU"] == two["mIoU"]
