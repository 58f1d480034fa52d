"""What a plan needs to know of the data: sizes, classes, shares, sizes of the objects, kind of the images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from xseg.data.formats import Catalog, Item
from xseg.data.formats.catalog import CLASSES, MASKS, PANOPTIC, TAGS
from xseg.data.read.classes import IGNORE

MAX_MASKS = 400  # masks that are read for shares, evenly over the data


@dataclass(frozen=True)
class Fingerprint:
    """Facts of a catalog. Sizes are in pixels of the images as they lie on disk.

    short_edge, long_edge: (smallest, median, largest) edge over the images.
    shares: class -> share of pixels (segmentation), of objects, or of images, in 0..1.
    void: share of the pixels that are ignored.
    object_px: (10th percentile, median, 90th percentile) of sqrt(box area); None without objects.
    objects_per_image: mean.
    modes: kind of image -> number, as "RGB", "L" (grey), "I;16", over a sample.
    present: id of each image -> classes in it, for a stratified split.
    """

    num_images: int
    short_edge: tuple[int, int, int]
    long_edge: tuple[int, int, int]
    shares: dict[str, float]
    void: float
    object_px: tuple[float, float, float] | None
    objects_per_image: float
    modes: dict[str, int]
    present: dict[str, tuple[int, ...]]

    @property
    def imbalance(self) -> float:
        """The largest share over the smallest of the classes that occur."""
        shares = [share for share in self.shares.values() if share > 0]
        return max(shares) / min(shares) if shares else 1.0

    @property
    def absent(self) -> list[str]:
        """Classes that never occur."""
        return [name for name, share in self.shares.items() if share == 0]

    def lines(self) -> list[str]:
        """For people, one fact a line."""
        edges = [f"{low} to {high} (median {mid})" for low, mid, high in (self.short_edge, self.long_edge)]
        kinds = ", ".join(f"{count} {mode}" for mode, count in self.modes.items())
        lines = [
            f"{self.num_images} images; shorter edge {edges[0]}, longer {edges[1]} pixels; {kinds}",
            "shares: " + ", ".join(f"{name} {share:.1%}" for name, share in sorted_shares(self.shares)[:12]),
        ]
        if self.void > 0.0005:
            lines.append(f"ignored: {self.void:.1%} of the pixels")
        if self.object_px:
            low, mid, high = self.object_px
            lines.append(
                f"objects: {self.objects_per_image:.1f} an image, {low:.0f} to {high:.0f} pixels (median {mid:.0f})"
            )
        if self.absent:
            lines.append(f"classes without an example: {', '.join(self.absent)}")
        return lines


def fingerprint(catalog: Catalog, items: Sequence[Item] | None = None) -> Fingerprint:
    """The facts of a catalog, or of some of its images; masks and image headers are read."""
    items = catalog.items if items is None else items
    edges = np.sort([item.size_hw for item in items], axis=1)  # (N, 2) shorter, longer
    spread = [tuple(int(value) for value in np.percentile(edges[:, side], (0, 50, 100))) for side in (0, 1)]
    counts, void, present = _counts(catalog, items)
    total = counts.sum() or 1
    widths = [_width(region.box_xyxy) for item in items for region in item.regions or () if not region.crowd]
    return Fingerprint(
        num_images=len(items),
        short_edge=spread[0],
        long_edge=spread[1],
        shares={name: float(count / total) for name, count in zip(catalog.classes, counts, strict=True)},
        void=void,
        object_px=tuple(float(v) for v in np.percentile(widths, (10, 50, 90))) if widths else None,
        objects_per_image=len(widths) / len(items),
        modes=dict(Counter(_mode(item) for item in items[:: max(1, len(items) // 50)]).most_common()),
        present=present,
    )


def sorted_shares(shares: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(shares.items(), key=lambda pair: -pair[1])


def _counts(catalog: Catalog, items: Sequence[Item]) -> tuple[np.ndarray, float, dict[str, tuple[int, ...]]]:
    """Counts by class (pixels, objects or images), the share of ignored pixels, and the classes in each image."""
    counts, present, void, pixels = np.zeros(len(catalog.classes)), {}, 0, 0
    read = {item.id for item in items[:: max(1, -(-len(items) // MAX_MASKS))]}
    for item in items:
        if catalog.kind in (CLASSES, TAGS):
            labels = item.labels or ()
            np.add.at(counts, list(labels), 1)
        elif catalog.kind == PANOPTIC:
            labels = [label for _, label, _ in item.segments]
            np.add.at(counts, labels, 1)
        elif catalog.kind == MASKS:
            of_mask = _pixels_of(catalog, item) if item.id in read and item.mask else np.zeros(256)
            void, pixels = void + of_mask[IGNORE], pixels + of_mask.sum()
            of_mask = of_mask[: len(catalog.classes)]
            counts, labels = counts + of_mask, np.flatnonzero(of_mask)
        else:
            labels = [region.label for region in item.regions or () if not region.crowd]
            np.add.at(counts, labels, 1)
        present[item.id] = tuple(sorted({int(label) for label in labels}))
    return counts, float(void / pixels) if pixels else 0.0, present


def _pixels_of(catalog: Catalog, item: Item) -> np.ndarray:
    """(256,) number of pixels of each label in a mask."""
    from xseg.data.sets.own import labels_in_file

    return np.bincount(labels_in_file(catalog, item.mask).numpy().ravel(), minlength=256)


def _width(box_xyxy: Sequence[float]) -> float:
    x1, y1, x2, y2 = box_xyxy
    return (max(x2 - x1, 0) * max(y2 - y1, 0)) ** 0.5


def _mode(item: Item) -> str:
    try:
        with Image.open(item.path) as file:
            return file.mode
    except OSError:  # reading the image names the fault
        return "unreadable"
