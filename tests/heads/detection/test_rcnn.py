import pytest
import torch
from judged import sharpen
from torch import nn
from torchvision.models.detection import fasterrcnn_resnet50_fpn, maskrcnn_resnet50_fpn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import MultiScaleRoIAlign

from heads import FasterRCNN, MaskRCNN
from heads.contract import Selection, Target
from heads.detection.anchors import BETWEEN, NEGATIVE
from heads.detection.masks import paste
from heads.detection.rcnn import select_by_class
from heads.detection.roi import pool
from heads.detection.rpn import RPN, RPNOutput, draw

CHANNELS, STRIDES = (256, 512, 1024, 2048), (4, 8, 16, 32)
SIZES = [(128, 192), (100, 170)]
EVERYTHING = 10**6  # samples: all there are, so that nothing is left to chance
RULE = Selection(max_detections=50)


def copied(head, theirs):
    """Ours with the weights of a torchvision model, whose background is the first class and ours the last."""
    pyramid, rpn, roi = theirs.backbone.fpn, theirs.rpn.head, theirs.roi_heads
    for index in range(4):
        head.fpn.lateral[index].load_state_dict(pyramid.inner_blocks[index][0].state_dict())
        head.fpn.output[index].load_state_dict(pyramid.layer_blocks[index][0].state_dict())
    pairs = [(head.rpn.tower[0], rpn.conv[0][0]), (head.rpn.objectness, rpn.cls_logits)]
    pairs += [(head.rpn.regressor, rpn.bbox_pred)]
    pairs += zip(head.box_head.layers, (roi.box_head.fc6, roi.box_head.fc7), strict=True)
    if roi.mask_predictor is not None:
        pairs += zip(head.mask_head.convs[::2], (block[0] for block in roi.mask_head), strict=True)
        pairs += [(head.mask_head.up, roi.mask_predictor.conv5_mask)]
    for ours, other in pairs:
        ours.load_state_dict(other.state_dict())
    own = [(head.box_head.classifier, roi.box_predictor.cls_score, 1, True)]
    own += [(head.box_head.regressor, roi.box_predictor.bbox_pred, 4, False)]
    if roi.mask_predictor is not None:
        own += [(head.mask_head.classifier, roi.mask_predictor.mask_fcn_logits, 1, False)]
    for ours, other, rows, keep_background in own:
        for name, value in other.state_dict().items():
            background = value[:rows] if keep_background else value[:0]
            ours.state_dict()[name].copy_(torch.cat((value[rows:], background)))
    return head


@pytest.fixture(scope="module", params=[FasterRCNN, MaskRCNN], ids=lambda cls: cls.__name__)
def pair(request):
    """(torchvision's model, ours, features of two images of SIZES padded to one batch)."""
    torch.manual_seed(0)
    build = {FasterRCNN: fasterrcnn_resnet50_fpn, MaskRCNN: maskrcnn_resnet50_fpn}[request.param]
    judge = build(weights=None, weights_backbone=None, num_classes=6).eval()
    sharpen(judge.rpn.head.cls_logits, judge.rpn.head.bbox_pred, judge.roi_heads.box_predictor)
    judge.rpn.head.bbox_pred.weight.data *= 0.1  # proposals near their anchors, so that some find objects
    for part in (judge.rpn, judge.roi_heads):
        part.fg_bg_sampler.batch_size_per_image = EVERYTHING
    judge.roi_heads.detections_per_img = RULE.max_detections
    judge.rpn._post_nms_top_n = dict(training=150, testing=120)
    images = torch.zeros(2, 3, 128, 192)
    for image, size in zip(images, SIZES, strict=True):
        image[:, : size[0], : size[1]] = nn.functional.interpolate(10 * torch.randn(1, 3, 4, 6), size, mode="bicubic")[
            0
        ]
    with torch.no_grad():
        features = {name: value / value.std() for name, value in judge.backbone.body(images).items()}
        spread_scores(judge, features)
    limits = dict(train_proposals=(2000, 150), test_proposals=(1000, 120))
    ours = request.param(5, CHANNELS, STRIDES, rpn_samples=EVERYTHING, roi_samples=EVERYTHING, **limits)
    return judge, copied(ours, judge), features


def spread_scores(judge, features):
    """Every class wins in some region."""
    linear, logits = judge.roi_heads.box_predictor.cls_score, []
    handle = linear.register_forward_hook(lambda module, args, output: logits.append(output))
    run_judge(judge, features)
    handle.remove()
    linear.weight /= logits[0].std(0, keepdim=True).T
    linear.bias.copy_(-(logits[0] - linear.bias).mean(0) / logits[0].std(0))


def run_judge(judge, features, targets=None):
    maps = judge.backbone.fpn(features)
    proposals, losses = judge.rpn(ImageList(torch.zeros(2, 3, 128, 192), SIZES), maps, targets)
    found, more = judge.roi_heads(maps, proposals, SIZES, targets)
    return found, losses | more


@torch.no_grad()
def test_same_detections_as_torchvision(pair):
    judge, ours, features = pair
    theirs, _ = run_judge(judge.eval(), features)
    mine = ours.decode(ours([*features.values()]), SIZES, RULE)
    assert len(torch.cat([found.labels for found in mine]).unique()) == 5
    for a, b in zip(mine, theirs, strict=True):
        assert len(a.scores) == len(b["scores"]) > 20
        torch.testing.assert_close(a.boxes_xyxy, b["boxes"], atol=0.01, rtol=0)
        torch.testing.assert_close(a.scores, b["scores"], atol=1e-4, rtol=0)
        assert torch.equal(a.labels + 1, b["labels"])
        assert (a.masks is None) == ("masks" not in b)
        if a.masks is not None:
            torch.testing.assert_close(a.masks, b["masks"][:, 0], atol=1e-4, rtol=0)


def blocks(boxes, size_hw):
    masks = torch.zeros(len(boxes), *size_hw, dtype=torch.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, torch.tensor(boxes).int().tolist(), strict=True):
        mask[y0:y1:2, x0:x1] = 1
    return masks


OBJECTS = [[10.0, 20, 60, 90], [30, 30, 34, 36], [100, 10, 169, 99]]
OBJECTS += [[x, y, x + 40, y + 20] for x in range(0, 130, 20) for y in range(0, 80, 10)]
FULL, EMPTY = (
    Target(
        torch.tensor(boxes).reshape(-1, 4),
        torch.tensor([0, 3, 1] * 20)[: len(boxes)],
        blocks(boxes, SIZES[1]),
        SIZES[1],
    )
    for boxes in (OBJECTS, [])
)


@torch.no_grad()
@pytest.mark.parametrize("targets", [(FULL, EMPTY), (FULL, FULL), (EMPTY, EMPTY)], ids=["mixed", "objects", "empty"])
def test_same_losses_as_torchvision(pair, targets):
    judge, ours, features = pair
    targets = [target._replace(size_hw=size) for target, size in zip(targets, SIZES, strict=True)]
    wanted = [{"boxes": t.boxes_xyxy, "labels": t.labels + 1, "masks": t.masks} for t in targets]
    _, theirs = run_judge(judge.train(), features, wanted)
    drawn, roi_loss = [], ours.roi_loss
    ours.roi_loss = lambda maps, rois, matched, targets: drawn.extend(matched) or roi_loss(maps, rois, matched, targets)
    mine = ours.loss(ours([*features.values()]), targets)
    del ours.roi_loss
    count = sum(len(target.labels) for target in targets)
    assert (torch.cat(drawn) >= 0).sum() > count or count == 0, "not the objects alone, but proposals that find them"
    names = dict(loss_objectness="loss_objectness", loss_proposal="loss_rpn_box_reg")
    names |= dict(loss_class="loss_classifier", loss_box="loss_box_reg", loss_mask="loss_mask")
    assert len(mine) == len(theirs)
    for name, value in mine.items():
        torch.testing.assert_close(value, theirs[names[name]])


def test_regions_are_read_from_torchvisions_levels():
    """Regions of 5 to 700 pixels: every level is read, and no region gives other values."""
    torch.manual_seed(0)
    maps = [torch.randn(2, 3, 768 // stride, 768 // stride) for stride in STRIDES]
    corner, side = torch.rand(60, 2) * 60, torch.logspace(0.7, 2.85, 60)
    boxes = torch.cat((corner, corner + side.unsqueeze(1) * torch.tensor([1.0, 0.8])), 1)[torch.randperm(60)]
    rois = [boxes[:20], boxes[20:]]
    judge = MultiScaleRoIAlign([*"2345"], 7, sampling_ratio=2)
    theirs = judge(dict(zip("2345", maps, strict=True)), rois, [(768, 768)] * 2)
    torch.testing.assert_close(pool(maps, STRIDES, rois, 7), theirs)
    assert judge.map_levels(rois).unique().tolist() == [0, 1, 2, 3]


def test_regions_between_two_strides_are_read_from_the_finer_map():
    """With C2 and C5 alone. torchvision's module takes C5 for stride 8, and gives zeros for larger regions."""
    maps, strides = [torch.full((1, 1, 768 // stride, 768 // stride), float(stride)) for stride in (4, 32)], (4, 32)
    boxes = torch.tensor([[0.0, 0, side, side] for side in (50, 112, 200, 300, 447, 449, 700)])
    pooled = pool(maps, strides, [boxes], 7)
    assert pooled.mean((1, 2, 3)).tolist() == [4, 4, 4, 4, 4, 32, 32]
    theirs = MultiScaleRoIAlign([*"25"], 7, sampling_ratio=2)(dict(zip("25", maps, strict=True)), [boxes], [(768, 768)])
    assert theirs.mean((1, 2, 3)).tolist() == [4, 32, 32, 0, 0, 0, 0]


def test_pasted_masks_are_torchvisions():
    """Boxes inside, over every border, outside, tiny, and in halves of pixels."""
    torch.manual_seed(0)
    boxes = [[3.2, 4.9, 40.5, 60.1], [-9.7, -3.5, 20, 30], [70, 50, 130.3, 110], [0, 0, 99.6, 80], [5, 5, 5.2, 5.1]]
    boxes = torch.tensor([*boxes, [200, 200, 210, 210], [50.5, 20.5, 51.5, 70.5]])
    masks = torch.rand(len(boxes), 28, 28)
    theirs = paste_masks_in_image(masks.unsqueeze(1), boxes, (80, 100)).squeeze(1) > 0.5
    for region, whole in zip(paste(masks, boxes, (80, 100)), theirs, strict=True):
        canvas = torch.zeros(80, 100, dtype=torch.bool)
        height, width = region.pixels.shape
        canvas[region.top : region.top + height, region.left : region.left + width] = region.pixels
        assert torch.equal(canvas, whole)
    (outside,) = paste(masks[:1], torch.tensor([[-30.0, 10, -20, 20]]), (80, 100))  # torchvision's own stops there
    assert outside.pixels.numel() == 0


def test_draws():
    """40 positives, 100 negatives, 60 between; of 64 drawn a quarter may be positive. Then there are too few."""
    torch.manual_seed(0)
    matched = torch.full((2, 200), NEGATIVE)
    matched[:, :40], matched[:, 140:] = 3, BETWEEN
    first, second = draw(matched, 64, 0.25), draw(matched, 64, 0.25)
    for drawn in (first, second):
        assert drawn[:, :40].sum(1).tolist() == [16, 16] and drawn[:, 40:140].sum(1).tolist() == [48, 48]
        assert not drawn[:, 140:].any()
    assert not torch.equal(first, second) and not torch.equal(first[0], first[1])
    torch.manual_seed(0)
    assert torch.equal(draw(matched, 64, 0.25), first)
    few = draw(matched, 1000, 0.25)
    assert few[:, :140].all() and not few[:, 140:].any()
    matched[1] = NEGATIVE
    assert draw(matched, 64, 0.25).sum(1).tolist() == [64, 64]


def test_proposals_on_paper():
    """Anchors of two levels, moved by nothing: one box on both levels, its neighbour at IoU 0.9 on the first, one that
    is outside the image, one that leaves it."""
    anchors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [70, 0, 80, 10], [0, 0, 10, 10], [40, 40, 60, 60]])
    scores = torch.tensor([[5.0, 4, 3, 2, 1]])
    rpn = RPN(8, (4, 8))
    output = RPNOutput(scores, torch.zeros(1, 5, 4), anchors, [3, 2])
    (boxes,) = rpn.proposals(output, [(50, 50)], Selection(0.0, 0.7))
    assert boxes.tolist() == [[0, 0, 10, 10], [0, 0, 10, 10], [40, 40, 50, 50]]
    (boxes,) = rpn.proposals(output, [(50, 50)], Selection(0.0, 0.95, topk=2, max_detections=3))
    assert boxes.tolist() == [[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 10]]


def small(cls=MaskRCNN, in_strides=STRIDES, **options):
    options = dict(channels=8, hidden=16, rpn_samples=32, roi_samples=16, train_proposals=(50, 50), **options)
    return cls(3, (4, 4, 6, 6), in_strides, **options)


def features_of(strides=STRIDES, channels=(4, 4, 6, 6), count=2, size=64):
    return [torch.randn(count, c, size // s, size // s) for c, s in zip(channels, strides, strict=True)]


def objects(count, size=64):
    corner = torch.rand(count, 2) * (size - 12)
    boxes = torch.cat((corner, corner + 1 + torch.rand(count, 2) * 10), 1)
    return Target(boxes, torch.randint(0, 3, (count,)), torch.ones(count, size, size, dtype=torch.uint8))


@pytest.mark.parametrize("counts", [(0, 5), (300, 1), (0, 0)], ids=["one empty", "300 objects", "only empty"])
@pytest.mark.parametrize("cls", [FasterRCNN, MaskRCNN])
def test_losses_are_finite_and_fall(cls, counts):
    torch.manual_seed(0)
    head, features, targets = small(cls, norm="group"), features_of(), [objects(count) for count in counts]
    optimizer = torch.optim.SGD(head.parameters(), lr=0.02)
    values = []
    for _ in range(8):
        torch.manual_seed(1)
        total = sum(head.loss(head(features), targets).values())
        optimizer.zero_grad()
        total.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
        optimizer.step()
        values.append(total.item())
    assert values[-1] < values[0] < float("inf")


@pytest.mark.parametrize("strides", [(4, 8, 16, 16), (4, 8, 8, 8)])
def test_a_dilated_backbone_serves(strides):
    head = small(in_strides=strides)
    assert head.roi_strides == tuple(dict.fromkeys(strides))
    found = head.decode(head(features_of(strides)), [(64, 64)] * 2, Selection(0.0))
    assert len(found[0].scores) == 100 and found[0].masks.shape == (100, 28, 28)


@pytest.mark.parametrize("options", [dict(box_convs=4, box_layers=1), dict(box_layers=1), dict(norm="group")])
def test_other_box_heads(options):
    head = small(FasterRCNN, **options)
    assert len(head.box_head.layers) == options.get("box_layers", 2)
    assert sum(isinstance(m, nn.GroupNorm) for m in head.modules()) == (1 if "norm" in options else 0)
    assert len(head.decode(head(features_of()), [(64, 64)] * 2, Selection(0.0))[0].scores) == 100


def test_selection_on_paper():
    """Two regions; of the first class the boxes overlap by 2/3, of the second one is a line and one beyond the edge."""
    boxes = torch.tensor([[[0.0, 0, 10, 10], [5, 0, 5, 90]], [[0, 0, 10, 12], [95, 20, 120, 30]]])
    scores = torch.tensor([[0.9, 0.8], [0.7, 0.06]])
    found = select_by_class(scores, boxes, (45, 100), Selection())
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.06]))
    assert found.labels.tolist() == [0, 1] and found.boxes_xyxy[1].tolist() == [95, 20, 100, 30]
    assert len(select_by_class(scores, boxes, (45, 100), Selection(nms_iou=0.9)).scores) == 3
    assert len(select_by_class(scores, boxes, (45, 100), Selection(nms_iou=0.9, topk=1)).scores) == 1


def test_nothing_found():
    head = small()
    assert len(select_by_class(torch.zeros(0, 3), torch.zeros(0, 3, 4), (9, 9), Selection()).scores) == 0
    found = head.decode(head(features_of()), [(64, 64), (3, 5)], Selection(score_threshold=1.0))
    assert all(len(part.scores) == 0 and part.masks.shape == (0, 28, 28) for part in found)


def test_masks_are_asked_for():
    head = small()
    with pytest.raises(ValueError, match="set with_masks=True in the dataset"):
        head.loss(head(features_of()), [objects(1), objects(1)._replace(masks=None)])
