import math

import pytest
import torch
import torch.nn.functional as F

from xseg.models import CrossEntropy, Dice, OhemCrossEntropy, SmpLoss
from xseg.models.losses import weighted_losses

LOGITS = torch.randn(2, 5, 6, 7, generator=torch.Generator().manual_seed(0))
MASKS = torch.randint(0, 5, (2, 6, 7), generator=torch.Generator().manual_seed(1))
ALL = [
    CrossEntropy(),
    OhemCrossEntropy(),
    Dice(),
    *(SmpLoss(name) for name in ("Dice", "Lovasz", "Focal", "Tversky", "Jaccard")),
]


def by_name(loss):
    return type(getattr(loss, "loss", loss)).__name__


@pytest.mark.parametrize("loss", ALL, ids=by_name)
def test_void_pixels_do_not_count(loss):
    """Whatever the logits of void pixels are, loss and gradient stay."""
    masks = MASKS.clone()
    masks[:, ::2] = 255
    logits = LOGITS.clone().requires_grad_()
    value = loss(logits, masks)
    value.backward()
    assert not logits.grad[:, :, ::2].any()
    assert logits.grad[:, :, 1::2].any()
    other = LOGITS.clone()
    other[:, :, ::2] = 100 * torch.randn_like(other[:, :, ::2])
    torch.testing.assert_close(loss(other, masks), value)


@pytest.mark.parametrize("loss", ALL, ids=by_name)
def test_only_void_pixels_give_zero_with_a_gradient(loss):
    logits = LOGITS.clone().requires_grad_()
    value = loss(logits, torch.full_like(MASKS, 255))
    assert value.item() == 0
    value.backward()
    assert not logits.grad.any()


@pytest.mark.parametrize("loss", ALL, ids=by_name)
def test_right_logits_cost_less(loss):
    right = 40 * torch.nn.functional.one_hot(MASKS, 5).permute(0, 3, 1, 2).float() - 20  # focal is one-vs-rest
    assert loss(right, MASKS) < 0.01 < loss(LOGITS, MASKS) < loss(-right, MASKS) + 1e-6


CLASS_WEIGHTS = [1, 2, 3, 4, 5]


@pytest.mark.parametrize("label_smoothing", [0, 0.1])
@pytest.mark.parametrize("class_weights", [None, CLASS_WEIGHTS])
def test_cross_entropy_is_torchs(class_weights, label_smoothing):
    masks = MASKS.clone()
    masks[0, 0] = 255
    weight = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
    options = dict(label_smoothing=label_smoothing)
    expected = F.cross_entropy(LOGITS, masks, weight, ignore_index=255, **options)
    torch.testing.assert_close(CrossEntropy(class_weights=class_weights, **options)(LOGITS, masks), expected)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(
    "losses",
    [
        [CrossEntropy()],
        [CrossEntropy(class_weights=CLASS_WEIGHTS, label_smoothing=0.1), Dice(weight=0.5)],
        [OhemCrossEntropy(class_weights=CLASS_WEIGHTS), SmpLoss("Lovasz")],
        [CrossEntropy(ignore_index=0), Dice(), OhemCrossEntropy(threshold=0.2)],
    ],
    ids=lambda losses: "+".join(map(by_name, losses)),
)
def test_coarse_logits_are_upsampled_value_and_gradient(losses, align_corners):
    """Losses together on coarse logits equal each alone on logits that were upsampled before."""
    masks = torch.randint(0, 5, (2, 23, 30), generator=torch.Generator().manual_seed(2)).byte()
    masks[1, :, 20:] = 255
    if losses[0].ignore_index == 0:
        masks[masks == 255] = 0
    coarse = LOGITS.double().requires_grad_()
    values = weighted_losses(losses, coarse, masks, align_corners)
    fine = F.interpolate(coarse, (23, 30), mode="bilinear", align_corners=align_corners)
    for loss, value in zip(losses, values, strict=True):
        expected = loss.weight * loss(fine, masks.long())
        narrow = isinstance(loss, SmpLoss)  # float32 within
        torch.testing.assert_close(value, expected, rtol=1e-5 if narrow else 1e-12, atol=1e-12)
        grads = [torch.autograd.grad(v, coarse, retain_graph=True)[0] for v in (value, expected)]
        torch.testing.assert_close(*grads, rtol=1e-4 if narrow else 1e-10, atol=1e-8 if narrow else 1e-14)


def test_a_label_that_is_no_class_is_named():
    masks = torch.full_like(MASKS, 5)
    with pytest.raises(ValueError, match=r"label 5 in a mask, but there are 5 classes \(ignore 255\)"):
        CrossEntropy()(LOGITS, masks)


def test_ohem_counted_on_paper():
    """Four pixels of two classes, truth 0, with probabilities 0.9, 0.6, 0.4, 0.1.

    threshold 0.7: the last three are hard. threshold 0.2: one is; min_kept 1/2 makes it the two hardest.
    """
    p = torch.tensor([0.9, 0.6, 0.4, 0.1])
    logits = torch.stack((p.log(), (1 - p).log())).reshape(1, 2, 1, 4)
    masks = torch.zeros(1, 1, 4, dtype=torch.int64)
    hard = OhemCrossEntropy(threshold=0.7, min_kept=0.25)(logits, masks)
    assert hard.item() == pytest.approx(-sum(map(math.log, (0.6, 0.4, 0.1))) / 3)
    kept = OhemCrossEntropy(threshold=0.2, min_kept=0.5)(logits, masks)
    assert kept.item() == pytest.approx(-sum(map(math.log, (0.4, 0.1))) / 2)


@pytest.mark.parametrize("num_classes", [2, 5, 9])
def test_dice_is_smps(num_classes):
    """Value and gradient, with void pixels and with classes that are not there."""
    generator = torch.Generator().manual_seed(num_classes)
    masks = torch.randint(0, max(2, num_classes - 3), (2, 6, 7), generator=generator)
    masks[:, ::3] = 255
    logits = torch.randn(2, num_classes, 6, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    values = [loss(logits, masks) for loss in (Dice(), SmpLoss("Dice"))]
    gradients = [torch.autograd.grad(value, logits)[0] for value in values]
    torch.testing.assert_close(values[0].float(), values[1])
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)  # smp's is computed in float32


def test_balanced_weights_want_counting():
    loss = CrossEntropy(class_weights="balanced")  # a model that only predicts can be built
    with pytest.raises(ValueError, match=r"resolved by xseg\.train"):
        loss(LOGITS, MASKS)
    with pytest.raises(ValueError, match="one number a class or 'balanced', got 'median'"):
        CrossEntropy(class_weights="median")


def test_smp_loss_counted_on_paper():
    """Dice of a uniform prediction over two classes and two pixels, one of each class: 2 * 1/2 / (1 + 1) = 1/2."""
    loss = SmpLoss("Dice")(torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]]))
    assert loss.item() == pytest.approx(0.5)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"name must be one of .*Dice.*, got 'dise'"):
        SmpLoss("dise")
    with pytest.raises(ValueError, match=r"Focal takes no gama; it has .*gamma"):
        SmpLoss("Focal", gama=2)
    with pytest.raises(ValueError, match="threshold"):
        OhemCrossEntropy(threshold=0)
