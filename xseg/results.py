"""Results of `model.predict`, in pixels of the original image, with their pictures, summaries and files."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xseg.data.write import exchange
from xseg.drawing import captioned, colour_mask, draw_boxes, draw_masks, overlay, segment_colours, write_image

if TYPE_CHECKING:
    from heads.contract import Instances
    from heads.panoptic import Panoptic


@dataclass
class SegmentationResult:
    """One segmented image.

    mask: (H, W) uint8 class indices. image: (H, W, 3) uint8 RGB. palette: RGB per class; VOC's colours if None.
    """

    mask: np.ndarray
    classes: tuple[str, ...]
    palette: list[tuple[int, int, int]] | None
    image: np.ndarray
    path: str | Path | None = None

    def __post_init__(self):
        if self.palette is None:
            from xseg.data.read.classes import voc_palette

            self.palette = voc_palette(len(self.classes))

    def colours(self) -> np.ndarray:
        """(H, W, 3) uint8: every pixel in the colour of its class."""
        return colour_mask(self.mask, self.palette)

    def overlay(self) -> np.ndarray:
        """(H, W, 3) uint8: the image under its coloured mask."""
        return overlay(self.image, self.mask, self.palette)

    def shares(self) -> dict[str, float]:
        """Class name -> share of the image's pixels, largest first, without absent classes."""
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
        """Write mask/<name>.png (pixel values are class indices), colour/<name>.png and overlay/<name>.jpg."""
        self.save_mask(out / "mask" / f"{name}.png")
        write_image(out / "colour" / f"{name}.png", self.colours())
        self.save(out / "overlay" / f"{name}.jpg")

    def to_json(self) -> str:
        """JSON text: a list of {class, share, segmentation (COCO's run lengths)} of the classes in the image."""
        return json.dumps(exchange.pixel_rows(self.mask, self.shares(), self.classes))

    def to_pandas(self):
        """A `pandas.DataFrame` with a line for each class in the image: class, share."""
        return exchange.table(**{"class": list(self.shares()), "share": list(self.shares().values())})

    def to_supervision(self):
        """`supervision.Detections` with one mask for each class in the image, without scores."""
        return exchange.pixel_detections(self.mask, self.classes)

    def save_mask(self, path: str | Path) -> None:
        """Write the labels as a palette PNG: pixel values are class indices."""
        from xseg.data.read.images import write_mask

        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_mask(path, self.mask, self.palette)


@dataclass
class DetectionResult:
    """The detections of one image.

    instances: by falling score, in pixels of the image; arrays, masks as run lengths. image: (H, W, 3) uint8 RGB.
    palette: RGB per class; VOC's colours if None. `boxes_xyxy`, `scores`, `labels` and `masks` are those of instances.
    """

    instances: Instances
    classes: tuple[str, ...]
    palette: list[tuple[int, int, int]] | None
    image: np.ndarray
    path: str | Path | None = None

    def __post_init__(self):
        if self.palette is None:
            from xseg.data.read.classes import voc_palette

            self.palette = voc_palette(len(self.classes) + 1)[1:]  # the first colour, black, is VOC's background

    @property
    def boxes_xyxy(self) -> np.ndarray:
        return self.instances.boxes_xyxy

    @property
    def scores(self) -> np.ndarray:
        return self.instances.scores

    @property
    def labels(self) -> np.ndarray:
        return self.instances.labels

    @property
    def masks(self) -> list[dict] | None:
        return self.instances.masks

    def above(self, threshold: float) -> DetectionResult:
        """A result with only those detections that have at least this score."""
        return dataclasses.replace(self, instances=self.instances.rows(self.scores >= threshold))

    def mask(self, index: int) -> np.ndarray:
        """(H, W) bool: the pixels of one detection. ValueError for a result without masks."""
        from xseg.data.read.rle import decode_masks

        if self.masks is None:
            raise ValueError("this result has no masks; use a model whose head is MaskRCNN")
        return decode_masks([self.masks[index]], self.image.shape[:2])[0].bool().numpy()

    def drawn(self, threshold: float = 0.5) -> np.ndarray:
        """(H, W, 3) uint8: the image with boxes and masks of at least this score, the highest score on top."""
        shown = self.above(threshold)
        titles = [f"{self.classes[k]} {s:.2f}" for k, s in zip(shown.labels, shown.scores, strict=True)]
        colours = [self.palette[k] for k in shown.labels]
        image = self.image
        if shown.masks is not None:
            masks = (shown.mask(index) for index in reversed(range(len(shown.masks))))
            image = draw_masks(image, masks, colours[::-1])
        return draw_boxes(image, shown.boxes_xyxy[::-1], titles[::-1], colours[::-1])

    def summary(self) -> str:
        """`3 car, 1 person`: counts of the detections with a score of at least 0.5."""
        labels, counts = np.unique(self.above(0.5).labels, return_counts=True)
        return ", ".join(f"{count} {self.classes[k]}" for k, count in zip(labels, counts, strict=True)) or "nothing"

    def save(self, path: str | Path) -> None:
        """Write the image with its detections to a picture file."""
        write_image(path, self.drawn())

    def write(self, out: Path, name: str) -> None:
        """Write boxes/<name>.json, the text of `to_json`, and drawn/<name>.jpg."""
        path = out / "boxes" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.to_json())
        self.save(out / "drawn" / f"{name}.jpg")

    def to_json(self) -> str:
        """JSON text: a list of {class, score, box_xyxy}; with masks also {segmentation}, COCO's run lengths."""
        return json.dumps(exchange.object_rows(self.instances, self.classes), indent=1)

    def to_pandas(self):
        """A `pandas.DataFrame` with a line for each detection: class, score, x1, y1, x2, y2; with masks also area."""
        return exchange.object_table(self.instances, self.classes)

    def to_supervision(self):
        """`supervision.Detections` with boxes, scores, labels, class names and masks."""
        return exchange.object_detections(self.instances, self.classes, self.image.shape[:2])


@dataclass
class JointResult:
    """The pixels and the objects of one image; `panoptic` (see `heads.panoptic`) is None without instance masks."""

    segmentation: SegmentationResult
    detection: DetectionResult
    panoptic: Panoptic | None

    @classmethod
    def of(cls, prediction: dict, classes, things, palette, image: np.ndarray, path: str | Path | None) -> JointResult:
        """The result for one prediction of `JointModel`; `things` are the classes of the detections' labels."""
        pixels = SegmentationResult(prediction["mask"].cpu().numpy(), classes, palette, image, path)
        names, colours = ([values[k] for k in things] for values in (classes, pixels.palette))
        objects = DetectionResult(prediction["instances"].numpy(), tuple(names), colours, image, path)
        return cls(pixels, objects, prediction.get("panoptic"))

    def drawn(self, threshold: float = 0.5) -> np.ndarray:
        """(H, W, 3) uint8: the overlay of the classes, with boxes and masks of at least this score on top."""
        return dataclasses.replace(self.detection, image=self.segmentation.overlay()).drawn(threshold)

    def summary(self) -> str:
        """`road 41 %, sky 22 %, …; 3 car, 1 person`"""
        return f"{self.segmentation.summary()}; {self.detection.summary()}"

    def save(self, path: str | Path) -> None:
        """Write the picture of `drawn` to a file."""
        write_image(path, self.drawn())

    def to_json(self) -> str:
        """JSON text: {segmentation, detection} with the lists of both parts."""
        return f'{{"segmentation": {self.segmentation.to_json()}, "detection": {self.detection.to_json()}}}'

    def to_pandas(self):
        """The table of the detections; `segmentation.to_pandas()` gives that of the pixels."""
        return self.detection.to_pandas()

    def to_supervision(self):
        """The detections; `segmentation.to_supervision()` gives the masks of classes."""
        return self.detection.to_supervision()

    def write(self, out: Path, name: str) -> None:
        """Write the files of both parts, and for panoptic results panoptic/<name>.png and panoptic/<name>.json.

        The PNG has COCO's format (id = R + 256 G + 256^2 B, 0 = void); the JSON is a list of {id, class, area}.
        """
        self.segmentation.write(out, name)
        self.detection.write(out, name)
        if self.panoptic is None:
            return
        labels, segments = self.panoptic.labels.tolist(), self.panoptic.segments.cpu().numpy()
        colours = segment_colours(labels, self.segmentation.palette)
        write_image(out / "panoptic" / f"{name}.png", np.vstack([np.zeros((1, 3), np.uint8), colours])[segments])
        areas = np.bincount(segments.ravel(), minlength=len(labels) + 1)[1:].tolist()
        rows = [
            {"id": int(colour @ (1, 256, 256**2)), "class": self.segmentation.classes[label], "area": area}
            for colour, label, area in zip(colours.astype(np.int64), labels, areas, strict=True)
        ]
        (out / "panoptic" / f"{name}.json").write_text(json.dumps(rows, indent=1))


@dataclass
class ClassificationResult:
    """One classified image.

    scores: (num_classes,) probabilities; with `multi_label` they are independent and do not sum to 1. image: (H, W, 3)
    uint8 RGB, which `drawn` and `save` need.
    """

    scores: np.ndarray
    classes: tuple[str, ...]
    path: str | Path | None = None
    multi_label: bool = False
    image: np.ndarray | None = None

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """(name, probability) of the most likely classes, by falling probability."""
        order = np.argsort(-self.scores, kind="stable")[:count]
        return [(self.classes[index], float(self.scores[index])) for index in order]

    def above(self, threshold: float = 0.5) -> list[tuple[str, float]]:
        """(name, probability) of the classes with at least this probability, by falling probability."""
        return self.top(int((self.scores >= threshold).sum()))

    def summary(self) -> str:
        """`tabby 61 %, tiger cat 30 %, …`: the three most likely classes; with `multi_label` those of at least 50 %."""
        shown = self.above() if self.multi_label else self.top(3)
        return ", ".join(f"{name} {100 * score:.0f} %" for name, score in shown) or "nothing"

    def likeliest(self) -> list[tuple[str, float]]:
        """(name, probability) of the five most likely classes; with `multi_label` all classes of at least 50 %, too."""
        return self.top(max(5, len(self.above())) if self.multi_label else 5)

    def drawn(self) -> np.ndarray:
        """(H, W, 3) uint8: the image, and below it names and probabilities of the most likely classes."""
        if self.image is None:
            raise ValueError("this result has no image to draw on; model.predict returns results with their image")
        return captioned(self.image, [f"{name} {100 * score:.1f} %" for name, score in self.likeliest()])

    def save(self, path: str | Path) -> None:
        """Write the picture of `drawn` to a file."""
        write_image(path, self.drawn())

    def write(self, out: Path, name: str) -> None:
        """Write scores/<name>.json with the classes of `likeliest`."""
        path = out / "scores" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dict(self.likeliest()), indent=1))

    def to_json(self) -> str:
        """JSON text: {class: probability} of all classes, by falling probability."""
        return json.dumps(dict(self.top(len(self.classes))))

    def to_pandas(self):
        """A `pandas.DataFrame` with a line for each class, by falling probability: class, probability."""
        names, scores = zip(*self.top(len(self.classes)), strict=True)
        return exchange.table(**{"class": names, "probability": scores})

    def to_supervision(self):
        """`supervision.Classifications` of all classes."""
        return exchange.classifications(self.scores)
