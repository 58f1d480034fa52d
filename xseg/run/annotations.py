"""Results of predictions as files of annotation tools."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xseg.data.write import OUTPUTS, Labels, Object, Row
from xseg.data.write.objects import object_of_runs, objects_of_mask
from xseg.results import DetectionResult, JointResult, SegmentationResult

Result = SegmentationResult | DetectionResult | JointResult
BACKGROUND = {"background", "_background_", "unlabeled", "unlabelled", "void"}


@dataclass(frozen=True)
class Saving:
    """How `xseg predict --save` writes.

    Pixels of classes become one object a connected component. Classes with a name in `BACKGROUND` become none. A joint
    result gives its detections, and where these have masks also the components of all other classes.

    Args:
        format: a key of `xseg.data.write.OUTPUTS`.
        tolerance: pixels by which polygons may leave the predicted outline; 0 follows every pixel.
        min_area: pixels; smaller components are left out.
        score: detections below are left out.

    Raises:
        ValueError: one of these is out of its range.
    """

    format: str
    tolerance: float = 1.0
    min_area: int = 16
    score: float = 0.5

    def __post_init__(self):
        if self.format not in OUTPUTS:
            raise ValueError(f"save must be one of {', '.join(OUTPUTS)}, got {self.format!r}")
        if not 0 <= self.tolerance < float("inf"):
            raise ValueError(f"tolerance must be a number of pixels from 0, got {self.tolerance}")
        if self.min_area < 1:
            raise ValueError(f"min_area must be a number of pixels from 1, got {self.min_area}")
        if not 0 <= self.score <= 1:
            raise ValueError(f"score must be between 0 and 1, got {self.score}")

    def write_image(self, result: Result, name: str, file: str, path: Path, out: Path) -> tuple[Labels, object]:
        """Write the files of one image; return what `write_whole` needs.

        Args:
            result: of `model.predict`.
            name, file, path: see `Row`.

        Raises:
            ValueError: the format cannot hold the result.
        """
        labels = self.labels_of(result)
        return labels, OUTPUTS[self.format].write_image(self.row_of(result, name, file, path), labels, out)

    def write_whole(self, written: list[tuple[Labels, object]], out: Path) -> None:
        """Write the common file of all images, if the format has one."""
        if written and (write_whole := OUTPUTS[self.format].write_whole):
            write_whole([entry for _, entry in written], written[0][0], out)

    def labels_of(self, result: Result) -> Labels:
        """The classes of the files: without background, but with it for masks of classes."""
        if not isinstance(result, Result):
            raise ValueError(f"--save is for objects and pixels; {type(result).__name__} has neither")
        part = result.segmentation if isinstance(result, JointResult) else result
        if self.format == "png":
            if not isinstance(part, DetectionResult):
                return Labels(part.classes, part.palette)
            if part.masks is None:
                raise ValueError("--save png needs masks, and this model gives only boxes; choose another format")
            return Labels(("background", *part.classes), [(0, 0, 0), *part.palette])
        kept = _kept(part)
        return Labels(tuple(part.classes[k] for k in kept), [part.palette[k] for k in kept])

    def row_of(self, result: Result, name: str, file: str, path: Path) -> Row:
        """The image with its objects, whose labels are those of `labels_of`; for `png` with its mask."""
        if isinstance(result, DetectionResult):
            return Row(name, file, path, result.image.shape[:2], tuple(self._detections(result)))
        pixels = result.segmentation if isinstance(result, JointResult) else result
        size_hw = pixels.image.shape[:2]
        if self.format == "png":
            return Row(name, file, path, size_hw, mask=pixels.mask)
        kept = _kept(pixels)
        if not isinstance(result, JointResult):
            items = self._components(pixels, kept)
        else:
            things = [pixels.classes.index(name) for name in result.detection.classes]
            items = [item._replace(label=things[item.label]) for item in self._detections(result.detection)]
            if result.detection.masks is not None:
                items += self._components(pixels, set(kept) - set(things))
        items = (item._replace(label=kept.index(item.label)) for item in items if item.label in kept)
        return Row(name, file, path, size_hw, tuple(items))

    def _detections(self, result: DetectionResult) -> list[Object]:
        sure = result.above(self.score)
        columns = (sure.labels.tolist(), sure.boxes_xyxy.tolist(), sure.scores.tolist())
        if sure.masks is None:
            return [Object(label, tuple(box), score) for label, box, score in zip(*columns, strict=True)]
        rows = zip(sure.masks, *columns, strict=True)
        items = (object_of_runs(code, label, box, score, self.tolerance) for code, label, box, score in rows)
        return [item for item in items if item.patch is not None]  # a mask may be empty

    def _components(self, pixels: SegmentationResult, labels) -> list[Object]:
        return list(objects_of_mask(pixels.mask, labels, self.min_area, self.tolerance))


def _kept(part: SegmentationResult | DetectionResult) -> list[int]:
    """Labels of the classes that are no background; all of a detector's."""
    detects = isinstance(part, DetectionResult)
    return [k for k, name in enumerate(part.classes) if detects or name.lower() not in BACKGROUND]
