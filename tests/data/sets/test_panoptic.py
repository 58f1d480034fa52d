"""Samples that hold all pixels and all objects, and the panoptic ground truth that follows from them."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from trees import cityscapes_scene, write_cityscapes

from heads.panoptic import panoptic_of_sample
from xseg.data import (
    CityscapesInstances,
    CityscapesPanoptic,
    CocoPanoptic,
    PanopticDataset,
    Shapes,
    ShapesDetection,
    ShapesPanoptic,
)

ID = "aachen_000000_000019"
SMALL = dict(num_images=dict(train=3, val=1), size_hw=(64, 80))


def test_shapes_are_both_data_sets_in_one(tmp_path):
    joint = ShapesPanoptic(tmp_path / "s", **SMALL)
    pixels, objects = Shapes(tmp_path / "s", **SMALL), ShapesDetection(tmp_path / "s", with_masks=True, **SMALL)
    assert joint.metainfo["classes"] == pixels.classes and joint.metainfo["things"] == (1, 2, 3, 4)
    for index in range(3):
        sample = joint[index]
        assert torch.equal(sample["mask"], pixels[index]["mask"]) and sample["meta"] == objects[index]["meta"]
        for key in ("image", "boxes_xyxy", "labels", "iscrowd", "area", "masks"):
            assert torch.equal(sample[key], objects[index][key]), key
        found = panoptic_of_sample(sample, joint.metainfo["things"])
        assert found.labels.tolist() == [*(sample["labels"] + 1).tolist(), 0], "every object, and the background"
        assert (found.segments == 0).sum() < 0.2 * found.segments.numel(), "void is what lies outside of the outlines"
    assert joint.labels_of(1).tolist() == objects.labels_of(1).tolist()


def test_one_transform_moves_all(tmp_path):
    plain, mirrored = (
        ShapesPanoptic(tmp_path / "s", transforms=t, **SMALL)[0] for t in ((), [dict(type="RandomFlip", p=1)])
    )
    for key in ("image", "mask", "masks"):
        assert torch.equal(mirrored[key], plain[key].flip(-1)), key
    assert torch.equal(mirrored["boxes_xyxy"][:, 0], 80 - plain["boxes_xyxy"][:, 2])


def test_cityscapes(tmp_path):
    """Two cars, one cut in two, and a group of persons among 20 x 12 pixels of road; the caravan counts for nothing."""
    dataset = CityscapesPanoptic(write_cityscapes(tmp_path, {ID: cityscapes_scene()}))
    info = dataset.metainfo
    assert [info["classes"][index] for index in info["things"]] == list(CityscapesInstances.describe()["classes"])
    found = panoptic_of_sample(dataset[0], info["things"])
    names = [info["classes"][label] for label in found.labels.tolist()]
    assert names == ["person", "car", "car", "road", "pole"] and found.iscrowd.tolist() == [True] + [False] * 4
    assert found.segments.flatten().bincount().tolist() == [4, 20, 12, 8, 193, 3]


def test_what_does_not_fit_is_refused(tmp_path):
    objects = CityscapesInstances(write_cityscapes(tmp_path / "c", {ID: cityscapes_scene()}), with_masks=True)
    with pytest.raises(ValueError, match=r"classes person, rider, .* the masks do not have"):
        PanopticDataset(objects, Shapes(tmp_path / "s", **SMALL))
    train, val = ShapesDetection(tmp_path / "s", **SMALL), Shapes(tmp_path / "s", "val", **SMALL)
    with pytest.raises(ValueError, match=r"train_00000.jpg and 2 more images with objects have no mask"):
        PanopticDataset(train, val)
    joint = ShapesPanoptic(tmp_path / "s", **SMALL)
    path = tmp_path / "s" / "SegmentationClass" / "train_00001.png"
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(path)
    with pytest.raises(ValueError, match=r"train_00001.png is \(4, 5\) \(H, W\), but .*train_00001.jpg is \(64, 80\)"):
        joint[1]


def write_coco(root, segments=None, ids=None):
    """One image of 4 x 6: sky (id 70000) above, a car (id 5) of 2 x 3 and a crowd of cats (id 300), 3 pixels void."""
    if ids is None:
        ids = np.full((4, 6), 70000)
        ids[2:, :3], ids[3, 3:] = 5, 300
        ids[2, 3:] = 0
    for folder in ("val", "panoptic"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*ids.shape, 3), np.uint8)).save(root / "val" / "a.jpg")
    Image.fromarray(np.stack([ids % 256, ids // 256 % 256, ids // 256**2], -1).astype(np.uint8)).save(
        root / "panoptic" / "a.png"
    )
    segments = segments or [(70000, 187, 0), (300, 17, 1), (5, 3, 0)]
    rows = [
        dict(id=id, category_id=category, iscrowd=crowd, area=1, bbox=[0, 0, 1, 1]) for id, category, crowd in segments
    ]
    content = dict(
        images=[dict(id=9, file_name="a.jpg", height=4, width=6)],
        annotations=[dict(image_id=9, file_name="a.png", segments_info=rows)],
        categories=[
            dict(id=187, name="sky", isthing=0),
            dict(id=17, name="cat", isthing=1),
            dict(id=3, name="car", isthing=1),
        ],
    )
    (root / "a.json").write_text(json.dumps(content))
    return CocoPanoptic("val", "panoptic", "a.json", root)


def test_coco(tmp_path):
    dataset = write_coco(tmp_path)
    info = dataset.metainfo
    assert info["classes"] == ("car", "cat", "sky") and info["things"] == (0, 1) and info["category_ids"] == [3, 17]
    sample = dataset[0]
    assert sample["labels"].tolist() == [1, 0] and sample["iscrowd"].tolist() == [True, False]
    assert sample["boxes_xyxy"].tolist() == [[3, 3, 6, 4], [0, 2, 3, 4]] and sample["area"].tolist() == [3, 6]
    assert sample["mask"].tolist() == [[2] * 6] * 2 + [[0, 0, 0, 255, 255, 255], [0, 0, 0, 1, 1, 1]]
    assert dataset.labels_of(0).tolist() == [1, 0]
    found = panoptic_of_sample(sample, info["things"])
    assert found.labels.tolist() == [1, 0, 2] and found.iscrowd.tolist() == [True, False, False]
    assert found.segments.flatten().bincount().tolist() == [3, 3, 6, 12]


def test_coco_without_objects(tmp_path):
    sample = write_coco(tmp_path, [(70000, 187, 0)], np.full((4, 6), 70000))[0]
    assert sample["boxes_xyxy"].shape == (0, 4) and sample["masks"].shape == (0, 4, 6)
    assert sample["labels"].dtype == torch.int64 and sample["iscrowd"].dtype == torch.bool


@pytest.mark.parametrize(
    "segments, message",
    [
        ([(70000, 187, 0), (5, 3, 0)], r"a.json: .*a.png: segment 300 is not in the JSON"),
        ([(70000, 187, 0), (5, 3, 0), (300, 17, 0), (6, 3, 0)], r"a.png: segment 6 has no pixel"),
        ([(70000, 188, 0), (5, 3, 0), (300, 17, 0)], r"segment 70000 of .* has category_id 188, which is not there"),
    ],
)
def test_coco_files_that_disagree(tmp_path, segments, message):
    dataset = write_coco(tmp_path, segments)
    with pytest.raises(ValueError, match=message):
        dataset[0]
