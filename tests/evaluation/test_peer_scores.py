"""mIoU, mAcc and aAcc equal to those of other programs, on masks with absent, ignored and predicted-only classes."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from xseg.data.read.classes import IGNORE
from xseg.evaluation import Scores, confusion_matrix, scores

NUM_CLASSES = 19
CASES = {  # classes in the ground truth, classes in the prediction, share of ignored pixels
    "all classes everywhere": (range(19), range(19), 0.0),
    "ignored pixels": (range(19), range(19), 0.3),
    "classes in neither": (range(7), range(7), 0.1),
    "classes only in the ground truth": (range(19), range(5, 9), 0.1),
    "classes only in the prediction": (range(4), range(19), 0.1),
    "each of these": (range(12), range(6, 17), 0.2),
    "predicted only under ignored pixels": (range(3), range(3), 0.2),
    "one class": ([4], [4], 0.0),
    "nothing right": ([1, 2], [3, 4], 0.1),
}


def random_masks(case: str, shape: tuple[int, int, int] = (3, 41, 67)) -> tuple[np.ndarray, np.ndarray]:
    """Ground truth and prediction (N, H, W) uint8; where classes are shared, two thirds of the pixels are right."""
    in_truth, in_prediction, ignored = CASES[case]
    rng = np.random.default_rng(sorted(CASES).index(case))
    truth = rng.choice(np.array(in_truth, np.uint8), shape)
    prediction = rng.choice(np.array(in_prediction, np.uint8), shape)
    right = (rng.random(shape) < 0.66) & np.isin(truth, in_prediction)
    prediction[right] = truth[right]
    void = rng.random(shape) < ignored
    truth[void] = IGNORE
    if case == "predicted only under ignored pixels":
        prediction[void] = 11
    return truth, prediction


def our_scores(truth: np.ndarray, prediction: np.ndarray) -> Scores:
    return scores(confusion_matrix(torch.from_numpy(prediction), torch.from_numpy(truth), NUM_CLASSES))


@pytest.mark.parametrize("case", CASES)
def test_same_as_the_program_of_cityscapes(case, tmp_path, monkeypatch):
    """IoU of every class and the means, from label files. With "classes only in the prediction" left out of the mean,
    ours was 0.654 where this program says 0.138."""
    judge = pytest.importorskip(
        "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling",
        reason="cityscapesScripts is not installed: pip install cityscapesScripts",
    )
    for name, value in dict(evalInstLevelScore=False, quiet=True, JSONOutput=False).items():
        monkeypatch.setattr(judge.args, name, value)
    of_train_id = np.array([judge.trainId2label[i].id for i in range(NUM_CLASSES)] + [0] * 237, np.uint8)
    truth, prediction = random_masks(case)
    files = {}
    for what, masks in dict(prediction=prediction, truth=truth).items():
        files[what] = [str(tmp_path / f"{what}_{index}_labelIds.png") for index in range(len(masks))]
        for path, mask in zip(files[what], masks, strict=True):
            Image.fromarray(of_train_id[mask]).save(path)
    theirs = judge.evaluateImgLists(files["prediction"], files["truth"], judge.args)
    ours = our_scores(truth, prediction)
    by_class = [theirs["classScores"][judge.trainId2label[i].name] for i in range(NUM_CLASSES)]
    assert [None if np.isnan(value) else value for value in by_class] == pytest.approx(ours.iou, abs=1e-12)
    assert theirs["averageScoreClasses"] == pytest.approx(ours.mean_iou, abs=1e-12)
    counts = np.array(theirs["confMatrix"], np.float64)[[judge.trainId2label[i].id for i in range(NUM_CLASSES)]]
    hits, sizes = np.array([row[judge.trainId2label[i].id] for i, row in enumerate(counts)]), counts.sum(1)
    assert hits.sum() / sizes.sum() == pytest.approx(ours.pixel_accuracy, abs=1e-12)
    assert (hits[sizes > 0] / sizes[sizes > 0]).mean() == pytest.approx(ours.mean_accuracy, abs=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_same_as_torchmetrics(case):
    classification = pytest.importorskip("torchmetrics.classification", reason="torchmetrics is not installed")
    truth, prediction = (torch.from_numpy(mask).long() for mask in random_masks(case))
    ours = our_scores(*random_masks(case))

    def theirs(metric: str, average: str) -> torch.Tensor:
        judge = getattr(classification, metric)(NUM_CLASSES, average=average, ignore_index=IGNORE)
        return judge(prediction, truth)

    assert theirs("MulticlassJaccardIndex", "macro").item() == pytest.approx(ours.mean_iou, abs=1e-6)
    assert theirs("MulticlassAccuracy", "micro").item() == pytest.approx(ours.pixel_accuracy, abs=1e-6)
    by_class, known = theirs("MulticlassAccuracy", "none").tolist(), truth[truth != IGNORE].unique().tolist()
    assert np.mean([by_class[label] for label in known]) == pytest.approx(ours.mean_accuracy, abs=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_same_as_sklearn(case):
    """Its macro Jaccard score over the labels that occur; balanced accuracy is the mean over the ground truth's."""
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    truth, prediction = random_masks(case)
    valid = truth != IGNORE
    ours, pair = our_scores(truth, prediction), (truth[valid], prediction[valid])
    assert metrics.jaccard_score(*pair, average="macro") == pytest.approx(ours.mean_iou, abs=1e-12)
    assert metrics.accuracy_score(*pair) == pytest.approx(ours.pixel_accuracy, abs=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that classes are predicted which the ground truth lacks
        assert metrics.balanced_accuracy_score(*pair) == pytest.approx(ours.mean_accuracy, abs=1e-12)
    np.testing.assert_array_equal(
        metrics.confusion_matrix(*pair, labels=range(NUM_CLASSES)),
        confusion_matrix(torch.from_numpy(prediction), torch.from_numpy(truth), NUM_CLASSES),
    )
