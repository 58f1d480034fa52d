"""One trunk, two heads: what each would give alone, and both together as one panoptic map."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from backbones import AlignedXception
from heads import FCOS, DeepLabV3Plus, MaskRCNN, RetinaNet
from heads.contract import Instances
from xseg.models import CrossEntropy, Detector, JointModel, Segmentor, SmpLoss
from xseg.results import JointResult

LEVELS = ("c2", "c3", "c4", "c5")
BACKBONE = dict(type=AlignedXception, depth=41, width=0.125, output_stride=16, out=LEVELS)
PIXELS = dict(type=DeepLabV3Plus, num_classes=3, channels=8, low_channels=8, dropout=0)
SMALL = dict(num_classes=2, channels=8)
BOXES = [
    (dict(type=RetinaNet, num_convs=1, **SMALL), 1),
    (dict(type=FCOS, num_convs=1, **SMALL), 1),
    (dict(type=MaskRCNN, num_levels=4, hidden=16, mask_convs=1, **SMALL), 0),
]
IDS = ["RetinaNet", "FCOS", "MaskRCNN"]


def joint(detection_head=BOXES[2][0], detection_from=0, **arguments):
    torch.manual_seed(0)
    return JointModel(dict(BACKBONE), dict(PIXELS), detection_head, (1, 2), detection_from, **arguments)


def samples():
    boxes = torch.tensor([[10.0, 20, 50, 60], [60, 10, 120, 90]])
    masks = torch.zeros(2, 96, 128, dtype=torch.uint8)
    mask = torch.zeros(96, 128, dtype=torch.uint8)
    for index, (x0, y0, x1, y1) in enumerate(boxes.int().tolist()):
        masks[index, y0:y1, x0:x1] = 1
        mask[y0:y1, x0:x1] = index + 1
    objects = dict(boxes_xyxy=boxes, labels=torch.tensor([0, 1]), masks=masks, mask=mask)
    nothing = {key: value[:0] for key, value in objects.items()} | dict(mask=torch.zeros_like(mask))
    return [part | dict(input_hw=(96, 128), meta=dict(size_hw=(96, 128), path="a")) for part in (objects, nothing)]


@pytest.mark.parametrize("head, first", BOXES, ids=IDS)
def test_losses_of_both_heads_fall(head, first):
    model = joint(dict(head), first).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    images, values = torch.rand(2, 3, 96, 128), []
    for _ in range(3):
        torch.manual_seed(1)  # Mask R-CNN draws regions
        losses = model(images, samples(), mode="loss")
        assert {"loss_ce", "loss_class", "loss_box"} <= losses.keys()
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        values.append(total.item())
    assert values[-1] < values[0] and all(torch.isfinite(p).all() for p in model.parameters())


class Box(CrossEntropy):
    """A loss of the pixels that has the name of one of the boxes."""


@torch.no_grad()
def test_losses_of_pixels_and_boxes_keep_apart():
    """The detection head's loss_box used to replace that of the pixels."""
    model = joint(*BOXES[1], losses=[dict(type=Box)]).eval()
    losses = model(torch.rand(2, 3, 96, 128), samples(), mode="loss")
    assert list(losses) == ["loss_box", "loss_class", "loss_box_2", "loss_centre"]


def test_the_same_weights_give_what_two_models_give():
    """An image of k * 16 + 1 pixels is padded by neither head for itself."""
    head, first = BOXES[1]
    model = joint(dict(head), first).double().eval()
    pixels = Segmentor(dict(BACKBONE), dict(PIXELS)).double().eval()
    pixels.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("detection_head.")})
    boxes = Detector(dict(BACKBONE, out=LEVELS[1:]), dict(head), size=None, selection=dict(score_threshold=0.0))
    renamed = {k: v for k, v in model.state_dict().items() if not k.startswith("head.")}
    boxes.double().eval().load_state_dict({k.replace("detection_head.", "head."): v for k, v in renamed.items()})
    model.selection = boxes.selection
    images = torch.rand(2, 3, 97, 129, dtype=torch.float64)
    known = [dict(input_hw=(97, 129)), dict(input_hw=(97, 129))]
    with torch.inference_mode():
        logits, raw = model(images)
        torch.testing.assert_close(logits, pixels(images), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(raw.class_logits, boxes(images).class_logits, rtol=1e-9, atol=1e-9)
        for ours, mask in zip(model(images, known, "predict"), pixels(images, known, "predict"), strict=True):
            assert torch.equal(ours["mask"], mask["mask"])
            assert len(ours["instances"].scores) == 100 and "panoptic" not in ours


def test_masks_are_padded_with_ignore_beside_the_images():
    """96 x 128 becomes 97 x 129; the pixels that came in addition cost nothing."""
    model = joint().eval()
    images, known = torch.rand(1, 3, 96, 128), samples()[:1]
    seen = {}
    model.losses = torch.nn.ModuleList([SmpLoss("Dice")])  # which is handed the masks themselves
    model.losses[0].register_forward_hook(lambda module, args, output: seen.update(masks=args[1]))
    torch.manual_seed(0)
    model(images, known, mode="loss")
    assert seen["masks"].shape == (1, 97, 129) and torch.equal(seen["masks"][0, :96, :128], known[0]["mask"])
    assert (seen["masks"][0, 96] == 255).all() and (seen["masks"][0, :, 128] == 255).all()


class Paints(torch.nn.Module):
    """A pixel head that says class 0 left of the middle, class 1 right of it."""

    num_classes, align_corners = 3, False

    def set_strides(self, in_strides): ...

    def forward(self, features):
        logits = torch.zeros(len(features[0]), 3, 8, 8)
        logits[:, 0, :, :4] = logits[:, 1, :, 4:] = 1
        return logits


class Finds(torch.nn.Module):
    """A detection head that finds two overlapping boxes, all mask, and a third that is not sure."""

    num_classes = 2

    def __init__(self, with_masks=True):
        super().__init__()
        self.with_masks = with_masks

    def set_strides(self, in_strides): ...

    def loss(self, output, targets): ...

    def forward(self, features):
        return features

    def decode(self, raw, sizes_hw, rule):
        (height, width), *_ = sizes_hw
        boxes = torch.tensor([[0.5, 0.0, 0.75, 0.5], [0.5, 0.25, 0.75, 1.0], [0.0, 0.0, 0.25, 0.25]])
        boxes = boxes * torch.tensor([width, height, width, height])
        masks = torch.ones(3, 28, 28) if self.with_masks else None
        found = Instances(boxes, torch.tensor([0.9, 0.8, 0.4]), torch.tensor([1, 0, 1]), masks)
        return [found] * len(sizes_hw)


@pytest.mark.parametrize("size", [None, (64, 64), (128, 300)])
def test_panoptic_in_the_pixels_of_the_original(size, tmp_path):
    """Left half stuff of class 0, right half class 1, a thing without an instance: void but where two are found."""
    model = JointModel(dict(BACKBONE), Paints(), Finds(), things=(1, 2), size=size, merging=dict(min_stuff_area=10))
    image = np.zeros((64, 64, 3), np.uint8)
    result = model.predict(image)
    assert isinstance(result, JointResult) and result.segmentation.mask.shape == (64, 64)
    assert result.panoptic.labels.tolist() == [2, 1, 0]
    expected = np.zeros((64, 64), int)
    expected[:, :32] = 3
    expected[16:, 32:48] = 2
    expected[:32, 32:48] = 1
    assert (result.panoptic.segments.numpy() == expected).mean() > 0.97, "but for a pixel at the masks' outlines"
    assert "1 class 2" in result.summary() and "class 0 50 %" in result.summary()
    result.write(tmp_path, "a")
    rows = json.loads((tmp_path / "panoptic" / "a.json").read_text())
    ids = np.asarray(Image.open(tmp_path / "panoptic" / "a.png")).astype(int) @ [1, 256, 256**2]
    assert {row["id"]: row["area"] for row in rows} == {id: int((ids == id).sum()) for id in {*ids.flat} - {0}}
    assert [row["class"] for row in rows] == ["class 2", "class 1", "class 0"] and len({row["id"] for row in rows}) == 3
    assert (tmp_path / "drawn" / "a.jpg").exists() and (tmp_path / "mask" / "a.png").exists()


def test_padding_is_cut_off():
    """60 columns are padded to 64, of which the left half is painted."""
    model = JointModel(dict(BACKBONE), Paints(), Finds(with_masks=False), things=(1, 2))
    mask = model.predict(np.zeros((64, 60, 3), np.uint8)).segmentation.mask
    assert (mask == (np.arange(60) >= 32)).all()


def test_without_masks_there_is_no_panoptic_map(tmp_path):
    result = JointModel(dict(BACKBONE), Paints(), Finds(with_masks=False), things=(1, 2)).predict(
        np.zeros((64, 64, 3), np.uint8)
    )
    assert result.panoptic is None and len(result.detection.scores) == 3
    result.write(tmp_path, "a")
    assert not (tmp_path / "panoptic").exists()


def test_output_stride_reaches_both_heads():
    model = joint()
    with pytest.raises(ValueError, match="this pyramid was built for strides"):
        model.set_output_stride(8)


def test_things_must_fit_both_heads():
    for things in ((1,), (1, 3), (1, 2, 0)):
        with pytest.raises(ValueError, match=r"things must name one of the 3 classes for each of the 2 labels"):
            JointModel(dict(BACKBONE), Paints(), Finds(), things=things)


def test_deployed_gives_the_same():
    model = joint(selection=dict(score_threshold=0.0)).eval()
    images, known = torch.rand(1, 3, 96, 128), [dict(input_hw=(96, 128))]
    with torch.inference_mode():
        plain = model(images)[0]
        for dtype, bound in (("fp32", 1e-4), ("bf16", 0.1)):
            deployed = model.deploy(dtype)
            assert (deployed(images)[0].float() - plain).abs().max() < bound * plain.abs().max()
            assert deployed(images, known, "predict")[0]["mask"].shape == (96, 128)
