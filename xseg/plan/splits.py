"""Training and validation images of a catalog that has no split, or only a part of one.

Classes are spread evenly by iterative stratification (Sechidis et al. 2011): the rarest class is dealt out first, each
image to the side that still lacks most of it.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from xseg.data.formats import Catalog, Item
from xseg.data.sample import Path_

NEAR = 4  # of 64 bits: two images whose hashes differ in at most so many look the same


class Splits(NamedTuple):
    """Ids of the images of each split, and how they came about."""

    ids: dict[str, list[str]]
    reason: str

    def write(self, path: Path_) -> None:
        """Write {"train": [ids], "val": [ids], …}, as `splits` of the own data sets reads it."""
        Path(path).write_text(json.dumps(self.ids, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def make_splits(
    catalog: Catalog,
    labels_of: Callable[[Item], Sequence[int]],
    share: float = 0.2,
    seed: int = 0,
    group: str | None = None,
) -> Splits:
    """The splits of the data; without a validation split, a share of the training images becomes one.

    Args:
        labels_of: the classes in an image.
        share: of the images that are dealt out, for validation.
        seed: of the order in which images are dealt out.
        group: a pattern for ids with one group, as "(.*)_frame"; images with the same group stay on one side.

    Raises ValueError for a pattern without a group, fewer than two images, or a single group.
    """
    known = {name: [item for item in catalog.items if item.split == name] for name in ("train", "val", "test")}
    open_ = [item for item in catalog.items if item.split is None]
    if known["train"] and known["val"]:
        note = f"; {len(open_)} images without a split train too" if open_ else ""
        known["train"] += open_
        return Splits(_ids(known), f"as the data have it{note}")
    if known["val"] and open_:
        known["train"] = open_
        return Splits(_ids(known), "validation as the data have it; all other images train")
    pool = known["train"] + open_ + known["val"]
    units = list(_groups(pool, group).values())
    if len(units) < 2:
        what = "groups" if group else "images"
        raise ValueError(f"{catalog.root} has {len(units)} {what} to split into training and validation; 2 are needed")
    val = {id for unit in _deal(units, labels_of, len(catalog.classes), share, seed) for id in unit}
    known["train"] = [item for item in pool if item.id not in val]
    known["val"] = [item for item in pool if item.id in val]
    by = f", groups by {group} kept together ({len(units)})" if group else ""
    return Splits(
        _ids(known), f"{share:.0%} of {len(pool)} images for validation, stratified by class, seed {seed}{by}"
    )


def make_folds(
    catalog: Catalog, labels_of: Callable[[Item], Sequence[int]], folds: int, seed: int = 0, group: str | None = None
) -> list[Splits]:
    """Cross-validation: `folds` splits in which every image but those of a test split validates once."""
    pool = [item for item in catalog.items if item.split != "test"]
    units = list(_groups(pool, group).values())
    if not 2 <= folds <= len(units):
        raise ValueError(
            f"folds must be 2 to {len(units)}, the number of {'groups' if group else 'images'}, got {folds}"
        )
    parts: list[set[str]] = []
    for left in range(folds, 1, -1):
        chosen = _deal(units, labels_of, len(catalog.classes), 1 / left, seed)
        parts.append({id for unit in chosen for id in unit})
        units = [unit for unit in units if unit[0].id not in parts[-1]]
    parts.append({item.id for unit in units for item in unit})
    test = [item.id for item in catalog.items if item.split == "test"]
    return [
        Splits(
            dict(train=[i.id for i in pool if i.id not in part], val=[i.id for i in pool if i.id in part], test=test),
            f"fold {number} of {folds}, stratified by class, seed {seed}",
        )
        for number, part in enumerate(parts, start=1)
    ]


def near_duplicates(items: Sequence[Item], ids: dict[str, list[str]]) -> list[tuple[str, str]]:
    """Pairs (id in train, id in val) of images that look the same, by a hash of their brightness gradients.

    Such a pair makes a validation too good. At most one pair is named for each image of val.
    """
    path_of = {item.id: item.path for item in items}
    hashes = {side: [(id, _hash(path_of[id])) for id in ids[side]] for side in ("train", "val")}
    train = [(id, value) for id, value in hashes["train"] if value is not None]
    if not train:
        return []
    known = np.array([value for _, value in train])  # (N, 64) bool
    pairs = []
    for id, value in hashes["val"]:
        if value is None:
            continue
        distances = (known != value).sum(1)
        nearest = int(distances.argmin())
        if distances[nearest] <= NEAR:
            pairs.append((train[nearest][0], id))
    return pairs


def _hash(path: Path) -> np.ndarray | None:
    """(64,) bool: whether a pixel of the image at 9 x 8 is darker than its right neighbour; None for plain images."""
    grey = cv2.imread(str(path), cv2.IMREAD_REDUCED_GRAYSCALE_8)
    if grey is None or min(grey.shape) < 8:
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        return None
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    return None if np.ptp(small) < 8 else (small[:, 1:] > small[:, :-1]).ravel()


def _groups(items: Sequence[Item], pattern: str | None) -> dict[str, list[Item]]:
    if pattern is None:
        return {item.id: [item] for item in items}
    compiled = re.compile(pattern)
    if compiled.groups < 1:
        raise ValueError(f"group must be a pattern with one group in parentheses, as '(.*)_frame', got {pattern!r}")
    groups = defaultdict(list)
    for item in items:
        match = compiled.search(item.id)
        groups[match.group(1) if match else item.id].append(item)
    return groups


def _deal(
    units: Sequence[Sequence[Item]], labels_of: Callable, num_classes: int, share: float, seed: int
) -> list[list[str]]:
    """Ids of the units for validation."""
    order = np.random.default_rng(seed).permutation(len(units))
    units = [units[index] for index in order]
    has = np.zeros((len(units), num_classes + 1))  # the last column: the number of images
    for row, unit in enumerate(units):
        for item in unit:
            has[row, list(labels_of(item))] += 1
        has[row, -1] = len(unit)
    wanted = share * has.sum(0)
    taken, free = np.zeros(len(units), bool), np.ones(len(units), bool)
    missing_val, missing_train = wanted.copy(), has.sum(0) - wanted
    while free.any():
        left = has[free].sum(0)[:-1]
        rare = np.where(left > 0, left, np.inf)
        label = int(rare.argmin()) if np.isfinite(rare).any() else num_classes
        rows = np.flatnonzero(free & (has[:, label] > 0))
        for row in rows:
            need_val = missing_val[[label, -1]] / share
            need_train = missing_train[[label, -1]] / (1 - share)
            # by the class, then by the number of images, of which val must not get more than its share
            to_val = missing_val[-1] > 0 and tuple(need_val) > tuple(need_train)
            taken[row], free[row] = to_val, False
            side = missing_val if to_val else missing_train
            side -= has[row]
    taken[0] |= not taken.any()  # both sides need an image
    taken[0] &= not taken.all()
    return [[item.id for item in unit] for unit, chosen in zip(units, taken, strict=True) if chosen]


def _ids(known: dict[str, list[Item]]) -> dict[str, list[str]]:
    return {name: [item.id for item in items] for name, items in known.items() if items or name != "test"}
