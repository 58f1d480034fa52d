"""What `model.predict` gives back: labels in the original image's pixels or of the image, and how to save them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xseg.drawing import colour_mask, overlay, write_image


@dataclass
class SegmentationResult:
    """One segmented image.

    mask: (H, W) uint8 class indices. image: (H, W, 3) uint8 RGB. palette: RGB per class; VOC's rule if None.
    """

    mask: np.ndarray
    classes: tuple[str, ...]
    palette: list[tuple[int, int, int]] | None
    image: np.ndarray
    path: str | Path | None = None

    def __post_init__(self):
        if self.palette is None:
            from xseg.data.classes import voc_palette

            self.palette = voc_palette(len(self.classes))

    def colours(self) -> np.ndarray:
        """(H, W, 3) uint8: each pixel in the colour of its class."""
        return colour_mask(self.mask, self.palette)

    def overlay(self) -> np.ndarray:
        """(H, W, 3) uint8: the image under its coloured mask."""
        return overlay(self.image, self.mask, self.palette)

    def shares(self) -> dict[str, float]:
        """Class name -> share of the image's pixels, largest first; classes not seen are left out."""
        counts = np.bincount(self.mask.ravel(), minlength=len(self.classes))
        order = [index for index in np.argsort(-counts, kind="stable") if counts[index]]
        return {self.classes[index]: counts[index] / self.mask.size for index in order}

    def summary(self) -> str:
        """`road 41 %, sky 22 %, …`"""
        shares = [f"{name} {100 * share:.0f} %" for name, share in self.shares().items() if share >= 0.005]
        return ", ".join(shares[:6]) + (f", {len(shares) - 6} more" if len(shares) > 6 else "")

    def save(self, path: str | Path) -> None:
        """Write the overlay to a picture file."""
        write_image(path, self.overlay())

    def write(self, out: Path, name: str) -> None:
        """mask/<name>.png (pixel values are class indices), colour/<name>.png, overlay/<name>.jpg."""
        self.save_mask(out / "mask" / f"{name}.png")
        write_image(out / "colour" / f"{name}.png", self.colours())
        self.save(out / "overlay" / f"{name}.jpg")

    def save_mask(self, path: str | Path) -> None:
        """Write the labels as a palette PNG: pixel values are class indices."""
        from xseg.data.images import write_mask

        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_mask(path, self.mask, self.palette)


@dataclass
class ClassificationResult:
    """One classified image. scores: (num_classes,) probabilities."""

    scores: np.ndarray
    classes: tuple[str, ...]
    path: str | Path | None = None

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """(name, probability) of the likeliest classes, the likeliest first."""
        order = np.argsort(-self.scores, kind="stable")[:count]
        return [(self.classes[index], float(self.scores[index])) for index in order]

    def summary(self) -> str:
        """`tabby 61 %, tiger cat 30 %, …`"""
        return ", ".join(f"{name} {100 * score:.0f} %" for name, score in self.top(3))

    def write(self, out: Path, name: str) -> None:
        """scores/<name>.json: the five likeliest classes with their probabilities."""
        path = out / "scores" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dict(self.top(5)), indent=1))
