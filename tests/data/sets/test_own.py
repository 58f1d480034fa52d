"""People's own folders as data sets of every task."""

import json

import pytest
import torch
from labelled import shape, write_labelme

from xseg.data import OwnDetection, OwnPanoptic, OwnSegmentation
from xseg.data.sample import check_sample, describe


@pytest.fixture
def folder(tmp_path):
    """Two images of 40 x 60: a large rectangle with a small one drawn before it, and a triangle."""
    small, large = [[20, 10], [30, 20]], [[10, 5], [50, 35]]
    write_labelme(tmp_path, "train/a", [shape("mouse", small, "rectangle"), shape("cat", large, "rectangle")])
    write_labelme(tmp_path, "val/b", [shape("cat", [[0, 0], [20, 0], [0, 20]])])
    return tmp_path


def test_outlines_are_drawn_small_over_large(folder):
    """By hand: 30 x 40 pixels of the cat, of which the mouse covers 10 x 10; labels follow the background."""
    data = OwnSegmentation(folder, "train")
    assert (
        data.classes == ("background", "cat", "mouse") == describe(dict(type=OwnSegmentation, root=folder))["classes"]
    )
    sample = data[0]
    check_sample(sample)
    mask = sample["mask"]
    assert mask.flatten().bincount(minlength=3).tolist() == [40 * 60 - 1200, 1100, 100]
    assert (mask[10:20, 20:30] == 2).all() and mask[5, 10] == 1 and mask[4, 10] == 0


def test_objects_with_and_without_masks(folder):
    boxes = OwnDetection(folder, "train")
    sample = boxes[0]
    check_sample(sample)
    assert boxes.classes == ("cat", "mouse") and sample["labels"].tolist() == [1, 0]
    assert sample["boxes_xyxy"].tolist() == [[20, 10, 30, 20], [10, 5, 50, 35]] and "masks" not in sample
    masks = OwnDetection(folder, "train", with_masks=True)[0]["masks"]
    assert masks.sum((1, 2)).tolist() == [100, 1200]


def test_panoptic_from_outlines(folder):
    data = OwnPanoptic(folder, "val")
    assert data.metainfo["things"] == (1, 2) and data.metainfo["classes"] == ("background", "cat", "mouse")
    sample = data[0]
    check_sample(sample)
    assert torch.equal(sample["mask"] == 1, sample["masks"][0].bool()) and sample["labels"].tolist() == [0]


def test_a_file_of_splits_replaces_those_of_the_folders(folder, tmp_path):
    splits = tmp_path / "splits.json"
    splits.write_text(json.dumps(dict(train=["val/b"], val=["train/a"])))
    assert OwnSegmentation(folder, "train", splits=splits)[0]["meta"]["id"] == "val/b"
    splits.write_text(json.dumps(dict(train=["val/c"])))
    with pytest.raises(ValueError, match=r"train names 'val/c', which is not in"):
        OwnSegmentation(folder, "train", splits=splits)
    with pytest.raises(ValueError, match="has no split 'test'"):
        OwnSegmentation(folder, "test")
    with pytest.raises(ValueError, match="but the config says dog"):
        OwnDetection(folder, classes=["dog"])
