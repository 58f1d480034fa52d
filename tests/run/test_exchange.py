"""Results as values of pandas, supervision and JSON."""

import json
import sys

import numpy as np
import pytest

from heads.contract import Instances
from xseg.data.read.rle import decode_masks, encode_masks
from xseg.results import ClassificationResult, DetectionResult, JointResult, SegmentationResult

IMAGE = np.zeros((6, 8, 3), np.uint8)
MASK = np.zeros((6, 8), np.uint8)
MASK[2:4, 1:7] = 2  # 12 of 48 pixels
PIXELS = np.stack([MASK == 2, MASK == 0])


def segmentation():
    return SegmentationResult(MASK, ("sky", "sea", "ship"), None, IMAGE)


def detection(masks=True):
    boxes = np.array([[1, 2, 7, 4], [0, 0, 8, 6]], np.float32)
    codes = encode_masks(PIXELS) if masks else None
    return DetectionResult(Instances(boxes, np.array([0.75, 0.5]), np.array([1, 0]), codes), ("a", "b"), None, IMAGE)


def nothing():
    instances = Instances(np.zeros((0, 4), np.float32), np.zeros(0), np.zeros(0, int), [])
    return DetectionResult(instances, ("a", "b"), None, IMAGE)


def classification():
    return ClassificationResult(np.array([0.25, 0.75]), ("a", "b"))


def test_json():
    first, second = json.loads(segmentation().to_json())
    assert (first["class"], first["share"], second["class"]) == ("sky", 0.75, "ship")
    np.testing.assert_array_equal(decode_masks([second["segmentation"]], (6, 8))[0], MASK == 2)
    first, _ = json.loads(detection().to_json())
    assert first == {"class": "b", "score": 0.75, "box_xyxy": [1, 2, 7, 4], "segmentation": encode_masks(PIXELS)[0]}
    assert json.loads(nothing().to_json()) == [] and "segmentation" not in detection(masks=False).to_json()
    assert list(json.loads(classification().to_json()).items()) == [("b", 0.75), ("a", 0.25)]
    joint = json.loads(JointResult(segmentation(), detection(), None).to_json())
    assert [len(joint[part]) for part in ("segmentation", "detection")] == [2, 2]


def test_pandas():
    pytest.importorskip("pandas")
    assert segmentation().to_pandas().values.tolist() == [["sky", 0.75], ["ship", 0.25]]
    table = detection().to_pandas()
    assert list(table) == ["class", "score", "x1", "y1", "x2", "y2", "area"]
    assert table.values.tolist()[0] == ["b", 0.75, 1, 2, 7, 4, 12]
    assert list(detection(masks=False).to_pandas()) == ["class", "score", "x1", "y1", "x2", "y2"]
    assert len(nothing().to_pandas()) == 0
    assert JointResult(segmentation(), detection(), None).to_pandas().equals(table)
    assert classification().to_pandas().values.tolist() == [["b", 0.75], ["a", 0.25]]


def test_supervision():
    pytest.importorskip("supervision")
    objects = detection().to_supervision()
    assert objects.class_id.tolist() == [1, 0] and objects.data["class_name"].tolist() == ["b", "a"]
    np.testing.assert_array_equal(objects.mask, PIXELS)
    np.testing.assert_array_equal(objects.xyxy[0], [1, 2, 7, 4])
    assert detection(masks=False).to_supervision().mask is None and len(nothing().to_supervision()) == 0
    pixels = segmentation().to_supervision()
    assert pixels.class_id.tolist() == [0, 2] and pixels.xyxy[1].tolist() == [1, 2, 7, 4] and pixels.confidence is None
    assert len(JointResult(segmentation(), detection(), None).to_supervision()) == 2
    assert classification().to_supervision().get_top_k(1)[0].tolist() == [1]


@pytest.mark.parametrize("library", ["pandas", "supervision"])
@pytest.mark.parametrize("result", [segmentation, detection, classification])
def test_a_missing_library_is_named_with_its_remedy(monkeypatch, library, result):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModuleNotFoundError, match=rf"to_{library}\(\) needs {library}: pip install {library}"):
        getattr(result(), f"to_{library}")()
