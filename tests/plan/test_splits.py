"""Splits of data that have none."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from xseg.data.formats import Catalog, Item
from xseg.plan import make_folds, make_splits
from xseg.plan.splits import near_duplicates


def catalog(*labels, splits=None, names=None):
    """Images with these classes in them, "abc" -> classes 0, 1, 2."""
    items = [
        Item(names[i] if names else f"{i:03d}", Path(f"{i}.png"), (8, 8), splits and splits[i], labels=tuple(kinds))
        for i, kinds in enumerate(labels)
    ]
    return Catalog("list", Path("."), "tags", ("a", "b", "c"), tuple(items))


def labels_of(item):
    return item.labels


def test_the_splits_of_the_data_stay():
    data = catalog(*[(0,)] * 4, splits=["train", "val", "test", None])
    splits = make_splits(data, labels_of)
    assert (
        splits.ids == dict(train=["000", "003"], val=["001"], test=["002"]) and "as the data have it" in splits.reason
    )


def test_rare_classes_are_on_both_sides():
    """100 images, 5 with the rare class 2, 20 with class 1: a fifth of each validates, and a fifth of all images."""
    rng = np.random.default_rng(1)
    kinds = [(0,)] * 75 + [(0, 1)] * 20 + [(0, 2)] * 5
    for seed in range(20):
        order = rng.permutation(100)
        data = catalog(*[kinds[i] for i in order])
        val = [item for item in data.items if item.id in set(make_splits(data, labels_of, 0.2, seed).ids["val"])]
        counts = np.bincount([label for item in val for label in item.labels], minlength=3)
        assert len(val) == 20 and counts.tolist() == [20, 4, 1]


def test_the_seed_decides_and_repeats():
    data = catalog(*[(0,)] * 50)
    one, same, other = (make_splits(data, labels_of, seed=seed).ids["val"] for seed in (0, 0, 1))
    assert one == same != other and len(one) == 10


def test_groups_stay_together():
    names = [f"{camera}_frame{i}" for camera in "pqrst" for i in range(4)]
    data = catalog(*[(0,)] * 20, names=names)
    splits = make_splits(data, labels_of, group="(.*)_frame")
    assert len({id[0] for id in splits.ids["val"]}) == 1 and len(splits.ids["val"]) == 4
    with pytest.raises(ValueError, match="a pattern with one group"):
        make_splits(data, labels_of, group="frame")
    with pytest.raises(ValueError, match="has 1 groups to split"):
        make_splits(data, labels_of, group="(frame)")


def test_one_image_cannot_be_split():
    with pytest.raises(ValueError, match="has 1 images to split"):
        make_splits(catalog((0,)), labels_of)
    assert {len(ids) for ids in make_splits(catalog((0,), (0,)), labels_of).ids.values()} == {1}


def test_every_image_validates_in_one_fold():
    data = catalog(*[(i % 3,) for i in range(31)])
    folds = make_folds(data, labels_of, 5)
    assert sorted(id for fold in folds for id in fold.ids["val"]) == [item.id for item in data.items]
    assert {len(fold.ids["val"]) for fold in folds} <= {6, 7}
    assert all(set(fold.ids["train"]).isdisjoint(fold.ids["val"]) for fold in folds)
    with pytest.raises(ValueError, match="folds must be 2 to 31"):
        make_folds(data, labels_of, 32)


def test_near_duplicates_across_the_split_are_named(tmp_path):
    """A brighter copy looks like its original; another picture does not, and plain pictures are not compared."""
    rng = np.random.default_rng(0)
    base = cv2.resize(rng.integers(0, 200, (6, 6, 3)).astype(np.uint8), (96, 96), interpolation=cv2.INTER_CUBIC)
    other = cv2.resize(rng.integers(0, 200, (6, 6, 3)).astype(np.uint8), (96, 96), interpolation=cv2.INTER_CUBIC)
    pictures = dict(a=base, b=np.clip(base * 1.1 + 5, 0, 255).astype(np.uint8), c=other, d=np.zeros_like(base))
    for name, picture in pictures.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture)
    items = [Item(name, tmp_path / f"{name}.png", (96, 96)) for name in pictures]
    assert near_duplicates(items, dict(train=["a"], val=["b", "c", "d"])) == [("a", "b")]


def test_the_file_is_what_the_data_sets_read(tmp_path):
    splits = make_splits(catalog(*[(0,)] * 5), labels_of)
    splits.write(tmp_path / "splits.json")
    assert json.loads((tmp_path / "splits.json").read_text()) == splits.ids
