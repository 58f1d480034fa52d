"""The stream of draws is a function of (seed, position)."""

from itertools import islice

import pytest

from xseg.data.draw import Draw
from xseg.engine import EvalSampler, TrainSampler


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
