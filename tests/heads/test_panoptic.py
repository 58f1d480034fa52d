"""Instances merged over stuff, drawn by hand."""

import pytest
import torch

from heads.panoptic import merge, panoptic_of_sample

ROAD, CAR, SKY = range(3)


def square(rows, columns, size_hw=(4, 6)):
    mask = torch.zeros(size_hw, dtype=torch.bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def merged(masks, labels, mask=None, **arguments):
    mask = torch.full((4, 6), ROAD, dtype=torch.uint8) if mask is None else mask
    stacked = torch.stack(masks) if masks else torch.zeros(0, 4, 6, dtype=torch.bool)
    found = merge(mask, stacked, torch.tensor(labels, dtype=torch.int64), [CAR], **{"min_stuff_area": 1} | arguments)
    assert found.segments.dtype == torch.int32 and int(found.segments.max()) == len(found.labels)
    return found.segments.tolist(), found.labels.tolist(), found.iscrowd.tolist()


def test_the_surer_keeps_the_pixels_and_stuff_fills_the_rest():
    cars = [square((0, 2), (0, 3)), square((0, 2), (2, 5))]  # the second loses 2 of 6 pixels
    segments, labels, _ = merged(cars, [CAR, CAR])
    assert labels == [CAR, CAR, ROAD]
    assert segments == [[1, 1, 1, 2, 2, 3]] * 2 + [[3] * 6] * 2


@pytest.mark.parametrize("overlap, left", [(0.5, True), (0.49, False)])
def test_a_mask_hidden_for_more_than_the_overlap_is_left_out(overlap, left):
    """Hidden for exactly a half, by two others together."""
    cars = [square((0, 1), (0, 1)), square((0, 1), (1, 2)), square((0, 1), (0, 4))]
    segments, labels, _ = merged(cars, [CAR] * 3, overlap=overlap)
    assert labels == [CAR] * (2 + left) + [ROAD]
    assert segments[0] == ([1, 2, 3, 3, 4, 4] if left else [1, 2, 3, 3, 3, 3])


def test_what_is_left_out_hides_nothing():
    """The second, wholly hidden, covers the third as well, which would be hidden by half."""
    cars = [square((0, 2), (0, 2)), square((0, 1), (0, 2)), square((0, 1), (1, 3))]
    segments, _, _ = merged(cars, [CAR] * 3)
    assert segments[0] == [1, 1, 2, 3, 3, 3]


def test_little_stuff_void_and_things_without_an_instance():
    mask = torch.full((4, 6), ROAD, dtype=torch.uint8)
    mask[0, :2], mask[1, 0], mask[2, :3] = SKY, 255, CAR
    segments, labels, _ = merged([], [], mask, min_stuff_area=3)
    assert labels == [ROAD] and segments[0] == [0, 0, 1, 1, 1, 1] and segments[2] == [0, 0, 0, 1, 1, 1]
    assert segments[1][0] == 0
    assert merged([], [], mask, min_stuff_area=2)[1] == [ROAD, SKY]
    assert merged([square((0, 4), (0, 6))], [CAR]) == ([[1] * 6] * 4, [CAR], [False]), "no void, no stuff"
    assert merged([], [], torch.full((4, 6), 255, dtype=torch.uint8)) == ([[0] * 6] * 4, [], [])


def test_ground_truth_of_a_sample():
    """An instance of the only thing, and a crowd of it; labels of detection count the things alone."""
    masks = torch.stack([square((0, 2), (0, 2)), square((0, 2), (4, 6))]).byte()
    mask = torch.full((4, 6), ROAD, dtype=torch.uint8)
    mask[masks.bool().any(0)] = CAR
    known = dict(mask=mask, masks=masks, labels=torch.tensor([0, 0]), iscrowd=torch.tensor([False, True]))
    found = panoptic_of_sample(known, [CAR])
    assert found.labels.tolist() == [CAR, CAR, ROAD] and found.iscrowd.tolist() == [False, True, False]
    with pytest.raises(ValueError, match="must have mask and masks, got mask; take a PanopticDataset"):
        panoptic_of_sample(dict(mask=mask), [CAR])
