"""VOC, Cityscapes and labelme as COCO JSON: what is read back equals what the source says."""

import base64
import io
import json
import re

import numpy as np
import pytest
import torch
from peers import shared
from PIL import Image
from trees import cityscapes_scene, write_cityscapes, write_detection

from xseg.cli import main
from xseg.data import CityscapesInstances, CocoDetection, VOCDetection


def converted(*command, root, out, with_masks=False):
    assert main(["data", "convert", command[0], f"{root}", f"{out}", *command[1:]]) == 0
    return CocoDetection(".", out, root=root, with_masks=with_masks)


def assert_same(sample, other):
    for key in ("image", "boxes_xyxy", "labels", "area"):
        torch.testing.assert_close(sample[key], other[key], rtol=0, atol=0, msg=key)


def test_blood_cells_round_trip(tmp_path, capsys):
    root = shared("data", "bccd")
    ours = converted("voc", "--split", "val", "--drop-invalid", root=root, out=tmp_path / "val.json")
    theirs = VOCDetection(root, "val", drop_invalid=True)
    assert ours.classes == theirs.classes == ("RBC", "WBC", "Platelets") and len(ours) == len(theirs) == 87
    for sample, other in zip(ours, theirs, strict=True):
        assert_same(sample, other)
    out = capsys.readouterr().out
    assert f"87 images, {len(theirs.objects.labels)} objects, 0 of them crowds, {theirs.num_left_out} left out" in out
    assert "dataset=dict(type=CocoDetection" in out and "images='.'" in out


@pytest.mark.parametrize(
    "choice, labels, crowds", [("ignore", [11, 7], [0, 1]), ("keep", [11, 7], [0, 0]), ("drop", [11], [0])]
)
def test_difficult_objects(tmp_path, capsys, choice, labels, crowds):
    root = write_detection(tmp_path / "voc", [("dog", 1, 1, 30, 20, 0), ("cat", 3, 4, 3, 4, 1)])
    out = tmp_path / "new" / "a.json"
    sample = converted("voc", "--difficult", choice, root=root, out=out)[0]
    assert sample["labels"].tolist() == labels and sample["iscrowd"].int().tolist() == crowds
    assert sample["boxes_xyxy"].tolist() == [[0, 0, 30, 20], [2, 3, 3, 4]][: len(labels)]
    assert f"{sum(crowds)} of them crowds, {2 - len(labels)} left out" in capsys.readouterr().out
    content = json.loads(out.read_text())
    assert [row["id"] for row in content["annotations"]] == [1, 2][: len(labels)] and content["images"][0]["id"] == 1
    assert content["categories"][0] == dict(id=1, name="aeroplane")
    assert [row.get("ignore", 0) for row in content["annotations"]] == crowds


def test_nothing_is_written_over_and_nothing_half_written(tmp_path, capsys):
    root = write_detection(tmp_path / "voc", [("dog", 1, 1, 9, 9, 0)])
    out = tmp_path / "a.json"
    out.write_text("mine")
    command = ["data", "convert", "voc", f"{root}", f"{out}"]
    assert main(command) == 1 and "a.json exists; choose another name" in capsys.readouterr().err
    assert out.read_text() == "mine"
    (root / "Annotations" / "a.xml").write_text("<annotation>")
    assert main([*command, "--overwrite"]) == 1 and out.read_text() == "mine"
    assert main([*command[:-1], f"{tmp_path}"]) == 1 and "is a folder; name the JSON file" in capsys.readouterr().err
    write_detection(tmp_path / "voc", [("dog", 1, 1, 9, 9, 0)])
    assert main([*command, "--overwrite"]) == 0 and json.loads(out.read_text())["annotations"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "voc"], "no partial file stays"


def test_cityscapes_round_trip(tmp_path):
    scenes = {"bonn_000000_000019": cityscapes_scene(), "bonn_000001_000019": np.full((12, 20), 7)}
    root = write_cityscapes(tmp_path, scenes, "val", city="bonn")
    ours = converted("cityscapes", "--split", "val", root=root, out=tmp_path / "val.json", with_masks=True)
    theirs = CityscapesInstances(root, "val", with_masks=True)
    assert ours.classes == theirs.classes and len(ours) == 2
    for sample, other in zip(ours, theirs, strict=True):
        assert_same(sample, other)
        assert torch.equal(sample["masks"], other["masks"]) and torch.equal(sample["iscrowd"], other["iscrowd"])
    assert ours[0]["iscrowd"].tolist() == [True, False, False]


# labelme


def shape(label, points, kind="polygon", group=None, **more):
    return dict(label=label, points=points, shape_type=kind, group_id=group, flags={}, **more)


def write_labelme(folder, shapes, size_hw=(40, 60), name="a", **changes):
    folder.mkdir(exist_ok=True)
    Image.fromarray(np.zeros((*size_hw, 3), np.uint8)).save(folder / f"{name}.png")
    content = dict(version="5.5.0", flags={}, shapes=shapes, imagePath=f"{name}.png", imageData=None)
    content |= dict(imageHeight=size_hw[0], imageWidth=size_hw[1]) | changes
    (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def block(*corners_xyxy, size_hw=(40, 60)):
    mask = torch.zeros(size_hw, dtype=torch.uint8)
    for x1, y1, x2, y2 in corners_xyxy:
        mask[y1:y2, x1:x2] = 1
    return mask


def test_labelme_shapes_by_hand(tmp_path, capsys):
    """Two rectangles of one group are one cat; the circle of radius 6 covers about 113 pixels, its box 12 x 12."""
    png = io.BytesIO()
    Image.fromarray(np.array([[1, 0, 1], [1, 1, 1]], bool)).save(png, "PNG")
    shapes = [
        shape("dog", [[2, 3], [12, 3], [12, 8], [2, 8]]),
        shape("cat", [[20, 10], [24, 15]], "rectangle", group=1),
        shape("ball", [[40, 20], [46, 20]], "circle"),
        shape("cat", [[34, 15], [30, 10]], "rectangle", group=1),  # corners in the other order
        shape("dog", [[50, 2], [59, 9]], "rectangle", group=1),  # another label: another object
        shape("dog", [[1, 2]], "point"),
        shape("leaf", [[5, 30], [7, 31]], "mask", mask=base64.b64encode(png.getvalue()).decode()),
    ]
    root = write_labelme(tmp_path / "set", shapes)
    dataset = converted("labelme", root=root, out=root / "all.json", with_masks=True)
    assert "1 images, 5 objects, 0 of them crowds, 1 left out" in capsys.readouterr().out
    assert dataset.classes == ("ball", "cat", "dog", "leaf")
    sample = dataset[0]
    assert [dataset.classes[label] for label in sample["labels"]] == ["dog", "cat", "ball", "dog", "leaf"]
    dog, cat, ball, other, leaf = sample["masks"]
    assert torch.equal(dog, block((2, 3, 12, 8))) and torch.equal(cat, block((20, 10, 24, 15), (30, 10, 34, 15)))
    assert torch.equal(other, block((50, 2, 59, 9)))
    assert leaf[30:32, 5:8].tolist() == [[1, 0, 1], [1, 1, 1]] and leaf.sum() == 5
    assert sample["boxes_xyxy"].tolist()[:2] == [[2, 3, 12, 8], [20, 10, 34, 15]]
    torch.testing.assert_close(sample["boxes_xyxy"][2], torch.tensor([34.0, 14, 46, 26]), atol=0.3, rtol=0)
    rows, columns = torch.meshgrid(torch.arange(40) + 0.5, torch.arange(60) + 0.5, indexing="ij")
    circle = ((rows - 20) ** 2 + (columns - 40) ** 2 <= 36).to(torch.uint8)
    assert (ball != circle).sum() <= 12 and abs(int(ball.sum()) - 113) <= 8
    assert sample["area"].tolist() == [float(mask.sum()) for mask in sample["masks"]]
    # the JSON that was written into the folder is not taken for labelme's the next time
    converted("labelme", "--overwrite", root=root, out=root / "all.json")


def test_labelme_without_size_and_with_a_windows_path(tmp_path):
    changes = dict(imageHeight=None, imageWidth=None, imagePath="..\\pictures\\a.png")
    root = write_labelme(tmp_path / "set", [shape("dog", [[0, 0], [30, 20]], "rectangle")], **changes)
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    options = ("--classes", f"{tmp_path}/classes.txt")
    dataset = converted("labelme", *options, root=root, out=tmp_path / "a.json")
    assert dataset.images[0].size_hw == (40, 60) and dataset.images[0].path == root / "a.png"
    assert dataset.classes == ("cat", "dog") and dataset[0]["labels"].tolist() == [1]


FLAT = shape("dog", [[2, 3], [12, 3], [7, 3]])


@pytest.mark.parametrize(
    "shapes, changes, message",
    [
        ([FLAT], {}, r"a\.json: shape 1 \(dog\) has no area inside the image"),
        ([shape("dog", [[61, 3], [70, 9]], "rectangle")], {}, r"shape 1 \(dog\) has no area inside"),
        ([shape("dog", [[1, 1], [2, 2]])], {}, r"shape 1 \(dog\): a polygon of 2 points"),
        ([shape("dog", [[1, 1], [2, 2], [3, None]])], {}, r"shape 1 \(dog\): points must be a list of \[x, y\]"),
        ([shape("dog", [[1, 1]], "circle")], {}, r"a circle of 1 points"),
        ([shape("dog", [[1, 1], [1e15, 1]], "circle")], {}, r"within 1000000 pixels, got 1e\+15"),
        ([shape("dog", [[1, 1], [2, 2]], "spline")], {}, "a spline of 2 points"),
        ([shape(" ", [])], {}, "shape 1 has no label"),
        ([shape("dog", [[1, 1], [2, 2]], "mask", mask="x")], {}, "its mask is not a PNG in base64"),
        ([], dict(imagePath=None), r"a\.json is not a file of labelme"),
        ([], dict(imagePath="b.png", imageData="aGk="), r"its image b\.png is missing; .*labelme_export_json"),
    ],
)
def test_wrong_labelme_files_are_named(tmp_path, capsys, shapes, changes, message):
    root = write_labelme(tmp_path / "set", shapes, **changes)
    assert main(["data", "convert", "labelme", f"{root}", f"{tmp_path}/a.json"]) == 1
    assert re.search(message, capsys.readouterr().err) and not (tmp_path / "a.json").exists()


def test_labelme_objects_without_area_can_go(tmp_path, capsys):
    root = write_labelme(tmp_path / "set", [FLAT, shape("dog", [[0, 0], [5, 5]], "rectangle")])
    dataset = converted("labelme", "--drop-invalid", root=root, out=tmp_path / "a.json")
    assert dataset[0]["boxes_xyxy"].tolist() == [[0, 0, 5, 5]] and "1 left out" in capsys.readouterr().out
    assert main(["data", "convert", "labelme", f"{tmp_path}/set", f"{tmp_path}/b.json", "--classes", "none.txt"]) == 1
    (tmp_path / "classes.txt").write_text("cat\n")
    command = ["data", "convert", "labelme", f"{root}", f"{tmp_path}/b.json", "--drop-invalid"]
    assert main([*command, "--classes", f"{tmp_path}/classes.txt"]) == 1
    assert "classes cat lack dog" in capsys.readouterr().err
