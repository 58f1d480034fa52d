"""YOLO's folders as a catalog, as several programs write them."""

import pytest
from labelled import sample_catalog, write_blank, write_yolo
from peers import shared

from xseg.data.formats import read_catalog

BOX = "2 0.333333 0.375 0.333333 0.5"  # 10, 5, 30, 25 in an image of 40 x 60 (H x W)
HALF = "1 0 0 0.5 0 0.5 1 0 1"  # a polygon, the left half


def put(root, files):
    """Write {name: text}; a name of an image gets a blank one of 40 x 60."""
    for name, text in files.items():
        if name.endswith(".png"):
            write_blank(root / name, (40, 60))
        else:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)


def pair(image, label, text=BOX):
    return {image: "", label: text}


LAYOUTS = {
    "Roboflow": {
        **pair("train/images/a.png", "train/labels/a.txt"),
        **pair("valid/images/b.png", "valid/labels/b.txt"),
        "data.yaml": "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 3\nnames: ['x', no, y]",
    },
    "lists": {
        **pair("images/a.png", "labels/a.txt"),
        **pair("images/b.png", "labels/b.txt"),
        "train.txt": "./images/a.png\n",
        "val.txt": "/home/jo/mine/images/b.png\n",
        "mine.yaml": "path: ../mine\ntrain: train.txt\nval: [val.txt]\nnames: [x, no, y]",
    },
    "CVAT, darknet": {
        **pair("obj_train_data/a.png", "obj_train_data/a.txt"),
        **pair("obj_valid_data/b.png", "obj_valid_data/b.txt"),
        "obj.names": "x\nno\ny\n",
        "obj.data": "classes = 3\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\n",
        "train.txt": "data/obj_train_data/a.png\n",
        "valid.txt": "data/obj_valid_data/b.png\n",
    },
    "lists of folders": {
        **pair("one/images/a.png", "one/labels/a.txt"),
        **pair("two/b.png", "two/b.txt"),
        "config.yaml": "train: [one/images]\nval:\n- two\nnames: {0: x, 1: no, 2: y}",
    },
    "folders without YAML": {
        **pair("photos/train/a.png", "labels/train/a.txt"),
        **pair("photos/val/b.png", "labels/val/b.txt"),
        "classes.txt": "x\nno\ny\n",
    },
    "lists without YAML": {
        **pair("a.png", "a.txt"),
        **pair("b.png", "b.txt"),
        "train.txt": "a.png\n",
        "val.txt": "b.png\n",
        "classes.txt": "x\nno\ny\n",
    },
    "labels elsewhere": {
        **pair("train/a.png", "annotated/2024/a.txt"),
        **pair("val/b.png", "annotated/2024/b.txt"),
        "some.names": "x\nno\ny\n",
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(tmp_path, layout):
    put(tmp_path, LAYOUTS[layout] | {"README.md": "", ".DS_Store": "", "hyper.yaml": "lr: 1"})
    catalog = read_catalog(tmp_path)
    assert (catalog.format, catalog.kind, catalog.classes) == ("yolo", "boxes", ("x", "no", "y"))
    assert [(item.path.name, item.split) for item in catalog.items] == [("a.png", "train"), ("b.png", "val")]
    for item in catalog.items:
        (region,) = item.regions
        assert region.label == 2 and region.box_xyxy == pytest.approx((10, 5, 30, 25), abs=1e-3)
    assert catalog.ignored[".md"] == 1 and catalog.ignored[".DS_Store"] == 1 and catalog.ignored[".yaml"] == 1


def test_numbers_are_the_names_where_no_file_has_any(tmp_path):
    put(tmp_path, pair("a.png", "a.txt"))
    catalog = read_catalog(tmp_path)
    assert catalog.classes == ("0", "1", "2") and "their numbers are their names" in catalog.notes[0]


def test_polygons_boxes_and_background(tmp_path):
    """A polygon and a box make outlines; 1.0005 is clipped; no area, a repeated line, an empty and a missing file."""
    lines = [HALF, BOX, BOX, "0 0 0 1.0005 0 1 1", "0 0.5 0.5 0 0.1", "", "1.0 0.1 0.1 0.1 0.1 0.1 0.3"]
    put(tmp_path, pair("a.png", "a.txt", "\n".join(lines)) | pair("b.png", "b.txt", "") | {"c.png": ""})
    put(tmp_path, {"elsewhere/logo.png": ""})
    catalog = read_catalog(tmp_path)
    assert catalog.kind == "outlines" and [len(item.regions) for item in catalog.items] == [3, 0, 0]
    first, second, third = catalog.items[0].regions
    assert first.outline == [[0, 0, 30, 0, 30, 40, 0, 40]] and first.box_xyxy == (0, 0, 30, 40)
    assert second.outline is None and third.outline == [[0, 0, 60, 0, 60, 40]]
    text = "\n".join(catalog.notes)
    assert "1 images have no label file: background" in text and "2 objects without area" in text
    assert "1 objects have only a box" in text and catalog.ignored == {".png": 1}


def test_rotated_boxes_are_polygons_of_four_points(tmp_path):
    put(tmp_path, pair("a.png", "a.txt", "0 0.5 0.1 0.9 0.5 0.5 0.9 0.1 0.5"))
    assert read_catalog(tmp_path).items[0].regions[0].outline == [[30, 4, 54, 20, 30, 36, 6, 20]]


def test_numbers_of_classes_with_gaps(tmp_path):
    put(tmp_path, pair("a.png", "a.txt", BOX) | {"data.yaml": "train: .\nnames: {7: x, 2: y}"})
    catalog = read_catalog(tmp_path)
    assert catalog.classes == ("y", "x") and catalog.items[0].regions[0].label == 0


def test_images_that_two_splits_name_count_once(tmp_path):
    put(tmp_path, pair("images/a.png", "labels/a.txt") | {"data.yaml": "train: images\nval: images\nnames: [x, y, z]"})
    catalog = read_catalog(tmp_path)
    assert [item.split for item in catalog.items] == ["train"] and "1 images of val" in catalog.notes[0]


def test_few_label_files_without_an_image_are_left_out(tmp_path):
    for n in range(20):
        put(tmp_path, pair(f"images/{n}.png", f"labels/{n}.txt"))
    put(tmp_path, {"labels/x.txt": BOX})
    assert "1 of 21 images of label files are missing" in "\n".join(read_catalog(tmp_path).notes)
    put(tmp_path, {"labels/y.txt": BOX})
    with pytest.raises(FileNotFoundError, match=r"2 of 22 images of label files are missing, first .*x\.txt; copy"):
        read_catalog(tmp_path)


def test_the_yaml_itself_is_the_data(tmp_path):
    put(tmp_path, LAYOUTS["Roboflow"])
    assert len(read_catalog(tmp_path / "data.yaml").items) == 2


def test_a_second_yaml_of_the_same_labels_is_passed_over(tmp_path):
    put(tmp_path, LAYOUTS["Roboflow"] | {"a.yaml": "train: train/images\nnames: [p, q, r]"})
    catalog = read_catalog(tmp_path)
    assert catalog.classes == ("x", "no", "y") and catalog.ignored == {".yaml": 1}


def test_labels_beside_the_yaml_come_before_those_beside_the_images(tmp_path):
    put(tmp_path, pair("images/a.png", "labels/a.txt") | {"polygons/labels/a.txt": HALF})
    put(tmp_path, {"polygons/data.yaml": "train: images\nnames: [x, y, z]"})
    assert read_catalog(tmp_path / "polygons").kind == "outlines"
    assert read_catalog(tmp_path).kind == "outlines"


def test_several_data_sets_are_told_apart(tmp_path):
    for name in ("one", "two"):
        write_yolo(sample_catalog("boxes"), tmp_path / name)
    with pytest.raises(ValueError, match=r"several ways.*\n.*/one --format yolo: 2 of 3 images have boxes .*\n.*/two "):
        read_catalog(tmp_path)
    with pytest.raises(ValueError, match="several ways"):
        read_catalog(tmp_path, format="yolo")
    assert len(read_catalog(tmp_path / "two").items) == 3


FAULTS = [
    ("0 0.5 0.5 nan 0.5", r"a\.txt: line 2: coordinates are shares of the image from 0 to 1, got nan"),
    ("0 0.5 0.5 inf 0.5", "line 2: coordinates are shares"),
    ("0 12 40 30 50", "line 2: coordinates are shares .* got 12; divide x by the width"),
    ("0 0.5 0.5 0.5 1.002", "line 2: coordinates are shares"),
    ("0 0.5 -0.002 0.5 0.5", "line 2: coordinates are shares"),
    ("0 1e400 0.5 0.5 0.5", "line 2: coordinates are shares"),
    ("-1 0.5 0.5 0.5 0.5", "line 2: the class must be a whole number from 0, got -1"),
    ("0.5 0.5 0.5 0.5 0.5", "line 2: the class must be a whole number"),
    ("inf 0.5 0.5 0.5 0.5", "line 2: the class must be a whole number"),
    ("3 0.5 0.5 0.5 0.5", r"a\.txt: line 2: class 3 has no name in .*data\.yaml, which names 0 to 2; add it"),
    ("0 0.5 0.5", "line 2: a box has 5 numbers, a polygon 7 or more, got 3"),
    ("0 0.5 0.5 0.5 0.5 0.9", "line 2: .* with a confidence it is a prediction"),
    ("0 0.5 0.5 0.5 0.5 0.1 0.1 2", r"line 2: 8 numbers are no polygon.* \(pose\) cannot be read"),
    ("cat 0.5 0.5 0.5 0.5", "line 2: could not convert string to float: 'cat'; a line is"),
    ("\udcff", "is not text of UTF-8"),
]


@pytest.mark.parametrize("line, fault", FAULTS, ids=[line for line, _ in FAULTS[:-1]] + ["bytes"])
def test_faults_of_lines_are_named(tmp_path, line, fault):
    put(tmp_path, {"images/a.png": "", "data.yaml": "train: images\nnames: [x, y, z]"})
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_bytes(f"{BOX}\n{line}\n".encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=fault):
        read_catalog(tmp_path)


BOMB = "a: &a [x, x]\n" + "".join(
    f"{n}: &{n} [*{p}, *{p}]\n"
    for p, n in zip("abcdefghijklmnopqrstuvw", "bcdefghijklmnopqrstuvwxyz"[:23], strict=False)
)
CONFIGS = [
    ("train: images\nnames: [x, x, y]", "class names must differ, x occurs"),
    ("train: images\nnames: {a: x}", "data.yaml: names must be a list of classes"),
    ("train: images\nnames: {0: [x]}", "names must be a list of classes, .* got '0': a list"),
    ("train: images\nnames: 3", "names must be a list of classes"),
    (BOMB + "names: [*w, *w]", "names must be a list of classes"),
    ("train: images\nnames: [x", "data.yaml is not YAML"),
    ("train: images\nnames: " + "[" * 5000, "data.yaml is not YAML"),
    ("train: images\nnames: [x, y, z]\nkpt_shape: [17, 3]", r"kpt_shape: labels of keypoints \(pose\) cannot be read"),
    ("train: pictures\nnames: [x, y, z]", r"data.yaml: there is no train: pictures; correct path"),
    (
        "train: list.txt\nnames: [x, y, z]",
        r"1 of 1 images that labels name are missing, first b.png .*list.txt: line 1",
    ),
    ("train: [[images]]\nnames: [x, y, z]", "data.yaml: train must be a folder or a list"),
]


@pytest.mark.parametrize("text, fault", CONFIGS, ids=[fault for _, fault in CONFIGS])
def test_faults_of_the_yaml_are_named(tmp_path, text, fault):
    put(tmp_path, pair("images/a.png", "labels/a.txt") | {"data.yaml": text, "list.txt": "b.png\n"})
    with pytest.raises((ValueError, FileNotFoundError), match=fault):
        read_catalog(tmp_path)


def test_real_boxes_beside_their_images():
    """Images of another folder; two of the label files have no image, and two images no label file."""
    catalog = read_catalog(shared("data", "coco128", "object_detection"))
    assert (catalog.format, catalog.kind, len(catalog.classes)) == ("yolo", "boxes", 80)
    assert len(catalog.of_split("train")) == len(catalog.of_split("val")) == 128
    item = next(item for item in catalog.items if item.path.stem == "000000000139")
    assert item.id == "images/val2017/000000000139" and item.size_hw == (426, 640) and len(item.regions) == 20
    assert catalog.classes[item.regions[0].label] == "potted plant"
    assert item.regions[0].box_xyxy == pytest.approx((236.98, 142.51, 261.68, 212.01), abs=0.01)
    assert any("2 of 256 images of label files are missing" in note for note in catalog.notes)


def test_real_polygons():
    catalog = read_catalog(shared("data", "coco128", "instance_segmentation"))
    assert (catalog.kind, len(catalog.classes), len(catalog.items)) == ("outlines", 80, 200)
    assert any("56 images have no label file: left out, as the YAML says" in note for note in catalog.notes)
