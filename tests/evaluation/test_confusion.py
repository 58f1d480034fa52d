import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix as sklearn_confusion

from xseg.evaluation import SegmentationMetric, confusion, confusion_matrix, scores
from xseg.evaluation.segmentation import absent_line


def test_counted_on_paper():
    """Two rows of three pixels, classes a, b, c, d; one pixel is void.

    The ground truth has no c, but the prediction has; neither has d.

    truth       a a b      prediction  a b b
                b b void               b c a

    a: hit 1, truth 2, predicted 1 (the void one does not count)  IoU 1 / (2 + 1 - 1) = 1/2, accuracy 1/2
    b: hit 2, truth 3, predicted 3                                IoU 2 / (3 + 3 - 2) = 1/2, accuracy 2/3
    c: hit 0, truth 0, predicted 1                                IoU 0 / (0 + 1 - 0) = 0, no accuracy
    d: nothing to say.  mean IoU (1/2 + 1/2 + 0) / 3, mean accuracy (1/2 + 2/3) / 2, pixel accuracy 3/5
    """
    truth = torch.tensor([[0, 0, 1], [1, 1, 255]], dtype=torch.uint8)
    prediction = torch.tensor([[0, 1, 1], [1, 2, 0]], dtype=torch.uint8)
    confusion = confusion_matrix(prediction, truth, 4)
    assert confusion.tolist() == [[1, 1, 0, 0], [0, 2, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    s = scores(confusion)
    assert s.iou == [pytest.approx(1 / 2), pytest.approx(1 / 2), 0, None]
    assert s.accuracy == [pytest.approx(1 / 2), pytest.approx(2 / 3), None, None]
    assert s.mean_iou == pytest.approx(1 / 3)
    assert s.mean_accuracy == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert s.pixel_accuracy == pytest.approx(3 / 5)
    assert s.absent == [2, 3]


@pytest.mark.parametrize("mask", [torch.zeros(0, 0), torch.full((2, 2), 255)])
def test_nothing_labelled_gives_no_number_instead_of_nan(mask):
    mask = mask.to(torch.uint8)
    s = scores(confusion_matrix(torch.zeros_like(mask), mask, 3))
    assert (s.mean_iou, s.mean_accuracy, s.pixel_accuracy) == (None, None, None)
    assert s.absent == [0, 1, 2]


def test_same_as_sklearn_on_random_masks():
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 19, (97, 131), generator=generator).to(torch.uint8)
    prediction = torch.randint(0, 19, (97, 131), generator=generator).to(torch.uint8)
    truth[::5] = 255
    valid = truth != 255
    expected = sklearn_confusion(truth[valid], prediction[valid], labels=range(19))
    confusion = confusion_matrix(prediction, truth, 19)
    np.testing.assert_array_equal(confusion, expected)
    from sklearn.metrics import jaccard_score

    jaccard = jaccard_score(truth[valid], prediction[valid], labels=range(19), average=None)
    np.testing.assert_allclose(scores(confusion).iou, jaccard)


def test_large_masks_are_counted_in_parts(monkeypatch):
    """5 of 23 pixels at a time; labels of other types are counted in another way, and alike."""
    generator = torch.Generator().manual_seed(0)
    truth, prediction = (torch.randint(0, 4, (23,), generator=generator).byte() for _ in range(2))
    whole = confusion_matrix(prediction, truth, 4)
    monkeypatch.setattr(confusion, "EXACT", 5)
    assert torch.equal(confusion_matrix(prediction, truth, 4), whole)
    assert torch.equal(confusion_matrix(prediction.long(), truth.long(), 4), whole)


def test_sum_of_parts_is_the_whole():
    truth = torch.randint(0, 4, (8, 8), dtype=torch.uint8)
    prediction = torch.randint(0, 4, (8, 8), dtype=torch.uint8)
    halves = [confusion_matrix(prediction[part], truth[part], 4) for part in (slice(0, 3), slice(3, 8))]
    assert torch.equal(sum(halves), confusion_matrix(prediction, truth, 4))


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match=r"prediction is \(2, 2\) but the mask \(2, 3\)"):
        confusion_matrix(torch.zeros(2, 2, dtype=torch.uint8), torch.zeros(2, 3, dtype=torch.uint8), 2)
    with pytest.raises(ValueError, match="the prediction holds label 7, but there are 3 classes"):
        confusion_matrix(torch.full((2, 2), 7, dtype=torch.uint8), torch.zeros(2, 2, dtype=torch.uint8), 3)


def batch(*pairs):
    data = {"samples": [{"mask": t, "meta": {"id": str(i), "path": f"{i}.png"}} for i, (t, _) in enumerate(pairs)]}
    return data, [{"mask": p} for _, p in pairs]


def test_metric_keeps_the_worst_images_and_starts_anew():
    metric = SegmentationMetric(num_worst=2)
    metric.dataset_meta = {"classes": ("a", "b")}
    truth = torch.tensor([[0, 0, 1, 1]], dtype=torch.uint8)
    predictions = [truth, 1 - truth, torch.tensor([[0, 1, 1, 1]], dtype=torch.uint8)]
    metric.process(*batch(*((truth, p) for p in predictions)))
    first = metric.evaluate(3)
    assert [item.id for item in metric.worst] == ["1", "2"]
    assert metric.confusion.sum() == 12
    metric.process(*batch((truth, truth)))
    assert metric.evaluate(1)["mIoU"] == 100
    assert first["aAcc"] == pytest.approx(100 * 7 / 12, abs=1e-3)


def test_metric_without_any_labelled_pixel_says_so():
    metric = SegmentationMetric()
    metric.dataset_meta = {"classes": ("a", "b")}
    void = torch.full((1, 2), 255, dtype=torch.uint8)
    metric.process(*batch((void, torch.zeros_like(void))))
    with pytest.raises(ValueError, match="no labelled pixel"):
        metric.evaluate(1)


def test_metric_says_which_classes_the_ground_truth_lacks():
    """Class b is predicted in one of four pixels, c is nowhere: IoU 3/4 and 0, mean accuracy of a alone."""
    metric = SegmentationMetric()
    metric.dataset_meta = {"classes": ("a", "b", "c")}
    metric.process(*batch((torch.zeros(1, 4, dtype=torch.uint8), torch.tensor([[0, 0, 0, 1]], dtype=torch.uint8))))
    assert metric.evaluate(1) == {"mIoU": 37.5, "mAcc": 75, "aAcc": 75}
    report = metric.report()
    assert report["IoU"] == {"a": 75, "b": 0, "c": None} and report["Acc"] == {"a": 75, "b": None, "c": None}
    assert report["absent"] == ["b", "c"]
    assert absent_line(("a", "b", "c"), metric.scores) == (
        "Not in the ground truth: b, c. mAcc leaves them out; mIoU counts the predicted ones as 0: b"
    )
    assert absent_line(("a", "b"), scores(torch.tensor([[5, 0], [0, 0]]))) == (
        "Not in the ground truth: b. mAcc and mIoU leave them out"
    )
