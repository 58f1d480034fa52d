"""The data check finds every planted fault, goes on after each, and says nothing of a sound set."""

import io
import shutil

import numpy as np
from PIL import Image
from rich.console import Console
from trees import write_pair, write_split, write_voc

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
    names = ["good", "no_image", "no_mask", "torn", "torn_mask", "rgb", "size", "label", "twice"]
    write_voc(tmp_path, train=[*names, "twice"])
    images, masks = tmp_path / "JPEGImages", tmp_path / "SegmentationClass"
    (images / "no_image.jpg").unlink()
    (masks / "no_mask.png").unlink()
    for path in (images / "torn.jpg", masks / "torn_mask.png"):
        path.write_bytes(path.read_bytes()[:-40])
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
        ("unreadable file", "torn.jpg"),
        ("unreadable file", "torn_mask.png"),
    ]
    assert not report.ok
    text = printed(report)
    assert "8 faults" in text and "label 77 at row 5, column 7" in text and "copy it again" in text


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
    assert report.warnings == ["data set: no mask holds y, z", "data set: 60% of all pixels are void (255)"]


def test_long_lists_are_cut():
    report = Report([Fault("missing file", "train", f"{n}.jpg", f"{n}.jpg: gone [sic]") for n in range(25)])
    text = printed(report)
    assert "missing file: 25" in text and "19.jpg: gone [sic]" in text and "20.jpg" not in text
    assert "and 5 more" in text
