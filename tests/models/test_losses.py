import math

import pytest
import torch

from xseg.models import CrossEntropy, Dice, OhemCrossEntropy, SmpLoss

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


@pytest.mark.parametrize("options", [{}, {"class_weights": [1, 2, 3, 4, 5]}, {"label_smoothing": 0.1}])
def test_cross_entropy_is_torchs(options):
    masks = MASKS.clone()
    masks[0, 0] = 255
    kwargs = {"weight": torch.tensor(w, dtype=torch.float32)} if (w := options.get("class_weights")) else options
    expected = torch.nn.functional.cross_entropy(LOGITS, masks, ignore_index=255, **kwargs)
    torch.testing.assert_close(CrossEntropy(**options)(LOGITS, masks), expected)


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
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*gradients)


def test_balanced_weights_want_counting():
    loss = CrossEntropy(class_weights="balanced")  # a model that only predicts can be built
    with pytest.raises(ValueError, match=r"counted by xseg\.train"):
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
