"""Masks of classes as people's folders have them."""

import cv2
import numpy as np
import pytest
from PIL import Image

from xseg.data import OwnSegmentation
from xseg.data.formats import read_catalog
from xseg.data.formats.mask_files import pair
from xseg.data.formats.tree import Tree

VALUES = np.repeat(np.array([[0, 1, 2, 1], [0, 0, 2, 2]], np.uint8), 8, axis=1)  # (2, 32)


def write(path, values=VALUES, size_hw=(2, 32)):
    """A mask for arrays, noise for None; JPEG names give JPEGs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    values = rng.integers(0, 255, (*size_hw, 3), dtype=np.uint8) if values is None else values
    Image.fromarray(values).save(path)


LAYOUTS = {
    "two folders": ("images/a.jpg", "masks/a.png"),
    "folders of splits": ("train/images/a.jpg", "train/masks/a.png"),
    "splits inside": ("images/train/a.jpg", "labels/train/a.png"),
    "splits in names": ("imgs_train/a.jpg", "masks_train/a.png"),
    "an ending": ("train/a.jpg", "train/a_mask.png"),
    "a beginning": ("train/a.png", "train/mask_a.png"),
    "SegNet's CamVid": ("train/a.png", "trainannot/a.png"),
    "Kaggle's CamVid": ("train/a.png", "train_labels/a_L.png"),
    "one folder an image": ("train/a/image.png", "train/a/mask.png"),
    "twins": ("train/a.jpg", "train/a.png"),
    "Cityscapes-like": ("leftImg8bit/train/x/a_leftImg8bit.png", "gtFine/train/x/a_gtFine_labelIds.png"),
    "blanks and other scripts": ("train/Bilder/Grün 1.jpg", "train/masks/Grün 1.png"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, tmp_path):
    image, mask = LAYOUTS[layout]
    write(tmp_path / image, None)
    write(tmp_path / mask)
    (tmp_path / "README.md").write_text("")
    catalog = read_catalog(tmp_path)
    (item,) = catalog.items
    assert (item.path, item.mask) == (tmp_path / image, tmp_path / mask), catalog.describe()
    assert item.size_hw == (2, 32) and catalog.classes == ("class 0", "class 1", "class 2")
    assert item.split == (None if layout == "two folders" else "train") and catalog.ignored == {".md": 1}


def test_training_ids_are_preferred_and_instances_are_no_classes(tmp_path):
    write(tmp_path / "leftImg8bit/val/x/a_leftImg8bit.png", None)
    for kind in ("labelIds", "labelTrainIds", "instanceIds", "color"):
        write(tmp_path / f"gtFine/val/x/a_gtFine_{kind}.png")
    (row,) = pair(Tree(tmp_path))
    assert row.mask.endswith("labelTrainIds.png")


def test_zero_and_255_are_a_background_and_a_class(tmp_path):
    write(tmp_path / "images/a.jpg", None)
    write(tmp_path / "masks/crack/a.png", (VALUES > 0).astype(np.uint8) * 255)
    catalog = read_catalog(tmp_path)
    assert catalog.classes == ("background", "crack") and catalog.values == {0: 0, 255: 1}
    assert "value 255 is the class 'crack', not ignored pixels" in catalog.describe()


def test_grey_levels_are_classes(tmp_path):
    write(tmp_path / "images/a.jpg", None)
    write(tmp_path / "masks/a.png", VALUES * 80)
    catalog = read_catalog(tmp_path)
    assert catalog.classes == ("value 0", "value 80", "value 160")
    assert catalog.values == {0: 0, 80: 1, 160: 2, 255: 255}


@pytest.mark.parametrize("named", [True, False])
def test_colours_are_classes(named, tmp_path):
    """Three colours; a class_dict.csv as Kaggle's CamVid has it gives names and the order."""
    palette = np.array([[0, 0, 0], [128, 0, 64], [0, 192, 0]], np.uint8)
    for split in ("train", "val"):
        write(tmp_path / f"{split}/a.png", None)
        write(tmp_path / f"{split}_labels/a_L.png", palette[VALUES])
    if named:
        (tmp_path / "class_dict.csv").write_text("name,r,g,b\nTree,0,192,0\nRoad,128,0,64\nVoid,0,0,0\n")
    catalog = read_catalog(tmp_path)
    assert catalog.classes == (("Tree", "Road") if named else ("background", "#00c000", "#800040"))
    mask = OwnSegmentation(tmp_path, "val")[0]["mask"].numpy()
    assert (mask == np.array([255, 1, 0] if named else [0, 2, 1])[VALUES]).all()


def test_what_is_no_mask_of_classes_is_refused(tmp_path):
    write(tmp_path / "images/a.jpg", None, (40, 40))
    write(tmp_path / "masks/a.png", None, (40, 40))
    with pytest.raises(ValueError, match=r"more than 256 colours.*without anti-aliasing"):
        read_catalog(tmp_path)
    palette = np.array([[0, 0, 0], [128, 0, 64], [0, 192, 0]], np.uint8)
    write(tmp_path / "masks/a.png", palette[VALUES])
    write(tmp_path / "images/a.jpg", None)
    data = OwnSegmentation(tmp_path, splits=_splits(tmp_path))
    spoiled = palette[VALUES].copy()
    spoiled[1, 3] = (1, 2, 3)
    write(tmp_path / "masks/a.png", spoiled)
    with pytest.raises(ValueError, match=r"a\.png: the colour #010203 at row 1, column 3 is no class"):
        data[0]


def _splits(folder):
    path = folder / "splits.json"
    path.write_text('{"train": ["images/a"]}')
    return path


def test_voc_lists_say_the_split(tmp_path):
    """CVAT's "Segmentation mask 1.1": colours, and labelmap.txt."""
    palette = np.array([[0, 0, 0], [128, 0, 64], [0, 192, 0]], np.uint8)
    for name in "abc":
        write(tmp_path / f"JPEGImages/{name}.jpg", None)
        write(tmp_path / f"SegmentationClass/{name}.png", palette[VALUES])
        write(tmp_path / f"SegmentationObject/{name}.png", palette[VALUES])
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    (lists / "val.txt").write_text("b\n")
    (tmp_path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:128,0,64::\ntree:0,192,0::\n"
    )
    catalog = read_catalog(tmp_path)
    assert (catalog.format, catalog.classes) == ("voc-masks", ("background", "road", "tree"))
    assert [(item.id, item.split) for item in catalog.items] == [("JPEGImages/a", "train"), ("JPEGImages/b", "val")]
    assert catalog.palette == ((0, 0, 0), (128, 0, 64), (0, 192, 0))
    assert (OwnSegmentation(tmp_path, "val")[0]["mask"].numpy() == VALUES).all()
    cv2.imwrite(str(tmp_path / "SegmentationClass" / "b.png"), VALUES)
    with pytest.raises(ValueError, match="some masks are colours and some are numbers"):
        read_catalog(tmp_path)
