import itertools

import pytest
import torch
import torch.nn.functional as F

from heads.kernels.upsampling import CoarseLogits, scores_of
from xseg.models import Inference
from xseg.models.inference import starts


def local(images):
    """A network whose logits at a pixel depend on that pixel alone: any window sees the same."""
    return fine(torch.cat((images, -images.sum(1, keepdim=True)), 1))


def fine(logits):
    """Logits that lie in the pixels already."""
    return CoarseLogits(logits, logits.shape[-2:], logits.shape[-2:], align_corners=False)


IMAGES = torch.randn(2, 3, 37, 53, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("window_hw", [(16, 16), (37, 20), (64, 64), (5, 53), (1, 1)])
@pytest.mark.parametrize("overlap", [0, 1 / 3, 0.75])
def test_windows_of_a_local_network_give_the_whole_image(window_hw, overlap):
    whole = Inference()(local, IMAGES)
    assert torch.equal(Inference(window_hw, overlap)(local, IMAGES), whole)
    assert whole.dtype == torch.uint8
    assert whole.shape == (2, 37, 53)


def test_overlapping_windows_are_averaged():
    """Two windows of four pixels over six; the network scores a window by its mean, so they disagree in the middle."""

    def by_mean(x):
        mean = x.mean((2, 3), keepdim=True).expand_as(x)[:, :1]
        return fine(torch.cat((mean, torch.full_like(mean, 0.5)), 1))

    image = torch.tensor([1.0, 1, 1, 1, 0, 0]).expand(1, 1, 4, 6)
    # left window: mean 1 -> class 0; right window: mean 1/2; between them (1 + 1/2) / 2 = 3/4 -> class 0
    assert Inference((4, 4), 0.5)(by_mean, image)[0, 0].tolist()[:4] == [0, 0, 0, 0]
    image = torch.tensor([0.0, 0, 0, 0, 1, 1]).expand(1, 1, 4, 6)
    # left: 0 -> class 1; right: 1/2; between them 1/4 -> class 1
    assert Inference((4, 4), 0.5)(by_mean, image)[0, 0].tolist()[:4] == [1, 1, 1, 1]


@pytest.mark.parametrize(("size", "window"), [(10, 10), (11, 10), (100, 10), (2048, 769)])
@pytest.mark.parametrize("overlap", [0, 1 / 3, 0.5])
def test_windows_cover_every_pixel(size, window, overlap):
    lefts = list(starts(size, window, overlap))
    assert lefts[0] == 0
    assert lefts[-1] == size - window
    assert all(b - a <= max(1, window * (1 - overlap)) + 1 for a, b in itertools.pairwise(lefts))


def test_sliding_keeps_one_row_of_windows_at_a_time():
    """Scores are never held for the whole image: the largest tensor the network sees or fills is a row of windows."""
    seen = []

    def network(x):
        seen.append(x.shape[-2:])
        return local(x)

    Inference((8, 8), 0)(network, torch.randn(1, 3, 64, 64))
    assert set(seen) == {(8, 8)}
    assert len(seen) == 64


def test_flip_makes_an_asymmetric_network_symmetric():
    def sees_the_left(x):
        left = F.pad(x, (1, 0, 0, 0))[..., :-1]
        return fine(torch.cat((x, left[:, :1]), 1))

    image = IMAGES[:1]
    inference = Inference(flip=True)
    assert torch.equal(inference(sees_the_left, image).flip(-1), inference(sees_the_left, image.flip(-1)))
    plain = Inference()
    assert not torch.equal(plain(sees_the_left, image).flip(-1), plain(sees_the_left, image.flip(-1)))


def test_scales_are_what_the_network_sees_and_are_averaged():
    seen = []

    def network(x):
        seen.append(tuple(x.shape[-2:]))
        return local(x)

    labels = Inference(scales=(0.5, 1.0, 1.5), flip=True)(network, IMAGES)
    assert labels.shape == (2, 37, 53)
    assert seen == [(18, 26)] * 2 + [(37, 53)] * 2 + [(56, 80)] * 2
    chances = scores_of(Inference(scales=(1.0,), flip=True).views(local, IMAGES))
    torch.testing.assert_close(chances, 2 * local(IMAGES).logits.softmax(1))


@pytest.mark.parametrize("align_corners", [True, False])
def test_scales_and_mirrors_equal_the_resized_and_averaged_maps(align_corners):
    """A network of stride 4, whose maps are resized to what it saw, cropped, mirrored back, resized and averaged."""
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(5, 3, 4, 4, generator=generator, dtype=torch.float64)
    options = dict(mode="bilinear", align_corners=align_corners)

    def network(x):
        height, width = x.shape[-2:]
        padded = F.pad(x, (0, -width % 4, 0, -height % 4))
        return CoarseLogits(F.conv2d(padded, weight, stride=4), padded.shape[-2:], (height, width), align_corners)

    def whole(x):
        logits, size_hw, (height, width), _ = network(x)
        return F.interpolate(logits, size_hw, **options)[..., :height, :width]

    images = IMAGES.double()
    inference = Inference(scales=(0.5, 1.0, 1.75), flip=True, align_corners=align_corners)
    chances = 0
    for scale in inference.scales:
        scaled = images if scale == 1 else inference._scale(images, scale)
        for logits in (whole(scaled), whole(scaled.flip(-1)).flip(-1)):
            chances += F.interpolate(logits, images.shape[-2:], **options).softmax(1)
    torch.testing.assert_close(scores_of(inference.views(network, images)), chances, rtol=1e-12, atol=1e-12)
    assert torch.equal(inference(network, images), chances.argmax(1).byte())


def test_images_are_padded_to_the_least_size():
    seen = []

    def network(x):
        seen.append(tuple(x.shape[-2:]))
        return local(x)

    assert Inference(min_size_hw=(64, 32))(network, IMAGES).shape == (2, 37, 53)
    assert seen == [(64, 53)]


@pytest.mark.parametrize("options", [{"overlap": 1.0}, {"scales": ()}, {"scales": (0.5, -1)}])
def test_wrong_arguments_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Inference(**options)
