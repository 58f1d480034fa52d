"""What is written as a labelling program writes it is read as the same catalog."""

import numpy as np
import pytest
from labelled import WRITERS, sample_catalog

from xseg.data.formats import read_catalog
from xseg.data.read.rle import decode_masks, run_lengths


@pytest.mark.parametrize("kind", ["outlines", "boxes"])
@pytest.mark.parametrize("format", WRITERS)
def test_a_catalog_is_read_as_it_was_written(tmp_path, format, kind):
    """The boxes to a tenth of a pixel, the masks of the outlines to the pixel."""
    written = sample_catalog(kind)
    WRITERS[format](written, tmp_path)
    catalog = read_catalog(tmp_path)
    assert (catalog.format, catalog.kind, catalog.classes) == (format, kind, written.classes)
    items = {item.path.name: item for item in catalog.items}
    assert items.keys() == {item.path.name for item in written.items}
    for item in written.items:
        same = items[item.path.name]
        assert (same.split, same.size_hw) == (item.split, item.size_hw) and same.path.is_file()
        assert [region.label for region in same.regions] == [region.label for region in item.regions]
        for ours, theirs in zip(same.regions, item.regions, strict=True):
            np.testing.assert_allclose(ours.box_xyxy, theirs.box_xyxy, atol=0.1)
            assert (ours.outline is None) == (kind == "boxes")
            if ours.outline is not None:
                codes = [run_lengths(region.outline, item.size_hw) for region in (ours, theirs)]
                first, second = decode_masks(codes, item.size_hw)
                assert (first == second).all()
