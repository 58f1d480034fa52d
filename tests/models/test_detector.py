import json
import weakref

import numpy as np
import pytest
import torch

from backbones import AlignedXception, PreactXception, Xception
from heads import FCOS, FasterRCNN, MaskRCNN, RetinaNet
from heads.contract import Instances
from heads.detection.masks import paste
from xseg.data import decode_masks, encode_masks
from xseg.models import Detector, SmpBackbone, TimmBackbone
from xseg.models.detector import paste_run_lengths, resize_edges
from xseg.results import DetectionResult

LEVELS = ("c3", "c4", "c5")
# no proposals in training, the objects alone: regions that move with the weights would move the loss, too
RCNN = dict(num_classes=3, channels=8, hidden=16, train_proposals=(50, 0))
HEADS = [
    dict(type=RetinaNet, num_classes=3, channels=8, num_convs=1),
    dict(type=FCOS, num_classes=3, channels=8),
    dict(type=FasterRCNN, **RCNN),
    dict(type=MaskRCNN, mask_convs=1, **RCNN),
]
BACKBONES = [
    dict(type=AlignedXception, depth=41, width=0.125, out=LEVELS),
    dict(type=AlignedXception, depth=65, width=0.125, output_stride=16, out=LEVELS),
    dict(type=PreactXception, depth=41, width=0.125, out=LEVELS),
    dict(type=Xception, width=0.125, out=LEVELS),
    dict(type=TimmBackbone, name="resnet18", out=LEVELS),
    dict(type=SmpBackbone, name="mobilenet_v2", out=LEVELS),
]


def sample(boxes, labels, crowd=None, size_hw=(96, 128)):
    count = len(boxes)
    masks = torch.zeros(count, *size_hw, dtype=torch.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = 1
    return dict(
        boxes_xyxy=torch.tensor(boxes, dtype=torch.float32).reshape(count, 4),
        labels=torch.tensor(labels, dtype=torch.int64),
        iscrowd=torch.tensor(crowd or [False] * count, dtype=torch.bool),
        masks=masks,
        meta=dict(id=1, path="a.jpg", size_hw=size_hw),
    )


SAMPLES = [sample([[10, 20, 50, 60], [60, 10, 120, 90]], [0, 2]), sample([], [])]


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head["type"].__name__)
@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda b: f"{b['type'].__name__}-{b.get('name', b.get('depth'))}")
def test_a_backbone_is_one_line_and_two_steps_lower_the_loss(backbone, head):
    torch.manual_seed(0)
    model = Detector(dict(backbone), dict(head), size=None).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    images = torch.rand(2, 3, 96, 128)
    values = []
    for _ in range(3):
        torch.manual_seed(1)  # the same anchors are drawn
        losses = model(images, SAMPLES, mode="loss")
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        values.append(total.item())
    assert values[-1] < values[0]
    assert all(torch.isfinite(p).all() for p in model.parameters())


LEFT_HALF = (torch.arange(28).expand(1, 28, 28) < 14).float()


class Finds(torch.nn.Module):
    """A head that finds one box of half the image it is given, and in its left half a mask."""

    num_classes = 2

    def set_strides(self, in_strides): ...

    def loss(self, output, targets): ...

    def forward(self, features):
        return features

    def decode(self, raw, sizes_hw, rule):
        return [
            Instances(torch.tensor([[0.0, 0.0, w / 2, h / 2]]), torch.tensor([0.9]), torch.tensor([1]), LEFT_HALF)
            for h, w in sizes_hw
        ]


@pytest.mark.parametrize("size", [None, (64, 96), (200, 1000)])
def test_boxes_come_back_in_the_pixels_of_the_original(size):
    model = Detector(AlignedXception(41, width=0.125, out=LEVELS), Finds(), size=size).eval()
    image = np.zeros((60, 100, 3), np.uint8)
    np.testing.assert_allclose(model.predict(image).boxes_xyxy, [[0, 0, 50, 30]], atol=1e-4)
    batch = {"images": [torch.zeros(3, 60, 100, dtype=torch.uint8), torch.zeros(3, 90, 40, dtype=torch.uint8)]}
    samples = [{"meta": {"size_hw": (60, 100)}}, {"meta": {"size_hw": (180, 80)}}]  # the second was halved before
    with torch.inference_mode():
        found = model(**model.data_preprocessor({**batch, "samples": samples}), mode="predict")
    np.testing.assert_allclose(found[0]["instances"].boxes_xyxy, [[0, 0, 50, 30]], atol=1e-4)
    np.testing.assert_allclose(found[1]["instances"].boxes_xyxy, [[0, 0, 40, 90]], atol=1e-4)


@pytest.mark.parametrize("size", [None, (64, 96), (200, 1000)])
def test_masks_come_back_in_the_pixels_of_the_original(size):
    """The left half of the upper left quarter: columns 0 to 25 and rows 0 to 30 of 60 x 100, to a pixel."""
    model = Detector(AlignedXception(41, width=0.125, out=LEVELS), Finds(), size=size).eval()
    result = model.predict(np.zeros((60, 100, 3), np.uint8))
    mask = result.mask(0)
    assert mask.shape == (60, 100) and result.masks[0]["size"] == [60, 100]
    assert mask[1:29, 1:24].all() and not mask[32:].any() and not mask[:, 27:].any()
    samples = [{"meta": {"size_hw": (120, 200)}}]
    data = model.data_preprocessor({"images": [torch.zeros(3, 60, 100, dtype=torch.uint8)], "samples": samples})
    with torch.inference_mode():
        (found,) = model(**data, mode="predict")
    (mask,) = decode_masks(found["instances"].masks, (120, 200)).bool()
    assert mask[1:59, 1:49].all() and not mask[62:].any() and not mask[:, 52:].any()


def test_two_pasted_masks_are_in_memory_at_most(monkeypatch):
    """The one being encoded, and the one being pasted; a hundred of 2000 x 3000 pixels would be 600 MB of bool."""
    pasted = []

    def watched(*arguments):
        for region in paste(*arguments):
            assert sum(former() is not None for former in pasted) <= 2
            pasted.append(weakref.ref(region.pixels))
            yield region

    monkeypatch.setattr("xseg.models.detector.paste", watched)
    boxes = torch.tensor([[10.0, 10, 40, 50]]).repeat(6, 1)
    assert len(paste_run_lengths(torch.ones(6, 28, 28), boxes, (60, 80))) == len(pasted) == 6


@pytest.mark.parametrize("head", [HEADS[0], HEADS[3]], ids=lambda head: head["type"].__name__)
def test_batched_prediction_is_single_prediction(head):
    torch.manual_seed(0)
    model = Detector(dict(BACKBONES[0]), dict(head), size=(64, 128), selection=dict(score_threshold=0.0)).eval()
    images = [torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8) for _ in range(2)]
    with torch.inference_mode():
        both = model(**model.data_preprocessor({"images": images}), mode="predict")
        alone = [model(**model.data_preprocessor({"images": [image]}), mode="predict")[0] for image in images]
    for a, b in zip(both, alone, strict=True):
        a, b = a["instances"], b["instances"]
        torch.testing.assert_close(a.boxes_xyxy, b.boxes_xyxy, atol=1e-3, rtol=0)
        torch.testing.assert_close(a.scores, b.scores)
        assert a.masks == b.masks and (a.masks is not None) == (head["type"] is MaskRCNN)


def test_padding_is_not_proposed():
    """Of two images of one batch the narrow one is 48 of 128 pixels wide: its regions end there, in training too."""
    torch.manual_seed(0)
    model = Detector(dict(BACKBONES[0]), HEADS[2] | dict(train_proposals=(50, 50)), size=None)
    seen = []
    model.head.roi_loss = lambda maps, rois, matched, targets: seen.extend(rois) or {}
    images = [torch.randint(0, 256, (3, 96, width), dtype=torch.uint8) for width in (128, 48)]
    samples = [sample([[10, 20, 40, 60]], [0]) for _ in images]
    model(**model.data_preprocessor({"images": images, "samples": samples}, True), mode="loss")
    wide, narrow = (boxes[:, 2].max().item() for boxes in seen)
    assert wide > 100 and narrow == 48


def test_crowds_are_not_to_be_found():
    model = Detector(dict(BACKBONES[0]), dict(HEADS[1]), size=None).eval()
    images = torch.rand(1, 3, 96, 128)
    with torch.inference_mode():
        crowd = model(images, [sample([[10, 20, 50, 60], [0, 0, 90, 90]], [0, 1], [False, True])], mode="loss")
        alone = model(images, [sample([[10, 20, 50, 60]], [0])], mode="loss")
    assert crowd == alone


def test_a_box_without_area_is_named():
    model = Detector(dict(BACKBONES[0]), dict(HEADS[1]), size=None)
    with pytest.raises(ValueError, match=r"a.jpg: box \[5.0, 5.0, 5.0, 9.0\] has no area"):
        model(torch.rand(1, 3, 96, 128), [sample([[5, 5, 5, 9]], [0])], mode="loss")


@pytest.mark.parametrize(
    ("size_hw", "edges", "expected"),
    [((60, 100), (30, 1000), (30, 50)), ((60, 100), (120, 150), (90, 150)), ((100, 60), (30, 1000), (50, 30))],
)
def test_edges(size_hw, edges, expected):
    assert tuple(resize_edges(torch.rand(3, *size_hw), *edges).shape[1:]) == expected


def test_a_result_can_be_seen_and_written(tmp_path):
    boxes = np.array([[10, 10, 60, 50], [0, 0, 5, 5]], np.float32)
    scores, labels = np.array([0.9, 0.1], np.float32), np.array([1, 0])
    result = DetectionResult(Instances(boxes, scores, labels), ("a", "b"), None, np.zeros((80, 100, 3), np.uint8))
    assert result.summary() == "1 b"
    assert (result.drawn()[50, 30] == result.palette[1]).all()
    assert not result.drawn()[:5, :5].any()
    result.write(tmp_path, "x")
    rows = json.loads((tmp_path / "boxes" / "x.json").read_text())
    assert rows[0] == {"class": "b", "score": 0.9, "box_xyxy": [10.0, 10.0, 60.0, 50.0]}
    assert (tmp_path / "drawn" / "x.jpg").is_file()
    assert "segmentation" not in rows[0]
    empty = result.above(2)
    assert empty.summary() == "nothing" and not empty.drawn().any()


def test_masks_can_be_seen_and_written(tmp_path):
    """A square of 20 x 20 in a box of 40 x 40, translucent inside, in full colour at its outline."""
    pixels = np.zeros((2, 80, 100), bool)
    pixels[0, 20:40, 20:40] = pixels[1, 0:5, 0:5] = True
    boxes = np.array([[10, 10, 50, 50], [0, 0, 5, 5]], np.float32)
    scores, labels, image = np.array([0.9, 0.1], np.float32), np.array([1, 0]), np.full((80, 100, 3), 100, np.uint8)
    result = DetectionResult(Instances(boxes, scores, labels, encode_masks(pixels)), ("a", "b"), None, image)
    drawn = result.drawn()
    assert (drawn[20, 30] == result.palette[1]).all(), "outline"
    inside = np.round(0.55 * image[30, 30] + 0.45 * np.array(result.palette[1]))
    assert (drawn[30, 30] == inside).all() and (drawn[45, 30] == image[45, 30]).all()
    assert (drawn[:5, :5] == 100).all(), "below the threshold"
    assert (result.mask(1) == pixels[1]).all() and len(result.above(0.5).masks) == 1
    result.write(tmp_path, "x")
    rows = json.loads((tmp_path / "boxes" / "x.json").read_text())
    assert [row["segmentation"] for row in rows] == encode_masks(pixels)
    with pytest.raises(ValueError, match="has no masks; use a model whose head is MaskRCNN"):
        DetectionResult(Instances(boxes, scores, labels), ("a", "b"), None, image).mask(0)


@pytest.mark.parametrize("head", HEADS[2:], ids=lambda head: head["type"].__name__)
def test_deployed_finds_the_same(head):
    torch.manual_seed(0)
    model = Detector(dict(BACKBONES[0]), dict(head), size=None, selection=dict(score_threshold=0.0)).eval()
    image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    mine, theirs = model.predict(image), model.deploy().predict(image)
    np.testing.assert_allclose(theirs.boxes_xyxy, mine.boxes_xyxy, atol=0.01)
    np.testing.assert_allclose(theirs.scores, mine.scores, atol=1e-4)
    half = model.deploy("bf16").predict(image)
    assert half.boxes_xyxy.dtype == np.float32 and (half.masks is None) == (mine.masks is None)
