"""Label Studio's JSON as a catalog."""

import json

import numpy as np
import pytest
from labelled_tools import BOXES, OUTLINES, assert_same, catalog_of, write_image, write_labelstudio

from xseg.data.formats import read_catalog
from xseg.data.formats.catalog import Region


def rectangle(label="cat", kind="rectanglelabels", **changes):
    """10..30 x 4..12 of an image of 100 x 40 (width x height)."""
    value = dict(x=10, y=10, width=20, height=20, rotation=0) | ({kind: [label]} if label else {}) | changes
    return dict(id="r1", type=kind, original_width=100, original_height=40, image_rotation=0, value=value)


def choice(*names):
    return dict(id="c1", type="choices", value=dict(choices=list(names)))


def task(*results, image="/data/upload/1/0123abcd-a.png", **annotation):
    return dict(id=7, annotations=[dict(result=list(results)) | annotation], data=dict(image=image))


def written(root, *tasks, images=("a",)):
    for name in images:
        write_image(root / f"{name}.png", (40, 100))
    root.mkdir(exist_ok=True)
    (root / "export.json").write_text(json.dumps(tasks))
    return root / "export.json"


@pytest.mark.parametrize("kind", [BOXES, OUTLINES])
def test_uploads_come_back(tmp_path, kind):
    catalog = catalog_of(kind, blobs=False)
    write_labelstudio(catalog, tmp_path)
    read = read_catalog(tmp_path)
    assert read.format == "labelstudio" and read.ignored == {} and read.notes == ()
    assert_same(read, catalog)


def test_percent_become_pixels(tmp_path):
    written(tmp_path, task(rectangle()))
    (tmp_path / "README.md").write_text("mine")
    read = read_catalog(tmp_path)
    assert read.items[0].regions == (Region(0, (10, 4, 30, 12)),) and read.ignored == {".md": 1}


def test_a_rectangle_turns_clockwise_around_its_corner(tmp_path):
    """20 x 8 pixels at 10, 4, turned by 90 degrees: 2..10 x 4..24."""
    written(tmp_path, task(rectangle(rotation=90)))
    read = read_catalog(tmp_path)
    assert read.kind == OUTLINES
    np.testing.assert_allclose(read.items[0].regions[0].box_xyxy, (2, 4, 10, 24))


def test_ellipses_and_labels_of_their_own(tmp_path):
    """A rectangle and its label may be two results with one id."""
    label = dict(id="r1", type="labels", value=dict(labels=["dog"]))
    oval = dict(id="r2", type="ellipselabels", value=dict(x=50, y=50, radiusX=20, radiusY=25, ellipselabels=["cat"]))
    written(tmp_path, task(rectangle(None, "rectangle"), label, oval))
    read = read_catalog(tmp_path)
    assert read.classes == ("cat", "dog") and [region.label for region in read.items[0].regions] == [1, 0]
    np.testing.assert_allclose(read.items[0].regions[1].box_xyxy, (30, 10, 70, 30), atol=0.5)


@pytest.mark.parametrize(
    "image",
    [
        "/data/upload/1/0123abcd-my_photo_1.png",
        "/data/local-files/?d=somewhere/train/my%20photo%201.png",
        "s3://bucket/train/my photo 1.png",
        "https://host/train/my%20photo%201.png?token=a.b",
        "C:\\data\\train\\my photo 1.png",
        "my photo 1.png",
    ],
)
def test_images_are_found_after_any_prefix(tmp_path, image):
    write_image(tmp_path / "train" / "my photo 1.png", (40, 100))
    written(tmp_path, task(rectangle(), image=image), images=())
    (item,) = read_catalog(tmp_path).items
    assert (item.id, item.split) == ("train/my photo 1", "train")


def test_of_several_annotations_one_is_used(tmp_path):
    several = task(rectangle("cow"), was_cancelled=True)
    several["annotations"] += [dict(result=[rectangle("dog")]), dict(result=[rectangle("cat")], ground_truth=True)]
    bare = dict(id=8, annotations=[], predictions=[dict(result=[rectangle()])], data=dict(image="b.png"))
    point = dict(id="k", type="keypointlabels", value=dict(x=1, y=1, keypointlabels=["cat"]))
    empty = task(point, rectangle(None), rectangle(x=200), image="c.png")
    written(tmp_path, several, bare, empty, images="abc")
    read = read_catalog(tmp_path)
    assert read.classes == ("cat",) and [(item.id, len(item.regions)) for item in read.items] == [("a", 1), ("c", 0)]
    assert read.notes == (
        "1 objects without area inside their image are left out",
        "1 tasks without an annotation are left out",
        "2 keypoints, open lines and regions without a label are left out",
        "1 second and further annotations of a task are not used",
    )


def test_choices_are_classes_or_tags(tmp_path):
    written(tmp_path, task(choice("cat")), task(choice("dog"), image="b.png"), images="ab")
    read = read_catalog(tmp_path)
    assert (read.kind, [item.labels for item in read.items]) == ("classes", [(0,), (1,)])
    written(tmp_path, task(choice("cat", "dog")), task(image="b.png"), images="ab")
    read = read_catalog(tmp_path)
    assert (read.kind, [item.labels for item in read.items]) == ("tags", [(0, 1), ()])


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (dict(type="brushlabels", value=dict(rle=[1])), "brush labels.*COCO or as PNG"),
        (rectangle(x="left"), r"region 1 \(cat, rectanglelabels\): x, y, width, height: coordinates must be numbers"),
        (rectangle(x=float("inf")), "region 1.*must be finite"),
        (rectangle(width=None), "region 1.*must be numbers"),
        (rectangle(x=1e9), "region 1.*at most 1000000"),
        (rectangle(rectanglelabels=["cat", "dog"]), "labels cat, dog; give each region one"),
        (rectangle() | dict(image_rotation=90), "region 1.*is rotated by 90 degrees"),
        (rectangle() | dict(original_width="wide"), "original size: coordinates must be numbers"),
        (dict(type="polygonlabels", value=dict(points=[[1, 2], [3, 4]], polygonlabels=["cat"])), "at least 3 points"),
        (dict(type="polygonlabels", value=dict(points="1,2", polygonlabels=["cat"])), "list of points"),
        ("paper", "result must be a list of regions"),
    ],
)
def test_faults_are_named(tmp_path, result, message):
    written(tmp_path, task(result))
    with pytest.raises(ValueError, match=rf"export\.json: task 1 \(id 7\).*{message}"):
        read_catalog(tmp_path)


def test_files_that_cannot_be_used_are_named(tmp_path):
    path = written(tmp_path, task(rectangle()), task(rectangle(), image="a.png"))
    with pytest.raises(ValueError, match=r"task 2 .* has the image of .*task 1"):
        read_catalog(tmp_path)
    written(tmp_path, task(rectangle(), image="lost.png"))
    with pytest.raises(FileNotFoundError, match=r"its image lost\.png is not below .* 1 of 1 tasks"):
        read_catalog(tmp_path)
    written(tmp_path, task(rectangle(), image="data:image/png;base64,AAAA"))
    with pytest.raises(ValueError, match="inside of the JSON"):
        read_catalog(tmp_path)
    written(tmp_path, task(rectangle(), image="a.txt"))
    with pytest.raises(ValueError, match="data must state one image"):
        read_catalog(tmp_path)
    written(tmp_path, task())
    with pytest.raises(ValueError, match="has no rectangle, polygon, ellipse or choice"):
        read_catalog(tmp_path)
    path.write_text('[{"annotations": [{"result": [')
    with pytest.raises(ValueError, match=r"export\.json is not JSON, or not complete"):
        read_catalog(tmp_path)
