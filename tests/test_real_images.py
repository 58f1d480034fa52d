"""Real images through the shipped configs. They lie beside the checkout on our own machines only; else these skip."""

import json

import numpy as np
import pytest
from peers import shared
from PIL import Image

from xseg.cli import main
from xseg.data import VOC

SMALL = [
    "--cfg-options",
    "model.backbone.width=0.125",
    "model.head.channels=32",
    "model.backbone.bn_momentum=0.1",
    "model.head.bn_momentum=0.1",
    "train_dataloader.batch_size=2",
    "train_dataloader.num_workers=0",
    "val_dataloader.num_workers=0",
    "train_dataloader.persistent_workers=False",
    "val_dataloader.persistent_workers=False",
    "train_dataloader.dataset.transforms.0.size_hw=(129, 129)",
]


def test_voc_images_are_trained_on_evaluated_and_predicted_through_the_voc_config(tmp_path, capsys):
    """Three images of VOC 2011, labels of 21 classes of which most do not occur."""
    root = shared("data", "voc3")
    three = ["train_dataloader.dataset.split=val", "train_dataloader.dataset.mask_dir=SegmentationClass"]
    short = ["train_cfg.max_iters=4", "train_cfg.val_interval=4", "default_hooks.checkpoint.interval=4"]
    name = "deeplabv3plus_xception65_voc"
    run = f"{tmp_path}/run"
    assert main(["train", name, "--data-root", f"{root}", "--work-dir", run, *SMALL, *three, *short]) == 0
    assert main(["eval", name, run, "--data-root", f"{root}", *SMALL]) == 0
    report = json.loads((tmp_path / "run" / "eval" / "metrics.json").read_text())
    masks = [np.array(Image.open(path)) for path in sorted((root / "SegmentationClass").glob("*.png"))]
    present = {VOC(root, "val").classes[i] for i in np.unique(np.concatenate([m.ravel() for m in masks])) if i < 255}
    assert set(report["IoU"]) - set(report["absent"]) == present
    assert sum(map(sum, report["confusion"])) == sum((m != 255).sum() for m in masks)
    assert main(["predict", run, f"{root}/JPEGImages", "--out", f"{tmp_path}/out"]) == 0
    for mask in sorted((root / "SegmentationClass").glob("*.png")):
        assert Image.open(tmp_path / "out" / "mask" / mask.name).size == Image.open(mask).size
    assert capsys.readouterr().out.count("2011_") >= 3


def test_camvid_passes_the_data_check(capsys):
    root = shared("data", "camvid")
    assert main(["data", "check", "own/deeplabv3plus", "--data-root", f"{root}"]) == 0
    assert "bicyclist" in capsys.readouterr().out


@pytest.mark.slow
def test_camvid_trains(tmp_path):
    """The CamVid run of docs/results.md on a CPU; about 40 minutes on 2 cores."""
    root = shared("data", "camvid")
    command = ["train", "own/deeplabv3plus", "--data-root", f"{root}", "--amp", "bf16"]
    assert main([*command, "--work-dir", f"{tmp_path}/run"]) == 0
    assert main(["eval", command[1], f"{tmp_path}/run", "--data-root", f"{root}"]) == 0
    report = json.loads((tmp_path / "run" / "eval" / "metrics.json").read_text())
    assert report["mIoU"] >= 55
