"""A region's run lengths are those of the whole image with the region in it."""

import numpy as np
import pytest

from xseg.data.rle import encode_masks, encode_region


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
