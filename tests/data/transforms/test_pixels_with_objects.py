"""Laws of the augmentations for objects: image, boxes and masks move together, and what vanishes goes everywhere."""

import pytest
import torch
from torchvision import tv_tensors

from xseg.data import PhotometricDistortion, RandomFlip, RandomResize, RandomScaleCrop, ScaleJitter, drop_vanished


def sample(boxes_xyxy, size_hw=(96, 120)):
    """Blocks drawn into image and masks, object i with the value 40 (i + 1)."""
    image = torch.zeros(3, *size_hw, dtype=torch.uint8)
    masks = torch.zeros(len(boxes_xyxy), *size_hw, dtype=torch.uint8)
    for index, (x1, y1, x2, y2) in enumerate(boxes_xyxy):
        image[:, y1:y2, x1:x2] = 40 * (index + 1)
        masks[index, y1:y2, x1:x2] = 1
    boxes = torch.tensor(boxes_xyxy, dtype=torch.float32).reshape(-1, 4)
    count = len(boxes_xyxy)
    return dict(
        image=tv_tensors.Image(image),
        boxes_xyxy=tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size_hw),
        labels=torch.arange(count),
        iscrowd=torch.zeros(count, dtype=torch.bool),
        area=torch.arange(count) * 10.0,
        masks=tv_tensors.Mask(masks),
        meta=dict(id=1, path="x", size_hw=size_hw),
    )


BLOCKS = [(10, 8, 50, 40), (60, 50, 110, 90), (70, 5, 100, 30)]


@pytest.mark.parametrize(
    "transform",
    [
        RandomFlip(p=1),
        RandomResize((40, 64, 150), longest=170),
        ScaleJitter((64, 64), (0.3, 2.0)),
        ScaleJitter((150, 100), (0.8, 1.5)),
        RandomScaleCrop((64, 64), (0.5, 2.0)),
        RandomScaleCrop((150, 100), (0.8, 1.5)),
    ],
    ids=["flip", "resize", "jitter", "jitter wide", "crop", "crop wide"],
)
def test_image_boxes_and_masks_stay_together(transform):
    """The box lies around the mask to a pixel, the image has the object's value inside, and labels follow."""
    torch.manual_seed(0)
    for _ in range(25):
        out = transform(sample(BLOCKS))
        height, width = out["image"].shape[1:]
        assert out["masks"].shape[1:] == (height, width) == out["boxes_xyxy"].canvas_size
        assert out["boxes_xyxy"].dtype == torch.float32
        counts = {len(out[key]) for key in ("boxes_xyxy", "labels", "iscrowd", "area", "masks")}
        assert len(counts) == 1
        for mask, box, label, area in zip(*(out[k] for k in ("masks", "boxes_xyxy", "labels", "area")), strict=True):
            assert area == 10 * label
            rows, columns = torch.nonzero(mask, as_tuple=True)
            tight = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            assert (tight - box).abs().max() <= 1
            inside = mask.bool()
            inside[:, 1:] &= mask[:, :-1].bool()
            inside[:, :-1] &= mask[:, 1:].bool()
            values = out["image"][0][inside]
            if len(values):
                assert abs(int(values.median()) - 40 * (int(label) + 1)) < 20, "antialiasing blends, but not half"


def test_flip_by_hand():
    out = RandomFlip(p=1)(sample([(10, 8, 50, 40)]))
    assert out["boxes_xyxy"].tolist() == [[70, 8, 110, 40]]


def test_resize_by_hand():
    """96 x 120 to a shortest edge of 48: half. To 96, where the longest may be 100: 5/6."""
    half = RandomResize([48], longest=1000)(sample(BLOCKS[:1]))
    assert half["image"].shape == (3, 48, 60) and half["boxes_xyxy"].tolist() == [[5, 4, 25, 20]]
    assert half["meta"]["size_hw"] == (96, 120)
    bounded = RandomResize([96], longest=100)(sample(BLOCKS[:1]))
    assert bounded["image"].shape == (3, 80, 100)
    torch.testing.assert_close(bounded["boxes_xyxy"].as_subclass(torch.Tensor), torch.tensor(BLOCKS[:1]) * 5 / 6)


def test_resize_draws_every_edge_and_none_else():
    torch.manual_seed(0)
    resize = RandomResize([30, 40, 50], longest=1000)
    assert {resize(sample(BLOCKS))["image"].shape[1] for _ in range(40)} == {30, 40, 50}


def test_jitter_fits_and_crops():
    """Factor 1 fits the image into the size; 0.5 half of that; 2 fills it with a crop of at most the size."""
    shapes = {
        scale: tuple(ScaleJitter((64, 64), (scale, scale))(sample(BLOCKS))["image"].shape[1:]) for scale in (0.5, 1, 2)
    }
    assert shapes == {0.5: (26, 32), 1: (51, 64), 2: (64, 64)}
    torch.manual_seed(0)
    seen = [len(ScaleJitter((64, 64), (3, 3))(sample(BLOCKS))["labels"]) for _ in range(40)]
    assert min(seen) < 3, "crops lose objects"


@pytest.mark.parametrize("transform", [ScaleJitter((64, 64), (2, 3)), RandomScaleCrop((64, 64), (1, 2))])
def test_boxes_fit_what_a_crop_leaves_of_the_mask(transform):
    """An L of a long foot and a thin stem: where a crop leaves its stem alone, the cut box would span the foot, too."""
    torch.manual_seed(0)
    boxes, masks = sample([(10, 8, 110, 90)]), torch.zeros(1, 96, 120, dtype=torch.uint8)
    masks[:, 8:90, 10:16] = 1
    masks[:, 84:90, 10:110] = 1
    boxes["masks"] = tv_tensors.Mask(masks)
    cut = 0
    for _ in range(40):
        out = transform(boxes)
        for mask, box in zip(out["masks"], out["boxes_xyxy"], strict=True):
            rows, columns = torch.nonzero(mask, as_tuple=True)
            tight = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            assert (tight - box).abs().max() <= 1
            cut += bool((columns.max() < 20) | (rows.min() > 20))
    assert cut > 2, "crops that cut the object"


def test_boxes_inside_stay_as_annotated():
    inside = sample([(10, 8, 50, 40)])
    finer = torch.tensor([[10.25, 8.25, 49.75, 39.75]])
    inside["boxes_xyxy"] = tv_tensors.wrap(finer, like=inside["boxes_xyxy"])
    assert RandomScaleCrop((96, 120), (1, 1))(inside)["boxes_xyxy"].tolist() == finer.tolist()


def test_padding_shows_no_object_and_no_class():
    """Half the scale leaves three quarters of the crop to padding."""
    before = sample(BLOCKS)
    before["mask"] = tv_tensors.Mask(torch.zeros(96, 120, dtype=torch.uint8))
    out = RandomScaleCrop((96, 120), (0.5, 0.5))(before)
    assert out["masks"].max() == 1 and out["masks"][:, 48:].max() == 0 and out["mask"][48:].min() == 255


def test_without_objects_and_without_masks():
    empty = ScaleJitter((50, 50), (0.5, 2))(sample([]))
    assert empty["boxes_xyxy"].shape == (0, 4) and empty["masks"].shape == (0, *empty["image"].shape[1:])
    plain = sample(BLOCKS)
    del plain["masks"]
    assert len(RandomResize([48], 100)(plain)["labels"]) == 3
    segmentation = dict(image=plain["image"], mask=tv_tensors.Mask(torch.zeros(96, 120, dtype=torch.uint8)))
    assert RandomResize([48], 100)(segmentation)["mask"].shape == (48, 60)


def test_what_vanishes_goes_under_every_key():
    """Objects of 40 x 32, of half a pixel, outside, and with a box but no pixel of mask."""
    out = sample([(10, 8, 50, 40)] * 4)
    boxes = torch.tensor([[10, 8, 50, 40], [10, 8, 10.5, 40], [-20, 8, -1, 40], [10, 8, 50, 40]])
    out["boxes_xyxy"] = tv_tensors.wrap(boxes, like=out["boxes_xyxy"])
    out["masks"][3] = 0
    kept = drop_vanished(out)
    assert kept["labels"].tolist() == [0] and kept["masks"].shape == (1, 96, 120)
    assert kept["boxes_xyxy"].shape == (1, 4) and kept["area"].tolist() == [0]
    assert isinstance(kept["boxes_xyxy"], tv_tensors.BoundingBoxes) and isinstance(kept["masks"], tv_tensors.Mask)
    assert len(out["labels"]) == 4, "the sample handed in stays as it was"
    assert drop_vanished(dict(image=out["image"])).keys() == {"image"}


def test_photometric_distortion_leaves_objects():
    torch.manual_seed(0)
    before = sample(BLOCKS)
    out = PhotometricDistortion()(before)
    assert torch.equal(out["masks"], before["masks"]) and torch.equal(out["boxes_xyxy"], before["boxes_xyxy"])


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: RandomResize([], 10), "shortest must"),
        (lambda: RandomResize([20], 10), "longest must be at least .* 20, got 10"),
        (lambda: ScaleJitter((0, 4)), "size_hw must"),
        (lambda: ScaleJitter((4, 4), (2, 1)), "scale must"),
    ],
)
def test_wrong_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()
