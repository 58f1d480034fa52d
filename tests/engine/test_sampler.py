"""The stream of draws is a function of (seed, position)."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from trees import write_detection

from xseg.data import VOCDetection
from xseg.data.draw import Draw
from xseg.engine import EvalSampler, TrainSampler, repeat_factors


def take(sampler, count: int) -> list[Draw]:
    return list(islice(iter(sampler), count))


def ranks(kind, world_size: int, monkeypatch, **options) -> list:
    found = []
    for rank in range(world_size):
        monkeypatch.setattr("xseg.engine.sampler.get_dist_info", lambda rank=rank: (rank, world_size))
        found.append(kind(range(7), **options))
    return found


@pytest.mark.parametrize("kind", [TrainSampler, EvalSampler])
def test_empty_data_set_is_refused(kind):
    with pytest.raises(ValueError, match="at least one image"):
        kind([], seed=0)


def test_training_without_an_object_to_learn_is_refused(tmp_path):
    difficult = [("dog", 1, 1, 9, 9, 1)]
    dataset = VOCDetection(write_detection(tmp_path, difficult))
    with pytest.raises(ValueError, match="VOCDetection has 1 images, but no object to learn"):
        TrainSampler(dataset, seed=0)
    TrainSampler(VOCDetection(write_detection(tmp_path, [*difficult, ("dog", 1, 1, 9, 9, 0)])), seed=0)
    assert len(EvalSampler(dataset)) == 1


def test_one_image_is_drawn_with_other_augmentation_each_time():
    draws = take(TrainSampler(["one"], seed=0), 5)
    assert {draw.index for draw in draws} == {0}
    assert len({draw.seed for draw in draws}) == 5


def test_every_image_once_per_epoch_in_new_order():
    draws = take(TrainSampler(range(7), seed=0), 21)
    epochs = [[d.index for d in draws[i : i + 7]] for i in (0, 7, 14)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert len({d.seed for d in draws}) == 21


def test_neighbouring_seeds_are_not_shifted_copies():
    """Seeding epoch e with seed + e would make the second epoch of seed 0 the first of seed 1."""
    assert take(TrainSampler(range(7), seed=0), 14)[7:] != take(TrainSampler(range(7), seed=1), 7)


def test_without_shuffle_the_order_is_kept():
    assert [d.index for d in take(TrainSampler(range(3), shuffle=False, seed=0), 7)] == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_one_stream(world_size, monkeypatch):
    whole = take(TrainSampler(range(7), seed=5), 30)
    parts = [take(s, 30 // world_size) for s in ranks(TrainSampler, world_size, monkeypatch, seed=5)]
    assert [draw for step in zip(*parts, strict=True) for draw in step] == whole


@pytest.mark.parametrize("position", [0, 1, 7, 10, 700])
def test_skip_to_continues_the_stream(position):
    sampler = TrainSampler(range(7), seed=5)
    whole = take(sampler, position + 9)
    sampler.skip_to(position)
    assert take(sampler, 9) == whole[position:]


@pytest.mark.parametrize("world_size", [1, 2, 3, 9])
def test_eval_ranks_partition_without_padding(world_size, monkeypatch):
    parts = [list(s) for s in ranks(EvalSampler, world_size, monkeypatch)]
    assert sorted(index for part in parts for index in part) == list(range(7))
    limited = [list(s) for s in ranks(EvalSampler, world_size, monkeypatch, limit=3)]
    assert sorted(index for part in limited for index in part) == [0, 1, 2]


# rows of one orientation, rare classes


class Objects:
    """Images by their sizes (height, width) and labels."""

    classes = ("common", "rare", "rarest")

    def __init__(self, sizes_hw, labels=None):
        self.sizes_hw, self.labels = np.array(sizes_hw).reshape(-1, 2), labels

    def __len__(self):
        return len(self.sizes_hw)

    def labels_of(self, index):
        return np.array(self.labels[index], np.int64)


SIZES = [(10, 20)] * 9 + [(20, 10)] * 4 + [(10, 10)] * 2  # 11 wide (a square is), 4 tall


def in_steps_of(images: int, *args, **options) -> TrainSampler:
    sampler = TrainSampler(*args, **options)
    sampler.skip_to(0, images)
    return sampler


def test_rows_are_of_one_orientation_and_hold_every_image():
    """11 wide and 4 tall in rows of 3: 4 rows of wide, 2 of tall; one wide and two tall images come twice."""
    sampler = in_steps_of(3, Objects(SIZES), seed=0, same_orientation=True)
    wide = set(range(9)) | {13, 14}
    epochs = [take(sampler, 54)[i : i + 18] for i in (0, 18, 36)]
    for epoch in epochs:
        indices = [draw.index for draw in epoch]
        assert set(indices) == set(range(15)) and len(sampler) == 18
        assert sorted(Counter(indices).values()) == [1] * 12 + [2] * 3
        rows = [indices[i : i + 3] for i in range(0, 18, 3)]
        assert all(len({index in wide for index in row}) == 1 for row in rows)
        assert all(len(set(row)) == 3 for row in rows), "a batch does not show an image twice"
    assert len({tuple(draw.index for draw in epoch) for epoch in epochs}) == 3
    kinds = [[draw.index in wide for draw in epoch[::3]] for epoch in epochs]
    assert len({tuple(kind) for kind in kinds}) > 1, "rows are shuffled, not wide before tall"


def test_fewer_images_than_a_row():
    draws = take(in_steps_of(4, Objects(SIZES[:2]), seed=0, same_orientation=True), 8)
    assert sorted(d.index for d in draws[:4]) == [0, 0, 1, 1]
    in_order = take(in_steps_of(2, Objects(SIZES[8:11]), shuffle=False, seed=0, same_orientation=True), 6)
    assert [d.index for d in in_order] == [0, 0, 1, 2, 0, 0]


OPTIONS = [
    dict(same_orientation=True),
    dict(repeat_threshold=0.5),
    dict(same_orientation=True, repeat_threshold=0.5),
]
LABELS = [[0]] * 12 + [[0, 1]] * 2 + [[2, 2, 0]]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("position", [0, 5, 40, 333])
def test_skip_to_continues_rows_and_repeats(options, position):
    sampler = in_steps_of(4, Objects(SIZES, LABELS), seed=5, **options)
    whole = take(sampler, position + 40)
    sampler.skip_to(position, 4)
    assert take(sampler, 40) == whole[position:]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_share_rows_and_repeats(options, world_size, monkeypatch):
    """A step of 4 images over all ranks is one row, so every rank's share of it has one orientation."""
    data = Objects(SIZES, LABELS)
    whole = take(in_steps_of(4, data, seed=5, **options), 80)
    parts = []
    for rank in range(world_size):
        monkeypatch.setattr("xseg.engine.sampler.get_dist_info", lambda rank=rank: (rank, world_size))
        parts.append(take(in_steps_of(4, data, seed=5, **options), 80 // world_size))
    assert [draw for step in zip(*parts, strict=True) for draw in step] == whole
    if "same_orientation" in options:
        kinds = [np.diff(data.sizes_hw[draw.index])[0] >= 0 for draw in whole]
        assert all(len(set(kinds[i : i + 4])) == 1 for i in range(0, 80, 4))


def test_repeat_factors_by_hand():
    """15 images: class 0 in all, 1 in 2, 2 in 1. At 0.6: 1, sqrt(0.6 * 15 / 2), sqrt(0.6 * 15 / 1) = 3."""
    factors = repeat_factors([np.array(row, np.int64) for row in [*LABELS, []]][:15], 3, 0.6)
    assert factors.tolist() == pytest.approx([1] * 12 + [4.5**0.5] * 2 + [3])
    assert repeat_factors([np.array([], np.int64), np.array([1])], 2, 1e-3).tolist() == [1, 1]
    with pytest.raises(ValueError, match=r"threshold must be a share of the images in \(0, 1\], got 2"):
        repeat_factors([], 2, 2)


def test_images_come_as_often_as_their_factor():
    """In 400 epochs: exactly 3 times an epoch the rarest, sqrt(4.5) = 2.12 on average the rare, once the others."""
    sampler = TrainSampler(Objects(SIZES, LABELS), seed=0, repeat_threshold=0.6)
    orders = [Counter(sampler._order(epoch)) for epoch in range(400)]
    assert all(order[14] == 3 and order[0] == 1 and order[12] in (2, 3) for order in orders)
    assert np.mean([order[12] for order in orders]) == pytest.approx(4.5**0.5, abs=0.06)


def test_options_that_the_data_cannot_serve():
    with pytest.raises(ValueError, match=r"same_orientation needs a data set with sizes_hw, .*; got range"):
        TrainSampler(range(3), seed=0, same_orientation=True)
    with pytest.raises(ValueError, match="repeat_threshold needs a data set with labels_of"):
        TrainSampler(range(3), seed=0, repeat_threshold=0.1)
    with pytest.raises(ValueError, match="same_orientation must be True or False, got 16; the number of"):
        TrainSampler(Objects(SIZES), seed=0, same_orientation=16)
