"""COCO's panoptic format as a catalog."""

import json

import numpy as np
import pytest
from labelled import write_blank, write_panoptic
from peers import shared

from xseg.data.formats import read_catalog
from xseg.data.read.images import read_segment_ids


def test_the_images_and_their_segments(tmp_path):
    """Images and PNGs of segments have the same names."""
    write_panoptic(tmp_path)
    (tmp_path / "README.md").write_text("mine")
    catalog = read_catalog(tmp_path)
    assert (catalog.format, catalog.kind) == ("panoptic", "panoptic")
    assert catalog.classes == ("ant", "bee", "grass") and catalog.things == (0, 1)
    first, second = catalog.items
    assert (first.id, first.split, first.size_hw) == ("images/train2017/0", "train", (20, 30))
    assert first.mask == tmp_path / "annotations/panoptic_train2017/0.png"
    assert first.segments == ((7, 0, True), (256, 1, False), (65536, 2, False)) and first.regions is None
    assert (second.id, second.split) == ("images/val2017/1", "val")
    assert catalog.ignored == {".md": 1}
    assert "2 images with panoptic segments (panoptic)" in catalog.describe()[0]


@pytest.mark.parametrize("part", ["annotations", "annotations/panoptic_val2017.json"])
def test_a_part_of_it_is_the_data(tmp_path, part):
    write_panoptic(tmp_path)
    catalog = read_catalog(tmp_path / part)
    assert catalog.items[-1].path == tmp_path / "images/val2017/1.png"
    assert len(catalog.items) == (1 if part.endswith("json") else 2)


def test_tables_of_categories_are_joined_by_name(tmp_path):
    contents = write_panoptic(tmp_path)
    val = contents["val2017"]
    val["categories"] = [dict(id=1, name="grass", isthing=0), dict(id=2, name="ant", isthing=1)]
    val["annotations"][0]["segments_info"] = [dict(id=7, category_id=2), dict(id=65536, category_id=1)]
    (tmp_path / "annotations/panoptic_val2017.json").write_text(json.dumps(val))
    catalog = read_catalog(tmp_path)
    assert catalog.items[1].segments == ((7, 0, False), (65536, 2, False))


def infos(content):
    return content["annotations"][0]["segments_info"]


FAULTS = [
    (lambda c: infos(c)[0].update(id=0), r"annotation 0 \(from 0\): the id of a segment must be 1 to 16777215, got 0"),
    (lambda c: infos(c)[0].update(id=10**400), "the id of a segment must be 1 to"),
    (lambda c: infos(c)[0].update(id=None), "the id of a segment must be 1 to 16777215, got None"),
    (lambda c: infos(c)[0].update(id=256), "two segments have the id 256"),
    (lambda c: infos(c)[0].update(category_id=4), "segment 7 has category_id 4, which is not in the file"),
    (lambda c: infos(c)[0].update(category_id=[4]), "segment 7 has category_id"),
    (lambda c: infos(c).append(4), "segments_info must be a list of objects"),
    (lambda c: c["annotations"][0].update(image_id=[4]), r"image_id \[4\] is not in the file"),
    (lambda c: c["annotations"][0].update(file_name=4), "file_name must be that of a PNG"),
    (lambda c: c["annotations"][0].update(file_name="9.png"), "1 of 2 pairs .* are missing, first 9.png"),
    (lambda c: c["annotations"].append(c["annotations"][0]), r"annotation 1 .* has an annotation before"),
    (lambda c: c["images"][0].update(file_name="9.jpg"), "1 of 2 pairs .* are missing, first 9.jpg"),
    (lambda c: c["images"][0].update(id=None), r"image 0 \(from 0\) needs an id"),
    (lambda c: c["images"].append(c["images"][0]), "image 1: a second image with this id"),
    (lambda c: c["categories"][0].update(isthing=0), "category ant has isthing 0, another file 1"),
    (lambda c: c["categories"][0].update(name="bee"), "bee occurs more than once"),
]


@pytest.mark.parametrize("change, fault", FAULTS, ids=[fault for _, fault in FAULTS])
def test_faults_are_named(tmp_path, change, fault):
    content = write_panoptic(tmp_path)["val2017"]
    change(content)
    (tmp_path / "annotations/panoptic_val2017.json").write_text(json.dumps(content))
    with pytest.raises((ValueError, FileNotFoundError), match=fault) as error:
        read_catalog(tmp_path)
    assert "panoptic_val2017.json" in str(error.value)


def test_segments_of_another_size(tmp_path):
    write_panoptic(tmp_path)
    write_blank(tmp_path / "images/val2017/1.png", (21, 30))
    with pytest.raises(ValueError, match=r"1\.png is \(20, 30\) \(H, W\), but .*1\.png is \(21, 30\)"):
        read_catalog(tmp_path)


@pytest.mark.parametrize("part", ["", "annotations"])
def test_real_data_beside_their_images(part):
    """The ids in each PNG are those of the segments."""
    catalog = read_catalog(shared("data", "coco128", "panoptic_segmentation", part))
    assert (catalog.format, len(catalog.classes), len(catalog.things)) == ("panoptic", 133, 80)
    assert len(catalog.of_split("train")) == len(catalog.of_split("val")) == 100
    for item in catalog.items[::40]:
        assert item.path.parent.name == f"{item.split}2017" and item.mask.parent.name.endswith(f"{item.split}2017")
        assert set(np.unique(read_segment_ids(item.mask))) - {0} == {id for id, _, _ in item.segments}
