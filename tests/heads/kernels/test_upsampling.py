"""Labels and scores of upsampled logits equal those of `F.interpolate`, tile by tile."""

import pytest
import torch
import torch.nn.functional as F
from largest import Largest

from heads.kernels import upsampling
from heads.kernels.upsampling import CoarseLogits, bilinear_weights, labels_of, scores_of, winners

SIZES = [
    ((1, 1), (1, 1)),
    ((1, 5), (7, 1)),
    ((6, 7), (23, 30)),
    ((9, 9), (33, 33)),
    ((12, 10), (5, 9)),
    ((4, 4), (4, 4)),
]


@pytest.fixture(params=[1, 200, 10**6])
def tile_values(request, monkeypatch):
    """Tiles of a pixel, of parts of an image, and of several images."""
    monkeypatch.setitem(upsampling.TILE_VALUES, "cpu", request.param)
    monkeypatch.setattr(upsampling, "TILE_WIDTH", 16)


def interpolate(logits, size_hw, align_corners):
    return F.interpolate(logits, size_hw, mode="bilinear", align_corners=align_corners)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(("coarse_hw", "size_hw"), SIZES)
def test_matrices_resize_as_torch_does(coarse_hw, size_hw, align_corners):
    logits = torch.randn(2, 3, *coarse_hw, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows, columns = (bilinear_weights(s, c, align_corners) for s, c in zip(size_hw, coarse_hw, strict=True))
    expected = interpolate(logits, size_hw, align_corners)
    torch.testing.assert_close(rows @ logits @ columns.T, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(("coarse_hw", "size_hw"), SIZES)
def test_labels_and_scores_are_those_of_the_whole_map(coarse_hw, size_hw, align_corners, tile_values):
    logits = torch.randn(3, 4, *coarse_hw, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    crop_hw = tuple(max(1, size - 2) for size in size_hw)
    expected = interpolate(logits, size_hw, align_corners)[..., : crop_hw[0], : crop_hw[1]]
    coarse = CoarseLogits(logits, size_hw, crop_hw, align_corners)
    torch.testing.assert_close(scores_of([coarse.upsampling()]), expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(coarse.labels(), expected.argmax(1).byte())


def test_of_equal_logits_the_first_class_wins():
    logits = torch.randn(1, 1, 5, 6, generator=torch.Generator().manual_seed(0)).expand(1, 40, 5, 6)
    assert not CoarseLogits(logits, (19, 40), (19, 40), True).labels().any()
    behind = torch.cat((logits[:, :3] - 1, logits), 1)
    assert (CoarseLogits(behind, (19, 40), (19, 40), True).labels() == 3).all()


@pytest.mark.parametrize("classes", [1, 2, 256])
def test_winners_are_those_of_argmax(classes):
    scores = torch.randint(-3, 3, (2, classes, 7, 9), generator=torch.Generator().manual_seed(0)) * 1e-42
    scores[0, :, 0] = -torch.inf  # a class that is ruled out
    scores[0, -1, 0] = 0
    expected = scores.argmax(1).byte()
    assert torch.equal(winners(scores), expected)


def test_a_score_that_is_not_a_number_gives_a_class():
    assert int(winners(torch.full((1, 3, 1, 1), torch.nan))) == 2


def test_half_precision_is_upsampled_in_float32_also_under_autocast():
    logits = torch.randn(1, 4, 9, 9, generator=torch.Generator().manual_seed(0)).bfloat16()
    expected = interpolate(logits.float(), (33, 33), True)
    with torch.autocast("cpu", torch.bfloat16):
        scores = scores_of([CoarseLogits(logits, (33, 33), (33, 33), True).upsampling()])
    torch.testing.assert_close(scores, expected)


def test_no_map_of_all_classes_is_made(monkeypatch):
    monkeypatch.setitem(upsampling.TILE_VALUES, "cpu", 2**14)
    coarse = CoarseLogits(torch.randn(2, 30, 33, 33), (129, 129), (129, 129), True)
    largest = Largest()
    with largest:
        labels = coarse.labels()
        labels_of([coarse.upsampling(), coarse.upsampling().mirrored()])
    assert largest.values <= max(coarse.logits.numel(), labels.numel())
    with largest:
        scores_of([coarse.upsampling()])
    assert largest.values == labels.numel() * 30  # it would be seen


def test_no_images_and_too_many_classes():
    assert CoarseLogits(torch.randn(0, 3, 4, 4), (8, 8), (8, 8), True).labels().shape == (0, 8, 8)
    with pytest.raises(ValueError, match="classes must be at most 256, got 257"):
        CoarseLogits(torch.randn(1, 257, 2, 2), (8, 8), (8, 8), True).labels()
