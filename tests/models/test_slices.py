"""Detection in windows: where they lie, how objects that they cut are merged, and that it finds more small objects."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from heads.contract import Instances, Selection
from xseg.data import decode_masks, encode_masks
from xseg.models import Detector, Segmentor, Slices
from xseg.models.slices import Found, merged, overlaps

LEVELS = ("c3", "c4", "c5")


class Blobs(nn.Module):
    """A model of whole images that finds every white rectangle of at least `least` pixels, exactly, with masks."""

    def __init__(self, least=1, masks=False):
        super().__init__()
        self.least, self.masks = least, masks

    def __call__(self, images, samples):
        import cv2

        results = []
        for image, sample in zip(images, samples, strict=True):
            white = (image[0, : sample["input_hw"][0], : sample["input_hw"][1]] > 0.5).byte().numpy()
            _, pixels, facts, _ = cv2.connectedComponentsWithStats(white)
            rows = [row for row in range(1, len(facts)) if facts[row][4] >= self.least]
            boxes = torch.tensor([[x, y, x + w, y + h] for x, y, w, h, _ in facts[rows]], dtype=torch.float)
            masks = encode_masks(np.stack([pixels == row for row in rows])) if self.masks and rows else None
            masks = [] if self.masks and not rows else masks
            scores = torch.tensor([min(1.0, float(facts[row][4]) / 1000) for row in rows])
            found = Instances(boxes.reshape(-1, 4), scores, torch.zeros(len(rows), dtype=torch.long), masks)
            results.append({"instances": found, "meta": sample.get("meta", {})})
        return results


def drawn(rectangles, size_hw=(100, 160)):
    image = torch.zeros(1, 3, *size_hw)
    for x0, y0, x1, y1 in rectangles:
        image[:, :, y0:y1, x0:x1] = 1
    return image, [{"input_hw": size_hw}]


def test_windows_cover_the_image_with_their_overlap():
    windows = Slices((60, 50), overlap=0.2).windows((100, 160))
    covered = np.zeros((100, 160), int)
    for top, left, bottom, right in windows:
        assert (bottom - top, right - left) == (60, 50)
        covered[top:bottom, left:right] += 1
    assert covered.min() == 1
    lefts = sorted({left for _, left, _, _ in windows})
    assert all(b - a <= 40 for a, b in pairwise(lefts))


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_each_object_is_found_once(masks, whole):
    """One inside a window, one on the border of two, one in the corner where four meet."""
    rectangles = [(5, 5, 20, 20), (34, 30, 46, 42), (74, 52, 84, 60), (150, 90, 160, 100)]
    slices = Slices((60, 50), overlap=0.3, whole=whole)
    (found,) = slices(Blobs(masks=masks), *drawn(rectangles), Selection())
    instances = found["instances"]
    assert sorted(tuple(box) for box in instances.boxes_xyxy.int().tolist()) == sorted(rectangles)
    assert (instances.scores[:-1] >= instances.scores[1:]).all()
    if masks:
        for mask, (x0, y0, x1, y1) in zip(
            decode_masks(instances.masks, (100, 160)), instances.boxes_xyxy.int(), strict=True
        ):
            assert mask[y0:y1, x0:x1].all() and mask.sum() == (y1 - y0) * (x1 - x0)


def test_what_is_larger_than_a_window_is_that_of_the_whole_image():
    large = (10, 10, 150, 90)
    (found,) = Slices((50, 50))(Blobs(), *drawn([large]), Selection())
    assert found["instances"].boxes_xyxy.int().tolist() == [list(large)]


def test_an_uncut_object_of_a_low_score_does_not_displace_a_cut_one():
    """A cut object counts half: 0.9 becomes 0.45, which 0.4 is below and 0.5 is above."""
    for score, kept in ((0.4, [0.9]), (0.5, [0.5])):
        uncut = Instances(torch.tensor([[0.0, 0, 40, 10]]), torch.tensor([score]), torch.tensor([0]))
        cut = Instances(torch.tensor([[0.0, 0, 18, 10]]), torch.tensor([0.9]), torch.tensor([0]))
        parts = [Found(uncut, torch.tensor([False])), Found(cut, torch.tensor([True]))]
        assert merged(parts, 0.5).scores.tolist() == pytest.approx(kept)


def test_other_classes_and_neighbours_keep_their_places():
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [7, 0, 17, 10]])
    instances = Instances(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 1, 0]))
    assert len(merged([Found(instances, torch.zeros(3, dtype=torch.bool))], 0.5).scores) == 3


def test_overlaps_of_boxes_are_those_of_their_masks():
    rng = np.random.default_rng(0)
    low = rng.integers(0, 20, (12, 2))
    boxes = np.concatenate([low, low + rng.integers(3, 20, (12, 2))], 1)
    masks = np.zeros((12, 40, 40), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    plain = Instances(torch.tensor(boxes).float(), torch.ones(12), torch.zeros(12))
    for ours, theirs in zip(overlaps(plain), overlaps(plain._replace(masks=encode_masks(masks))), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def tiny_detector(**options):
    torch.manual_seed(0)
    backbone = dict(type="AlignedXception", depth=41, width=0.125, out=LEVELS)
    return Detector(
        backbone, dict(type="FCOS", num_classes=3, channels=8), selection=dict(score_threshold=0), **options
    )


def test_one_window_is_the_plain_prediction():
    image = torch.randint(0, 255, (3, 70, 90), dtype=torch.uint8)
    model = tiny_detector(size=(64, 128))
    plain = model.predict(image)
    model.set_windows((70, 90))
    again = model.predict(image)
    np.testing.assert_array_equal(plain.boxes_xyxy, again.boxes_xyxy)
    np.testing.assert_array_equal(plain.scores, again.scores)


def test_a_network_predicts_in_windows_as_it_predicts_their_crops():
    """Without the whole image and without a second window near, a detection is that of its crop, moved."""
    image = torch.randint(0, 255, (3, 64, 128), dtype=torch.uint8)
    model = tiny_detector(size=(64, 128), slices=dict(window_hw=(64, 64), overlap=0, whole=False))
    model.slices, slices = None, model.slices
    crops = [model.predict(image[..., :64]), model.predict(image[..., 64:])]
    model.slices = slices
    moved = np.concatenate([crop.boxes_xyxy + np.array([64, 0, 64, 0]) * at for at, crop in enumerate(crops)])
    found = model.predict(image).boxes_xyxy
    assert len(found) == 100
    assert np.abs(found[:, None] - moved[None]).max(2).min(1).max() < 1e-3


def test_windows_find_small_objects_that_the_whole_image_hides():
    """A model that sees at 50 pixels: objects of 6 pixels of 200 become 1.5, and in windows of 50 stay 6."""

    class Coarse(Blobs):
        def __call__(self, images, samples):
            small = nn.functional.interpolate(images, (50, 50), mode="area")
            scale = images.shape[-1] / 50
            found = super().__call__((small > 0.9).float(), [{"input_hw": (50, 50)} for _ in samples])
            return [
                f | {"instances": f["instances"]._replace(boxes_xyxy=f["instances"].boxes_xyxy * scale)} for f in found
            ]

    rectangles = [(x, y, x + 6, y + 6) for x in range(10, 190, 23) for y in range(10, 190, 23)]
    image, samples = drawn(rectangles, (200, 200))
    plain = Coarse(least=4)(image, samples)[0]["instances"]
    sliced = Slices((50, 50), overlap=0.2)(Coarse(least=4), image, samples, Selection())[0]["instances"]
    assert len(plain.scores) == 0 and len(sliced.scores) == len(rectangles)


def test_wrong_windows_and_models_are_refused():
    with pytest.raises(ValueError, match=r"overlap must be a share of the window in \[0, 1\), got 1"):
        Slices((10, 10), overlap=1)
    with pytest.raises(ValueError, match=r"a height and a width of at least one pixel, got \(0, 10\)"):
        Slices((0, 10))
    with pytest.raises(ValueError, match=r"a.jpg has \(200, 320\) pixels and was resized to \(100, 160\)"):
        image, samples = drawn([])
        samples[0]["meta"] = {"path": "a.jpg", "size_hw": (200, 320)}
        Slices((50, 50))(Blobs(), image, samples, Selection())


def test_a_segmentor_keeps_its_own_windows():
    model = Segmentor(
        dict(type="AlignedXception", depth=41, width=0.125), dict(type="FCNHead", num_classes=3, channels=8)
    )
    model.set_windows((64, 48), overlap=0.5)
    assert model.inference.window_hw == (64, 48) and model.inference.overlap == 0.5
