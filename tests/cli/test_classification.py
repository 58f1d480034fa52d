"""The commands with classifiers: train, evaluate, predict, and the classifier's trunk in a segmentation model."""

import csv
import json
import os
import subprocess
import sys

import pytest
import torch
from PIL import Image

import xseg
from backbones import AlignedXception, Xception
from heads import FCOS, ClassificationHead, DeepLabV3Plus
from xseg.cli import main
from xseg.models import Classifier, Detector, Segmentor
from xseg.weights import load_weights

LOADERS = [
    f"{loader}_dataloader.{option}"
    for loader in ("train", "val")
    for option in (
        "batch_size=4",
        "num_workers=0",
        "persistent_workers=False",
        "dataset.num_images={'train': 4, 'val': 3}",
    )
]
SHORT = ["train_cfg.max_iters=4", "train_cfg.val_interval=2", "default_hooks.checkpoint.interval=2"]
NARROW = "model.backbone.width=0.125"
TINY = ["--cfg-options", *SHORT, *LOADERS, NARROW, "model.class_weights=balanced", "model.mixup=0.2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with the work dir of four iterations on the objects of a few Shapes, and the data."""
    folder = tmp_path_factory.mktemp("trained")
    command = ["train", "shapes/xception", "--data-root", f"{folder}/shapes", "--work-dir", f"{folder}/run"]
    assert main([*command, *TINY]) == 0
    return folder


def test_training_keeps_the_best_by_top1_and_the_counted_weights(trained):
    assert len(list((trained / "run").glob("best_top1_*.pth"))) == 1
    checkpoint = torch.load(trained / "run" / "iter_4.pth", weights_only=True)
    meta = checkpoint["meta"]["xseg"]
    assert meta["classes"] == ("circle", "square", "triangle", "ring")
    assert len(meta["model"]["class_weights"]) == 4 and meta["model"]["head"]["num_classes"] == 4


def test_eval_prints_a_table_and_writes_numbers_and_pictures(trained, capsys):
    command = ["eval", "shapes/xception", f"{trained}/run", "--data-root", f"{trained}/shapes", "--worst", "1"]
    assert main([*command, *TINY]) == 0
    shown = capsys.readouterr().out
    assert "triangle" in shown and "all images, top 1" in shown and "confusion.csv" in shown
    out = trained / "run" / "eval"
    report = json.loads((out / "metrics.json").read_text())
    rows = list(csv.reader((out / "confusion.csv").open()))
    counts = [list(map(int, row[1:])) for row in rows[1:]]
    assert report["images"] == sum(map(sum, counts)) == sum(report["counts"].values())
    assert report["top1"] == pytest.approx(100 * sum(counts[i][i] for i in range(4)) / report["images"], abs=1e-3)
    assert len(list((out / "worst").glob("*.jpg"))) == (report["top1"] < 100)
    assert Image.open(out / "confusion.png").size[0] > 300


def test_eval_with_the_saved_config_gives_the_number_of_the_run(trained):
    saved = xseg.evaluate(trained / "run" / "xception.py", trained / "run", out=trained / "again")
    lines = [json.loads(x) for p in trained.glob("run/*/vis_data/scalars.json") for x in p.read_text().splitlines()]
    assert saved["top1"] == max(line["top1"] for line in lines if "top1" in line)


def test_predict_needs_only_the_checkpoint(trained, tmp_path, capsys):
    image = next((trained / "shapes" / "JPEGImages").iterdir())
    assert main(["predict", f"{trained}/run", f"{image}", "--out", f"{tmp_path}"]) == 0
    scores = json.loads((tmp_path / "scores" / f"{image.stem}.json").read_text())
    assert set(scores) == {"circle", "square", "triangle", "ring"} and sum(scores.values()) == pytest.approx(1)


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(trained, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29547"]
    script = ["eval", "shapes/xception", f"{trained}/run", "--data-root", f"{trained}/shapes"]
    done = subprocess.run(
        [*command, "-m", "xseg", *script, "--launcher", "pytorch", "--out", f"{tmp_path}/two", *TINY],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert main([*script, "--out", f"{tmp_path}/one", *TINY]) == 0
    one, two = ((tmp_path / n / "confusion.csv").read_text() for n in ("one", "two"))
    assert one == two


def test_folder_of_images_with_averaged_weights(trained, tmp_path):
    """The ImageNet recipe on two classes, with its learning-rate steps, dropout and Polyak averages."""
    for split in ("train", "val"):
        for name in ("n01", "n02"):
            (tmp_path / split / name).mkdir(parents=True)
            for index in range(2):
                Image.new("RGB", (40, 50), (index * 90, 50, 200)).save(tmp_path / split / name / f"{index}.JPEG")
    options = [o for o in LOADERS if "num_images" not in o]
    crops = ["train_dataloader.dataset.transforms.0.size_hw=[71,71]", "val_dataloader.dataset.transforms.0.size=71"]
    command = ["train", "imagenet/xception_train", "--data-root", f"{tmp_path}", "--work-dir", f"{tmp_path}/run"]
    assert main([*command, "--cfg-options", *SHORT, *options, *crops, NARROW, "model.head.num_classes=2"]) == 0
    checkpoint = torch.load(tmp_path / "run" / "iter_4.pth", weights_only=True)
    averaged, last = checkpoint["state_dict"], checkpoint["ema_state_dict"]
    name = "head.fc.weight"
    assert not torch.equal(averaged[name], last[f"module.{name}"])


def test_classifier_becomes_the_backbone_of_a_segmentation(trained, tmp_path, capsys):
    """One step at learning rate 0 with `--load-from`: the saved trunk is the classifier's."""
    options = [o for o in LOADERS if "batch_size" not in o]
    backbone = "model.backbone={'type': 'Xception', 'output_stride': 16, 'width': 0.125, '_delete_': True}"
    rest = ["train_cfg.max_iters=1", "default_hooks.checkpoint.interval=1", "optim_wrapper.optimizer.lr=0.0"]
    rest += ["train_dataloader.batch_size=2", "model.head.channels=16", "model.head.low_channels=8"]
    weights = trained / "run" / "iter_4.pth"
    command = ["train", "quickstart", "--data-root", f"{trained}/shapes", "--work-dir", f"{tmp_path}/run"]
    assert main([*command, "--load-from", f"{weights}", "--cfg-options", *options, backbone, *rest]) == 0
    trunk, whole = (torch.load(p, weights_only=True)["state_dict"] for p in (weights, tmp_path / "run" / "iter_1.pth"))
    names = [n for n in trunk if n.startswith("backbone.") and "running" not in n and "num_batches" not in n]
    assert len(names) > 100 and all(torch.equal(trunk[n], whole[n]) for n in names)
    assert "head.fc.weight" not in whole
    assert "new, as initialised: head." in next((tmp_path / "run").glob("*/*.log")).read_text()


@pytest.mark.parametrize("trunk", [dict(type=AlignedXception, depth=41, width=0.125), dict(type=Xception, width=0.125)])
def test_a_classifiers_trunk_gives_its_features_under_any_head(trunk, tmp_path):
    """Segmentation at output stride 16 and detection on three levels: at stride 32, C5 equals the classifier's."""
    classifier = Classifier({**trunk, "out": ("c5",)}, dict(type=ClassificationHead, num_classes=4))
    for buffer in classifier.backbone.buffers():  # statistics as after a training
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    torch.save({"state_dict": classifier.state_dict(), "meta": {}}, tmp_path / "classifier.pth")
    segmentor = Segmentor(
        {**trunk, "out": ("c2", "c5"), "output_stride": 16}, dict(type=DeepLabV3Plus, num_classes=3, channels=16)
    )
    detector = Detector({**trunk, "out": ("c3", "c4", "c5")}, dict(type=FCOS, num_classes=2, channels=16, num_levels=3))
    x = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        (expected,) = classifier.eval().backbone(x)
        for model in (segmentor, detector):
            model.eval().set_output_stride(32)
            assert not torch.equal(model.backbone(x)[-1], expected)
            fresh = load_weights(model, tmp_path / "classifier.pth")
            assert fresh and all(name.startswith("head.") for name in fresh)
            assert torch.equal(model.backbone(x)[-1], expected)


def test_errors_name_the_place(tmp_path, capsys):
    assert main(["train", "imagenet/xception_train", "--data-root", f"{tmp_path}", "--work-dir", f"{tmp_path}/w"]) == 1
    assert f"{tmp_path}/train: no such folder; expected there: CLASS" in capsys.readouterr().err
