"""Panoptic quality counted on paper, beside a plain reading of panopticapi's rules, and beside torchmetrics."""

import json
import multiprocessing

import pytest
import torch

from heads.panoptic import Panoptic, merge
from xseg.evaluation import PanopticMetric, panoptic_counts, panoptic_scores
from xseg.evaluation.panoptic import UNIT

ROAD, SKY, CAR, CAT = range(4)
THINGS = (CAR, CAT)


def segments(rows, labels, crowd=()):
    labels = torch.tensor(labels, dtype=torch.int64)
    iscrowd = torch.zeros(len(labels), dtype=torch.bool)
    iscrowd[list(crowd)] = True
    return Panoptic(torch.tensor(rows, dtype=torch.int32), labels, iscrowd)


def counted(prediction, truth):
    counts = panoptic_counts(prediction, truth, 4)
    return [[iou / UNIT, *rest] for iou, *rest in counts.tolist()]


NOTHING = [0, 0, 0, 0]


def test_counted_on_paper():
    """A road of 8 pixels of which 7 are found, and the car's 2 of which one is void, which counts in no union.

    Road: 7 of 8, no void: IoU 7/8. Car: predicted on 3, 1 of the road, 1 void, 1 right: union 2, IoU 1/2, no match:
    a false positive, as only a third is void, and a false negative. The cat is predicted where all is void: excused.
    """
    truth = segments([[1] * 4, [1] * 4, [2, 2, 0, 0]], [ROAD, CAR])
    prediction = segments([[1] * 4, [1, 1, 1, 2], [2, 1, 2, 3]], [ROAD, CAR, CAT])
    road = 7 / (8 + 8 - 7)
    assert counted(prediction, truth) == [[pytest.approx(road, abs=1e-12), 1, 0, 0], NOTHING, [0, 0, 1, 1], NOTHING]
    scores = panoptic_scores(panoptic_counts(prediction, truth, 4))
    assert scores.pq == [pytest.approx(road), None, 0, None] and scores.rq == [1, None, 0, None]
    means = scores.means(torch.tensor([1, 1, 0, 0], dtype=torch.bool))
    assert means == dict(PQ=pytest.approx(road), SQ=pytest.approx(road), RQ=1)
    everything = scores.means(torch.ones(4, dtype=torch.bool))
    assert everything["PQ"] == pytest.approx(road / 2)


def test_iou_of_one_half_is_no_match():
    truth, prediction = segments([[1, 1, 0, 0]], [CAR]), segments([[1, 0, 0, 0]], [CAR])
    assert counted(prediction, truth)[CAR] == [0, 0, 1, 1]
    prediction = segments([[1, 1, 1, 0]], [CAR])  # the third pixel is void
    assert counted(prediction, truth)[CAR] == [1, 1, 0, 0]


def test_crowds_are_not_asked_for_and_excuse_their_own_class():
    """Half and more of a prediction on a crowd of cars: excused for a car, false for a cat, and exactly half is not."""
    truth = segments([[1, 1, 1, 1, 2, 2, 2, 2]], [CAR, ROAD], crowd=[0])
    for label, place, false in [
        (CAR, [1, 1, 1, 1, 1, 0], 0),
        (CAT, [1, 1, 1, 1, 1, 0], 1),
        (CAR, [0, 0, 1, 1, 1, 1], 1),
    ]:
        found = counted(segments([[*place, 0, 0]], [label]), truth)
        assert found[label] == [0, 0, false, 0] and found[ROAD] == [0, 0, 0, 1]
        assert sum(map(sum, found)) == false + 1


def test_nothing_to_see_and_nothing_seen():
    empty = segments([[0, 0]], [])
    assert counted(empty, empty) == [NOTHING] * 4
    scores = panoptic_scores(panoptic_counts(empty, empty, 4))
    assert scores.pq == [None] * 4 and scores.means(torch.ones(4, dtype=torch.bool))["PQ"] is None
    with pytest.raises(ValueError, match=r"prediction is \(1, 2\) but the ground truth \(2, 2\)"):
        panoptic_counts(empty, segments([[0, 0], [0, 0]], []), 4)


def random_pair(seed, crowd=True, void=True):
    """Blocks of segments, and the same moved by a few pixels with some relabelled, merged or lost."""
    g = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, 9, (5, 7), generator=g)
    truth = coarse.repeat_interleave(6, 0).repeat_interleave(6, 1)
    found = truth.roll((int(torch.randint(-2, 3, (), generator=g)), 1), (0, 1))
    found[torch.rand(found.shape, generator=g) < 0.05] = 3
    labels = torch.tensor([ROAD, SKY, CAR, CAR, CAT, CAT, CAR, CAT])
    seen = torch.where(torch.rand(8, generator=g) < 0.2, labels.flip(0), labels)
    if not void:
        truth = truth.clamp(min=1)
    iscrowd = (torch.arange(8) == 6) & crowd  # at most one a class, as in COCO
    kept, truth = truth.unique(return_inverse=True)
    truth = truth + (kept[0] != 0)
    rows = kept[kept > 0] - 1
    kept, found = found.unique(return_inverse=True)
    found = found + (kept[0] != 0)
    columns = kept[kept > 0] - 1
    return (
        Panoptic(found.int(), seen[columns], torch.zeros(len(columns), dtype=torch.bool)),
        Panoptic(truth.int(), labels[rows], iscrowd[rows]),
    )


def plain_counts(prediction, truth, num_classes):
    """panopticapi's rules, pair by pair on sets of pixels."""
    pixels = {}
    for name, part in (("truth", truth), ("found", prediction)):
        flat = part.segments.flatten().tolist()
        pixels[name] = {s: {p for p, value in enumerate(flat) if value == s} for s in range(len(part.labels) + 1)}
    void = pixels["truth"][0]
    counts = [[0.0, 0, 0, 0] for _ in range(num_classes)]
    matched_truth, matched_found = set(), set()
    for s, known in enumerate(truth.labels.tolist(), start=1):
        for p, label in enumerate(prediction.labels.tolist(), start=1):
            if truth.iscrowd[s - 1] or known != label:
                continue
            union = (pixels["found"][p] | pixels["truth"][s]) - (pixels["found"][p] & void)
            iou = len(pixels["found"][p] & pixels["truth"][s]) / len(union)
            if iou > 0.5:
                counts[label][0] += iou
                counts[label][1] += 1
                matched_truth.add(s)
                matched_found.add(p)
    for s, known in enumerate(truth.labels.tolist(), start=1):
        counts[known][3] += s not in matched_truth and not truth.iscrowd[s - 1]
    for p, label in enumerate(prediction.labels.tolist(), start=1):
        excused = set(void)
        for s, known in enumerate(truth.labels.tolist(), start=1):
            if truth.iscrowd[s - 1] and known == label:
                excused |= pixels["truth"][s]
        share = len(pixels["found"][p] & excused) / len(pixels["found"][p])
        counts[label][2] += p not in matched_found and share <= 0.5
    return counts


def test_counts_follow_panopticapis_rules():
    total = torch.zeros(4, 4, dtype=torch.int64)
    for seed in range(40):
        prediction, truth = random_pair(seed)
        total += panoptic_counts(prediction, truth, 4)
        for ours, plain in zip(counted(prediction, truth), plain_counts(prediction, truth, 4), strict=True):
            assert ours == [pytest.approx(plain[0], abs=1e-10), *plain[1:]]
    assert (total[2:, 1:] > 10).all(), "matches, inventions and losses all occur"


@pytest.mark.parametrize("void", [False, True])
def test_scores_are_those_of_torchmetrics(void):
    """Without crowds, which it does not know. It asks for segments by (category, instance)."""
    judge = pytest.importorskip("torchmetrics.detection", reason="torchmetrics is not installed")
    metric = judge.PanopticQuality(set(THINGS), {ROAD, SKY}, return_sq_and_rq=True, return_per_class=True)
    total = torch.zeros(4, 4, dtype=torch.int64)
    for seed in range(30):
        prediction, truth = (merged_stuff(part) for part in random_pair(seed, crowd=False, void=void))
        prediction = prediction._replace(segments=prediction.segments.clamp(min=1))  # it takes no void predictions
        total += panoptic_counts(prediction, truth, 4)
        metric.update(pairs(prediction)[None], pairs(truth)[None])
    order = [metric.cat_id_to_continuous_id[label] for label in range(4)]
    theirs = metric.compute()[0, order] if metric.compute().dim() == 3 else metric.compute()[order]
    ours = torch.tensor([*zip(*panoptic_scores(total), strict=True)])
    torch.testing.assert_close(ours.double(), theirs.double(), atol=1e-6, rtol=0)


def merged_stuff(part):
    """One segment a kind of stuff, as the format has it."""
    masks = torch.stack([part.segments == s for s in range(1, len(part.labels) + 1)])
    mask = torch.cat((torch.tensor([255]), part.labels))[part.segments.int()].byte()
    things = torch.isin(part.labels, torch.tensor(THINGS))
    return merge(mask, masks[things], part.labels[things], THINGS, 1.0, 0)


def pairs(part):
    """(H, W, 2): category and instance, void in a category of its own."""
    category = torch.cat((torch.tensor([99]), part.labels))[part.segments.int()]
    return torch.stack((category, part.segments.long()), -1)


def sample_of(truth):
    """The same ground truth as a data set gives it: a mask, and instance masks."""
    things = torch.isin(truth.labels, torch.tensor(THINGS))
    masks = torch.stack([truth.segments == s for s in range(1, len(truth.labels) + 1)])
    mask = torch.cat((torch.tensor([255]), truth.labels))[truth.segments.int()].byte()
    labels = truth.labels[things] - CAR
    return dict(mask=mask, masks=masks[things], labels=labels, iscrowd=truth.iscrowd[things])


def evaluated(seeds):
    metric = PanopticMetric()
    metric.dataset_meta = dict(classes=("road", "sky", "car", "cat"), things=THINGS)
    for seed in seeds:
        prediction, truth = random_pair(seed)
        metric.process(dict(samples=[sample_of(truth)]), [dict(panoptic=merged_stuff(prediction))])
    return metric, metric.evaluate(0)


def test_metric():
    metric, metrics = evaluated(range(6))
    assert list(metrics) == [f"{k}{end}" for end in ("", "_things", "_stuff") for k in ("PQ", "SQ", "RQ")]
    assert 0 < metrics["PQ_things"] < metrics["SQ_things"] < 100
    assert metrics["PQ"] == pytest.approx((metrics["PQ_things"] + metrics["PQ_stuff"]) / 2, abs=1e-3)
    assert metric.report()["panoptic"]["car"]["TP"] == metric.counts[CAR, 1] > 0
    table = metric.table()
    assert [row[0] for row in table.totals] == ["things", "stuff", "all"] and len(table.rows) == 4
    with pytest.raises(ValueError, match="there was no image to evaluate"):  # the next evaluation starts from nothing
        metric.evaluate(0)


def test_two_processes_report_the_numbers_of_one(tmp_path):
    """To the last bit: the state is whole numbers."""
    metric, expected = evaluated(range(7))
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=run_rank, args=(rank, tmp_path)) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    for rank in (0, 1):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == [metric.counts.tolist(), expected]


def run_rank(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    metric, metrics = evaluated(range(rank, 7, 2))
    (folder / f"{rank}.json").write_text(json.dumps([metric.counts.tolist(), metrics]))
    torch.distributed.destroy_process_group()


def test_errors_name_what_is_missing():
    metric = PanopticMetric()
    metric.dataset_meta = dict(classes=("a", "b"), things=(1,))
    with pytest.raises(ValueError, match="JointModel with instance masks"):
        metric.process(dict(samples=[{}]), [dict(mask=None)])
    metric.dataset_meta = dict(classes=("a", "b"))
    with pytest.raises(ValueError, match="needs a PanopticDataset"):
        metric.process(dict(samples=[{}]), [{}])
