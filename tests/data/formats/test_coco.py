"""COCO's JSON as a catalog, as several programs write it."""

import json
import time

import numpy as np
import pytest
from labelled import coco_content, sample_catalog, write_blank, write_coco
from peers import shared

from xseg.data.formats import read_catalog
from xseg.data.read.rle import encode_masks


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def one(root, name="labels.json", place="", stated=None, **change):
    """A JSON of one image `place`a.png with a box and a triangle; `change` replaces entries of the first annotation."""
    catalog = sample_catalog()
    item = catalog.items[0]
    content = coco_content(catalog, [item])
    content["annotations"][0].update(change)
    content["images"][0]["file_name"] = stated or "a.png"
    write_blank(root / place / "a.png", item.size_hw)
    write(root / name, content)
    return content


@pytest.mark.parametrize(
    "name, place, stated",
    [
        ("labels.json", "", "a.png"),
        ("labels.json", "images/", "a.png"),
        ("annotations/labels.json", "images/", "a.png"),
        ("annotations/labels.json", "images/", "images/a.png"),
        ("annotations/labels.json", "images/", "../images/a.png"),
        ("labels.json", "deep/er/", "a.png"),
        ("labels.json", "deep/er/", "C:\\Users\\jo\\er\\a.png"),
        ("labels.json", "images/", "/home/jo/photos/a.png"),
        ("result.json", "images/", "images/0a1b2c3d-a.png"),  # Label Studio, with the original files beside
        ("result.json", "images/", "/data/local-files/?d=photos/a.png"),
    ],
)
def test_images_are_found(tmp_path, name, place, stated):
    one(tmp_path, name, place, stated)
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "other.json").write_text("[1]")
    catalog = read_catalog(tmp_path)
    (item,) = catalog.items
    assert (catalog.format, catalog.kind, catalog.classes) == ("coco", "outlines", ("ant", "bee", "cat"))
    assert item.path == tmp_path / place / "a.png" and item.id == f"{place}a" and item.split is None
    assert catalog.ignored == {".md": 1, ".json": 1}
    assert item.regions == sample_catalog().items[0].regions


def test_one_file_is_the_data(tmp_path):
    """Images in a folder beside that of the JSON; other JSON files of the folder are not read."""
    write_coco(sample_catalog(), tmp_path)
    catalog = read_catalog(tmp_path / "annotations" / "instances_val2017.json")
    assert [(item.id, item.split) for item in catalog.items] == [("val2017/c", "val")]
    assert catalog.items[0].path.is_file() and catalog.ignored == {}


def test_roboflow(tmp_path):
    """A JSON in each folder of a split; category 0 is named as the project, and here also as a class."""
    for folder, split in (("train", "train"), ("valid", "val")):
        catalog = sample_catalog("boxes")
        items = catalog.of_split(split)
        content = coco_content(catalog, items)
        content["categories"] = [
            dict(id=0, name="ant", supercategory="none"),
            *(row | dict(supercategory="ant") for row in content["categories"]),
        ]
        write(tmp_path / folder / "_annotations.coco.json", content)
        for item in items:
            write_blank(tmp_path / folder / item.path.name, item.size_hw)
    catalog = read_catalog(tmp_path)
    assert (catalog.kind, catalog.classes) == ("boxes", ("ant", "bee", "cat"))
    assert [(item.id, item.split) for item in catalog.items] == [
        ("train/a", "train"), ("train/b", "train"), ("valid/c", "val"),
    ]  # fmt: skip
    assert "category ant is a placeholder" in "\n".join(catalog.describe())


def test_a_used_category_0_stays(tmp_path):
    content = one(tmp_path)
    content["categories"] = [dict(id=0, name="thing", supercategory="none")] + [
        row | dict(supercategory="thing") for row in content["categories"]
    ]
    content["annotations"][1]["category_id"] = 0
    write(tmp_path / "labels.json", content)
    catalog = read_catalog(tmp_path)
    assert catalog.classes == ("thing", "ant", "bee", "cat")
    assert [region.label for region in catalog.items[0].regions] == [3, 0]


def test_tables_of_categories_are_joined_by_name(tmp_path):
    """val counts from 0 in another order, and has a class more."""
    one(tmp_path, "train.json", "train/")
    content = one(tmp_path, "val.json", "val/")
    content["categories"] = [dict(id=id, name=name) for id, name in enumerate(("dog", "cat", "bee", "ant"))]
    for row in content["annotations"]:
        row["category_id"] = 0
    write(tmp_path / "val.json", content)
    catalog = read_catalog(tmp_path)
    assert catalog.classes == ("dog", "cat", "bee", "ant")
    assert [[region.label for region in item.regions] for item in catalog.items] == [[1, 3], [0, 0]]
    assert any("joined by name" in note for note in catalog.notes)


def test_other_files_of_the_same_images_are_passed_over(tmp_path):
    write_coco(sample_catalog(), tmp_path)
    for split in ("train", "val"):
        content = coco_content(sample_catalog(), sample_catalog().of_split(split))
        write(tmp_path / f"annotations/captions_{split}2017.json", dict(content, annotations=[dict(caption="a")]))
        content["categories"][0]["keypoints"] = ["nose"]
        write(tmp_path / f"annotations/person_keypoints_{split}2017.json", content)
        write(tmp_path / f"annotations/stuff_{split}2017.json", dict(content, categories=[]))
    catalog = read_catalog(tmp_path)
    assert len(catalog.items) == 3 and sum("passed over" in note for note in catalog.notes) == 6


def test_a_file_of_all_splits_is_passed_over(tmp_path):
    for name, split in (("train", "train"), ("val", "val")):
        write(tmp_path / f"{name}.json", coco_content(sample_catalog(), sample_catalog().of_split(split)))
    write(tmp_path / "all.json", coco_content(sample_catalog(), sample_catalog().items))
    for item in sample_catalog().items:
        write_blank(tmp_path / "images" / item.path.name, item.size_hw)
    catalog = read_catalog(tmp_path)
    assert len(catalog.items) == 3 and any("all.json is passed over" in note for note in catalog.notes)
    (tmp_path / "val.json").unlink()
    with pytest.raises(ValueError, match=r"a\.png is in .*all\.json and in .*train\.json; pass the one"):
        read_catalog(tmp_path)


def test_every_form_of_an_outline(tmp_path):
    """Run lengths as text and as numbers, a polygon that is not in a list, no outline, an outline without a box."""
    mask = np.zeros((1, 40, 60), bool)
    mask[0, 5:25, 10:30] = True
    (text,) = encode_masks(mask)
    flat = np.concatenate([[0], mask[0].T.ravel().astype(int), [0]])
    edges = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], edges, [2400]])).tolist()
    polygon = [10, 5, 30, 5, 30, 25, 10, 25]
    for outline, expected in (
        (text, text),
        (dict(size=[40, 60], counts=counts), text),
        (polygon, [polygon]),
        ([polygon], [polygon]),
        ([], None),
        ([[]], None),
        (None, None),
    ):
        one(tmp_path, segmentation=outline)
        assert read_catalog(tmp_path).items[0].regions[0].outline == expected
    assert any("only a box" in note for note in read_catalog(tmp_path).notes)
    for outline in (text, [polygon]):
        one(tmp_path, segmentation=outline, bbox=None)
        assert read_catalog(tmp_path).items[0].regions[0].box_xyxy == (10, 5, 30, 25)


def test_what_cannot_be_learned_is_counted(tmp_path):
    """A box without width, a box outside, an image of which the JSON says nothing; a crowd."""
    one(tmp_path, bbox=[3, 3, 0, 9])
    write_blank(tmp_path / "unlisted.png", (9, 9))
    catalog = read_catalog(tmp_path)
    assert len(catalog.items) == 1 and len(catalog.items[0].regions) == 1
    assert "1 boxes without area in their image are left out" in catalog.notes
    assert "1 images beside the others are not in the JSON; left out" in catalog.notes
    one(tmp_path, bbox=[60, 3, 5, 9])
    assert len(read_catalog(tmp_path).items[0].regions) == 1
    one(tmp_path, iscrowd=1)
    assert [region.crowd for region in read_catalog(tmp_path).items[0].regions] == [True, False]


def test_few_missing_images_are_left_out(tmp_path):
    content = one(tmp_path)
    rows = [dict(id=10 + n, file_name=f"{n}.png", height=4, width=4) for n in range(20)]
    for row in rows[1:]:
        write_blank(tmp_path / row["file_name"], (4, 4))
    content["images"] += rows
    write(tmp_path / "labels.json", content)
    catalog = read_catalog(tmp_path)
    assert len(catalog.items) == 20 and "1 of 21 images" in catalog.notes[0] and "first 0.png" in catalog.notes[0]
    (tmp_path / "1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"2 of 21 images .* are missing, first 0\.png .*copy them"):
        read_catalog(tmp_path)


FAULTS = [
    (lambda c: c["annotations"][0].update(bbox=[0, 0, float("nan"), 1]), "annotation 1: bbox must lie within"),
    (lambda c: c["annotations"][0].update(bbox=[0, 0, 1e7, 1]), "annotation 1: bbox must lie within 1000000"),
    (lambda c: c["annotations"][0].update(bbox=[0, 0, 10**400, 1]), "annotation 1: bbox must lie within"),
    (lambda c: c["annotations"][0].update(bbox=[0, 0, 1]), r"annotation 1: bbox must be \[x, y, width, height\]"),
    (lambda c: c["annotations"][0].update(bbox=None, segmentation=None), "annotation 1: bbox must be"),
    (lambda c: c["annotations"][0].update(segmentation=[[1, 1, 2, 2]]), "annotation 1: .*at least 3 points"),
    (lambda c: c["annotations"][0].update(segmentation=[[1, 1, 2, 2, 1e8, 3]]), "annotation 1: .*1000000"),
    (lambda c: c["annotations"][0].update(segmentation=[["a"] * 6]), "annotation 1: .*no number"),
    (lambda c: c["annotations"][0].update(segmentation=dict(size=[40, 60], counts="x")), "annotation 1: run lengths"),
    (lambda c: c["annotations"][0].update(segmentation="x"), "annotation 1: segmentation must be"),
    (lambda c: c["annotations"][0].update(category_id=99), "annotation 1: category_id 99 is not in the file; add it"),
    (lambda c: c["annotations"][0].update(category_id=[1]), r"annotation 1: category_id \[1\] is not in the file"),
    (lambda c: c["annotations"][0].update(image_id=99), "annotation 1: image_id 99 is not in the file"),
    (lambda c: c["annotations"][0].update(id=2), "annotation 2: a second annotation with this id"),
    (lambda c: c["annotations"].append(7), r"entry 2 \(from 0\) of annotations must be an object, got 7"),
    (lambda c: c["images"].append(c["images"][0]), "image 1: a second image with this id"),
    (lambda c: c["images"].append(dict(c["images"][0], id=2)), "image 2 is .*a.png, which image 1 is too"),
    (lambda c: c["images"][0].update(file_name=None), "image 1 needs an id and a file_name"),
    (lambda c: c["images"][0].update(file_name="b.png"), "1 of 1 images that labels name are missing, first b.png"),
    (lambda c: c["images"][0].update(height=60, width=40), r"says \(60, 40\) \(height, width\); .*EXIF"),
    (lambda c: c["categories"].append(dict(id=9, name="cat")), "class names must differ, cat occurs"),
    (lambda c: c["categories"].append(dict(id=1, name="dog")), "two categories have one id"),
    (lambda c: c["categories"].append(dict(id=[1], name="dog")), "category 3 .*id must be a number"),
    (lambda c: c["categories"].append(dict(id=12)), "category 3 .* has no id or no name"),
]


@pytest.mark.parametrize("change, fault", FAULTS, ids=[fault for _, fault in FAULTS])
def test_faults_are_named(tmp_path, change, fault):
    content = one(tmp_path)
    change(content)
    write(tmp_path / "labels.json", content)
    with pytest.raises((ValueError, FileNotFoundError), match=fault) as error:
        read_catalog(tmp_path)
    assert "labels.json" in str(error.value)


def test_a_torn_file_is_named(tmp_path):
    one(tmp_path)
    text = (tmp_path / "labels.json").read_text()
    (tmp_path / "labels.json").write_text(text[: len(text) - 40])
    with pytest.raises(ValueError, match=r"labels\.json is not JSON, or not complete"):
        read_catalog(tmp_path)


def test_masks_of_the_same_name_are_no_images(tmp_path):
    one(tmp_path, place="photos/")
    write_blank(tmp_path / "masks/a.png", (40, 60))
    assert read_catalog(tmp_path, format="coco").items[0].id == "photos/a"


def test_one_name_in_two_folders_is_ambiguous(tmp_path):
    one(tmp_path, place="x/")
    write_blank(tmp_path / "y/a.png", (40, 60))
    with pytest.raises(ValueError, match=r"image 1: a\.png may be x/a\.png or y/a\.png; write its folder"):
        read_catalog(tmp_path)


def test_real_data():
    catalog = read_catalog(shared("data", "voc3") / "instances_val.json")
    assert len(catalog.items) == 3 and len(catalog.classes) == 20  # without _background_
    assert {item.split for item in catalog.items} == {"val"} and sum(len(item.regions) for item in catalog.items) == 12


def test_100_000_annotations_take_seconds(tmp_path):
    content = one(tmp_path)
    row = content["annotations"][0]
    row["segmentation"] = [np.random.default_rng(0).uniform(0, 40, 20).round(2).tolist()]
    content["annotations"] = [dict(row, id=id) for id in range(100_000)]
    write(tmp_path / "labels.json", content)
    start = time.process_time()
    assert len(read_catalog(tmp_path).items[0].regions) == 100_000
    assert time.process_time() - start < 15
