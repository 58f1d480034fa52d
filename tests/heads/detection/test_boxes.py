"""Towers of convolutions with every norm; NMS class by class, to the last box."""

import pytest
import torch
from crowds import SIZE_HW, crowded
from torch import nn
from torchvision.ops import FrozenBatchNorm2d, batched_nms, nms

from heads import FCOS
from heads.contract import Selection
from heads.detection.boxes import NORMS, clip, nms_by_group, select, tower

KINDS = {"none": (), "group": (nn.GroupNorm,), "batch": (nn.BatchNorm2d,), "frozen": (FrozenBatchNorm2d,)}


@pytest.mark.parametrize("norm", NORMS)
def test_norm_behind_every_convolution(norm):
    layers = [*tower(16, 2, norm)]
    kinds = (nn.Conv2d, *KINDS[norm], nn.ReLU)
    assert [type(layer) for layer in layers] == [*kinds, *kinds]


def test_frozen_norm_learns_nothing_and_keeps_its_statistics():
    head = FCOS(3, (8, 8, 8), (8, 16, 32), channels=16, num_convs=1, norm="frozen")
    assert not any(isinstance(m, nn.BatchNorm2d | nn.GroupNorm) for m in head.modules())
    assert len([*head.class_tower.parameters()]) == 2, "weight and bias of the convolution alone"
    before = {name: value.clone() for name, value in head.named_buffers()}
    head.train()([torch.randn(2, 8, size, size) for size in (16, 8, 4)])
    assert before and all(torch.equal(value, before[name]) for name, value in head.named_buffers())


def test_unknown_norm_is_refused_with_the_list():
    with pytest.raises(ValueError, match="norm must be one of none, group, batch, frozen, got 'layer'"):
        tower(16, 1, "layer")


def one_class_at_a_time(scores: torch.Tensor, boxes: torch.Tensor, rule: Selection) -> list[tuple[int, int]]:
    """(label, position) of what torchvision's NMS leaves of each class alone, the surest first."""
    boxes, kept = clip(boxes, SIZE_HW), []
    for label, column in enumerate(scores.unbind(1)):
        rows = (column > rule.score_threshold).nonzero().squeeze(1)
        kept += [(label, row) for row in rows[nms(boxes[rows], column[rows], rule.nms_iou)].tolist()]
    return sorted(kept, key=lambda pair: -scores[pair[1], pair[0]])


def test_nms_does_not_round_boxes():
    """The second box covers 50.00001 % of the first, above the threshold of 50 %; moved by 79 * 1,601 pixels, 50 %."""
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 5.00001], [1500.0, 1500.0, 1600.0, 1600.0]])
    scores, groups = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([79, 79, 0])
    assert nms_by_group(boxes, scores, groups, 80, 0.5).tolist() == [True, False, True]
    assert batched_nms(boxes, scores, groups, 0.5).tolist() == [0, 1, 2]


@pytest.mark.parametrize("num_classes", [1, 3, 80, 1203])
def test_nms_is_that_of_each_class_alone(num_classes):
    """Every detection of 15 random images of up to 1,500 boxes. Boxes moved apart by an offset for each class, which
    rounds them to float32, gave other detections in some of these images."""
    rule = Selection(nms_iou=0.6, topk=10**6, max_detections=10**6)
    for seed in range(3, 60, 4):
        scores, boxes = crowded(seed, 25 * (seed + 1), num_classes)
        detections = select(scores, boxes, [len(boxes)], SIZE_HW, rule)
        expected = one_class_at_a_time(scores, boxes, rule)
        assert detections.labels.tolist() == [label for label, _ in expected], seed
        assert torch.equal(detections.boxes_xyxy, clip(boxes, SIZE_HW)[[row for _, row in expected]])
        assert torch.equal(detections.scores, torch.stack([scores[row, label] for label, row in expected]))
