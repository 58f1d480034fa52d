import numpy as np
import pytest
from PIL import Image

from xseg.data import SegmentationDataset
from xseg.data.balance import balanced_weights


def dataset(folder, masks, classes):
    pairs = []
    for index, mask in enumerate(masks):
        path = folder / f"{index}.png"
        Image.fromarray(np.array(mask, np.uint8)).save(path)
        pairs.append((str(index), path, path))
    return SegmentationDataset(pairs, classes)


def test_counted_on_paper(tmp_path):
    """Shares 16, 4 and 1 of 21 labelled pixels, median 4: sqrt(4 / 16), sqrt(4 / 4), sqrt(4 / 1); d is never seen."""
    masks = [[[0] * 16 + [255] * 4], [[1] * 4 + [2] + [255] * 15]]
    assert balanced_weights(dataset(tmp_path, masks, ("a", "b", "c", "d"))) == [0.5, 1.0, 2.0, 1.0]


def test_void_masks_weigh_all_classes_alike(tmp_path):
    assert balanced_weights(dataset(tmp_path, [[[255, 255]]], ("a", "b"))) == [1.0, 1.0]


def test_a_wrong_label_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"0\.png: label 7 at row 0, column 1"):
        balanced_weights(dataset(tmp_path, [[[0, 7]]], ("a", "b")))
