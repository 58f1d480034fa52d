"""The data check finds every planted fault, goes on after each, and says nothing of a sound set."""

import io
import json
import shutil

import numpy as np
import pytest
from mmengine.registry import DATASETS
from peers import shared
from PIL import Image
from rich.console import Console
from trees import cityscapes_scene, write_cityscapes, write_detection, write_pair, write_split, write_voc

from xseg.cli import main
from xseg.data import VOC, write_mask
from xseg.data.check import Fault, Report, check, check_dataset


def printed(report):
    console = Console(file=io.StringIO(), width=200)
    report.print(console)
    return console.file.getvalue()


def test_sound_data_set(tmp_path):
    """Two masks of 20x30 with a block of 5x8 pixels of class 1: 80 of 1200 pixels."""
    dataset = VOC(write_voc(tmp_path, train=["a", "b"]), classes=["ground", "block"])
    report = check_dataset(dataset, "train")
    assert report.ok and report.faults == [] and report.warnings == []
    statistics = report.statistics["train"]
    assert statistics.pixels[:2].tolist() == [1120, 80] and statistics.pixels.sum() == 1200
    assert statistics.images[:2].tolist() == [2, 2] and statistics.sizes_hw == {(20, 30): 2}
    assert "no faults" in printed(report) and "6.67" in printed(report)


def test_every_fault_is_found_once(tmp_path):
    names = ["good", "no_image", "no_mask", "torn", "damaged", "torn_mask", "rgb", "size", "label", "twice"]
    write_voc(tmp_path, train=[*names, "twice"])
    images, masks = tmp_path / "JPEGImages", tmp_path / "SegmentationClass"
    (images / "no_image.jpg").unlink()
    (masks / "no_mask.png").unlink()
    for path in (images / "torn.jpg", masks / "torn_mask.png"):
        path.write_bytes(path.read_bytes()[:-40])
    damaged = images / "damaged.jpg"
    content = damaged.read_bytes()
    damaged.write_bytes(content[: len(content) * 4 // 5] + b"\xff\xd9")
    Image.new("RGB", (30, 20)).save(masks / "rgb.png")
    Image.new("L", (31, 20)).save(masks / "size.png")
    write_pair(tmp_path, "label", label=77)
    report = check_dataset(VOC(tmp_path))
    found = sorted((fault.kind, fault.path.split("/")[-1]) for fault in report.faults)
    assert found == [
        ("RGB mask", "rgb.png"),
        ("duplicate id", "twice.jpg"),
        ("label out of range", "label.png"),
        ("missing file", "no_image.jpg"),
        ("missing file", "no_mask.png"),
        ("size mismatch", "size.png"),
        ("unreadable file", "damaged.jpg"),
        ("unreadable file", "torn.jpg"),
        ("unreadable file", "torn_mask.png"),
    ]
    assert not report.ok
    text = printed(report)
    assert "9 faults" in text and "label 77 at row 5, column 7" in text and "copy it again" in text


def test_overlap_is_found_by_content(tmp_path):
    write_voc(tmp_path, train=["a", "b"], val=["c"])
    shutil.copy(tmp_path / "JPEGImages" / "b.jpg", tmp_path / "JPEGImages" / "d.jpg")
    shutil.copy(tmp_path / "SegmentationClass" / "b.png", tmp_path / "SegmentationClass" / "d.png")
    sets = {split: VOC(tmp_path, split) for split in ("train", "val")}
    assert check(dict(sets, test=sets["val"])).ok, "val and test may be one set"
    write_split(tmp_path, "val", ["c", "d"])
    (fault,) = check({split: VOC(tmp_path, split) for split in ("train", "val")}).faults
    assert fault.kind == "train/val overlap" and "d.jpg is the same image as" in fault.message


def test_warnings_are_no_faults(tmp_path):
    write_voc(tmp_path, train=["a"])
    mask = np.full((20, 30), 255, np.uint8)
    mask[:8] = 0  # 40 % of the pixels
    write_mask(tmp_path / "SegmentationClass" / "a.png", mask)
    report = check_dataset(VOC(tmp_path, classes=["x", "y", "z"]))
    assert report.ok
    assert report.warnings == ["data set: no mask has y, z", "data set: 60% of all pixels are void (255)"]


def test_long_lists_are_cut():
    report = Report([Fault("missing file", "train", f"{n}.jpg", f"{n}.jpg: gone [sic]") for n in range(25)])
    text = printed(report)
    assert "missing file: 25" in text and "19.jpg: gone [sic]" in text and "20.jpg" not in text
    assert "and 5 more" in text


# boxes


def coco(root, annotations, images=((1, "a"), (2, "b")), size_hw=(20, 30), **options):
    """The config of a COCO set of noise images; its JSON says 20 x 30 pixels."""
    (root / "images").mkdir(exist_ok=True)
    for _, name in images:
        pixels = np.random.default_rng(sum(name.encode())).integers(0, 256, (*size_hw, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{name}.png")
    rows = [dict(id=id, file_name=f"{name}.png", height=20, width=30) for id, name in images]
    categories = [dict(id=4, name="cat"), dict(id=2, name="dog")]
    content = dict(images=rows, annotations=annotations, categories=categories)
    (root / "a.json").write_text(json.dumps(content))
    return dict(type="CocoDetection", root=root, images="images", annotations="a.json", **options)


def box(id, xywh, category=2, image=1, **more):
    return dict(id=id, image_id=image, category_id=category, bbox=list(xywh), **more)


def test_sound_boxes(tmp_path):
    """A dog of 12 x 10 (small), one that leaves the image by 5 pixels, a crowd; the second image has nothing."""
    rows = [box(1, (2, 3, 12, 10)), box(2, (20, 5, 15, 10)), box(3, (0, 0, 30, 20), 4, iscrowd=1)]
    report = check_dataset(coco(tmp_path, rows), "train")
    assert report.ok
    assert report.warnings == [
        "train: 1 boxes leave their image by more than a pixel and are clipped",
        "train: no image has cat",
    ]
    statistics = report.statistics["train"]
    assert statistics.objects.tolist() == [[2, 0, 0], [0, 0, 0]] and statistics.images.tolist() == [1, 0]
    assert statistics.left_aside.tolist() == [0, 1] and (statistics.num_empty, statistics.most) == (1, 2)
    text = printed(report)
    assert "train: 2 images, 2 objects" in text and "mean 1.0, most 2; 1 images without" in text
    assert "sizes: 1 different; width 30 to 30, height 20 to 20" in text
    built = check_dataset(DATASETS.build(coco(tmp_path, rows)), "train")
    assert built.ok and built.statistics["train"].objects.tolist() == statistics.objects.tolist()


def broken_coco(root):
    """One fault of every kind."""
    rows = [
        box(1, (2, 3, 0, 10)),
        box(2, (40, 3, 5, 5)),
        box(3, (2, 3, float("nan"), 5)),
        box(4, (2, 3, 5)),
        box(5, (2, 3, 5, 5), category=9),
        box(6, (2, 3, 5, 5), image=9),
        box(7, (2, 3, 5, 5)),
        box(7, (4, 3, 5, 5), category=4),
    ]
    images = ((1, "a"), (2, "b"), (3, "torn"), (4, "gone"), (5, "size"), (5, "again"))
    config = coco(root, rows, images)
    torn = root / "images" / "torn.png"
    torn.write_bytes(torn.read_bytes()[:-40])
    (root / "images" / "gone.png").unlink()
    Image.new("RGB", (20, 30)).save(root / "images" / "size.png")
    return config


def test_every_fault_of_boxes_is_found_once(tmp_path):
    report = check_dataset(broken_coco(tmp_path))
    assert sorted(fault.kind for fault in report.faults) == [
        "box not finite",
        "box outside",
        "box without area",
        "duplicate id",  # image 5
        "duplicate id",  # annotation 7
        "missing file",
        "no box",
        "size mismatch",
        "unknown class",
        "unknown image",
        "unreadable file",
    ]
    text = printed(report)
    assert "a.json: annotation 1: box (2, 3, 2, 13) in xyxy: box without area; correct it, or leave" in text
    assert "size.png is 20x30 pixels, but its annotation says 30x20; the image may carry an EXIF" in text
    assert "annotation id 7 occurs 2 times" in text and "annotation 6: image_id 9 is not in the file" in text
    dropped = check_dataset(coco(tmp_path, [box(1, (2, 3, 0, 10)), box(2, (2, 3, 4, 4))], drop_invalid=True))
    assert dropped.ok and "1 boxes without area inside their image are left out (drop_invalid)" in dropped.warnings[0]
    nothing = check_dataset(coco(tmp_path, [box(1, (2, 3, 0, 10)), box(2, (2, 3, 4, -4))], drop_invalid=True))
    assert [fault.kind for fault in nothing.faults] == ["no valid box"]


def test_coco_files_outside_are_named(tmp_path):
    (tmp_path / "set").mkdir()
    report = check_dataset(coco(tmp_path / "set", [], images=((1, "a"), (2, "../../b"))))
    assert [fault.kind for fault in report.faults] == ["wrong file name"] and "leads out of" in report.faults[0].message


def test_masks_are_looked_at_where_they_are_asked_for(tmp_path):
    rows = [box(1, (2, 3, 5, 5), segmentation=[[1, 2, 3, 4]]), box(2, (9, 3, 5, 5), segmentation=[[1, 2, 9, 2, 9, 9]])]
    assert check_dataset(coco(tmp_path, rows)).ok
    (fault,) = check_dataset(coco(tmp_path, rows, with_masks=True)).faults
    assert fault.kind == "no mask" and "annotation 1: a polygon must be" in fault.message


def test_boxes_in_xml(tmp_path):
    """A flat box, a class that is none, a difficult object, an annotation that is torn; and one box twice."""
    objects = [("dog", 1, 1, 9, 9, 0), ("dog", 1, 1, 9, 9, 0), ("cat", 9, 2, 8, 9, 0), ("cow boy", 1, 1, 9, 9, 0)]
    root = write_detection(tmp_path, [*objects, ("cat", 2, 2, 9, 9, 1)], ids=("a", "b"))
    (root / "Annotations" / "b.xml").write_text("<annotation>")
    report = check_dataset(dict(type="VOCDetection", root=root), "train")
    assert sorted(fault.kind for fault in report.faults) == ["box without area", "unknown class", "unreadable file"]
    assert any("1 boxes occur more than once with the same class" in warning for warning in report.warnings)
    assert report.statistics["train"].left_aside[7] == 1 and report.statistics["train"].objects[11].tolist() == [
        2,
        0,
        0,
    ]


def test_commands_on_boxes(tmp_path, capsys):
    """BCCD and Shapes are sound; a broken file gives 3."""
    bccd = shared("data", "bccd")
    assert main(["data", "check", "own/fcos", "--data-root", f"{bccd}"]) == 0
    out = capsys.readouterr().out
    assert "train: 205 images, 2805 objects" in out and "val: 87 images, 1138 objects" in out and "no faults" in out
    options = [f"{split}_dataloader.dataset.num_images={{'train': 6, 'val': 4}}" for split in ("train", "val")]
    shapes = ["data", "check", "shapes/retinanet", "--data-root", f"{tmp_path}/shapes", "--cfg-options", *options]
    assert main(shapes) == 0 and "train: 6 images" in capsys.readouterr().out
    broken_coco(tmp_path)
    names = [
        f"{split}_dataloader.dataset.{key}"
        for split in ("train", "val")
        for key in ("images=images", "annotations=a.json")
    ]
    command = ["data", "check", "coco/fcos", "--data-root", f"{tmp_path}", "--cfg-options", *names]
    assert main(command) == 3
    assert "train/val overlap" in capsys.readouterr().out


def test_cityscapes_instances(tmp_path):
    root = write_cityscapes(tmp_path, {"aachen_000000_000019": cityscapes_scene()})
    statistics = check_dataset(dict(type="CityscapesInstances", root=root), "train").statistics["train"]
    assert statistics.objects[2].tolist() == [2, 0, 0] and statistics.left_aside[0] == 1


# one label an image


def test_labels(tmp_path, capsys):
    """Three images of a, one of them again and once more as b; c has none in train, a torn one in val."""
    rng = np.random.default_rng(0)
    for split, name in (("train", "a/1"), ("train", "a/2"), ("train", "b/1"), ("val", "c/1")):
        path = tmp_path / split / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 9, 3), dtype=np.uint8)).save(path)
    train, val = tmp_path / "train", tmp_path / "val"
    (tmp_path / "classes.txt").write_text("a\nb\nc\n")
    config = {split: dict(type="ImageFolder", root=tmp_path, split=split) for split in ("train", "val")}
    report = check(config)
    assert report.ok and report.warnings == ["train: no image of c", "val: no image of a, b"]
    assert "train: 3 images" in printed(report) and "66.67" in printed(report)
    shutil.copy(train / "a" / "1.png", train / "a" / "3.png")
    shutil.copy(train / "a" / "1.png", train / "b" / "9.png")
    shutil.copy(train / "b" / "1.png", val / "c" / "2.png")
    (val / "c" / "1.png").write_bytes((val / "c" / "1.png").read_bytes()[:-40])
    report = check(config)
    assert sorted(fault.kind for fault in report.faults) == ["train/val overlap", "two labels", "unreadable file"]
    assert f"train: 1 images occur more than once, first {train}/a/3.png" in report.warnings
    assert main(["data", "check", "own/cells", "--data-root", f"{tmp_path}"]) == 3
    capsys.readouterr()


def test_what_is_no_data_set():
    with pytest.raises(ValueError, match="data set: list cannot be checked"):
        check_dataset([])
