"""Tables of images, and one folder a class."""

import numpy as np
import pytest
from PIL import Image

from xseg.data import OwnClassification, OwnMultiLabel
from xseg.data.formats import read_catalog


def write(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 12, 3), np.uint8)).save(root / name)


def test_one_folder_a_class(tmp_path):
    write(tmp_path, *(f"{split}/{kind}/{i}.jpg" for split in ("train", "val") for kind in ("cat", "ant") for i in "ab"))
    write(tmp_path, "logo.png")
    catalog = read_catalog(tmp_path)
    assert (catalog.format, catalog.kind, catalog.classes) == ("folders", "classes", ("ant", "cat"))
    assert len(catalog.of_split("train")) == len(catalog.of_split("val")) == 4 and catalog.ignored == {".png": 1}
    assert OwnClassification(tmp_path, "val")[0]["label"] == 0


def test_folders_with_roles_are_no_classes(tmp_path):
    write(tmp_path, "images/a.jpg", "masks/b.jpg")
    with pytest.raises(ValueError, match="no format recognised"):
        read_catalog(tmp_path)


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("image,label\na.png,cat\nb.png,ant\n", "classes", [(1,), (0,)]),
        ("path;class\n/home/me/a.png;cat\nsub/b.png;ant\n", "classes", [(1,), (0,)]),
        ("image_id\tlabel\na\tcat\nb\tant\n", "classes", [(1,), (0,)]),
        ("file,labels\na.png,cat|ant\nb.png,\n", "tags", [(0, 1), ()]),
        ("filename,ant,cat\na.png,1,1\nb.png,0,1\n", "tags", [(0, 1), (1,)]),
    ],
)
def test_labels(text, kind, expected, tmp_path):
    write(tmp_path, "pictures/a.png", "pictures/sub/b.png")
    (tmp_path / "train.csv").write_text(text)
    (tmp_path / "notes.csv").write_text("day,weather\n1,rain\n")
    catalog = read_catalog(tmp_path)
    assert (catalog.format, catalog.kind, catalog.classes) == ("table", kind, ("ant", "cat"))
    assert [item.labels for item in catalog.items] == expected and {item.split for item in catalog.items} == {"train"}
    assert catalog.ignored == {".csv": 1}
    if kind == "tags":
        assert OwnMultiLabel(tmp_path, "train")[0]["label"].tolist() == [1, 1]


def test_boxes(tmp_path):
    write(tmp_path, "a.png", "b.png")
    rows = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    (tmp_path / "labels.csv").write_text(rows + "a.png,12,8,cat,1,2,5,6\na.png,12,8,ant,3,3,3,5\nb.png,12,8,,,,,\n")
    catalog = read_catalog(tmp_path)
    assert catalog.kind == "boxes" and [len(item.regions) for item in catalog.items] == [1, 0]
    assert catalog.items[0].regions[0].box_xyxy == (1, 2, 5, 6)
    assert "1 boxes without area are left out" in catalog.describe()
    (tmp_path / "labels.csv").write_text(rows + "a.png,12,8,cat,1,2,5,nan\n")
    with pytest.raises(ValueError, match=r"labels\.csv: line 2: the edge of a box must be a number"):
        read_catalog(tmp_path)
    (tmp_path / "labels.csv").write_text(rows + "a.png,12,8,cat,1,2,5,6\nc.png,12,8,cat,1,2,5,6\n")
    with pytest.raises(FileNotFoundError, match=r"line 3: there is no image 'c\.png'"):
        read_catalog(tmp_path)
