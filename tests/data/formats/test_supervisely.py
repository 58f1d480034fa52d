"""Supervisely's projects as a catalog."""

import base64
import io
import json
import zlib

import numpy as np
import pytest
from labelled_tools import (
    BOXES,
    OUTLINES,
    assert_same,
    catalog_of,
    supervisely_data,
    write_image,
    write_supervisely,
)
from PIL import Image

from xseg.data.formats import read_catalog
from xseg.data.formats.catalog import Region
from xseg.data.read.rle import decode_masks

SIZE = dict(height=40, width=60)


def rectangle(*points, **changes):
    points = dict(exterior=points or [[1, 2], [8, 9]], interior=[])
    return dict(classTitle="cat", geometryType="rectangle", points=points) | changes


def polygon(exterior, *interior):
    return rectangle(geometryType="polygon", points=dict(exterior=exterior, interior=list(interior)))


def bitmap(data, origin=(5, 6)):
    return dict(classTitle="cat", geometryType="bitmap", bitmap=dict(data=data, origin=list(origin)))


def written(root, *objects, name="ds0/ann/a.png.json", tags=(), size=SIZE):
    write_image(root / name.replace("/ann/", "/img/").replace(".json", ""))
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(size=size, tags=list(tags), objects=objects)))
    return path


def pixels(region):
    return decode_masks([region.outline], (40, 60))[0].numpy()


@pytest.mark.parametrize("kind", [BOXES, OUTLINES])
def test_a_project_comes_back(tmp_path, kind):
    write_supervisely(catalog_of(kind), tmp_path)
    read = read_catalog(tmp_path)
    assert read.format == "supervisely" and read.ignored == {} and read.palette[2] == (0, 0, 2)
    assert_same(read, catalog_of(kind))


def test_whole_numbers_are_pixels_and_others_are_edges(tmp_path):
    """The last pixel of a rectangle is inside; corners may be stated in any order."""
    written(tmp_path, rectangle([8, 9], [1, 2]), rectangle([1.5, 2.0], [8.5, 9.0]))
    (item,) = read_catalog(tmp_path).items
    assert item.regions == (Region(0, (1, 2, 9, 10)), Region(0, (1.5, 2, 8.5, 9)))


def test_holes_of_polygons_are_left_open(tmp_path):
    """A square of 20 pixels with a hole of about 10: a polygon goes through the centres of its pixels."""
    square, hole = [[10, 10], [30, 10], [30, 30], [10, 30]], [[15, 15], [25, 15], [25, 25], [15, 25]]
    written(tmp_path, polygon(square, hole), polygon(square))
    first, second = read_catalog(tmp_path).items[0].regions
    assert pixels(first)[12, 20] and not pixels(first)[20, 20] and pixels(first).sum() == 20**2 - 10**2
    assert second.outline == [[10.5, 10.5, 30.5, 10.5, 30.5, 30.5, 10.5, 30.5]]


@pytest.mark.parametrize("mode", ["P", "RGBA", "L", "1"])
def test_bitmaps_of_every_kind(tmp_path, mode):
    mask = np.zeros((3, 4), bool)
    mask[1, 1:3] = True
    if mode == "P":
        data = supervisely_data(mask)
    else:
        image = {"L": mask * np.uint8(255), "1": mask, "RGBA": np.dstack([mask * np.uint8(255)] * 4)}[mode]
        file = io.BytesIO()
        Image.fromarray(image).save(file, format="PNG")
        data = base64.b64encode(zlib.compress(file.getvalue())).decode()
    written(tmp_path, bitmap(data))
    (region,) = read_catalog(tmp_path).items[0].regions
    assert region.box_xyxy == (6, 7, 8, 8) and pixels(region).sum() == 2


def test_splits_by_folders_or_tags_old_names_and_background(tmp_path):
    written(tmp_path, rectangle(), name="train/ann/a.png.json")
    written(tmp_path, rectangle(), name="other/ann/a.png.json", tags=[{"name": "val"}, {"name": "cloudy"}])
    path = written(tmp_path, name="other/ann/b.png.json", tags=["test"])
    path.rename(path.with_name("b.json"))
    write_image(tmp_path / "other" / "img" / "c.png")
    write_image(tmp_path / "other" / "masks_machine" / "a.png")
    (tmp_path / "key_id_map.json").write_text("{}")
    read = read_catalog(tmp_path)
    assert {item.id: item.split for item in read.items} == {
        "train/img/a": "train", "other/img/a": "val", "other/img/b": "test", "other/img/c": None
    }  # fmt: skip
    assert read.ignored == {".json": 1, ".png": 1} and "1 images without a label file" in read.notes[0]
    assert read.classes == ("cat",)


def test_shapes_without_area_are_counted(tmp_path):
    written(tmp_path, rectangle(geometryType="line"), rectangle(), rectangle([70, 1], [80, 9]))
    read = read_catalog(tmp_path)
    assert len(read.items[0].regions) == 1 and len(read.notes) == 2
    assert read.notes[1] == "1 points, lines and other shapes without area are left out"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (rectangle(classTitle=""), "object 1 has no classTitle"),
        (rectangle(geometryType=None), "object 1 has no classTitle or no geometryType"),
        (rectangle([1, 2]), r"object 1 \(cat, rectangle\): exterior must be two points"),
        (rectangle([1, 2], ["x", 3]), "object 1.*coordinates must be numbers"),
        (rectangle([1, 2], [1e7, 3]), "object 1.*at most 1000000"),
        (rectangle([1, 2], [float("nan"), 3]), "object 1.*must be finite"),
        (rectangle([1, 2], [10**400, 3]), "object 1.*must be numbers"),
        (rectangle(points=None), "object 1.*exterior and interior"),
        (polygon([[1, 2], [3, 4]]), "object 1.*at least 3 points, got 2"),
        (polygon([[1, 2], [3, 4], [5]]), "object 1.*list of points"),
        (polygon([[1, 2], [30, 4], [5, 20]], [[1, 2]]), "object 1.*interior: a polygon needs at least 3"),
        (bitmap("no base64"), "object 1.*no compressed PNG"),
        (bitmap(base64.b64encode(zlib.compress(b"paper")).decode()), "object 1.*cannot be decoded"),
        (bitmap(supervisely_data(np.ones((3, 4))), (58, 0)), "object 1.*does not fit"),
        (bitmap(None), "object 1.*must have data and origin"),
    ],
)
def test_faults_are_named(tmp_path, item, message):
    written(tmp_path, item)
    with pytest.raises(ValueError, match=rf"a\.png\.json: {message}"):
        read_catalog(tmp_path)


def test_files_that_cannot_be_used_are_named(tmp_path):
    path = written(tmp_path, rectangle(), size=dict(height=0, width=60))
    with pytest.raises(ValueError, match=r"a\.png\.json: size of \(0, 60\)"):
        read_catalog(tmp_path)
    path.write_text('{"size": {"height": 1, "width": 1}, "objects": ' + "[" * 100_000)
    with pytest.raises(ValueError, match=r"a\.png\.json is not JSON, or not complete"):
        read_catalog(tmp_path)
    written(tmp_path, rectangle())
    (tmp_path / "meta.json").write_text('{"classes": [{"title": "dog"}]}')
    with pytest.raises(ValueError, match=r"meta\.json lacks cat"):
        read_catalog(tmp_path)
    (tmp_path / "meta.json").unlink()
    (tmp_path / "ds0" / "img" / "a.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"its image a\.png is not below"):
        read_catalog(tmp_path)
