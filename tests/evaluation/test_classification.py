"""Accuracy counted on paper, and its sums over parts."""

import pytest
import torch
from PIL import Image

from xseg.evaluation import ClassificationMetric, count_pairs, rank_of_truth

CLASSES = ("a", "b", "c")
#        chances of a, b, c      truth
JUDGED = (
    ((0.7, 0.2, 0.1), 0),  # right
    ((0.1, 0.6, 0.3), 0),  # a as b, 0.1
    ((0.2, 0.5, 0.3), 1),  # right
    ((0.45, 0.3, 0.25), 1),  # b as a, 0.3
    ((0.0, 0.9, 0.1), 1),  # right
)


def metric(num_classes=3, **options):
    made = ClassificationMetric(**options)
    made.dataset_meta = {"classes": CLASSES if num_classes == 3 else tuple(f"c{i}" for i in range(num_classes))}
    return made


def feed(made, judged, first=0):
    samples = [
        {"label": truth, "meta": {"id": str(i), "path": f"{i}.png"}} for i, (_, truth) in enumerate(judged, first)
    ]
    made.process({"samples": samples}, [{"scores": torch.tensor(chances)} for chances, _ in judged])


def test_counted_on_paper():
    """a: 1 of 2, b: 2 of 3, c has no image: top 1 is 3 of 5, the mean of the classes (1/2 + 2/3) / 2 = 7/12."""
    made = metric()
    feed(made, JUDGED)
    assert made.evaluate(5) == {"top1": 60.0, "mAcc": 58.3333}
    assert made.confusion.tolist() == [[1, 1, 0], [1, 2, 0], [0, 0, 0]]
    report = made.report()
    assert report["Acc"] == {"a": 50.0, "b": 66.6667, "c": None}
    assert report["counts"] == {"a": 2, "b": 3, "c": 0}
    table = made.table()
    assert table.rows[2] == ("c", "not in ground truth", "0")
    assert table.totals == [("all images, top 1", "60.00", "5"), ("mean of the classes", "58.33", "5")]


def test_parts_sum_to_the_whole_and_it_starts_anew():
    made = metric()
    feed(made, JUDGED)
    whole = made.evaluate(5)
    for index, row in enumerate(JUDGED):
        feed(made, [row], index)
    assert made.evaluate(5) == whole
    feed(made, JUDGED[:1])
    assert made.evaluate(1)["top1"] == 100


def test_top_five_of_six():
    """Six classes, the truth ranked 0, 4, 5, 5: right in the top five twice, first once."""
    made = metric(6)
    chances = (0.3, 0.25, 0.2, 0.12, 0.1, 0.03)
    feed(made, [(chances, 0), (chances, 4), (chances, 5), (chances, 5)])
    assert made.evaluate(4) == {"top1": 25.0, "top5": 50.0, "mAcc": 33.3333}


@pytest.mark.parametrize(
    ("row", "label", "rank"),
    [
        ([0.1, 0.7, 0.2], 1, 0),
        ([0.1, 0.7, 0.2], 0, 2),
        ([0.5, 0.5, 0.5], 0, 0),
        ([0.5, 0.5, 0.5], 2, 2),  # a model that tells nothing is right for the first class only
        ([float("nan")] * 3, 0, 3),
        ([0.1, float("nan"), 0.2], 2, 1),
    ],
)
def test_rank_of_truth(row, label, rank):
    assert rank_of_truth(torch.tensor([row]), torch.tensor([label])).tolist() == [rank]


def test_pairs():
    assert count_pairs(torch.tensor([]).long(), torch.tensor([]).long(), 2).tolist() == [[0, 0], [0, 0]]
    assert count_pairs(torch.tensor([1, 1, 0]), torch.tensor([0, 0, 1]), 2).tolist() == [[0, 2], [1, 0]]
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.1, got 2"):
        count_pairs(torch.tensor([0]), torch.tensor([2]), 2)


def test_keeps_the_misjudged_of_least_chance():
    made = metric(num_worst=1)
    feed(made, JUDGED)
    made.evaluate(5)
    assert [(item.id, item.truth, item.prediction) for item in made.worst] == [("1", 0, 1)]
    assert made.worst[0].chance == pytest.approx(0.1)


def test_no_image_says_so():
    with pytest.raises(ValueError, match="there was no image to evaluate"):
        metric().evaluate(0)


def test_writes_what_it_names(tmp_path):
    made = metric(num_worst=2)
    feed(made, JUDGED)
    made.evaluate(5)
    Image.new("RGB", (30, 20)).save(tmp_path / "x.png")
    made.worst = [item._replace(path=str(tmp_path / "x.png"), box_xyxy=(2, 3, 9, 8)) for item in made.worst]
    assert made.write(tmp_path) == ["confusion.csv", "confusion.png", "worst/"]
    assert (tmp_path / "confusion.csv").read_text().splitlines()[1] == "a,1,1,0"
    assert Image.open(tmp_path / "confusion.png").size[0] > 300
    assert sorted(p.name for p in (tmp_path / "worst").iterdir()) == ["01_a_as_b_1.jpg", "02_b_as_a_3.jpg"]


def test_many_classes_are_listed_and_not_drawn(tmp_path):
    made = metric(101)
    chances = [0.0] * 101
    chances[7] = 1.0
    feed(made, [(chances, 7), (chances, 8)])
    made.evaluate(2)
    assert made.write(tmp_path) == ["confusion.csv", "worst/"]
    assert [row[0] for row in made.table().rows] == ["c8", "c7"]  # of the classes that have images
