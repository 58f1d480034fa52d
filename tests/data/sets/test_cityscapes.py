"""Instance ids as samples: objects by their numbers, groups as crowds, everything else left out."""

import numpy as np
import pytest
import torch
from peers import shared
from PIL import Image
from trees import cityscapes_scene, write_cityscapes

from xseg.data import CityscapesInstances
from xseg.data.sets.cityscapes import CITYSCAPES_THINGS

ID = "aachen_000000_000019"


def test_sample_is_the_contract(tmp_path):
    """The group of persons is 4 x 5 pixels; the first car, behind the pole, 12 of its 15; the second 2 x 4."""
    ids = cityscapes_scene()
    dataset = CityscapesInstances(write_cityscapes(tmp_path, {ID: ids}), with_masks=True)
    sample = dataset[0]
    assert sample["boxes_xyxy"].tolist() == [[15, 8, 20, 12], [1, 2, 6, 5], [10, 6, 14, 8]]
    assert sample["labels"].tolist() == [0, 2, 2] and sample["iscrowd"].tolist() == [True, False, False]
    assert sample["area"].tolist() == [20, 12, 8] and sample["area"].dtype == torch.float64
    assert sample["boxes_xyxy"].dtype == torch.float32 and sample["masks"].dtype == torch.uint8
    assert np.array_equal(sample["masks"].numpy(), np.stack([ids == id for id in (24, 26000, 26001)]))
    assert sample["meta"]["id"] == ID and sample["meta"]["size_hw"] == (12, 20)
    assert dataset.labels_of(0).tolist() == [0, 2, 2] and dataset.sizes_hw.tolist() == [[12, 20]]
    assert "masks" not in CityscapesInstances(tmp_path)[0]


def test_an_image_without_objects(tmp_path):
    sample = CityscapesInstances(write_cityscapes(tmp_path, {ID: np.full((6, 8), 7)}), with_masks=True)[0]
    assert sample["boxes_xyxy"].shape == (0, 4) and sample["masks"].shape == (0, 6, 8)
    assert sample["labels"].dtype == torch.int64 and sample["iscrowd"].dtype == torch.bool


def test_transforms_and_draws(tmp_path):
    root = write_cityscapes(tmp_path, {ID: cityscapes_scene()})
    sample = CityscapesInstances(root, transforms=[dict(type="RandomFlip", p=1)], with_masks=True)[0]
    assert sample["boxes_xyxy"][1].tolist() == [14, 2, 19, 5]
    assert np.array_equal(sample["masks"][1].numpy(), cityscapes_scene()[:, ::-1] == 26000)


def test_things_are_those_of_the_official_table():
    labels = pytest.importorskip("cityscapesscripts.helpers.labels").labels
    things = [label for label in labels if label.hasInstances and not label.ignoreInEval]
    assert [(label.name, label.id, label.color) for label in things] == [
        (label.name, label.id, label.colour) for label in CITYSCAPES_THINGS
    ]


def test_wrong_files_are_named(tmp_path):
    root = write_cityscapes(tmp_path, {ID: cityscapes_scene()})
    path = root / "gtFine" / "train" / "aachen" / f"{ID}_gtFine_instanceIds.png"
    Image.fromarray(np.zeros((6, 6), np.uint16)).save(path)
    with pytest.raises(ValueError, match=r"instanceIds\.png is \(6, 6\) pixels \(H, W\), but .*leftImg8bit\.png is"):
        CityscapesInstances(root)[0]
    Image.fromarray(np.zeros((12, 20, 3), np.uint8)).save(path)
    with pytest.raises(ValueError, match=r"instanceIds\.png is a PNG of mode RGB, not a grey PNG of ids"):
        CityscapesInstances(root)[0]
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"instanceIds\.png: no such mask file"):
        CityscapesInstances(root)[0]
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such folder; expected .*leftImg8bit"):
        CityscapesInstances(tmp_path / "nowhere")


def test_palette_files_of_instances(tmp_path):
    """VOC's SegmentationObject files are palette images: no ids of Cityscapes, and refused."""
    from xseg.data import read_ids

    with pytest.raises(ValueError, match="mode P, not a grey PNG"):
        read_ids(next(shared("data", "voc3", "SegmentationObject").glob("*.png")))
