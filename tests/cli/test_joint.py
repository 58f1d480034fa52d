"""The commands with joint models: train, evaluate with panoptic quality, predict on drawn shapes."""

import json

import pytest
from trees import cityscapes_scene, write_cityscapes

from xseg import evaluate, train
from xseg.cli import main
from xseg.cli.options import literal
from xseg.config import load_config
from xseg.data import Shapes

TINY = [
    "--cfg-options",
    "model.backbone.width=0.125",
    "model.channels_last=False",  # see `AlignedXception`, width
    "model.head.channels=16",
    "model.detection_head.channels=16",
    "model.detection_head.hidden=32",
    "train_dataloader.dataset.num_images={'train': 6, 'val': 4}",
    "val_dataloader.dataset.num_images={'train': 6, 'val': 4}",
    "train_dataloader.batch_size=2",
    "train_dataloader.num_workers=0",
    "train_dataloader.persistent_workers=False",
    "val_dataloader.num_workers=0",
    "val_dataloader.persistent_workers=False",
    "train_cfg.max_iters=3",
    "train_cfg.val_interval=3",
    "default_hooks.checkpoint.interval=3",
]


def test_train_evaluate_predict(tmp_path, capsys):
    root = ["--data-root", f"{tmp_path}/shapes"]
    assert main(["train", "shapes/joint", *root, "--work-dir", f"{tmp_path}/run", *TINY]) == 0
    assert main(["eval", "shapes/joint", f"{tmp_path}/run", *root, "--panoptic", *TINY]) == 0
    screen = capsys.readouterr().out
    assert "PQ %" in screen and "segm AP %" in screen and "IoU %" in screen
    folder = tmp_path / "run" / "eval"
    report = json.loads((folder / "metrics.json").read_text())
    assert report["images"] == 4 and 0 <= report["PQ_stuff"] <= 100 and 0 <= report["segm_mAP_50"] <= 100
    assert set(report["panoptic"]) == {"background", "circle", "square", "triangle", "ring"}
    assert set(report["IoU"]) == set(report["panoptic"]) and set(report["bbox_AP"]) == set(report["IoU"]) - {
        "background"
    }
    assert list(folder.glob("worst/*_iou*.jpg")) and list(folder.glob("worst/*_errors*.jpg"))
    main(["eval", "shapes/joint", f"{tmp_path}/run", *root, *TINY])
    assert "PQ" not in json.loads((folder / "metrics.json").read_text())
    out = tmp_path / "out"
    assert main(["predict", f"{tmp_path}/run", f"{tmp_path}/shapes/JPEGImages", "--out", f"{out}"]) == 0
    for kind, suffix in (("mask", "png"), ("drawn", "jpg"), ("boxes", "json"), ("panoptic", "png")):
        assert len(list((out / kind).glob(f"*.{suffix}"))) == 10, kind


@pytest.mark.parametrize("head", ["FCOS", pytest.param("RetinaNet", marks=pytest.mark.slow)])
def test_boxes_without_masks_have_no_panoptic_quality(head, tmp_path):
    """A joint model with another detection head than Mask R-CNN trains and evaluates, but refuses `panoptic`."""
    cfg = load_config("shapes/joint", data_root=tmp_path / "shapes")
    cfg.model.detection_head = dict(type=head, channels=16, num_convs=1, num_levels=3)
    cfg.model.detection_from = 1
    options = dict(item.split("=", 1) for item in TINY[1:] if not item.startswith("model.detection_head"))
    cfg.merge_from_dict({key: literal(text) for key, text in options.items()})
    train(cfg, work_dir=tmp_path / "run")
    report = evaluate(cfg, tmp_path / "run")
    assert report["bbox_mAP"] is not None and report["mIoU"] > 0 and "segm_mAP" not in report
    with pytest.raises(ValueError, match="JointModel with instance masks"):
        evaluate(cfg, tmp_path / "run", panoptic=True)


def test_data_without_things_is_refused(tmp_path):
    """A data set with masks only does not say which classes have instances."""
    cfg = load_config("shapes/joint")
    cfg.train_dataloader.dataset = dict(type=Shapes, root=tmp_path / "shapes", num_images=dict(train=1, val=1))
    with pytest.raises(ValueError, match=r"train_dataloader.dataset does not say which classes are things"):
        train(cfg, dry_run=True)


def test_cityscapes_as_downloaded(tmp_path, capsys):
    """Two steps, one validation with panoptic quality and one checkpoint, on scenes of 96 x 160 pixels."""
    scene = cityscapes_scene().repeat(8, 0).repeat(8, 1)
    for split, id in (("train", "aachen_000000_000019"), ("train", "aachen_000001_000019"), ("val", "a_000000_000019")):
        write_cityscapes(tmp_path, {id: scene}, split, id.split("_")[0])
    options = [
        "load_from=None",
        "model.backbone.width=0.25",
        "model.head.channels=16",
        "model.detection_head.channels=16",
        "model.detection_head.hidden=32",
        "train_dataloader.batch_size=2",
        "train_dataloader.dataset.transforms.0.size_hw=(96, 160)",
    ]
    options += [
        f"{split}_dataloader.{key}"
        for split in ("train", "val")
        for key in ("num_workers=0", "persistent_workers=False")
    ]
    command = ["train", "cityscapes/joint", "--data-root", f"{tmp_path}", "--dry-run"]
    assert main([*command, "--cfg-options", *options]) == 0
    assert "Dry run OK" in capsys.readouterr().out
