"""The smallest backbone and heads that keep the contracts work in the models; an error lists all that is missing."""

import pytest
import torch
from torch import nn

from heads import FCOS, ClassificationHead, DeepLabV3Plus, DeepLabV3PlusDPC, FasterRCNN, FCNHead, MaskRCNN, RetinaNet
from heads.contract import ClassifierHead, DetectionHead, Instances, SegmentationHead, check_head
from xseg.models import Classifier, Detector, Segmentor


class TinyBackbone(nn.Module):
    channels, strides, output_stride = (8,), (4,), 4

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 4, stride=4)

    def set_output_stride(self, output_stride):
        if output_stride != 4:
            raise ValueError(f"output_stride must be 4, got {output_stride}")

    def forward(self, images):
        return [self.conv(images)]


class TinyHead(nn.Module):
    def __init__(self, num_classes, in_channels, in_strides):
        super().__init__()
        self.num_classes, self.conv = num_classes, nn.Conv2d(in_channels[-1], num_classes, 1)

    def set_strides(self, in_strides): ...

    def forward(self, features):
        return self.conv(features[-1])


class TinyDetector(TinyHead):
    def loss(self, output, targets):
        return {"loss_size": output.square().mean() * sum(len(target.labels) for target in targets)}

    def decode(self, output, sizes_hw, rule):
        boxes = [torch.tensor([[0.0, 0.0, w, h]]) for h, w in sizes_hw]
        return [Instances(box, torch.tensor([0.9]), torch.tensor([1])) for box in boxes]


class Nothing(nn.Module):
    pass


IMAGES = torch.rand(2, 3, 16, 24)
HEAD = dict(type=TinyHead, num_classes=3)


def test_ten_lines_segment_and_train():
    model = Segmentor(TinyBackbone(), HEAD)
    mask = torch.randint(0, 3, (16, 24), dtype=torch.uint8)
    model(IMAGES, [dict(mask=mask)] * 2, mode="loss")["loss_ce"].backward()
    assert model.head.conv.weight.grad.abs().sum() > 0
    with torch.no_grad():
        results = model.eval()(IMAGES, [dict(input_hw=(16, 24))] * 2, mode="predict")
    assert results[0]["mask"].shape == (16, 24)
    with pytest.raises(ValueError, match="output_stride must be 4, got 8"):
        model.set_output_stride(8)


def test_ten_lines_detect_and_classify():
    detector = Detector(TinyBackbone(), dict(type=TinyDetector, num_classes=2), size=None)
    sample = dict(boxes_xyxy=torch.tensor([[0.0, 0, 4, 4]]), labels=torch.tensor([1]), input_hw=(16, 24))
    assert detector(IMAGES, [sample] * 2, mode="loss")["loss_size"] > 0
    assert detector(IMAGES, [sample] * 2, mode="predict")[0]["instances"].boxes_xyxy.tolist() == [[0, 0, 24, 16]]

    class Pooled(TinyHead):
        def forward(self, features):
            return super().forward(features).mean((2, 3))

    classifier = Classifier(TinyBackbone(), dict(type=Pooled, num_classes=3))
    assert classifier(IMAGES, [dict(label=0), dict(label=2)], mode="loss")["loss_ce"].isfinite()


def test_a_head_without_align_corners_has_them_not_aligned():
    head = TinyHead(3, (8,), (4,))
    assert check_head(head, SegmentationHead) is head and head.align_corners is False
    head.align_corners = True
    assert check_head(head, SegmentationHead).align_corners is True


@pytest.mark.parametrize(
    ("protocol", "missing"),
    [
        (SegmentationHead, ["num_classes: Number", "set_strides(in_strides): ", "forward(features): "]),
        (DetectionHead, ["num_classes: ", "set_strides(", "forward(", "loss(output, targets): ", "decode(output, "]),
        (ClassifierHead, ["num_classes: ", "set_strides(", "forward("]),
    ],
)
def test_one_error_lists_all_that_a_head_lacks(protocol, missing):
    with pytest.raises(
        TypeError, match=rf"Nothing cannot serve as {protocol.__name__} \(see heads.contract\)"
    ) as error:
        check_head(Nothing(), protocol)
    lines = str(error.value).splitlines()[1:]
    assert len(lines) == len(missing)
    for start in missing:
        assert any(line.strip().startswith(start) for line in lines), start


@pytest.mark.parametrize("model", [Segmentor, Detector, Classifier])
def test_models_refuse_a_part_when_they_are_put_together(model):
    with pytest.raises(TypeError, match=r"Nothing cannot serve as .*Head"):
        model(TinyBackbone(), Nothing())
    with pytest.raises(TypeError, match=r"Nothing cannot serve as Backbone \(see backbones.contract\)"):
        model(Nothing(), HEAD)


def test_an_auxiliary_head_is_checked_too():
    with pytest.raises(TypeError, match="Nothing cannot serve as SegmentationHead"):
        Segmentor(TinyBackbone(), HEAD, aux_head=dict(type=type("Nothing", (Nothing,), {"__init__": _takes_numbers})))


def _takes_numbers(self, in_channels, in_strides):
    nn.Module.__init__(self)


@pytest.mark.parametrize("cls", [DeepLabV3Plus, DeepLabV3PlusDPC, FCNHead])
def test_our_segmentation_heads_keep_the_contract(cls):
    check_head(cls(3, (8, 16), (4, 16)), SegmentationHead)


@pytest.mark.parametrize("cls", [RetinaNet, FCOS, FasterRCNN, MaskRCNN])
def test_our_detection_heads_keep_the_contract(cls):
    check_head(cls(3, (8, 16), (8, 16), channels=8), DetectionHead)


def test_our_classification_head_keeps_the_contract():
    check_head(ClassificationHead(3, (8,), (32,)), ClassifierHead)


@pytest.mark.parametrize("index", [[2, 0], [True, False, True], slice(0), slice(1, 3), []], ids=str)
@pytest.mark.parametrize("as_arrays", [False, True])
def test_rows_of_instances_take_every_field_along(index, as_arrays):
    """A list of run lengths, which tensors do not index, follows too; a field that is None stays None."""
    codes = [dict(size=[4, 5], counts=name) for name in "abc"]
    made = Instances(torch.rand(3, 4), torch.rand(3), torch.arange(3), codes, torch.rand(3, 4))
    made = made.numpy() if as_arrays else made
    array = index if isinstance(index, slice) else torch.tensor(index, dtype=torch.long if index == [] else None)
    rows = made.rows(array.numpy() if as_arrays and not isinstance(index, slice) else array)
    wanted = torch.arange(3)[array].tolist()
    assert rows.labels.tolist() == wanted and rows.masks == [codes[row] for row in wanted]
    assert rows.boxes_xyxy.tolist() == made.boxes_xyxy[wanted].tolist() and rows.area is None
    assert rows.scores.tolist() == made.scores[wanted].tolist()
    assert rows.boxes_xywh.tolist() == made.boxes_xywh[wanted].tolist()
