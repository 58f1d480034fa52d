"""Lists with any number of labels an image, and scenes with the classes in them."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from xseg.data import MultiLabelList, RandomFlip, ShapesMultiLabel, collate
from xseg.data.balance import balanced_label_weights

ROWS = [("x/1.png", ["red", "blue"]), ("2.png", []), ("3.png", ["red"])]


def write_list(root, kind, split="train", rows=ROWS):
    if kind == "json":
        content = json.dumps([dict(path=path, labels=labels) for path, labels in rows])
    else:
        content = "labels,path\n" + "".join(f"{' | '.join(labels)},{path}\n" for path, labels in rows)
    (root / f"{split}.{kind}").write_text(content)
    for path, _ in rows:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20), (200, 10, 10)).save(root / path)
    return root


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_sample_is_the_contract(tmp_path, kind):
    dataset = MultiLabelList(write_list(tmp_path, kind), transforms=[RandomFlip(p=1)])
    assert dataset.classes == ("blue", "red") == dataset.metainfo["classes"]
    assert [dataset[index]["label"].tolist() for index in range(3)] == [[1, 1], [0, 0], [0, 1]]
    sample = dataset[0]
    assert sample["label"].dtype == torch.float32 and sample["image"].shape == (3, 20, 30)
    assert sample["meta"] == dict(id="x/1.png", path=str(tmp_path / "x" / "1.png"), size_hw=(20, 30))
    assert torch.equal(collate([sample])["samples"][0]["label"], sample["label"])
    assert dataset.labels_of(0) == (1, 0), "in the order of the list"


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_classes_of_val_are_those_of_train_or_of_a_file(tmp_path, kind):
    write_list(tmp_path, kind)
    write_list(tmp_path, "csv" if kind == "json" else "json", "val", ROWS[2:])
    assert MultiLabelList(tmp_path, "val")[0]["label"].tolist() == [0, 1]
    (tmp_path / "classes.txt").write_text("red\ngreen\nblue\n")
    assert MultiLabelList(tmp_path, "val")[0]["label"].tolist() == [1, 0, 0]
    assert MultiLabelList(tmp_path, "val", ["blue", "red"])[0]["label"].tolist() == [0, 1]


def test_labels_are_counted_for_balanced_weights(tmp_path):
    """blue 1, red 2 of three images: median 1.5, so sqrt(1.5) and sqrt(0.75)."""
    assert balanced_label_weights(MultiLabelList(write_list(tmp_path, "csv"))) == [1.22, 0.87]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.csv", "path,label\na.png,red\n", r"train\.csv: line 1 must name .* labels missing"),
        ("train.csv", "path,labels\n", r"train\.csv lists no image"),
        ("train.csv", "path,labels\n,red\n", r"train\.csv: line 2 has no path"),
        ("train.csv", "path,labels\na.png,red\nb.png,red|rde\n", "line 3: 'rde' is not one of the classes red, blue"),
        ("train.csv", "path,labels\na.png,red|blue|red\n", "line 2 has the label 'red' more than once"),
        ("train.json", '[{"path": "a.png"}]', r"entry 0 must be .*labels.* got .*a\.png"),
        ("train.json", '[{"path": "a.png", "labels": "red"}]', "entry 0 must be"),
        ("train.json", '[{"labels": ["red"]}]', "entry 0 has no path"),
        ("train.json", '{"a.png": ["red"]}', "no list but a dict; write a CSV"),
        ("train.json", "[\n{]", r"train\.json is not JSON.* line 2 .*; write a CSV"),
        ("test.csv", "path,labels\na.png,red\n", r"train\.csv or \.json: no such list; write a CSV"),
    ],
)
def test_wrong_lists_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        MultiLabelList(tmp_path, classes=["red", "blue"])


def test_two_lists_of_one_split_are_refused(tmp_path):
    write_list(tmp_path, "csv")
    write_list(tmp_path, "json")
    with pytest.raises(ValueError, match=r"train\.csv and train\.json both exist; keep one"):
        MultiLabelList(tmp_path)


def test_shapes_have_the_classes_of_their_masks(tmp_path):
    """With min_area 0 every class in the mask; the rule of 200 pixels an object takes some away, and adds none."""
    options = dict(root=tmp_path / "shapes", split="val", num_images=dict(train=1, val=12))
    every, large = ShapesMultiLabel(min_area=0, **options), ShapesMultiLabel(**options)
    assert every.classes == ("circle", "square", "triangle", "ring") and len(every) == 12
    for index in range(12):
        sample = every[index]
        path = sample["meta"]["path"].replace("JPEGImages", "SegmentationClass").replace(".jpg", ".png")
        seen = set(np.unique(np.array(Image.open(path)))) - {0, 255}
        assert seen <= {label + 1 for label in every.labels_of(index)}
        assert set(large.labels_of(index)) <= set(every.labels_of(index))
        counts = np.bincount(np.array(Image.open(path)).ravel(), minlength=256)
        assert all(counts[label + 1] > 100 for label in large.labels_of(index)), "void lines cover some of 200"
        assert sample["image"].shape == (3, 128, 128)
    assert len({large.labels_of(index) for index in range(12)}) > 4
