"""Error types counted on paper, and every number beside that of TIDE's own program where it is installed."""

import numpy as np
import pytest

from heads.contract import Instances
from xseg.data import encode_masks
from xseg.evaluation import Entry, Truth, coco_scores, error_scores, judge
from xseg.evaluation.errors import (
    BACKGROUND,
    BOTH,
    CLASSIFICATION,
    CORRECT,
    DUPLICATE,
    ERRORS,
    LOCALISATION,
    precision_at_recalls,
)

A, B = (0, 0, 10, 10), (40, 0, 50, 10)


def entry(objects, detections, ignore=None, id=0):
    """Objects are (*box, label), detections (*box, label, score)."""
    known, seen = np.array(objects, np.float64).reshape(-1, 5), np.array(detections, np.float64).reshape(-1, 6)
    truth = Truth(known[:, :4], known[:, 4].astype(int), None if ignore is None else np.array(ignore, bool))
    return Entry(id, (100, 100), truth, Instances(seen[:, :4], seen[:, 5], seen[:, 4].astype(int)))


def judged(*entries):
    return error_scores(entries, [judge(item.truth, item.detections) for item in entries])


@pytest.mark.parametrize(
    "detection, kind, finds",
    [
        ((*A, 0), CORRECT, 0),
        ((0, 0, 10, 5.5, 0), CORRECT, 0),  # IoU 0.55
        ((0, 0, 10, 4, 0), LOCALISATION, 0),  # 0.4
        ((*B, 0), CLASSIFICATION, 1),  # on the other class
        ((40, 0, 50, 4, 0), BOTH, -1),  # 0.4 with the other class
        ((80, 80, 90, 90, 0), BACKGROUND, -1),
        ((0, 0, 10, 0.9, 0), BACKGROUND, -1),  # 0.09
    ],
)
def test_every_kind(detection, kind, finds):
    image = entry([(*A, 0), (*B, 1)], [(*detection, 0.9)])
    verdict = judge(image.truth, image.detections)
    assert verdict.kinds.tolist() == [kind] and verdict.objects.tolist() == [finds]
    assert verdict.unfound.tolist() == [kind != CORRECT or finds != 0, True]
    assert verdict.missed.tolist() == [finds != 0, finds != 1]


def test_the_surer_of_two_finds_the_object_and_the_other_is_a_duplicate():
    """The better placed one has the lower score, and comes first in the list."""
    image = entry([(*A, 0)], [(*A, 0, 0.3), (0, 0, 10, 8, 0, 0.9)])
    verdict = judge(image.truth, image.detections)
    assert verdict.kinds.tolist() == [DUPLICATE, CORRECT] and not verdict.missed.any()


def test_one_correction_an_object():
    """Two misplaced detections at one object: the surer would find it, the other would only go."""
    image = entry([(*A, 0)], [(0, 0, 10, 4, 0, 0.5), (0, 0, 10, 3, 0, 0.8)])
    verdict = judge(image.truth, image.detections)
    assert verdict.kinds.tolist() == [LOCALISATION] * 2 and verdict.objects.tolist() == [-1, 0]


def test_a_wrong_detection_inside_a_crowd_does_not_count():
    image = entry([(*A, 0), (40, 0, 80, 40, 0)], [(*A, 0, 0.9), (45, 5, 60, 20, 0, 0.8)], ignore=[False, True])
    verdict = judge(image.truth, image.detections)
    assert verdict.skipped.tolist() == [False, True] and verdict.unfound.tolist() == [False, False]
    scores = judged(image)
    assert scores.ap == 1 and not any(scores.counts.values())


TWO_OF_THREE = (51 + 50 * 2 / 3) / 101  # right, wrong, right of 2


@pytest.mark.parametrize(
    "detections, ap, gains, positives, negatives",
    [
        # wrong, right of 2: precision 1/2 up to recall 1/2, which are 51 of 101; of 1 it would be 1/2 throughout
        (
            [(80, 80, 90, 90, 0, 0.9), (*A, 0, 0.8)],
            51 / 202,
            dict(background=51 / 202, missed=1 / 2 - 51 / 202),
            51 / 202,
            1 / 2 - 51 / 202,
        ),
        # right, then one that would find the second object if it were placed better
        ([(*A, 0, 0.9), (40, 0, 50, 4, 0, 0.8)], 51 / 101, dict(localisation=50 / 101), 0, 50 / 101),
        (
            [(*A, 0, 0.9), (*A, 0, 0.8), (*B, 0, 0.7)],
            TWO_OF_THREE,
            dict(duplicate=1 - TWO_OF_THREE),
            1 - TWO_OF_THREE,
            0,
        ),
        ([], 0, dict(missed=None), 0, None),  # nothing is left to count when nothing is asked for
    ],
)
def test_gains_counted_on_paper(detections, ap, gains, positives, negatives):
    """Two objects of one class."""
    scores = judged(entry([(*A, 0), (*B, 0)], detections))
    seen = [scores.ap, scores.false_positives, scores.false_negatives, *scores.delta_ap.values()]
    expected = [ap, positives, negatives, *(gains.get(name, 0) for name in ERRORS)]
    assert seen == [value if value is None else pytest.approx(value, abs=1e-12) for value in expected]


def test_nothing_to_find():
    for images in ([], [entry([], [])], [entry([], [(*A, 0, 0.5)])]):
        scores = judged(*images)
        assert scores.ap is None and set(scores.delta_ap.values()) == {None}
    assert scores.counts["background"] == 1


def test_precision_at_recalls():
    """Right, wrong, right of 2: precision 1 at the recalls up to 1/2, then 2/3."""
    np.testing.assert_allclose(precision_at_recalls(np.array([1, 0, 1], bool), 2), [1] * 51 + [2 / 3] * 50)


def random_entries(seed, num_images=30, num_classes=3, crowds=True, masks=False):
    """Objects in every class; detections near objects, of right and wrong classes, and anywhere; distinct scores."""
    rng = np.random.default_rng(seed)
    entries = []
    for id in range(num_images):
        count = int(rng.integers(0, 6)) if id else num_classes
        corner, size = rng.uniform(0, 70, (count, 2)), rng.uniform(8, 28, (count, 2))
        boxes, labels = np.concatenate([corner, corner + size], 1), rng.integers(0, num_classes, count)
        if id == 0:
            labels = np.arange(num_classes)
        picked = rng.integers(0, max(count, 1), int(rng.integers(0, 14)) if count else 3)
        near = boxes[picked] + rng.normal(0, 3, (len(picked), 4)) if count else rng.uniform(0, 40, (3, 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 2)
        seen = rng.integers(0, num_classes, len(near))
        seen = np.where(rng.random(len(near)) < 0.7, labels[picked], seen) if count else seen
        ignore = (rng.random(count) < 0.15) & bool(crowds and id)
        found = Instances(near, rng.permutation(len(near)) / 100 + rng.random(len(near)) / 200, seen)
        truth = Truth(boxes, labels, ignore)
        if masks:
            found, truth = found._replace(masks=ellipses(found)), truth._replace(masks=ellipses(truth))
        entries.append(Entry(id, (100, 100), truth, found))
    return entries


def ellipses(part):
    y, x = np.mgrid[:100, :100] + 0.5
    shapes = [
        ((x - (a + c) / 2) / (c - a)) ** 2 + ((y - (b + d) / 2) / (d - b)) ** 2 < 0.25 for a, b, c, d in part.boxes_xyxy
    ]
    return encode_masks(np.stack(shapes) if shapes else np.zeros((0, 100, 100), bool))


@pytest.mark.parametrize("seed, crowds, kind", [(0, False, "bbox"), (1, True, "bbox"), (2, True, "segm")])
def test_every_number_is_tides(seed, crowds, kind):
    tide = pytest.importorskip("tidecv", reason="tidecv 1.0.1 is not installed: pip install tidecv")
    entries = random_entries(seed, crowds=crowds, masks=kind == "segm")
    ours = error_scores(entries, [judge(item.truth, item.detections, kind) for item in entries])
    known, seen = tide.Data("known"), tide.Data("seen")
    for item in entries:
        for part, data in ((item.truth, known), (item.detections, seen)):
            data.add_image(item.id, str(item.id))
            for row, (box, label) in enumerate(zip(part.boxes_xyxy, part.labels.tolist(), strict=True)):
                box = [*box[:2], *(box[2:] - box[:2])]
                what = dict(box=box, mask=None if part.masks is None else part.masks[row])
                if data is seen:
                    data.add_detection(item.id, label, float(part.scores[row]), **what)
                elif part.ignore[row]:
                    data.add_ignore_region(item.id, label, **what)
                else:
                    data.add_ground_truth(item.id, label, **what)
    run = tide.TIDE(mode=tide.TIDE.BOX if kind == "bbox" else tide.TIDE.MASK)
    result = run.evaluate(known, seen, name="run")
    main, special = run.get_main_errors()["run"], run.get_special_errors()["run"]
    assert 100 * ours.ap == pytest.approx(result.ap, abs=1e-9) and 10 < result.ap < 90
    for name, theirs in zip(ERRORS, ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"), strict=True):
        assert 100 * ours.delta_ap[name] == pytest.approx(main[theirs], abs=1e-9), name
    assert min(main.values()) > 0, "every kind of error is there"
    assert 100 * ours.false_positives == pytest.approx(special["FalsePos"], abs=1e-9)
    assert 100 * ours.false_negatives == pytest.approx(special["FalseNeg"], abs=1e-9)
    if not crowds:
        counts = {type.short_name: len(errors) for type, errors in result.error_dict.items()}
        assert list(ours.counts.values()) == [counts[key] for key in ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss")]


def test_ap_is_cocos():
    entries = random_entries(3, crowds=False)
    ours = error_scores(entries, [judge(item.truth, item.detections) for item in entries])
    assert ours.ap == pytest.approx(coco_scores(entries, 3).numbers["mAP_50"], abs=1e-9)
