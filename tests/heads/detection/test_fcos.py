import pytest
import torch
from judged import CHANNELS, TARGETS, Pyramid, Trunk, copy_pyramid, copy_tower, sharpen
from torch import nn
from torchvision.models.detection import FCOS as TorchvisionFCOS
from torchvision.models.detection.image_list import ImageList

from heads import FCOS
from heads.contract import Selection, Target
from heads.detection.fcos import match, size_bounds


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    trunk = Trunk()
    judge = TorchvisionFCOS(Pyramid(trunk, 256), 5, detections_per_img=100)
    sharpen(judge.head)
    ours = FCOS(5, CHANNELS, (8, 16, 32), channels=256)
    copy_pyramid(ours.fpn, judge.backbone.fpn)
    head = judge.head
    for tower, theirs in ((ours.class_tower, head.classification_head), (ours.box_tower, head.regression_head)):
        copy_tower(tower, theirs, lambda t: [layer for layer in t.conv if not isinstance(layer, nn.ReLU)])
    ours.classifier.load_state_dict(head.classification_head.cls_logits.state_dict())
    ours.regressor.load_state_dict(head.regression_head.bbox_reg.state_dict())
    ours.centreness.load_state_dict(head.regression_head.bbox_ctrness.state_dict())
    return trunk, judge, ours


def run_judge(judge, images):
    maps = list(judge.backbone(images).values())
    anchors = judge.anchor_generator(ImageList(images, [tuple(i.shape[-2:]) for i in images]), maps)
    return judge.head(maps), anchors, [m.shape[-1] * m.shape[-2] for m in maps]


def test_same_detections_as_torchvision(pair):
    trunk, judge, ours = pair
    images = torch.rand(2, 3, 128, 256)
    with torch.no_grad():
        raw, anchors, counts = run_judge(judge, images)
        split = {key: list(value.split(counts, 1)) for key, value in raw.items()}
        theirs = judge.postprocess_detections(split, [list(a.split(counts)) for a in anchors], [(128, 256)] * 2)
        rule = Selection(score_threshold=judge.score_thresh, nms_iou=judge.nms_thresh)
        mine = ours.decode(ours(trunk(images)), [(128, 256)] * 2, rule)
    for a, b in zip(mine, theirs, strict=True):
        assert len(a.scores) > 20
        torch.testing.assert_close(a.boxes_xyxy, b["boxes"], atol=0.01, rtol=0)
        torch.testing.assert_close(a.scores, b["scores"], atol=1e-4, rtol=0)
        assert torch.equal(a.labels, b["labels"])


@pytest.mark.parametrize("targets", [TARGETS, TARGETS[:1] * 2, TARGETS[1:] * 2], ids=["mixed", "objects", "empty"])
def test_same_losses_as_torchvision(pair, targets):
    trunk, judge, ours = pair
    images = torch.rand(2, 3, 128, 256)
    raw, anchors, counts = run_judge(judge, images)
    theirs = judge.compute_loss([{"boxes": t.boxes_xyxy, "labels": t.labels} for t in targets], raw, anchors, counts)
    mine = ours.loss(ours(trunk(images)), targets)
    torch.testing.assert_close(mine["loss_class"], theirs["classification"])
    torch.testing.assert_close(mine["loss_box"], theirs["bbox_regression"])
    torch.testing.assert_close(mine["loss_centre"], theirs["bbox_ctrness"])


def test_matching_on_paper():
    """Points 0, 8, … 56 of one row, stride 8, one level (any size fits). An object from 0 to 48 with centre 24 is found
    from 16, 24, 32, less than 12 pixels away; a smaller one inside from 20 to 28 takes 24 from it."""
    points = torch.stack((torch.arange(0, 64, 8.0), torch.full((8,), 10.0)), 1)
    strides = torch.full((8,), 8.0)
    bounds = size_bounds(strides, [8])
    large, small = [0.0, 0, 48, 20], [20.0, 6, 28, 14]
    assert match(torch.tensor([large]), points, strides, bounds, 1.5).tolist() == [-1, -1, 0, 0, 0, -1, -1, -1]
    assert match(torch.tensor([large, small]), points, strides, bounds, 1.5).tolist() == [-1, -1, 0, 1, 0, -1, -1, -1]
    assert match(torch.zeros(0, 4), points, strides, bounds, 1.5).tolist() == [-1] * 8


@pytest.mark.parametrize("count", [0, 1, 300])
def test_any_number_of_objects_gives_finite_gradients(count):
    head = FCOS(3, CHANNELS, (8, 16, 32), channels=8, num_convs=1)
    corner = torch.rand(count, 2) * 80
    boxes = torch.cat((corner, corner + 1 + torch.rand(count, 2) * 40), 1)
    target = Target(boxes, torch.randint(0, 3, (count,)))
    losses = head.loss(head(Trunk()(torch.rand(1, 3, 128, 128))), [target])
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
