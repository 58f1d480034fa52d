"""The commands with any number of labels per image: train, evaluate, predict."""

import json

import pytest
import torch
from PIL import Image

import xseg
from xseg.cli import main

LOADERS = [
    f"{loader}_dataloader.{option}"
    for loader in ("train", "val")
    for option in ("batch_size=4", "num_workers=0", "persistent_workers=False", "dataset.transforms.0.size=48")
]
SCENES = [f"{loader}_dataloader.dataset.num_images={{'train': 8, 'val': 6}}" for loader in ("train", "val")]
SHORT = ["train_cfg.max_iters=4", "train_cfg.val_interval=2", "default_hooks.checkpoint.interval=2"]
TINY = ["--cfg-options", *SHORT, *LOADERS, "model.backbone.width=0.125", "model.channels_last=False"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("multilabel")
    command = ["train", "shapes/xception_multilabel", "--data-root", f"{folder}/shapes"]
    options = [*TINY, *SCENES, "model.crop_size=48", "model.mixup=0.2", "model.class_weights=balanced"]
    assert main([*command, "--work-dir", f"{folder}/run", *options]) == 0
    return folder


def test_training_keeps_the_best_by_map_and_the_counted_weights(trained):
    assert len(list((trained / "run").glob("best_MAP100_*.pth"))) == 1
    model = torch.load(trained / "run" / "iter_4.pth", weights_only=True)["meta"]["xseg"]["model"]
    assert len(model["class_weights"]) == 4 and model["multi_label"] is True


def test_eval_with_the_saved_config_gives_the_number_of_the_run(trained, capsys):
    config = f"{trained}/run/xception_multilabel.py"
    assert main(["eval", config, f"{trained}/run", "--worst", "2"]) == 0
    shown = capsys.readouterr().out
    assert "MAP@100" in shown and "triangle" in shown
    report = json.loads((trained / "run" / "eval" / "metrics.json").read_text())
    lines = [json.loads(x) for p in trained.glob("run/*/vis_data/scalars.json") for x in p.read_text().splitlines()]
    assert report["MAP100"] == max(line["MAP100"] for line in lines if "MAP100" in line)
    assert report["images"] == 6 and set(report["F1"]) == {"circle", "square", "triangle", "ring"}
    assert len(list((trained / "run" / "eval" / "worst").glob("*.jpg"))) <= 2


def test_predict_needs_only_the_checkpoint(trained, tmp_path):
    image = next((trained / "shapes" / "JPEGImages").iterdir())
    assert main(["predict", f"{trained}/run", f"{image}", "--out", f"{tmp_path}"]) == 0
    scores = json.loads((tmp_path / "scores" / f"{image.stem}.json").read_text())
    assert set(scores) == {"circle", "square", "triangle", "ring"}
    result = xseg.load(trained / "run").predict(image)
    assert result.multi_label and dict(result.above(0.0)) == scores


def test_a_list_of_images(tmp_path):
    """Two images, one of them without a label, in a config whose data set is replaced."""
    for index in range(2):
        Image.new("RGB", (60, 50), (100 * index, 50, 200)).save(tmp_path / f"{index}.png")
    for split in ("train", "val"):
        (tmp_path / f"{split}.csv").write_text("path,labels\n0.png,blue|dark\n1.png,\n")
    parts = [
        f"{loader}_dataloader.dataset={{'type': 'MultiLabelList', 'root': '{tmp_path}', 'split': '{loader}', "
        "'transforms': [{'type': 'CentreCrop', 'size': 48}], '_delete_': True}"
        for loader in ("train", "val")
    ]
    options = [option for option in TINY if "transforms" not in option]
    command = ["train", "shapes/xception_multilabel", "--work-dir", f"{tmp_path}/run"]
    assert main([*command, *options, *parts, "train_dataloader.batch_size=2"]) == 0
    meta = torch.load(tmp_path / "run" / "iter_4.pth", weights_only=True)["meta"]["xseg"]
    assert meta["classes"] == ("blue", "dark")
