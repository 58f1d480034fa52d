import pytest
import torch
from judged import CHANNELS, TARGETS, Pyramid, Trunk, copy_pyramid, copy_tower, sharpen
from torch import nn
from torchvision.models.detection import RetinaNet as TorchvisionRetinaNet
from torchvision.models.detection.retinanet import _default_anchorgen

from heads import RetinaNet
from heads.contract import Selection, Target
from heads.detection.boxes import decode, encode, select


@pytest.fixture(scope="module")
def pair():
    """(trunk, torchvision's RetinaNet, ours with its weights)."""
    torch.manual_seed(0)
    trunk = Trunk()
    judge = TorchvisionRetinaNet(Pyramid(trunk, 16), 5, anchor_generator=_default_anchorgen(), detections_per_img=100)
    judge.transform, judge.score_thresh = nn.Identity(), 0.02
    sharpen(judge.head)
    ours = RetinaNet(5, CHANNELS, (8, 16, 32), channels=16)
    copy_pyramid(ours.fpn, judge.backbone.fpn)
    head = judge.head
    for tower, theirs in ((ours.class_tower, head.classification_head), (ours.box_tower, head.regression_head)):
        copy_tower(tower, theirs, lambda t: [block[0] for block in t.conv])
    ours.classifier.load_state_dict(head.classification_head.cls_logits.state_dict())
    ours.regressor.load_state_dict(head.regression_head.bbox_reg.state_dict())
    return trunk, judge, ours


def run_judge(judge, images):
    from torchvision.models.detection.image_list import ImageList

    maps = list(judge.backbone(images).values())
    raw = judge.head(maps)
    anchors = judge.anchor_generator(ImageList(images, [tuple(i.shape[-2:]) for i in images]), maps)
    counts = [m.shape[-1] * m.shape[-2] * 9 for m in maps]
    return raw, anchors, counts


def test_same_detections_as_torchvision(pair):
    trunk, judge, ours = pair
    images = torch.rand(2, 3, 128, 192)
    with torch.no_grad():
        raw, anchors, counts = run_judge(judge, images)
        split = {key: list(value.split(counts, 1)) for key, value in raw.items()}
        theirs = judge.postprocess_detections(split, [list(a.split(counts)) for a in anchors], [(128, 192)] * 2)
        mine = ours.decode(ours(trunk(images)), [(128, 192)] * 2, Selection(score_threshold=0.02))
    for a, b in zip(mine, theirs, strict=True):
        assert len(a.scores) == 100
        torch.testing.assert_close(a.boxes_xyxy, b["boxes"], atol=0.01, rtol=0)
        torch.testing.assert_close(a.scores, b["scores"], atol=1e-4, rtol=0)
        assert torch.equal(a.labels, b["labels"])


@pytest.mark.parametrize("targets", [TARGETS, TARGETS[:1] * 2, TARGETS[1:] * 2], ids=["mixed", "objects", "empty"])
def test_same_losses_as_torchvision(pair, targets):
    trunk, judge, ours = pair
    images = torch.rand(2, 3, 128, 192)
    raw, anchors, _ = run_judge(judge, images)
    theirs = judge.compute_loss([{"boxes": t.boxes_xyxy, "labels": t.labels} for t in targets], raw, anchors)
    mine = ours.loss(ours(trunk(images)), targets)
    torch.testing.assert_close(mine["loss_class"], theirs["classification"])
    torch.testing.assert_close(mine["loss_box"], theirs["bbox_regression"])


def test_coding_there_and_back():
    anchors = torch.tensor([[0.0, 0, 16, 32], [5, 5, 10, 10]], dtype=torch.float64)
    boxes = torch.tensor([[3.0, 1, 20, 25], [0, 0, 100, 3]], dtype=torch.float64)
    torch.testing.assert_close(decode(encode(boxes, anchors), anchors), boxes)
    assert decode(torch.tensor([[0.0, 0, 50, 50]]), torch.tensor([[0.0, 0, 1, 1]])).isfinite().all()


def test_selection_on_paper():
    """Two boxes of one class that overlap by 2/3, one of them of another class too, one faint, one beyond the edge."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 12], [50, 50, 60, 60], [-5, 30, 5, 40]])
    scores = torch.tensor([[0.9, 0.0], [0.8, 0.7], [0.04, 0.0], [0.0, 0.6]])
    found = select(scores, boxes, [3, 1], (45, 100), Selection())
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.7, 0.6]))
    assert found.labels.tolist() == [0, 1, 1]
    assert found.boxes_xyxy[2].tolist() == [0, 30, 5, 40]
    assert len(select(scores, boxes, [3, 1], (45, 100), Selection(max_detections=1)).scores) == 1
    assert len(select(scores * 0, boxes, [3, 1], (45, 100), Selection()).scores) == 0
    assert len(select(scores, boxes, [3, 1], (45, 100), Selection(topk=1)).scores) == 2


@pytest.mark.parametrize("count", [0, 1, 300])
def test_any_number_of_objects_gives_finite_gradients(count):
    head = RetinaNet(3, CHANNELS, (8, 16, 32), channels=8, num_convs=1, norm="group")
    corner = torch.rand(count, 2) * 80
    boxes = torch.cat((corner, corner + 1 + torch.rand(count, 2) * 40), 1)
    target = Target(boxes, torch.randint(0, 3, (count,)))
    losses = head.loss(head(Trunk()(torch.rand(1, 3, 128, 128))), [target])
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
