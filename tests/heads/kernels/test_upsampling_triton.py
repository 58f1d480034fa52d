"""The kernels equal the CPU's form in float64: in Triton's interpreter, or on a GPU if there is one.

Without a GPU, tests/test_kernels.py runs this file; see tests/conftest.py.
"""

import pytest
import torch

from heads.kernels.pixel_scores import _PixelScores
from heads.kernels.pixel_scores_triton import PixelScoresOnGPU
from heads.kernels.upsampling import CoarseLogits, labels_of
from heads.kernels.upsampling_triton import labels

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SIZES = [  # coarse, fine: one pixel, one row, several tiles and squares, stride 16, equal, smaller
    ((1, 1), (1, 1)),
    ((1, 5), (40, 1)),
    ((17, 4), (66, 13)),
    ((2, 3), (17, 40)),
    ((17, 18), (17, 18)),
    ((33, 4), (9, 1)),
]


def random(coarse_hw, size_hw, classes=2):
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(1, classes, *coarse_hw, generator=generator)
    classes = torch.randint(0, classes, (1, *size_hw), generator=generator).byte()
    valid = torch.rand(classes.shape, generator=generator) < 0.8
    return logits.to(DEVICE), classes.masked_fill(~valid, 0).to(DEVICE), valid.to(DEVICE)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(("coarse_hw", "size_hw"), SIZES)
def test_labels(coarse_hw, size_hw, align_corners):
    logits, *_ = random(coarse_hw, size_hw, 3)
    crop_hw = tuple(max(1, size - 3) for size in size_hw)
    expected = labels_of([CoarseLogits(logits.double(), size_hw, crop_hw, align_corners).upsampling()])
    assert torch.equal(labels(logits, size_hw, crop_hw, align_corners), expected)


def test_images_of_a_batch_are_told_apart():
    logits = torch.stack([random((5, 5), (9, 9), 3)[0][0], -random((5, 5), (9, 9), 3)[0][0]])
    expected = labels_of([CoarseLogits(logits.double(), (9, 9), (9, 9), True).upsampling()])
    assert torch.equal(labels(logits, (9, 9), (9, 9), True), expected)


def test_of_equal_logits_the_first_class_wins():
    logits = torch.zeros(1, 6, 5, 5, device=DEVICE)
    logits[:, 2:4] = 1
    assert (labels(logits, (17, 17), (17, 17), True) == 2).all()


@pytest.mark.parametrize(("align_corners", "with_sums"), [(True, True), (False, False)])
@pytest.mark.parametrize(("coarse_hw", "size_hw"), SIZES)
def test_statistics_and_gradients(coarse_hw, size_hw, align_corners, with_sums):
    logits, classes, valid = random(coarse_hw, size_hw)
    results = []
    for function, x in ((PixelScoresOnGPU, logits.clone()), (_PixelScores, logits.double())):
        x.requires_grad_()
        values = function.apply(x, classes, valid, align_corners, with_sums)
        generator = torch.Generator().manual_seed(1)
        upstream = [torch.randn(v.shape, generator=generator).to(x) for v in values]
        values = [v.double() for v in values]
        total = sum((v * u.double()).sum() for v, u in zip(values, upstream, strict=True))
        results.append((*values, torch.autograd.grad(total, x)[0].double()))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_in_channels_last_memory(dtype):
    logits, classes, valid = random((9, 5), (33, 17), 3)
    narrow = logits.to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    wide = narrow.detach().double().requires_grad_()
    for function, x in ((PixelScoresOnGPU, narrow), (_PixelScores, wide)):
        log_total, truth, sums = function.apply(x, classes, valid, True, True)
        ((log_total - truth * 2).sum() + sums.square().sum() / 100).backward()
    assert narrow.grad.dtype == dtype
    assert narrow.grad.stride() == narrow.stride()
    torch.testing.assert_close(narrow.grad.double(), wide.grad, rtol=0.01, atol=0.01)


def test_a_label_that_is_no_class_gives_nan():
    logits, classes, valid = random((3, 3), (9, 9))
    classes[0, 4, 4], valid[0, 4, 4] = 2, True
    truth = PixelScoresOnGPU.apply(logits, classes, valid, True, False)[1]
    assert truth.isnan().nonzero().tolist() == [[0, 4, 4]]
