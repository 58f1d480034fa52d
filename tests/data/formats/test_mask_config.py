"""Folders of images and masks that a YAML file names."""

import numpy as np
import pytest
from peers import shared
from PIL import Image

from xseg.data import OwnSegmentation
from xseg.data.formats import read_catalog

CLASSES = "classes:\n  0: unlabeled\n  1: person\n  7: {name: plant, values: [7, 8]}\n"
FOLDERS = "train: {images: ../images/a, masks: masks/a}\nval: {images: ../images/b, masks: masks/b}\n"


def write(root, text=FOLDERS + CLASSES):
    for split in "ab":
        for folder in (root / "images" / split, root / "set/masks" / split):
            folder.mkdir(parents=True)
        Image.fromarray(np.zeros((2, 4, 3), np.uint8)).save(root / "images" / split / f"{split}.jpg")
        Image.fromarray(np.array([[0, 1, 7, 8]] * 2, np.uint8)).save(root / "set/masks" / split / f"{split}.png")
    (root / "set/config.yaml").write_text(text)
    return root / "set"


@pytest.mark.parametrize("file", [False, True])
def test_folders_beside_the_root(tmp_path, file):
    root = write(tmp_path)
    catalog = read_catalog(root / "config.yaml" if file else root)
    assert catalog.format == "mask-config" and catalog.classes == ("person", "plant")
    assert [(item.id, item.split) for item in catalog.items] == [("images/a/a", "train"), ("images/b/b", "val")]
    (sample,) = OwnSegmentation(root, "train")
    assert sample["mask"].tolist() == [[255, 0, 1, 1]] * 2


def test_values_that_are_not_learned(tmp_path):
    root = write(tmp_path, FOLDERS + CLASSES + "ignore_classes: [1]\n")
    assert read_catalog(root).classes == ("plant",)


def test_folders_below_the_root_are_read_in_one_way_alone(tmp_path):
    write(tmp_path)
    (tmp_path / "set/config.yaml").rename(tmp_path / "config.yaml")
    text = (tmp_path / "config.yaml").read_text().replace("../images", "images").replace("masks/", "set/masks/")
    (tmp_path / "config.yaml").write_text(text)
    assert read_catalog(tmp_path).format == "mask-config"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1: person", "1: 2", "classes must give a name"),
        (CLASSES, "classes: [a, b]\n", "classes must give a name"),
        ("[7, 8]", "[7, x]", "classes must give a name"),
        ("[7, 8]", "[7]", "masks have the value 8, which the list of classes does not name"),
        (CLASSES, CLASSES + "ignore_classes: 3\n", "ignore_classes must be a list of numbers"),
    ],
)
def test_faults(tmp_path, old, new, message):
    root = write(tmp_path, (FOLDERS + CLASSES).replace(old, new))
    with pytest.raises(ValueError, match=message):
        read_catalog(root)


def test_folders_without_pairs(tmp_path):
    root = write(tmp_path, (FOLDERS + CLASSES).replace("masks/", "labels/"))
    with pytest.raises(FileNotFoundError, match="correct the folders"):
        read_catalog(root, format="mask-config")


def test_coco128():
    catalog = read_catalog(shared("data", "coco128") / "semantic_segmentation")
    assert len(catalog.of_split("train")) + len(catalog.of_split("val")) == len(catalog.items) > 100
    assert "unlabeled" not in catalog.classes and catalog.classes[0] == "person"
