"""Softmax statistics of upsampled logits and their gradients equal those of logits that were upsampled before."""

import pytest
import torch
import torch.nn.functional as F
from largest import Largest

from heads.kernels import upsampling
from heads.kernels.pixel_scores import pixel_scores


def setup(coarse_hw=(6, 7), size_hw=(23, 30), classes=4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, classes, *coarse_hw, dtype=dtype, generator=generator)
    labels = torch.randint(0, classes, (2, *size_hw), generator=generator).byte()
    labels[:, ::3, 1:] = 255
    return logits.requires_grad_(), labels


def plain(logits, labels, align_corners):
    """log_total, truth and class_sums by way of the whole map."""
    fine = F.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=align_corners)
    valid = labels != 255
    truth = fine.gather(1, labels.long().masked_fill(~valid, 0).unsqueeze(1)).squeeze(1) * valid
    return fine.logsumexp(1), truth, torch.einsum("nchw,nhw->c", fine.softmax(1), valid.to(fine.dtype))


@pytest.mark.parametrize("tile_values", [1, 300, 10**6])
@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("sizes", [((6, 7), (23, 30)), ((1, 3), (5, 1)), ((5, 5), (5, 5)), ((9, 8), (4, 5))])
def test_values_and_gradients_in_float64(sizes, align_corners, tile_values, monkeypatch):
    monkeypatch.setitem(upsampling.TILE_VALUES, "cpu", tile_values)
    monkeypatch.setattr(upsampling, "TILE_WIDTH", 16)
    logits, labels = setup(*sizes)
    scores = pixel_scores(logits, labels, align_corners, class_sums=True)
    expected = plain(logits, labels, align_corners)
    for name, theirs in zip(("log_total", "truth", "class_sums"), expected, strict=True):
        ours = getattr(scores, name)
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
        upstream = torch.randn(theirs.shape, dtype=theirs.dtype, generator=torch.Generator().manual_seed(1))
        grads = [torch.autograd.grad(value, logits, upstream, retain_graph=True)[0] for value in (ours, theirs)]
        torch.testing.assert_close(*grads, rtol=1e-11, atol=1e-11)


def test_gradcheck():
    logits, labels = setup((2, 3), (4, 7), classes=3)
    assert torch.autograd.gradcheck(lambda x: pixel_scores(x, labels, True, class_sums=True)[:2], logits)
    assert torch.autograd.gradcheck(lambda x: pixel_scores(x, labels, True, class_sums=True).class_sums, logits)


def test_weighted_logits_are_one_upsampled_map():
    logits, labels = setup()
    factors = torch.tensor([1.0, -2, 0.5, 3], dtype=torch.float64)
    fine = F.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=False)
    ours = pixel_scores(logits, labels, False).weighted_logits(factors)
    torch.testing.assert_close(ours, torch.einsum("nchw,c->nhw", fine, factors), rtol=1e-12, atol=1e-12)


def test_bfloat16_channels_last_under_autocast():
    """Computed in float32 from the bfloat16 logits, whose gradient has their type."""
    logits, labels = setup(dtype=torch.float32)
    narrow = logits.detach().bfloat16().contiguous(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        ours = pixel_scores(narrow, labels, True)
    wide = narrow.detach().float().requires_grad_()
    theirs = plain(wide, labels, True)
    torch.testing.assert_close(ours.log_total, theirs[0])
    torch.testing.assert_close(ours.truth, theirs[1])
    (ours.log_total - ours.truth).sum().backward()
    (theirs[0] - theirs[1]).sum().backward()
    assert narrow.grad.dtype == torch.bfloat16
    torch.testing.assert_close(narrow.grad.float(), wide.grad, rtol=0.01, atol=0.01)


def test_large_logits_do_not_overflow():
    logits, labels = setup(dtype=torch.float32)
    scores = pixel_scores(1e4 * logits, labels, True)
    assert scores.log_total.isfinite().all()
    assert (scores.chances()[scores.valid] <= 1).all()


def test_no_map_of_all_classes_is_made_forward_or_backward(monkeypatch):
    """Nothing any operation returns is larger than the coarse logits or one tile."""
    monkeypatch.setitem(upsampling.TILE_VALUES, "cpu", 2**14)
    logits, labels = setup((33, 33), (129, 129), classes=30, dtype=torch.float32)

    ours, theirs = Largest(), Largest()
    with ours:
        scores = pixel_scores(logits, labels, True, class_sums=True)
        ((scores.log_total - scores.truth).sum() + scores.class_sums.sum()).backward()
    with theirs:
        sum(value.sum() for value in plain(logits, labels, True)).backward()
    assert ours.values <= logits.numel() < 129 * 129 * 60 <= theirs.values
