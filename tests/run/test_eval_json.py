"""`xseg eval-json` prints the lines of pycocotools for the same two files, and names every mistake in a file."""

import json
import re

import numpy as np
import pytest
from official import CATEGORIES, SIZE, official, painted, random_files, write

from xseg.cli import main
from xseg.evaluation import read_coco_files


@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize("seed", range(3))
def test_prints_the_lines_of_pycocotools(kind, seed, tmp_path, capsys):
    paths = write(tmp_path, *random_files(seed, ["bbox" if kind == "bbox" else "segmentation"]))
    _, expected, by_class = official(*paths, kind)
    assert main(["eval-json", *paths, "--out", f"{tmp_path}/out"]) == 0
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if "@[" in line] == expected and len(expected) == 12
    report = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert list(report[f"{kind}_AP"]) == ["c3", "c17", "c90"], "by ascending id"
    assert list(report[f"{kind}_AP"].values()) == pytest.approx([100 * ap for ap in by_class], abs=1e-4)
    text = (tmp_path / "out" / "metrics.md").read_text()
    assert expected[0] in text and f"| c17 | {printed.split('c17')[1].split('│')[1].strip()} |" in text


def test_more_than_a_hundred_detections_of_an_image(tmp_path, capsys):
    """pycocotools keeps the best 100 of an image and class, not of an image: here 3 classes of 70 each."""
    truth, _ = random_files(0, ["bbox"], num_images=1, per_image=8)
    rng = np.random.default_rng(1)
    results = [
        dict(image_id=0, category_id=row["category_id"], score=float(rng.random()), bbox=(row["bbox"]))
        for row in [dict(category_id=c, bbox=[1, 1, 5, 5]) for c in (3, 17, 90) for _ in range(70)]
    ]
    results += [dict(image_id=0, category_id=r["category_id"], score=0.0, bbox=r["bbox"]) for r in truth["annotations"]]
    paths = write(tmp_path, truth, results)
    _, expected, _ = official(*paths, "bbox")
    assert main(["eval-json", *paths]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if "@[" in line] == expected


BOX = dict(image_id=1, category_id=3, bbox=[10, 10, 40, 40])
HIT = dict(BOX, score=0.9)


@pytest.mark.parametrize(
    "annotations, results",
    [
        ([], [HIT]),
        ([dict(BOX, id=1, area=1600, iscrowd=1)], [HIT, HIT]),
        ([dict(BOX, id=1, area=1600, iscrowd=0)], [HIT]),
        ([dict(BOX, id=1, area=1600, iscrowd=0)], [dict(HIT, category_id=17)]),
        ([dict(BOX, id=1, area=0, iscrowd=0, bbox=[5, 5, 0, 9])], [HIT]),
    ],
    ids=["no objects", "all crowd", "one hit", "wrong class", "object without area"],
)
def test_degenerate_files(annotations, results, tmp_path, capsys):
    truth = dict(images=[dict(id=1, **SIZE)], annotations=annotations, categories=CATEGORIES)
    paths = write(tmp_path, truth, results)
    _, expected, _ = official(*paths, "bbox")
    assert main(["eval-json", *paths]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if "@[" in line] == expected


def test_no_detection_at_all_is_zero(tmp_path, capsys):
    """pycocotools stops with an IndexError here. A missed object of 40 x 40 pixels gives an AP of 0."""
    truth = dict(images=[dict(id=1)], annotations=[dict(BOX, id=1)], categories=CATEGORIES)
    paths = write(tmp_path, truth, [])
    assert main(["eval-json", *paths, "--out", f"{tmp_path}"]) == 0
    values = re.findall(r"\] = (\S+)", capsys.readouterr().out)
    assert values == ["0.000"] * 3 + ["-1.000", "0.000", "-1.000"] + ["0.000"] * 3 + ["-1.000", "0.000", "-1.000"]
    report = json.loads((tmp_path / "metrics.json").read_text())
    assert report["bbox_AP"] == {"c3": 0, "c17": None, "c90": None} and report["detections"] == 0


def test_results_with_masks_and_boxes_are_scored_by_masks(tmp_path):
    """Unless the caller asks for boxes."""
    both = dict(HIT, segmentation=painted(HIT["bbox"]))
    truth = dict(images=[dict(id=1, **SIZE)], annotations=[dict(BOX, id=1, segmentation=painted(BOX["bbox"]))])
    paths = write(tmp_path, dict(truth, categories=CATEGORIES), [both])
    assert read_coco_files(*paths).kind == "segm" and read_coco_files(*paths, "bbox").kind == "bbox"


def test_result_without_a_box_among_results_with_boxes(tmp_path, capsys):
    """pycocotools stops with a KeyError here."""
    rows = [dict(HIT, segmentation=MASK), dict(image_id=1, category_id=3, score=0.5, segmentation=MASK)]
    truth = dict(images=[dict(id=1, **SIZE)], annotations=[], categories=CATEGORIES)
    assert main(["eval-json", *write(tmp_path, truth, rows)]) == 1
    assert re.search(r"result 1: bbox must be .*, got None; either all results have a box", capsys.readouterr().err)


def test_keypoints_are_refused_unless_boxes_are_asked_for(tmp_path, capsys):
    """A former version scored them as boxes without a warning."""
    annotations = [dict(BOX, id=1, area=1600, iscrowd=0)]
    truth = dict(images=[dict(id=1, **SIZE)], annotations=annotations, categories=CATEGORIES)
    paths = write(tmp_path, truth, [HIT, dict(HIT, keypoints=[20, 20, 2] * 17)])
    assert main(["eval-json", *paths]) == 1
    assert re.search(r"dt\.json: result 1 has keypoints, .*--kind bbox", capsys.readouterr().err)
    _, expected, _ = official(*paths, "bbox")
    assert main(["eval-json", *paths, "--kind", "bbox"]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if "@[" in line] == expected


@pytest.mark.parametrize("key", ["neg_category_ids", "not_exhaustive_category_ids"])
def test_ground_truths_of_lvis_are_refused(key, tmp_path, capsys):
    """A former version scored them by COCO's rules without a warning: 0.312, where lvis computes 0.357."""
    images = [dict(id=1, **SIZE), dict(id=2, **SIZE, **{key: []})]
    paths = write(tmp_path, dict(images=images, annotations=[], categories=CATEGORIES), [HIT])
    for more in ([], ["--kind", "bbox"]):
        assert main(["eval-json", *paths, *more]) == 1
        assert re.search(rf"gt\.json is a ground truth of LVIS: image 2 has {key}", capsys.readouterr().err)


MASK = dict(size=[120, 160], counts=[19200])


@pytest.mark.parametrize(
    "rows, message",
    [
        ({}, "dt.json holds no list"),
        (["x"], "result 0 has no image_id"),
        ([HIT, dict(HIT, image_id=9)], "result 1 has image_id 9, unknown to the ground truth"),
        ([HIT, dict(HIT, category_id=4)], "result 1 has category_id 4, unknown"),
        ([dict(HIT, score="0.9")], "result 0: score must be a finite number, got '0.9'"),
        ([dict(HIT, score=float("nan"))], "result 0: score must be a finite number, got nan"),
        ([HIT, dict(HIT, bbox=[1, 2, 3])], r"result 1: bbox must be \[x, y, width, height\]"),
        ([dict(HIT, bbox=[1, 2, -3, 4])], "result 0: bbox must be"),
        ([dict(HIT, segmentation=MASK), HIT], "result 1: segmentation: a segmentation must be"),
        ([dict(HIT, segmentation=dict(MASK, size=[160, 120]))], "result 0: segmentation: run lengths of size"),
    ],
)
def test_wrong_results_are_named(rows, message, tmp_path, capsys):
    truth = dict(images=[dict(id=1, **SIZE)], annotations=[], categories=CATEGORIES)
    assert main(["eval-json", *write(tmp_path, truth, rows)]) == 1
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(annotations=[dict(BOX, id=5, image_id=2)]), "annotation 5: image_id 2 is not in the file"),
        (dict(annotations=[dict(BOX, id=5, bbox=None)]), "annotation 5: bbox must be"),
        (dict(annotations=[dict(BOX, id=5, area="9")]), "annotation 5: area must be a number of pixels, got '9'"),
        (
            dict(annotations=[dict(BOX, id=5, bbox=[0, 0, float("nan"), 1])]),
            "annotation 5: bbox must be finite",
        ),
        (dict(categories=[dict(id=3)]), "category 0 .* has no id or no name"),
        (dict(images=[dict(id=1), dict(id=1)]), "image id 1 occurs more than once"),
        (dict(images=[dict(file_name="a.jpg")]), "image 0 .* has no id"),
    ],
)
def test_wrong_ground_truths_are_named(changes, message, tmp_path, capsys):
    truth = dict(images=[dict(id=1)], annotations=[], categories=CATEGORIES) | changes
    assert main(["eval-json", *write(tmp_path, truth, [])]) == 1
    assert re.search(rf"gt\.json: {message}", capsys.readouterr().err)


def test_broken_and_missing_files(tmp_path, capsys):
    paths = write(tmp_path, dict(images=[], annotations=[], categories=CATEGORIES), [])
    (tmp_path / "dt.json").write_text("[{")
    assert main(["eval-json", *paths]) == 1 and "dt.json is not JSON, or not complete" in capsys.readouterr().err
    assert main(["eval-json", paths[0], "none.json"]) == 1
    assert "none.json: there is no such file of results" in capsys.readouterr().err
