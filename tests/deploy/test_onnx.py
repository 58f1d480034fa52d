"""An exported file gives the model's outputs by itself, at any size, and says what it is."""

import json

import pytest
import torch
from crowds import SIZE_HW, crowded
from peers import shake
from torch import nn

from backbones import AlignedXception, Xception
from heads import FCOS, ClassificationHead, FasterRCNN
from heads.contract import Selection
from heads.detection.boxes import select
from xseg.deploy import onnx
from xseg.deploy.agreement import agreement, detections_agree
from xseg.deploy.onnx import export
from xseg.models import Classifier, Detector

for package in ("onnx", "onnxscript"):
    pytest.importorskip(package)
onnxruntime = pytest.importorskip("onnxruntime")


def run(path, **feed):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    found = session.run(None, {name: value.numpy() for name, value in feed.items()})
    return [torch.from_numpy(array) for array in found], facts


def classifier() -> Classifier:
    torch.manual_seed(0)
    head = {"type": ClassificationHead, "num_classes": 5}
    return shake(Classifier(Xception(width=0.125), head, multi_label=True, crop_size=75)).float().eval()


def test_a_second_stage_is_refused(tmp_path):
    head = {"type": FasterRCNN, "num_classes": 3, "channels": 16, "hidden": 16}
    model = Detector(AlignedXception(41, out=("c2", "c3", "c4", "c5"), width=0.125), head, size=(64, 96))
    with pytest.raises(ValueError, match="xseg export cannot take a second stage, as FasterRCNN has"):
        export(model, tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="onnxruntime cannot take a second stage, as FasterRCNN has: use torch"):
        model.deploy(backend="onnxruntime")
    assert model.deploy(backend="auto").deployed


class Select(nn.Module):
    """Detections of boxes and scores that come as one tensor (positions, 4 + classes, 1, 1)."""

    def forward(self, packed, threshold):
        boxes, scores = packed[:, :4, 0, 0], packed[:, 4:, 0, 0]
        rule = Selection(threshold, nms_iou=0.6, topk=10**6, max_detections=10**6)
        return tuple(select(scores, boxes, [len(boxes)], SIZE_HW, rule)[:3])


def test_nms_of_a_file_is_that_of_each_class_alone(tmp_path):
    """Every detection of 40 random images with 80 classes, to the last bit; the first one's threshold leaves none.

    Boxes of every other image are whole pixels, of which some overlap by 0.6 exactly, as much as NMS allows.
    """

    def packed(seed):
        scores, boxes = crowded(seed, 20 * (seed + 1), num_classes=80)
        return torch.cat([boxes.round() if seed % 2 else boxes, scores], 1)[:, :, None, None]

    inputs, outputs, path = ("images", "score_threshold"), ("boxes_xyxy", "scores", "labels"), tmp_path / "select.onnx"
    onnx.write_onnx(Select(), path, (packed(1), torch.tensor(0.05)), inputs, outputs, {})
    for seed in range(40):
        images, threshold = packed(seed), torch.tensor(2.0 if seed == 0 else 0.05)
        outputs, _ = run(path, images=images, score_threshold=threshold)
        expected = Select()(images, threshold)
        assert bool(len(expected[1])) == (seed > 0)
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(outputs, expected, strict=True)), seed


@pytest.mark.slow
def test_detector(tmp_path):
    """Boxes, scores and labels of one image, as `decode` gives them; the second input is the score to exceed."""
    torch.manual_seed(0)
    backbone = AlignedXception(41, out=("c3", "c4", "c5"), width=0.125)
    head = {"type": FCOS, "num_classes": 3, "channels": 16, "num_convs": 1}
    model = shake(Detector(backbone, head, size=(64, 96))).float().eval()
    for weight in model.head.parameters():
        if weight.ndim == 4:
            nn.init.normal_(weight, std=0.15)
    assert any("boxes equal to PyTorch" in line for line in export(model, tmp_path / "model.onnx"))
    images = torch.rand(1, 3, 64, 160)
    with torch.no_grad():
        middle = model.head.decode(model.raw(images), [(64, 160)], model.selection)[0].scores.median().item()
    for threshold in (0.0, middle):
        (boxes, scores, labels), facts = run(
            tmp_path / "model.onnx", images=images, score_threshold=torch.tensor(threshold)
        )
        rule = model.selection._replace(score_threshold=threshold)
        with torch.no_grad():
            expected = model.head.decode(model.raw(images), [(64, 160)], rule)[0]
        assert len(scores) == len(expected.scores) > 3 and scores.min() > threshold
        torch.testing.assert_close(scores, expected.scores, rtol=0, atol=1e-4)
        assert boxes.shape == (len(scores), 4) and labels.dtype == torch.int64
    assert json.loads(facts["resize"]) == {"shortest": 64, "longest": 96}
    assert float(facts["score_threshold"]) == 0.05


def test_classifier(tmp_path):
    model = classifier()
    export(model, tmp_path / "new" / "model.onnx")
    images = torch.rand(3, 3, 75, 90)
    (logits,), facts = run(tmp_path / "new" / "model.onnx", images=images)
    with torch.no_grad():
        torch.testing.assert_close(logits, model(images), rtol=1e-3, atol=1e-4)
    assert "sigmoid" in facts["output"] and json.loads(facts["crop"]) == {"size": 75, "share": 0.903}
    assert not model.deployed and [p.name for p in (tmp_path / "new").iterdir()] == ["model.onnx"]


def test_a_file_that_differs_is_not_left(tmp_path, monkeypatch):
    def write_another(net, path, *rest):
        nn.init.normal_(net.model.head.fc.weight)
        write_onnx(net, path, *rest)
        nn.init.normal_(net.model.head.fc.weight)

    write_onnx = onnx.write_onnx
    monkeypatch.setattr(onnx, "write_onnx", write_another)
    with pytest.raises(ValueError, match="differs from PyTorch by"):
        export(classifier(), tmp_path / "model.onnx")
    assert not any(tmp_path.iterdir())


def test_agreement():
    a = torch.tensor([1.0, -4.0])
    assert agreement(a, a + 0.003, "it") == "equal to PyTorch to 7.5e-04 of the largest value"
    assert agreement(a[:0], a[:0], "it").endswith("nothing found")
    with pytest.raises(ValueError, match=r"it gives \(1,\) values where PyTorch gives \(2,\)"):
        agreement(a[:1], a, "it")
    for b in (a + 0.005, a * float("nan")):
        with pytest.raises(ValueError, match="it differs from PyTorch"):
            agreement(b, a, "it")


def test_detections_agree_but_for_ties():
    """Ranks 2 and 3 score alike and may change places; rank 1 may not have another box or label."""
    boxes, scores, labels = torch.rand(3, 4) * 50, torch.tensor([0.9, 0.5, 0.5]), torch.tensor([0, 1, 2])
    swapped = [0, 2, 1]
    line = detections_agree((boxes[swapped], scores, labels[swapped]), (boxes, scores, labels), "it")
    assert "; 1 boxes equal" in line
    for found in ((boxes + 1, scores, labels), (boxes, scores, labels + 1), (boxes, scores - 0.01, labels)):
        with pytest.raises(ValueError, match="it differs"):
            detections_agree(found, (boxes, scores, labels), "it")
