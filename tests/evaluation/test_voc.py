"""VOC's average precision, counted on paper."""

import numpy as np
import pytest

from heads.contract import Instances
from xseg.evaluation import Entry, Truth, average_precision, voc_scores

A, B, FAR = (0, 0, 10, 10), (20, 0, 30, 10), (70, 70, 90, 90)


def entry(objects, detections, ignore=None, labels=None, id=0):
    boxes = np.array(objects, np.float64).reshape(-1, 4)
    rows = np.array(detections, np.float64).reshape(-1, 5)
    known = Truth(boxes, np.zeros(len(boxes), np.int64), None if ignore is None else np.array(ignore))
    return Entry(id, (100, 100), known, Instances(rows[:, :4], rows[:, 4], np.array(labels or [0] * len(rows))))


@pytest.mark.parametrize(
    "hits, num_objects, area, eleven",
    [
        ([], 3, 0, 0),
        ([0, 0], 3, 0, 0),
        ([1], 1, 1, 1),
        # right, wrong, right of 2 objects: precision 1 to recall 1/2, then 2/3. Points 0 to 0.5 are six of eleven
        ([1, 0, 1], 2, 1 / 2 + 1 / 2 * 2 / 3, (6 + 5 * 2 / 3) / 11),
        # wrong, right, right of 4: precision 1/2, then 2/3 at recall 1/2; the better holds from 0. Half is not found
        ([0, 1, 1], 4, 1 / 2 * 2 / 3, 6 * 2 / 3 / 11),
        ([1, 1, 1], 10, 0.3, 4 / 11),  # recall 0.3 is reached, points 0, 0.1, 0.2 and 0.3
    ],
)
def test_average_precision(hits, num_objects, area, eleven):
    hits = np.array(hits, bool)
    assert average_precision(hits, num_objects) == pytest.approx(area)
    assert average_precision(hits, num_objects, eleven_points=True) == pytest.approx(eleven)


def test_each_object_is_found_once_and_by_the_first():
    """Two on A, the better placed one with the lower score, one on B: right, wrong, right of 2."""
    image = entry([A, B], [(*A, 0.8), (0, 0, 10, 9, 0.9), (*B, 0.7)])
    assert voc_scores([image], 1).ap == [pytest.approx(1 / 2 + 1 / 2 * 2 / 3)]


def test_iou_of_exactly_one_half_is_enough():
    assert voc_scores([entry([A], [(0, 0, 10, 5, 0.9)])], 1).mean_ap == 1
    assert voc_scores([entry([A], [(0, 0, 10, 4.9, 0.9)])], 1).mean_ap == 0


def test_difficult_objects_are_neither_asked_for_nor_punished():
    """B is difficult: two detections on it count for nothing; the one far from all is false, but after A's."""
    detections = [(*B, 0.95), (*B, 0.9), (*A, 0.8), (*FAR, 0.7)]
    assert voc_scores([entry([A, B], detections, [False, True])], 1).ap == [1]
    assert voc_scores([entry([A, B], detections)], 1).ap == [pytest.approx(1 / 2 + 1 / 2 * 2 / 3)]
    assert voc_scores([entry([B], detections, [True])], 1) == (None, [None])


def test_images_and_classes_stay_apart():
    """The same box in another image or as another class is no hit; the absent class is left out of the mean."""
    images = [entry([A], [(*A, 0.5)], id=0), entry([], [(*A, 0.9)], id=1), entry([A], [(*A, 0.8)], labels=[1], id=2)]
    scores = voc_scores(images, 3)
    assert scores.ap == [pytest.approx(1 / 2 * 1 / 2), None, None]  # wrong, right of 2
    assert scores.mean_ap == pytest.approx(1 / 4)


def test_empty_sets():
    assert voc_scores([], 2) == (None, [None, None])
    assert voc_scores([entry([], [])], 1) == (None, [None])
    assert voc_scores([entry([], [(*A, 0.9)])], 1) == (None, [None])
    assert voc_scores([entry([A], [])], 1) == (0, [0])


@pytest.mark.parametrize("eleven_points", [False, True])
def test_same_as_the_devkit_one_by_one(eleven_points):
    """Random sets against VOCevaldet's loops, written out."""
    rng = np.random.default_rng(0)
    images = []
    for id in range(15):
        known = np.concatenate([corner := rng.uniform(0, 60, (n := rng.integers(0, 7), 2)), corner + 25], axis=1)
        seen = np.concatenate([np.repeat(known, 2, axis=0) + rng.normal(0, 4, (2 * n, 4)), known + 40])
        labels = rng.integers(0, 3, n)
        truth = Truth(known, labels, rng.random(n) < 0.3)
        images.append(
            Entry(
                id,
                (100, 100),
                truth,
                Instances(
                    seen, rng.permutation(len(seen)) + 0.5 + id / 100, np.concatenate([np.repeat(labels, 2), labels])
                ),
            )
        )
    expected = [devkit_ap(images, label, eleven_points) for label in range(3)]
    scores = voc_scores(images, 3, eleven_points=eleven_points)
    assert scores.ap == pytest.approx(expected) and 0.05 < scores.mean_ap < 0.95


def devkit_ap(images, label, eleven_points):
    rows = [
        (-score, image.id, box)
        for image in images
        for box, score, its in zip(*image.detections[:3], strict=True)
        if its == label
    ]
    taken, right, wrong, precision, recall = set(), 0, 0, [], []
    total = sum(int(((i.truth.labels == label) & ~i.truth.ignore).sum()) for i in images)
    for _, id, box in sorted(rows, key=lambda row: row[:2]):
        best, at = -np.inf, None
        for index, other in enumerate(images[id].truth.boxes_xyxy):
            if images[id].truth.labels[index] != label:
                continue
            width, height = (min(box[i + 2], other[i + 2]) - max(box[i], other[i]) for i in (0, 1))
            if width > 0 and height > 0:
                both = width * height
                sizes = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (box, other))
                if both / (sizes - both) > best:
                    best, at = both / (sizes - both), index
        if best >= 0.5 and images[id].truth.ignore[at]:
            continue
        hit = best >= 0.5 and (id, at) not in taken
        if hit:
            taken.add((id, at))
        right, wrong = right + hit, wrong + (not hit)
        precision.append(right / (right + wrong))
        recall.append(right / total)
    if eleven_points:
        points = [i / 10 for i in range(11)]
        return (
            sum(max([p for p, r in zip(precision, recall, strict=True) if r >= t - 1e-9], default=0) for t in points)
            / 11
        )
    area, before = 0.0, 0.0
    for index, value in enumerate(recall):
        area += (value - before) * max(precision[index:])
        before = value
    return area
