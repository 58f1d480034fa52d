"""COCO's numbers: counted on paper, alike by both libraries on random and on degenerate sets."""

import json

import numpy as np
import pytest

from heads.contract import Instances
from xseg.data import encode_masks
from xseg.evaluation import Entry, Truth, coco, coco_scores, result_rows, write_results
from xseg.evaluation.coco import BACKENDS, NUMBERS

SIZE_HW = (240, 320)


def truth(*boxes, labels=None, **more):
    boxes = np.array(boxes, np.float64).reshape(-1, 4)
    return Truth(boxes, np.zeros(len(boxes), np.int64) if labels is None else np.array(labels), **more)


def found(*rows, labels=None):
    """Rows of x1, y1, x2, y2, score."""
    rows = np.array(rows, np.float64).reshape(-1, 5)
    return Instances(rows[:, :4], rows[:, 4], np.zeros(len(rows), np.int64) if labels is None else np.array(labels))


def entry(known, seen, id=1):
    return Entry(id, SIZE_HW, known, seen)


def random_entries(seed, num_images=12, num_classes=4, with_masks=False):
    """Objects of all sizes, a fifth of them crowds; detections near them and elsewhere; scores in ten steps: ties."""
    rng = np.random.default_rng(seed)

    def boxes(count):
        corners = rng.uniform(0, 140, (count, 2))
        return np.concatenate([corners, corners + rng.uniform(4, 180, (count, 2))], axis=1).clip(0, 240)

    entries = []
    for index in range(num_images):
        known, labels = boxes(n := rng.integers(0, 8)), rng.integers(0, num_classes, n)
        near = np.repeat(known, 3, axis=0) + rng.normal(0, 4, (3 * n, 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        seen = np.concatenate([near, boxes(rng.integers(0, 5))])
        seen_labels = np.concatenate([np.repeat(labels, 3), rng.integers(0, num_classes, len(seen) - 3 * n)])
        scores = rng.integers(1, 11, len(seen)) / 10
        codes = [encode_masks(painted(part)) if with_masks else None for part in (known, seen)]
        area = rng.uniform(0.5, 1, n) * (known[:, 2:] - known[:, :2]).prod(1)
        known_objects = Truth(known, labels, rng.random(n) < 0.2, area, codes[0])
        entries.append(Entry(100 + index, SIZE_HW, known_objects, Instances(seen, scores, seen_labels, codes[1])))
    return entries


def painted(boxes):
    rows, columns = np.mgrid[: SIZE_HW[0], : SIZE_HW[1]]
    x1, y1, x2, y2 = boxes.T[..., None, None]
    return (columns >= x1) & (columns < x2) & (rows >= y1) & (rows < y2) & ((rows + columns) % 7 > 0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_counted_on_paper(backend):
    """Two objects of 40 x 40 (medium) in one image. By score: a hit of IoU 1, a false one, one of IoU 32 / 40 = 0.8.

    IoU 0.50 to 0.80 (7 of 10): right, wrong, right. Precision 1 up to recall 1/2, 2/3 up to 1. Of the 101 recalls
    0, 0.01, … 51 are up to 1/2: (51 * 1 + 50 * 2/3) / 101. Above 0.80 (3 of 10) the last is wrong: 51 / 101.
    Best 1 of an image: recall 1/2. Best 10 or 100: (7 * 1 + 3 * 1/2) / 10.
    """
    image = entry(
        truth((0, 0, 40, 40), (60, 0, 100, 40)),
        found((0, 0, 40, 40, 0.9), (0, 60, 40, 100, 0.8), (60, 0, 100, 32, 0.7)),
    )
    scores = coco_scores([image], num_classes=2, backend=backend)
    low, high = (51 + 50 * 2 / 3) / 101, 51 / 101
    expected = dict(mAP=0.7 * low + 0.3 * high, mAP_50=low, mAP_75=low, mAP_s=None, mAP_m=0.7 * low + 0.3 * high)
    expected |= dict(mAP_l=None, AR_1=0.5, AR_10=0.85, AR_100=0.85, AR_s=None, AR_m=0.85, AR_l=None)
    assert scores.numbers.keys() == expected.keys()
    for name, value in expected.items():
        assert scores.numbers[name] == (None if value is None else pytest.approx(value, abs=1e-12)), name
    assert scores.ap == [pytest.approx(expected["mAP"]), None], "the second class has nothing to find"
    assert scores.ap_50 == [pytest.approx(low), None]


@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize("seed", range(3))
def test_both_libraries_agree_on_random_sets(kind, seed):
    entries = random_entries(seed, with_masks=kind == "segm")
    ours, reference = (coco_scores(entries, 4, kind, backend) for backend in BACKENDS)
    assert_same(ours, reference)
    assert all(value is not None for value in ours.numbers.values()) and 0.1 < ours.numbers["mAP"] < 0.9


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_same_as_the_official_program_from_files(tmp_path, kind, capsys):
    """Files written for pycocotools, with ids and categories of their own, through its own summary."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    entries, category_ids = random_entries(7, with_masks=kind == "segm"), [3, 8, 10, 90]
    path, id = tmp_path / "truth.json", 500
    content = dict(images=[], annotations=[], categories=[dict(id=c, name=f"c{c}") for c in category_ids])
    for image in entries:
        content["images"].append(dict(id=image.id, file_name=f"{image.id}.jpg", height=240, width=320))
        for row, (x1, y1, x2, y2) in enumerate(image.truth.boxes_xyxy.tolist()):
            more = dict(segmentation=image.truth.masks[row]) if kind == "segm" else {}
            content["annotations"].append(
                dict(
                    id=(id := id + 1),
                    image_id=image.id,
                    category_id=category_ids[image.truth.labels[row]],
                    bbox=[x1, y1, x2 - x1, y2 - y1],
                    area=float(image.truth.area[row]),
                    iscrowd=int(image.truth.ignore[row]),
                    **more,
                )
            )
    path.write_text(json.dumps(content))
    results = write_results(tmp_path / "out", entries, category_ids, kind)
    assert results.name == f"results.{kind}.json"
    official = COCO(str(path))
    run = COCOeval(official, official.loadRes(str(results)), kind)
    run.evaluate()
    run.accumulate()
    run.summarize()
    ours = coco_scores(entries, 4, kind)
    np.testing.assert_allclose(list(ours.numbers.values()), run.stats, rtol=0, atol=1e-12)
    capsys.readouterr()


BOX = (10, 10, 50, 50)
DEGENERATE = {  # entries, mAP, AR_100
    "nothing": ([], None, None),
    "no image has anything": ([entry(truth(), found())], None, None),
    "no detections": ([entry(truth(BOX), found())], 0, 0),
    "no ground truth": ([entry(truth(), found((*BOX, 0.9)))], None, None),
    "all crowd": ([entry(truth(BOX, ignore=np.array([True])), found((*BOX, 0.9), (*BOX, 0.8)))], None, None),
    "one image, one hit": ([entry(truth(BOX), found((*BOX, 0.9)))], 1, 1),
    "crowd takes any number": (
        [
            entry(
                truth(BOX, (60, 60, 99, 99), ignore=np.array([True, False])),
                found((*BOX, 0.9), (*BOX, 0.8), (60, 60, 99, 99, 0.1)),
            )
        ],
        1,
        1,
    ),
    "first detection of the first object": ([entry(truth(BOX, (60, 60, 99, 99)), found((*BOX, 0.9)))], 51 / 101, 0.5),
    "ties in the order given": (  # right one first: precision 1 at recall 1
        [entry(truth(BOX), found((*BOX, 0.5), (60, 60, 99, 99, 0.5)))], 1, 1,
    ),
    "ties the other way": ([entry(truth(BOX), found((60, 60, 99, 99, 0.5), (*BOX, 0.5)))], 0.5, 1),
    "wrong class": ([entry(truth(BOX), found((*BOX, 0.9), labels=[1]))], 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_sets(case, backend):
    entries, mean_ap, recall = DEGENERATE[case]
    scores = coco_scores(entries, 2, backend=backend)
    assert scores.numbers.keys() == {number.name for number in NUMBERS}
    assert scores.numbers["mAP"] == (None if mean_ap is None else pytest.approx(mean_ap))
    assert scores.numbers["AR_100"] == (None if recall is None else pytest.approx(recall))
    assert len(scores.ap) == len(scores.ap_50) == 2


def test_wrong_arguments():
    image = entry(truth(BOX), found((*BOX, 0.9)))
    with pytest.raises(ValueError, match="kind must be bbox or segm, got masks"):
        coco_scores([image], 1, "masks")
    with pytest.raises(ValueError, match="backend must be faster_coco_eval or pycocotools, got numpy"):
        coco_scores([image], 1, backend="numpy")
    with pytest.raises(ValueError, match=r"image 1: the ground truth has no masks \(with_masks=True\)"):
        coco_scores([image], 1, "segm")
    with pytest.raises(ValueError, match="image 1: the model gave no masks"):
        result_rows([image], "segm", [1])


def test_result_rows_by_hand():
    image = entry(truth(), found((1, 2, 4, 8, 0.5), labels=[1]), id=42)
    assert result_rows([image], "bbox", [7, 90]) == [dict(image_id=42, category_id=90, score=0.5, bbox=[1, 2, 3, 6])]


def assert_same(first, second):
    for ours, theirs in zip(first.numbers.values(), second.numbers.values(), strict=True):
        assert ours == (None if theirs is None else pytest.approx(theirs, abs=1e-12))
    assert first.ap == pytest.approx(second.ap, abs=1e-12) and first.ap_50 == pytest.approx(second.ap_50, abs=1e-12)


def test_computed_once(monkeypatch):
    runs = []
    monkeypatch.setattr(coco, "_run", lambda *given, run=coco._run: runs.append(1) or run(*given))
    coco_scores(random_entries(0), 4)
    assert len(runs) == 1
