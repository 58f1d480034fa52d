"""CVAT's XML of images as a catalog."""

import numpy as np
import pytest
from labelled_tools import BOXES, CLASSES, OUTLINES, assert_same, catalog_of, write_cvat, write_image

from xseg.data.formats import read_catalog
from xseg.data.formats.catalog import Region
from xseg.data.read.rle import decode_masks

BOX = '<box label="cat" xtl="1" ytl="2" xbr="9" ybr="12.5"/>'
LABELS = "<label><name>dog</name><color>#ff0000</color></label><label><name>cat</name><color>#00ff00</color></label>"


def written(root, *images, labels=LABELS, meta="task"):
    """An XML with images a.png, b.png, … of these shapes, and the images beside it."""
    text = f"<meta><{meta}><labels>{labels}</labels></{meta}></meta>"
    for name, inner in zip("abcdef", images, strict=False):
        write_image(root / "images" / f"{name}.png")
        text += f'<image id="0" name="{name}.png" width="60" height="40">{inner}</image>'
    (root / "annotations.xml").write_text(f"<annotations><version>1.1</version>{text}</annotations>")
    return root / "annotations.xml"


def pixels(item, index=0):
    return decode_masks([item.regions[index].outline], item.size_hw)[0].numpy()


@pytest.mark.parametrize("kind", [BOXES, OUTLINES])
def test_a_project_with_subsets_comes_back(tmp_path, kind):
    write_cvat(catalog_of(kind), tmp_path)
    read = read_catalog(tmp_path)
    assert read.format == "cvat" and read.ignored == {} and read.notes == ()
    assert_same(read, catalog_of(kind))


def test_boxes_with_colours_and_edges_from_zero(tmp_path):
    written(tmp_path, BOX, "")
    (tmp_path / "README.md").write_text("mine")
    read = read_catalog(tmp_path)
    assert (read.kind, read.classes, read.palette) == (BOXES, ("dog", "cat"), ((255, 0, 0), (0, 255, 0)))
    assert [item.regions for item in read.items] == [(Region(1, (1, 2, 9, 12.5)),), ()]
    assert read.items[0].split is None and read.ignored == {".md": 1}


def test_a_rotated_box_turns_clockwise_around_its_centre(tmp_path):
    """10..30 x 10..14 turned by 90 degrees is 18..22 x 2..22; its first corner, top left, is then top right."""
    written(tmp_path, '<box label="cat" xtl="10" ytl="10" xbr="30" ybr="14" rotation="90.00"/>' + BOX)
    read = read_catalog(tmp_path)
    turned, plain = read.items[0].regions
    assert read.kind == OUTLINES and "1 boxes are taken as rectangular outlines" in read.notes
    np.testing.assert_allclose(turned.outline[0][:4], [22, 2, 22, 22])
    assert plain.outline == [[1, 2, 9, 2, 9, 12.5, 1, 12.5]]


def test_masks_and_ellipses(tmp_path):
    """Runs of a 4 x 3 box (width x height) row by row: 1 outside, 2 inside, 5 outside, 4 inside."""
    mask = '<mask label="cat" rle="1, 2, 5, 4" left="5" top="6" width="4" height="3"/>'
    written(tmp_path, mask + '<ellipse label="dog" cx="30" cy="20" rx="20" ry="10"/>')
    (item,) = read_catalog(tmp_path).items
    expected = np.zeros((40, 60), np.uint8)
    expected[6, 6:8] = expected[8, 5:9] = 1
    np.testing.assert_array_equal(pixels(item), expected)
    np.testing.assert_allclose(item.regions[1].box_xyxy, (10, 10, 50, 30), atol=0.5)


def test_shapes_of_a_group_are_one_object_and_the_top_ones_come_last(tmp_path):
    """Two cats of group 1, one of no group, a dog of group 1; boxes are always alone."""
    polygon = '<polygon label="{}" points="{},0;{},0;{},9" z_order="{}" group_id="{}"/>'
    shapes = [("cat", 0, 9, 9, 2, 1), ("cat", 20, 29, 29, 1, 1), ("cat", 40, 49, 49, 3, 0), ("dog", 30, 39, 39, 0, 1)]
    mask = '<mask label="cat" rle="0, 4" left="50" top="30" width="2" height="2" group_id="1" z_order="2"/>'
    written(tmp_path, "".join(polygon.format(*shape) for shape in shapes))
    (item,) = read_catalog(tmp_path).items
    assert [(region.label, region.box_xyxy[0]) for region in item.regions] == [(0, 30), (1, 0), (1, 40)]
    assert len(item.regions[1].outline) == 2
    written(tmp_path, "".join(polygon.format(*shape) for shape in shapes) + mask)
    (item,) = read_catalog(tmp_path).items
    assert item.regions[1].box_xyxy == (1, 0, 52, 32) and pixels(item, 1)[30:32, 50:52].all()


def test_shapes_without_area_are_counted(tmp_path):
    rest = '<points label="cat" points="1,2"/><polyline label="cat" points="1,2;3,4"/><skeleton label="cat"/>'
    written(tmp_path, rest + BOX + '<box label="cat" xtl="70" ytl="2" xbr="90" ybr="12"/>')
    read = read_catalog(tmp_path)
    assert len(read.items[0].regions) == 1
    assert read.notes == (
        "1 objects without area inside their image are left out",
        "3 polylines, points, cuboids and skeletons are left out",
    )


def test_tags_are_classes_or_several_a_image(tmp_path):
    tag = '<tag label="{}"/>'.format
    written(tmp_path, tag("cat"), tag("dog"), "")
    read = read_catalog(tmp_path)
    assert (read.kind, [item.labels for item in read.items]) == ("classes", [(1,), (0,)])
    assert "1 images without a class" in read.notes[0]
    written(tmp_path, tag("cat"), tag("dog") + tag("cat") + tag("cat"), "")
    read = read_catalog(tmp_path)
    assert (read.kind, [item.labels for item in read.items]) == ("tags", [(1,), (0, 1), ()])


def test_several_tasks_each_with_its_own_images(tmp_path):
    """Both tasks have an image a.png; the second names its labels in another order."""
    written(tmp_path / "one", BOX)
    written(tmp_path / "two", BOX, labels="<label><name>cat</name></label><label><name>cow</name></label>")
    read = read_catalog(tmp_path)
    assert [item.id for item in read.items] == ["one/images/a", "two/images/a"] and read.palette is None
    assert read.classes == ("dog", "cat", "cow") and [item.regions[0].label for item in read.items] == [1, 1]


def test_labels_that_have_no_shapes_are_no_classes(tmp_path):
    extra = (
        "<label><name>pose</name><type>skeleton</type></label><label><name>knee</name><parent>pose</parent></label>"
        "<label><name>background</name></label>"
    )
    written(tmp_path, BOX, labels=LABELS + extra, meta="job")
    assert read_catalog(tmp_path).classes == ("dog", "cat")
    written(tmp_path, BOX, labels="")
    assert read_catalog(tmp_path).classes == ("cat",)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (BOX.replace('"1"', '"inf"'), r"box 1 \(cat\): xtl must be a finite number"),
        (BOX.replace('"1"', '"1e7"'), "box 1.*at most 1000000"),
        (BOX.replace(' xtl="1"', ""), "box 1.*xtl must be a number, got None"),
        (BOX.replace("cat", ""), "box has no label"),
        ('<polygon label="cat" points="1,2;3,4"/>', "polygon 1.*at least 3 points, got 2"),
        ('<polygon label="cat" points="1,2;3;4,5"/>', "polygon 1.*list of points"),
        ('<polygon label="cat" points="1,2;3,x;4,5"/>', "polygon 1.*must be numbers"),
        (
            '<mask label="cat" rle="1, 2" left="0" top="0" width="2" height="2"/>',
            "mask 1.*must sum to 2x2 pixels, got 3",
        ),
        ('<mask label="cat" rle="9e9" left="0" top="0" width="2" height="2"/>', "mask 1.*whole numbers"),
        ('<mask label="cat" rle="-1, 5" left="0" top="0" width="2" height="2"/>', "mask 1.*must sum"),
        (f'<mask label="cat" rle="{10**30}" left="0" top="0" width="2" height="2"/>', "mask 1.*whole numbers"),
        ('<mask label="cat" rle="0" left="0" top="0" width="900000" height="900000"/>', "mask 1.*900000x900000"),
        ('<mask label="cat" rle="0, 4" left="59" top="0" width="2" height="2"/>', "mask 1.*does not fit"),
        ("<box>", "is not XML, or not complete"),
    ],
)
def test_faults_are_named(tmp_path, shape, message):
    written(tmp_path, shape)
    with pytest.raises(ValueError, match=rf"annotations\.xml.*{message}"):
        read_catalog(tmp_path)


def test_files_that_cannot_be_used_are_named(tmp_path):
    path = written(tmp_path, BOX, BOX)
    path.write_text(path.read_text().replace('"b.png"', '"a.png"'))
    with pytest.raises(ValueError, match=r"image 2 \(a\.png\) is listed before"):
        read_catalog(tmp_path)
    path.write_text(path.read_text().replace('"a.png"', '"lost.png"', 1))
    with pytest.raises(FileNotFoundError, match=r"its image lost\.png is not below .* 1 of 2 images"):
        read_catalog(tmp_path)
    path.write_text('<annotations><meta/><track id="0"><box frame="0"/></track></annotations>')
    with pytest.raises(ValueError, match=r'export it again as "CVAT for images 1\.1"'):
        read_catalog(tmp_path)
    written(tmp_path, "", "")
    with pytest.raises(ValueError, match="has no box, polygon, mask or tag"):
        read_catalog(tmp_path)


def test_support_writes_what_the_tool_would(tmp_path):
    write_cvat(catalog_of(OUTLINES), tmp_path)
    text = (tmp_path / "annotations.xml").read_text(encoding="utf-8")
    assert CLASSES[2] in text
    assert 'rle="0, 23, 4, 6, 4, 6, 4, 33" left="30" top="20" width="10" height="8"' in text
