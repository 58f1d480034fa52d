"""Run lengths: a region's are those of the whole image with the region in it; wrong ones never reach pycocotools."""

import numpy as np
import pytest
import torch

from xseg.data.read.rle import MAX_OUTLINE, decode_masks, encode_masks, encode_region, run_lengths


@pytest.mark.parametrize("density", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize(
    "place", [(0, 0, 30, 40), (0, 0, 30, 7), (5, 8, 20, 9), (0, 39, 30, 1), (29, 39, 1, 1), (4, 4, 0, 5), (4, 4, 5, 0)]
)
def test_a_region_is_encoded_as_the_whole_image(place, density):
    """Whole images, whole columns (whose runs go on in the next), the last pixel, no pixel."""
    top, left, height, width = place
    pixels = np.random.default_rng(0).random((height, width)) < density
    canvas = np.zeros((1, 30, 40), bool)
    canvas[0, top : top + height, left : left + width] = pixels
    assert [encode_region(pixels, top, left, (30, 40))] == encode_masks(canvas)


@pytest.mark.parametrize("size_hw", [(1, 1), (7, 300), (480, 640)])
@pytest.mark.parametrize("density", [0.0, 0.001, 0.5, 1.0])
def test_sound_text_is_taken_as_it_is(size_hw, density):
    """Also with runs of many digits, and with those that shrink, whose differences are negative."""
    masks = torch.from_numpy(np.random.default_rng(1).random((1, *size_hw)) < density)
    (code,) = encode_masks(masks)
    assert run_lengths(code, size_hw) == code
    assert run_lengths(dict(code, counts=code["counts"].encode()), size_hw) == code
    assert torch.equal(decode_masks([code], size_hw), masks.byte())


# For a mask of 20 x 30 pixels. pycocotools 2.0.11 finds areas of 4294967283 pixels in such text, never ends its merge,
# or writes outside its memory.
WRONG_TEXTS = [
    ("\x01\x02\x03\x7f", "no text of COCO's"),
    (b"\xff\xfe\x00", "no text of COCO's"),
    ("oooooooooooooooooooo", "no text of COCO's"),  # a number that never ends
    ("", "no text of COCO's"),
    ("PPPPPPPP0", "more than 32 bits"),
    ("000", "sum to 0, not to 600"),
    ("Ph00", "not to 600"),
    ("é", "no text of COCO's"),
    (None, "must be a list or a text, got NoneType"),
    ([300, -10, 310], "a negative number, -10"),
    ([300.0, 300.0], "whole numbers"),
    (["300", "300"], "whole numbers"),
    ([2**64, 600 - 2**64], "whole numbers"),
    ([], "whole numbers"),
    ([[300], [300]], "whole numbers"),
]


@pytest.mark.parametrize("counts, fault", WRONG_TEXTS, ids=str)
def test_run_lengths_that_are_none(counts, fault):
    for check in (lambda code: run_lengths(code, (20, 30)), lambda code: decode_masks([code], (20, 30))):
        with pytest.raises(ValueError, match=fault):
            check(dict(size=[20, 30], counts=counts))


def test_changed_text_is_read_or_refused():
    """Any byte of it, to any other: what is read covers the image, and so does not write beyond."""
    mask = np.zeros((1, 40, 50), bool)
    mask[:, 5:30, 7:40] = True
    text = encode_masks(mask)[0]["counts"].encode()
    random = np.random.default_rng(0)
    for _ in range(3000):
        changed = bytearray(text)
        changed[random.integers(len(text))] = random.integers(256)
        try:
            masks = decode_masks([dict(size=[40, 50], counts=bytes(changed))], (40, 50))
        except ValueError:
            continue
        assert masks.shape == (1, 40, 50) and masks.max() <= 1


@pytest.mark.parametrize("size", [[30, 20], 600, None, [20], "20"])
def test_run_lengths_of_another_size(size):
    with pytest.raises(ValueError, match="run lengths of size"):
        run_lengths(dict(size=size, counts="abc"), (20, 30))


@pytest.mark.parametrize(
    "polygon, fault",
    [
        ([0, 0, 1e8, 0, 1e8, 1e8], "coordinates up to 1e"),  # SIGSEGV, or all memory
        ([0, 0, 1e300, 0, 0, 1], "coordinates up to 1e"),
        ([1e9, 1e9, 1e9 + 1, 1e9, 1e9, 1e9 + 1], "coordinates up to 1e"),  # small, but far away
        ([0, 0, 900, 900] * 1000, "pixels around"),
        ([0, 0, None, 0, 0, 1], "not finite"),
        ([0, 0, [1], 0, 0, 1], "no number"),
        ([0, 0, "far", 0, 0, 1], "no number"),
        ([0, 0, 10**400, 0, 0, 1], "no number"),
        ([0, 0, float("nan"), 0, 0, 1], "not finite"),
        ([0, 0, 1, 0, 0], "at least 3 points"),
        ((0, 0, 1, 0, 0, 1), "a list of"),
    ],
)
def test_polygons_that_would_take_all_memory(polygon, fault):
    with pytest.raises(ValueError, match=fault):
        run_lengths([polygon], (20, 30))


def test_polygons_may_leave_their_image():
    """Tiles cut out of large images keep their polygons: the image is what counts."""
    far = MAX_OUTLINE / 10
    (mask,) = decode_masks([run_lengths([[-far, -far, far, -far, far, 10, -far, 10]], (20, 30))], (20, 30))
    assert mask[:10].all() and not mask[10:].any()


def test_images_too_large_for_run_lengths():
    with pytest.raises(ValueError, match="1 to 4294967295 pixels, got 65536 x 65536"):
        run_lengths([[0, 0, 1, 0, 1, 1]], (65536, 65536))
