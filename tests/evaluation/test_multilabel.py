"""Average precision of ranked labels counted on paper and by scikit-learn, and the metric's sums over parts."""

import math

import pytest
import torch
from PIL import Image

from xseg.evaluation import MultiLabelMetric, average_precision_at

SCORES = torch.tensor([[0.9, 0.8, 0.7, 0.6, 0.5]])  # ranks 1 to 5
TARGETS = torch.tensor([[1, 0, 1, 0, 1]])


@pytest.mark.parametrize(
    ("weights", "depth", "expected"),
    [
        (None, 100, (1 + 2 / 3 + 3 / 5) / 3),
        (None, 3, (1 + 2 / 3) / 3),  # the third label is not among the first three
        (None, 2, 1 / 2),  # at most two labels could be
        ((1, 9, 3, 9, 0), 100, (1 + 3 * 2 / 3) / (1 + 3)),
        ((1, 9, 3, 9, 2), 2, 1 / (3 + 2)),  # the two heaviest in front would give 5
        ((0, 1, 0, 1, 0), 100, math.nan),  # nothing of weight to find
    ],
)
def test_by_hand(weights, depth, expected):
    """Labels at the ranks 1, 3 and 5: the precisions there are 1, 2/3 and 3/5."""
    weights = weights and torch.tensor(weights, dtype=torch.float64)
    found = average_precision_at(SCORES, TARGETS, weights, depth)
    assert found.tolist() == pytest.approx([expected], nan_ok=True)


@pytest.mark.parametrize(
    ("scores", "targets", "expected"),
    [
        ([0.5, 0.5], [1, 0], 1.0),
        ([0.5, 0.5], [0, 1], 0.5),  # a model that tells nothing is right for the first class only
        ([math.nan, 0.1], [1, 0], 0.0),
        ([math.nan, math.nan], [1, 1], 0.0),
        ([0.5, 0.4], [1, 1], 1.0),
        ([0.5, 0.4], [0, 0], math.nan),
    ],
)
def test_ties_and_what_is_no_number(scores, targets, expected):
    found = average_precision_at(torch.tensor([scores]), torch.tensor([targets]))
    assert found.tolist() == pytest.approx([expected], nan_ok=True)


def test_equals_scikit_learns_ranking_average_precision():
    """100 classes, so that all labels are among the first 100; every image has one, no two scores are equal."""
    metrics = pytest.importorskip("sklearn.metrics")
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(50, 100, generator=generator)
    targets = torch.rand(50, 100, generator=generator) < torch.linspace(0.02, 0.9, 50)[:, None]
    targets[:, 0] = True
    ours = average_precision_at(scores, targets).mean().item()
    assert ours == pytest.approx(metrics.label_ranking_average_precision_score(targets, scores), abs=1e-12)


def test_beyond_the_first_hundred_nothing_counts():
    """Of 300 classes one label at rank 100 and one at 101: 1/100 of two."""
    targets = torch.zeros(1, 300)
    targets[0, 99:101] = 1
    assert average_precision_at(-torch.arange(300.0)[None], targets).item() == pytest.approx(0.005)


CLASSES = ("a", "b", "c")
#         scores              labels
JUDGED = (
    ((0.9, 0.8, 0.1), (1, 1, 0)),  # average precision 1
    ((0.7, 0.6, 0.2), (0, 1, 0)),  # 1/2, a given wrongly
    ((0.4, 0.3, 0.2), (0, 0, 1)),  # 1/3, nothing given
    ((0.1, 0.2, 0.6), (0, 0, 0)),  # no label, c given wrongly
)


def metric(**options):
    made = MultiLabelMetric(**options)
    made.dataset_meta = {"classes": CLASSES}
    return made


def feed(made, judged, first=0):
    samples = [
        {"label": torch.tensor(labels).float(), "meta": {"id": f"{i}", "path": f"{i}.png"}}
        for i, (_, labels) in enumerate(judged, first)
    ]
    made.process({"samples": samples}, [{"scores": torch.tensor(scores)} for scores, _ in judged])


def test_counted_on_paper():
    """MAP (1 + 1/2 + 1/3) / 3; F1 of a 2·1 / (1 + 2), of b 2·2 / (2 + 2), of c 0 / (1 + 1)."""
    made = metric()
    feed(made, JUDGED)
    assert made.evaluate(4) == {"MAP100": 61.1111, "mF1": 55.5556}
    assert made.counts.tolist() == [[1, 2, 1], [2, 2, 1], [1, 2, 0]]
    report = made.report()
    assert report["F1"] == {"a": 66.6667, "b": 100.0, "c": 0.0} and report["counts"] == {"a": 1, "b": 2, "c": 1}
    assert made.table().totals == [("mean F1 of the classes", "55.56", "3"), ("MAP@100", "61.11", "3")]


def test_weights_of_classes():
    """Weight 0 for c: the third image has nothing to find, and the others give (1 + 1/2) / 2."""
    made = metric(class_weights=[1.0, 3.0, 0.0])
    feed(made, JUDGED)
    assert made.evaluate(4)["MAP100"] == 75.0


def test_parts_sum_to_the_whole_and_it_starts_anew():
    made = metric()
    feed(made, JUDGED)
    whole = made.evaluate(4)
    for index, row in enumerate(JUDGED):
        feed(made, [row], index)
    assert made.evaluate(4) == whole
    feed(made, JUDGED[:1])
    assert made.evaluate(1)["MAP100"] == 100


def test_a_class_that_no_image_has_is_left_out():
    made = metric()
    feed(made, JUDGED[:2])
    assert made.evaluate(2)["mF1"] == pytest.approx(100 * (2 / 3 + 1) / 2, abs=1e-4)
    assert made.table().rows[2] == ("c", "not in ground truth", "0")


def test_keeps_and_draws_the_images_ranked_worst(tmp_path):
    made = metric(num_worst=2)
    feed(made, JUDGED)
    made.evaluate(4)
    assert [(item.id, item.truth, item.likeliest) for item in made.worst] == [("2", (2,), (0,)), ("1", (1,), (0,))]
    Image.new("RGB", (30, 20)).save(tmp_path / "x.png")
    made.worst = [item._replace(path=str(tmp_path / "x.png")) for item in made.worst]
    assert made.write(tmp_path) == ["worst/"]
    assert sorted(p.name for p in (tmp_path / "worst").iterdir()) == ["01_2.jpg", "02_1.jpg"]


def test_what_is_wrong_is_told():
    made = metric()
    feed(made, JUDGED[3:])
    with pytest.raises(ValueError, match="there was no image with a label"):
        made.evaluate(1)
    with pytest.raises(ValueError, match="class_weights must be 3 numbers, one a class, got 2"):
        feed(metric(class_weights=[1.0, 2.0]), JUDGED)
    with pytest.raises(ValueError, match="class_weights must be 0 or more and one above"):
        metric(class_weights=[0.0, 0.0])
