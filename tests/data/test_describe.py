"""`describe` tells the metainfo of a data set that is not built: no image is read, nothing is written."""

import functools
import json

import pytest
import torch
from PIL import Image
from trees import cityscapes_scene, write_cityscapes, write_detection, write_voc

import xseg
from xseg.config import fill_num_classes, load_config
from xseg.data import (
    ADE20K,
    VOC,
    Cityscapes,
    CityscapesInstances,
    CityscapesPanoptic,
    CocoDetection,
    CocoPanoptic,
    ImageFolder,
    ImageList,
    ImageMaskFolder,
    MultiLabelList,
    SegmentationDataset,
    Shapes,
    ShapesClassification,
    ShapesDetection,
    ShapesMultiLabel,
    ShapesPanoptic,
    VOCDetection,
)
from xseg.data.read.coco import read_categories
from xseg.data.sample import describe
from xseg.run.train import train

QUICKSTARTS = (
    "quickstart",
    "shapes/fcos",
    "shapes/mask_rcnn",
    "shapes/joint",
    "shapes/xception",
    "shapes/xception_multilabel",
)
SMALL = dict(num_images=dict(train=3, val=1), size_hw=(48, 48))
CATEGORIES = [dict(id=9, name="sky", isthing=0), dict(id=3, name="car", isthing=1), dict(id=7, name="cat", isthing=1)]


def write_image(path, value=0, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (6, 4), value if mode == "L" else (value,) * 3).save(path)


def voc(root):
    return dict(root=write_voc(root, train=["a"]))


def voc_of_own_classes(root):
    (write_voc(root, train=["a"]) / "classes.txt").write_text("ground\ntree\n")
    return dict(root=root, palette=[(0, 0, 0), (9, 9, 9)])


def voc_detection(root):
    return dict(root=write_detection(root, [("cat", 1, 1, 9, 9, 0)]))


def cityscapes(root):
    return dict(root=write_cityscapes(root, {"aachen_000000_000019": cityscapes_scene()}))


def coco(root):
    write_image(root / "val" / "a.png")
    content = dict(images=[dict(id=1, file_name="a.png", height=4, width=6)], annotations=[], categories=CATEGORIES)
    (root / "a.json").write_text(json.dumps(content))
    return dict(images="val", annotations="a.json", root=root)


def coco_of_two_classes(root):
    return coco(root) | dict(classes=["cat", "car"], palette=[(1, 2, 3), (4, 5, 6)])


def coco_panoptic(root):
    (root / "segments").mkdir()
    config = coco(root) | dict(segments="segments")
    content = json.loads((root / "a.json").read_text())
    content["annotations"] = [dict(image_id=1, file_name="a.png", segments_info=[])]
    (root / "a.json").write_text(json.dumps(content))
    return config


def ade20k(root):
    write_image(root / "images" / "training" / "a.jpg")
    write_image(root / "annotations" / "training" / "a.png", mode="L")
    (root / "objectInfo150.txt").write_text("Idx\tName\n1\twall, rampart\n2\tsky\n")
    return dict(root=root)


def folder_of_masks(root):
    write_image(root / "images" / "a.jpg")
    write_image(root / "masks" / "a.png", mode="L")
    return dict(images=root / "images", masks=root / "masks", classes=["ground", "tree"])


def folders_of_classes(root):
    for name in ("train/cat", "train/dog", "val/dog"):
        write_image(root / name / "a.jpg")
    return dict(root=root, split="val")


def csv_of_labels(root):
    for split, rows in (("train", "a.jpg,dog\nb.jpg,cat\n"), ("val", "a.jpg,dog\n")):
        (root / f"{split}.csv").write_text(f"path,label\n{rows}")
    return dict(root=root, split="val")


def json_of_labels(root):
    (root / "train.json").write_text(json.dumps([dict(path="a.jpg", labels=["dog", "cat"])]))
    (root / "val.json").write_text(json.dumps([dict(path="a.jpg", labels=[])]))
    return dict(root=root, split="val")


def shapes(root):
    return dict(root=root / "shapes", **SMALL)


SETS = [
    (VOC, voc),
    (VOC, voc_of_own_classes),
    (VOCDetection, voc_detection),
    (Cityscapes, cityscapes),
    (CityscapesInstances, cityscapes),
    (CityscapesPanoptic, cityscapes),
    (CocoDetection, coco),
    (CocoDetection, coco_of_two_classes),
    (CocoPanoptic, coco_panoptic),
    (ADE20K, ade20k),
    (ImageMaskFolder, folder_of_masks),
    (ImageFolder, folders_of_classes),
    (ImageList, csv_of_labels),
    (MultiLabelList, json_of_labels),
    (Shapes, shapes),
    (ShapesDetection, shapes),
    (ShapesClassification, shapes),
    (ShapesMultiLabel, shapes),
    (ShapesPanoptic, shapes),
]


@pytest.mark.parametrize("kind, write", SETS, ids=[f"{kind.__name__}-{write.__name__}" for kind, write in SETS])
def test_describes_what_the_built_data_set_says(tmp_path, monkeypatch, kind, write):
    config = dict(type=kind, transforms=[dict(type="RandomFlip")], **write(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(kind, "__init__", lambda *_, **__: pytest.fail("built"))
        patch.setattr("pathlib.Path.mkdir", lambda *_, **__: pytest.fail("written"))
        described = kind.describe(**{key: value for key, value in config.items() if key != "type"})
    built = kind(**{key: value for key, value in config.items() if key != "type"})
    assert described == built.metainfo == describe(config) == describe(config | dict(type=kind.__name__))
    assert described["classes"] and isinstance(described["classes"], tuple)


@pytest.mark.parametrize("name", QUICKSTARTS)
def test_loading_a_quickstart_writes_nothing(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    model = xseg.load(name)
    assert model.classes[-4:] == ("circle", "square", "triangle", "ring")
    assert not list(tmp_path.iterdir())


def counted(monkeypatch, kind):
    """The splits of all data sets of a kind that are built from now on."""
    built, init = [], kind.__init__

    @functools.wraps(init)  # config keys are checked by the signature
    def counting(self, *args, split="train", **more):
        built.append(split)
        init(self, *args, split=split, **more)

    monkeypatch.setattr(kind, "__init__", counting)
    return built


@pytest.mark.parametrize("class_weights, builds", [(None, 1), ("balanced", 2)])
def test_a_dry_run_builds_the_training_set_once(tmp_path, monkeypatch, class_weights, builds):
    """Balanced class weights need a data set of their own: they are counted before the Runner, which builds another."""
    monkeypatch.chdir(tmp_path)
    built = counted(monkeypatch, Shapes)
    overrides = {
        "train_dataloader.dataset.num_images": dict(train=8, val=2),
        "val_dataloader.dataset.num_images": dict(train=8, val=2),
        "train_dataloader.dataset.size_hw": (48, 48),
        "val_dataloader.dataset.size_hw": (48, 48),
        "train_dataloader.num_workers": 0,
        "train_dataloader.persistent_workers": False,
        "val_dataloader.num_workers": 0,
        "val_dataloader.persistent_workers": False,
        "train_dataloader.batch_size": 2,
    }
    cfg = load_config("quickstart", overrides)
    cfg.model.losses = [dict(type="CrossEntropy", class_weights=class_weights)]
    train(cfg, dry_run=True)
    assert built.count("train") == builds and built.count("val") == 1


class Mine(SegmentationDataset):
    """A user's data set: it inherits a `describe` that does not fit its arguments."""

    def __init__(self, folder):
        super().__init__([("a", folder / "a.jpg", None)], ["ground", "tree"])


class MinePlain(torch.utils.data.Dataset):
    """A data set without `describe`."""

    @property
    def metainfo(self):
        return dict(classes=("ground", "tree"))


def test_a_class_that_cannot_tell_is_built(tmp_path):
    assert describe(dict(type=Mine, folder=tmp_path))["classes"] == ("ground", "tree")
    assert describe(dict(type=MinePlain)) == dict(classes=("ground", "tree"))


def test_standard_classes_need_no_files_where_the_head_agrees(tmp_path):
    """Without its folder a VOC set may have any classes; 21 of the head and of VOC are taken for the same."""
    for num_classes, is_known in ((21, True), (5, False), (None, False)):
        cfg = load_config("voc/deeplabv3plus", data_root=tmp_path / "nowhere")
        if num_classes is not None:
            cfg.model.head.num_classes = num_classes
        if is_known:
            assert fill_num_classes(cfg, "val_dataloader")["classes"][0] == "background"
        else:
            with pytest.raises(FileNotFoundError, match=r"nowhere: no such folder; expected .*JPEGImages"):
                fill_num_classes(cfg, "val_dataloader")


@pytest.mark.parametrize("before", [0, 3, 70_000])
def test_categories_are_read_alone(tmp_path, before):
    """Wherever they stand, and also where a character of several bytes lies across the end of what is read first."""
    rows = [dict(id=id, name="ä" * 50) for id in range(3000)]
    content = dict(info="x" * before, categories=rows, annotations=[dict(id=1)], images=[])
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    path.write_text(path.read_text(encoding="utf-8")[:-3], encoding="utf-8")  # no JSON behind the categories
    assert read_categories(path) == dict(categories=rows)


def test_categories_of_a_doubtful_file_are_those_of_the_whole(tmp_path):
    path = tmp_path / "a.json"
    rows = [dict(id=1, name="cat")]
    content = dict(info=dict(categories=[5]), images=[], annotations=[], categories=rows)
    path.write_text(json.dumps(content))
    assert read_categories(path)["categories"] == rows
    path.write_text('{"categories": [')
    with pytest.raises(ValueError, match="is not JSON, or not complete"):
        read_categories(path)
    path.write_text("")
    with pytest.raises(ValueError, match="is not JSON, or not complete"):
        read_categories(path)
    with pytest.raises(FileNotFoundError, match="no such annotation file"):
        read_categories(tmp_path / "b.json")


def test_a_list_of_pairs_is_not_looked_at(tmp_path):
    settings = dict(pairs=[("a", tmp_path / "none.jpg", None)], classes=["ground", "tree"])
    assert describe(dict(type=SegmentationDataset, **settings))["palette"] == [(0, 0, 0), (128, 0, 0)]
