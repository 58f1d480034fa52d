"""The commands with detectors: train, evaluate, predict on drawn shapes; dry runs on VOC's and Cityscapes' layouts."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from peers import shared
from trees import cityscapes_scene, write_cityscapes

from xseg.cli import main

TINY = [
    "--cfg-options",
    "model.backbone.width=0.125",
    "model.channels_last=False",  # see `AlignedXception`, width
    "model.head.channels=16",
    "train_dataloader.dataset.num_images={'train': 6, 'val': 4}",
    "val_dataloader.dataset.num_images={'train': 6, 'val': 4}",
    "train_dataloader.batch_size=2",
    "train_dataloader.num_workers=0",
    "train_dataloader.persistent_workers=False",
    "val_dataloader.num_workers=0",
    "val_dataloader.persistent_workers=False",
    "train_cfg.max_iters=2",
    "train_cfg.val_interval=2",
    "default_hooks.checkpoint.interval=2",
]


@pytest.mark.parametrize("name", ["shapes/retinanet", "shapes/fcos", "shapes/faster_rcnn", "shapes/mask_rcnn"])
def test_train_evaluate_predict(name, tmp_path, capsys):
    root = ["--data-root", f"{tmp_path}/shapes"]
    assert main(["train", name, *root, "--work-dir", f"{tmp_path}/run", *TINY]) == 0
    assert main(["eval", name, f"{tmp_path}/run", *root, *TINY]) == 0
    report = json.loads((tmp_path / "run" / "eval" / "metrics.json").read_text())
    assert report["images"] == 4 and 0 <= report["bbox_mAP_50"] <= 100
    rows = json.loads((tmp_path / "run" / "eval" / "results.bbox.json").read_text())
    assert all(row["category_id"] in (1, 2, 3, 4) for row in rows)
    if name == "shapes/mask_rcnn":
        assert 0 <= report["segm_mAP_50"] <= 100
        rows = json.loads((tmp_path / "run" / "eval" / "results.segm.json").read_text())
        assert all(row["segmentation"]["size"] == [128, 128] for row in rows)
    out = tmp_path / "out"
    assert main(["predict", f"{tmp_path}/run", f"{tmp_path}/shapes/JPEGImages", "--out", f"{out}"]) == 0
    assert len(list((out / "drawn").glob("*.jpg"))) == len(list((out / "boxes").glob("*.json"))) == 10
    capsys.readouterr()
    assert main(["predict", f"{tmp_path}/run", f"{tmp_path}/shapes/JPEGImages", "--flip"]) == 1
    assert "for a Segmentor, this is a Detector" in capsys.readouterr().err


@pytest.mark.slow
def test_batches_of_one_orientation_follow_the_processes(tmp_path):
    """Two processes with batches of 2. Once configs stated the batch of one process, 16, and a step of 32 failed."""
    options = [*TINY, "train_dataloader.sampler.same_orientation=True"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29619", "-m", "xseg"]
    command += ["train", "shapes/fcos", "--data-root", f"{tmp_path}/shapes", "--launcher", "pytorch", "--dry-run"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *options], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("Dry run OK: 2 iterations") == 1  # once every process printed it


def test_own_images_in_vocs_layout(tmp_path, capsys):
    root = shared("data", "bccd")
    command = ["train", "own/retinanet", "--data-root", f"{root}", "--dry-run"]
    options = ["train_dataloader.num_workers=0", "train_dataloader.persistent_workers=False"]
    options += ["val_dataloader.num_workers=0", "val_dataloader.persistent_workers=False"]
    assert main([*command, "--cfg-options", *options, "train_dataloader.batch_size=2"]) == 0
    assert "Dry run OK" in capsys.readouterr().out


@pytest.mark.parametrize("head", ["retinanet", "mask_rcnn"])
def test_cityscapes_as_downloaded(head, tmp_path, capsys):
    """Two steps and a validation batch of the shipped config, with a small network and small images."""
    for split in ("train", "val"):
        scene = np.kron(cityscapes_scene(), np.ones((8, 8), np.int64))  # 96 x 160 pixels
        write_cityscapes(tmp_path, {f"{split}_000000_{n:06d}": scene for n in range(4)}, split)
    options = [option for option in TINY if "num_images" not in option and "channels_last" not in option]
    options += ["model.backbone.depth=41", "model.size=None", "load_from=None"]
    options += ["train_dataloader.dataset.transforms.0.shortest=[96]", "train_dataloader.batch_size=2"]
    if head == "mask_rcnn":
        options += ["model.head.hidden=32", "model.head.mask_convs=1", "model.head.test_proposals=(50, 50)"]
    assert main(["train", f"{head}_xception65_cityscapes", "--data-root", f"{tmp_path}", "--dry-run", *options]) == 0
    assert "Dry run OK" in capsys.readouterr().out


def test_windows_for_prediction_and_evaluation(tmp_path, capsys):
    root = ["--data-root", f"{tmp_path}/shapes"]
    assert main(["train", "shapes/fcos", *root, "--work-dir", f"{tmp_path}/run", *TINY]) == 0
    numbers = {}
    command = ["eval", "shapes/fcos", f"{tmp_path}/run", *root, *TINY, "model.selection.score_threshold=0.0"]
    for name, options in {"plain": [], "one": ["--window", "128", "128"], "many": ["--window", "80", "80"]}.items():
        assert main([*command, "--out", f"{tmp_path}/{name}", *options]) == 0
        rows = json.loads((tmp_path / name / "results.bbox.json").read_text())
        numbers[name] = sorted((row["image_id"], row["score"], *row["bbox"]) for row in rows)
    np.testing.assert_allclose(numbers["plain"], numbers["one"], atol=1e-3)
    assert not np.allclose(numbers["plain"], numbers["many"], atol=1e-3)
    images = f"{tmp_path}/shapes/JPEGImages"
    windows = ["--window", "80", "80", "--overlap", "0.4"]
    assert main(["predict", f"{tmp_path}/run", images, "--out", f"{tmp_path}/out", *windows]) == 0
    capsys.readouterr()
    assert main(["predict", f"{tmp_path}/run", images, "--overlap", "0.4"]) == 1
    assert "--overlap is of --window H W; add it" in capsys.readouterr().err
