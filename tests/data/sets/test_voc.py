"""VOC's XML as samples: counted from 1, difficult marked or left out, wrong files refused by name."""

import pytest
import torch
from peers import shared
from torchvision.ops import box_iou
from trees import write_detection

from xseg.data import VOC_CLASSES, CocoDetection, VOCDetection


def test_pixels_are_counted_from_one(tmp_path):
    """(1, 1, 30, 20) names first and last pixel inside: the whole image of 30 x 20. (3, 4, 3, 4) is one pixel."""
    root = write_detection(tmp_path, [("dog", 1, 1, 30, 20, 0), ("cat", 3, 4, 3, 4, 1)])
    dataset = VOCDetection(root)
    sample = dataset[0]
    assert sample["boxes_xyxy"].tolist() == [[0, 0, 30, 20], [2, 3, 3, 4]]
    assert sample["labels"].tolist() == [11, 7] and dataset.classes == VOC_CLASSES[1:]
    assert sample["iscrowd"].tolist() == [False, False] and sample["difficult"].tolist() == [False, True]
    assert sample["area"].tolist() == [600, 1]
    assert sample["meta"] == dict(id="a", path=str(tmp_path / "JPEGImages" / "a.jpg"), size_hw=(20, 30))
    assert dataset.metainfo["category_ids"] == list(range(1, 21)) and dataset.metainfo["palette"][0] == (128, 0, 0)


def test_difficult_objects_can_stay_out(tmp_path):
    root = write_detection(tmp_path, [("dog", 1, 1, 9, 9, 1)])
    sample = VOCDetection(root, keep_difficult=False)[0]
    assert len(sample["labels"]) == len(sample["difficult"]) == 0 and sample["boxes_xyxy"].shape == (0, 4)
    with pytest.raises(ValueError, match="no image has an object"):
        VOCDetection(root, keep_empty=False)


def test_splits_of_several_years_are_joined(tmp_path):
    write_detection(tmp_path / "VOC2007", [("dog", 1, 1, 9, 9, 0)], ids=("000005", "000007"))
    write_detection(tmp_path / "VOC2012", [("cat", 1, 1, 9, 9, 0)], ids=("2008_000002",))
    dataset = VOCDetection(tmp_path, ("VOC2007/train", "VOC2012/train"))
    assert [image.id for image in dataset.images] == ["000005", "000007", "2008_000002"]
    assert [dataset.labels_of(index).tolist() for index in range(3)] == [[11], [11], [7]]
    assert dataset[2]["meta"]["path"] == str(tmp_path / "VOC2012" / "JPEGImages" / "2008_000002.jpg")
    assert len(VOCDetection(tmp_path, "VOC2012/train")) == 1
    with pytest.raises(FileNotFoundError, match=r"VOC2006: no such folder"):
        VOCDetection(tmp_path, ("VOC2006/train",))


def test_classes_file_in_the_root(tmp_path):
    root = write_detection(tmp_path, [("block", 1, 1, 9, 9, "")])  # difficult may be empty
    (root / "classes.txt").write_text("background\nball\nblock\n")
    assert VOCDetection(root).classes == ("ball", "block") and VOCDetection(root)[0]["labels"].tolist() == [1]
    assert VOCDetection(root, classes=["block"])[0]["labels"].tolist() == [0]


@pytest.mark.parametrize(
    "item, message",
    [
        (("cow boy", 1, 1, 9, 9, 0), r"object 2 \(cow boy\): no such class; .*classes\.txt"),
        (("dog", 9, 1, 8, 9, 0), r"object 2: the box \(8, 0, 8, 9\) in xyxy has no area"),
        (("dog", 31, 1, 40, 9, 0), "object 2: .* has no area inside the image"),
        (("dog", "nan", 1, 40, 9, 0), "object 2: .* is not finite"),
        (("dog", "", 1, 40, 9, 0), r"object 2 \(dog\): bndbox/xmin must be a number, got ''"),
        (("dog", "left", 1, 40, 9, 0), r"object 2 \(dog\): bndbox/xmin must be a number, got 'left'"),
    ],
)
def test_wrong_objects_are_named(tmp_path, item, message):
    with pytest.raises(ValueError, match=rf"a\.xml: {message}"):
        VOCDetection(write_detection(tmp_path, [("dog", 1, 1, 9, 9, 0), item]))


def test_invalid_boxes_can_be_dropped(tmp_path, monkeypatch):
    messages = []
    monkeypatch.setattr("xseg.data.sets.detection.print_log", lambda message, **_: messages.append(message))
    items = [("cat", -3, 1, 40, 9, 0), ("dog", 9, 1, 8, 9, 0), ("dog", "nan", 1, 8, 9, 0)]
    sample = VOCDetection(write_detection(tmp_path, items), drop_invalid=True)[0]
    assert sample["boxes_xyxy"].tolist() == [[0, 0, 30, 9]] and sample["labels"].tolist() == [7]
    (message,) = messages
    assert message.startswith("2 of 3 objects are left out (drop_invalid)")
    assert message.endswith(f"The first is {tmp_path / 'Annotations' / 'a.xml'}: object 2")
    VOCDetection(write_detection(tmp_path, items[:1]), drop_invalid=True)
    assert len(messages) == 1


def test_a_set_without_a_valid_box_is_refused(tmp_path):
    """Training went on without an object."""
    root = write_detection(tmp_path, [("dog", 31, 1, 40, 9, 0), ("dog", 9, 1, 8, 9, 0)])
    with pytest.raises(ValueError, match=r"a\.xml: object 1: .* of all 2 objects .*no object is left; correct"):
        VOCDetection(root, drop_invalid=True)


def test_wrong_files_are_named(tmp_path):
    root = write_detection(tmp_path, [])
    with pytest.raises(FileNotFoundError, match=r"val\.txt: no such split; splits there: train"):
        VOCDetection(root, "val")
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such folder; .*Annotations/.*--data-root"):
        VOCDetection(tmp_path / "nowhere")
    path = root / "Annotations" / "a.xml"
    path.write_text("<annotation><size><width>0</width><height>0</height></size></annotation>")
    with pytest.raises(ValueError, match=r"a\.xml: the size is 0x0; add"):
        VOCDetection(root)
    path.write_text("<annotation><size>")
    with pytest.raises(ValueError, match=r"a\.xml is not XML, or not complete"):
        VOCDetection(root)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"a\.xml: no such annotation file"):
        VOCDetection(root)


def test_blood_cells():
    train, val = (VOCDetection(shared("data", "bccd"), split) for split in ("train", "val"))
    assert (len(train), len(val)) == (205, 87) and train.classes == ("RBC", "WBC", "Platelets")
    assert len(train.objects.labels) + len(val.objects.labels) == 3943  # objects in the files
    sample = train[0]
    assert sample["image"].shape == (3, 480, 640) and len(sample["labels"]) == len(train.labels_of(0))


def test_xml_and_json_of_the_same_images_agree():
    """voc3 has both, drawn by two people: each box of the XML meets one of its class in the JSON by 0.7 or more."""
    root = shared("data", "voc3")
    coco = CocoDetection(".", "instances_val.json", root=root)
    by_name = {name_of(sample): sample for sample in coco}
    voc = VOCDetection(root, "val")
    for sample in voc:
        other = by_name[name_of(sample)]
        assert sample["image"].equal(other["image"])
        iou = box_iou(sample["boxes_xyxy"], other["boxes_xyxy"])
        names, other_names = ([set_.classes[i] for i in s["labels"]] for set_, s in ((voc, sample), (coco, other)))
        same = torch.tensor([[name == other_name for other_name in other_names] for name in names])
        assert (iou * same).amax(1).min() > 0.7


def name_of(sample):
    return sample["meta"]["path"].rsplit("/", 1)[-1]
