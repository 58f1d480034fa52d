"""Laws of the augmentations."""

import pytest
import torch
from torch.nn.functional import max_pool2d
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from xseg.data import IGNORE, PhotometricDistortion, RandomFlip, RandomScaleCrop
from xseg.data.transforms.pixels import largest_class_share, resample, resample_labels


def sample(mask):
    """The mask painted as an image: what moves one must move the other alike."""
    return dict(image=tv_tensors.Image(mask.expand(3, -1, -1).clone()), mask=tv_tensors.Mask(mask))


def blocks(height, width, side):
    rows, columns = torch.arange(height) // side, torch.arange(width) // side
    return ((rows[:, None] * 7 + columns) * 37 % 250).to(torch.uint8)


@pytest.mark.parametrize("size_hw", [(33, 47), (64, 64), (200, 90)])  # smaller, mixed and larger than the image
def test_image_and_mask_stay_aligned(size_hw):
    """A resampled pixel inside a block has the block's colour, and its mask the block's id."""
    source = blocks(96, 120, side=24)
    crop = RandomScaleCrop(size_hw, scale=(0.5, 2.0), fill=(IGNORE,) * 3)
    torch.manual_seed(0)
    for _ in range(20):
        out = RandomFlip()(crop(sample(source)))
        image, mask = out["image"][0].to(int), out["mask"].to(int)
        assert image.shape == mask.shape == size_hw
        assert (interior := constant_around(image)).float().mean() > 0.3
        assert torch.equal(image[interior], mask[interior])


def constant_around(image):
    """Where the 5x5 pixels around have one value: there no neighbouring block was blended in."""
    values = image[None].float()
    return (max_pool2d(values, 5, 1, 2) == -max_pool2d(-values, 5, 1, 2))[0]


def test_mask_is_not_half_a_pixel_off():
    """At scale 1/3 the middle of three ramp pixels is also their mean; the older "nearest" takes the first."""
    ramp = torch.arange(240, dtype=torch.uint8).expand(30, -1)
    out = RandomScaleCrop((10, 80), scale=(1 / 3, 1 / 3))(sample(ramp))
    assert out["mask"][0, :3].tolist() == [1, 4, 7]
    assert torch.equal(out["image"][0, :, 2:-2], out["mask"][:, 2:-2])


def test_scale_one_is_a_plain_crop_of_both():
    source = torch.randint(0, 255, (40, 50), dtype=torch.uint8)
    torch.manual_seed(1)
    for _ in range(5):
        out = RandomScaleCrop((16, 24), scale=(1, 1))(sample(source))
        assert torch.equal(out["image"][1], out["mask"])
        windows = source.unfold(0, 16, 1).unfold(1, 24, 1)
        assert (windows == out["mask"]).all(-1).all(-1).sum() >= 1


@pytest.mark.parametrize(("scale", "step"), [(0.5, 2), (0.75, 4), (1.25, 4), (2.0, 1)])
def test_window_resampled_is_the_whole_resized_and_cropped(scale, step):
    """At offsets that are whole pixels of the resized image, too; the outermost pixels lack their neighbours."""
    generator = torch.Generator().manual_seed(0)
    image, mask = (torch.randint(0, 250, shape, generator=generator).byte() for shape in ((3, 240, 320), (240, 320)))
    whole_hw = [round(240 * scale), round(320 * scale)]
    whole = F.resize_image(image, whole_hw, antialias=True)
    labels = resample_labels(mask, whole_hw)
    crop = RandomScaleCrop((60, 60), scale=(scale, scale))
    for _ in range(5):
        params = crop.make_params([tv_tensors.Image(image)])
        params["top"], params["left"] = (params[side] // step * step for side in ("top", "left"))
        top, left = round(params["top"] * scale), round(params["left"] * scale)
        ours = crop.transform(tv_tensors.Image(image), params), crop.transform(tv_tensors.Mask(mask), params)
        error = (ours[0].int() - whole[:, top : top + 60, left : left + 60].int()).abs()
        assert error[:, 2:-2, 2:-2].max() <= 1
        assert torch.equal(ours[1], labels[top : top + 60, left : left + 60])


def test_crops_are_distributed_as_those_of_the_resized_image():
    """Scales, and places as shares of the room there is: Kolmogorov and Smirnov's distance of 4,000 draws each is
    under 1.63 sqrt(2 / 4,000) = 0.036 in 99 % of cases."""
    torch.manual_seed(0)
    image, crop = tv_tensors.Image(torch.zeros(3, 200, 300, dtype=torch.uint8)), RandomScaleCrop((96, 96), (0.5, 2.0))
    ours, theirs = [], []
    for _ in range(4000):
        params = crop.make_params([image])
        scale = params["out_hw"][1] / params["kept_hw"][1]
        ours.append((scale, (params["left"] + torch.rand(())) / (300 - params["kept_hw"][1] + 1)))
        scale = 0.5 + 1.5 * float(torch.rand(()))
        room = round(300 * scale) - 96
        theirs.append((scale, (int(torch.randint(room + 1, ())) + torch.rand(())) / (room + 1)))
    for mine, other in zip(zip(*ours, strict=True), zip(*theirs, strict=True), strict=True):
        a, b = torch.tensor(mine).sort().values, torch.tensor(other).sort().values
        at = torch.cat([a, b])
        distance = (torch.searchsorted(a, at, right=True) - torch.searchsorted(b, at, right=True)).abs().max() / 4000
        assert distance < 0.036


@pytest.mark.parametrize("out_hw", [(30, 41), (75, 90), (150, 111), (20, 200)])
def test_resampling_is_torchvisions_to_one_level(out_hw):
    """Smaller, as large or larger in either axis; pixels in planes or interleaved."""
    pixels = torch.randint(0, 256, (75, 90, 3), generator=torch.Generator().manual_seed(0)).byte()
    for image in (pixels.permute(2, 0, 1), pixels.permute(2, 0, 1).contiguous(), pixels.permute(2, 0, 1)[:1]):
        expected = F.resize_image(image, list(out_hw), antialias=True)
        assert resample(image, out_hw).dtype == torch.uint8 and resample(image, out_hw).shape == expected.shape
        assert (resample(image, out_hw).int() - expected.int()).abs().max() <= 1


@pytest.mark.parametrize("out_hw", [(30, 40), (75, 90), (151, 113)])  # no centre of a pixel on a border of two
def test_labels_are_torchvisions_nearest_exact(out_hw):
    mask = torch.randint(0, 256, (2, 75, 90), generator=torch.Generator().manual_seed(0)).byte()
    expected = F.resize_image(mask, list(out_hw), interpolation=InterpolationMode.NEAREST_EXACT)
    assert torch.equal(resample_labels(mask, out_hw), expected)


def test_labels_of_the_nearest_pixel_by_hand():
    """Four pixels to three: the centres lie at 0.67, 2 and 3.33 pixel widths, in the pixels 0, 2 and 3; to eight: each
    twice."""
    row = torch.tensor([[5, 6, 7, 8]], dtype=torch.uint8)
    assert resample_labels(row, (1, 3)).tolist() == [[5, 7, 8]]
    assert resample_labels(row.expand(2, 1, 4), (2, 8))[1].tolist() == [[5, 5, 6, 6, 7, 7, 8, 8]] * 2
    assert resample_labels(torch.zeros(0, 3, 4, dtype=torch.uint8), (5, 6)).shape == (0, 5, 6)


def test_whole_window_at_scale_one_is_identity():
    source = torch.randint(0, 255, (31, 46), dtype=torch.uint8)
    out = RandomScaleCrop((31, 46), scale=(1, 1))(sample(source))
    assert torch.equal(out["mask"], source) and torch.equal(out["image"][0], source)


def test_padding_is_fill_and_255_after_the_image():
    source = torch.full((10, 12), 3, dtype=torch.uint8)
    out = RandomScaleCrop((16, 20), scale=(1, 1), fill=(1, 2, 4))(sample(source))
    assert (out["mask"][:10, :12] == 3).all() and (out["mask"] == 3).sum() == 120
    assert (out["mask"][10:] == IGNORE).all() and (out["mask"][:, 12:] == IGNORE).all()
    assert out["image"][:, 15, 19].tolist() == [1, 2, 4] and (out["image"][:, :10, :12] == 3).all()


def test_half_scale_fits_twice_the_pixels():
    """Scale 0.5: an image of 20x30 fills 10x15 of the crop, and the rest is padding."""
    out = RandomScaleCrop((12, 16), scale=(0.5, 0.5))(sample(torch.zeros(20, 30, dtype=torch.uint8)))
    assert (out["mask"] == 0).sum() == 150 and (out["mask"][:10, :15] == 0).all()


def test_steps():
    crop = RandomScaleCrop((8, 8), scale=(0.5, 2.0), step=0.25)
    torch.manual_seed(0)
    assert {crop._draw_scale() for _ in range(200)} == {0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0}


def test_class_share_is_kept_where_a_window_allows_it():
    """Left 90 % one class, right 10 % another: a third of all windows hold both, few in fair shares."""
    source = torch.zeros(32, 100, dtype=torch.uint8)
    source[:, 90:] = 1
    torch.manual_seed(0)
    free = RandomScaleCrop((32, 32), scale=(1, 1))
    limited = RandomScaleCrop((32, 32), scale=(1, 1), max_class_share=0.75, tries=500)
    assert any(largest_class_share(free(sample(source))["mask"]) > 0.75 for _ in range(20))
    assert all(largest_class_share(limited(sample(source))["mask"]) <= 0.75 for _ in range(20))


def test_tries_end_where_no_window_will_do():
    out = RandomScaleCrop((8, 8), scale=(1, 1), max_class_share=0.5)(sample(torch.zeros(20, 20, dtype=torch.uint8)))
    assert out["mask"].shape == (8, 8)


def test_largest_class_share_by_hand():
    """0, 0, 1, void: 2 of 3 valid pixels. Nothing but void: 1, so that such a window is drawn again."""
    assert largest_class_share(torch.tensor([[0, 0], [1, 255]], dtype=torch.uint8)) == pytest.approx(2 / 3)
    assert largest_class_share(torch.full((2, 2), 255, dtype=torch.uint8)) == 1


def test_flip():
    source = blocks(10, 13, side=2)
    out = RandomFlip(p=1)(sample(source))
    assert torch.equal(out["mask"], source.flip(1)) and torch.equal(out["image"][2], source.flip(1))


def test_photometric_distortion_leaves_mask_and_grey_balance():
    """A grey image stays grey but for rounding, since channels are not shuffled and hue has nothing to turn."""
    source = blocks(16, 16, side=4)
    torch.manual_seed(0)
    changed = 0
    for _ in range(10):
        out = PhotometricDistortion()(sample(source))
        assert torch.equal(out["mask"], source) and out["image"].dtype == torch.uint8
        assert (out["image"].to(int).amax(0) - out["image"].to(int).amin(0)).max() <= 2
        changed += not torch.equal(out["image"][0], source)
    assert changed >= 3


def test_photometric_distortion_does_not_shuffle_channels():
    red = tv_tensors.Image(torch.tensor([200, 20, 20], dtype=torch.uint8)[:, None, None].expand(3, 8, 8).clone())
    torch.manual_seed(0)
    assert all(PhotometricDistortion()(red).float().mean((1, 2)).argmax() == 0 for _ in range(30))


@pytest.mark.parametrize(
    "wrong", [dict(scale=(2, 1)), dict(scale=(0, 1)), dict(step=-1), dict(max_class_share=0), dict(tries=0)]
)
def test_wrong_arguments(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must"):
        RandomScaleCrop((8, 8), **wrong)
