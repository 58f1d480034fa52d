"""`xseg eval-json GT DT`: COCO's numbers from two files, the ground truth and the results."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xseg.evaluation.coco import NUMBERS, CocoScores, Number, coco_scores
from xseg.evaluation.coco_reading import read_coco_files
from xseg.evaluation.tables import Table, cell, percent

AREAS = ("all", "small", "medium", "large")
MAX_DETECTIONS = (1, 10, 100)


class FileReport(NamedTuple):
    """Scores of a file of results."""

    kind: str  # "bbox" or "segm"
    scores: CocoScores
    classes: list[str]
    objects: list[int]  # by class, without crowds
    detections: list[int]  # by class
    num_images: int
    sources: dict[str, str]  # paths of the two files

    def lines(self) -> list[str]:
        """The twelve numbers as pycocotools prints them: values in 0..1, or -1 without objects."""
        return [_line(number, self.scores.numbers[number.name]) for number in NUMBERS]

    def table(self) -> Table:
        """Objects, detections and AP in percent by class; the last row has the sums and the means."""
        numbers = self.scores.numbers
        columns = (self.classes, self.objects, self.detections, self.scores.ap, self.scores.ap_50)
        return Table(
            ("class", "objects", "detections", f"{self.kind} AP %", "AP50 %"),
            [
                (name, str(objects), str(detections), cell(percent(ap)), cell(percent(ap_50)))
                for name, objects, detections, ap, ap_50 in zip(*columns, strict=True)
            ],
            [
                (
                    "mean",
                    str(sum(self.objects)),
                    str(sum(self.detections)),
                    *(cell(percent(numbers[key])) for key in ("mAP", "mAP_50")),
                )
            ],
        )

    def values(self) -> dict:
        """Numbers in percent under the names that `xseg eval` uses; None without objects."""
        kind = self.kind
        numbers = {f"{kind}_{name}": percent(value) for name, value in self.scores.numbers.items()}
        by_class = {
            f"{kind}_{name}": dict(zip(self.classes, map(percent, values), strict=True))
            for name, values in (("AP", self.scores.ap), ("AP_50", self.scores.ap_50))
        }
        return numbers | by_class | {"images": self.num_images, "detections": sum(self.detections)}

    def markdown(self) -> str:
        """The table and the twelve lines as Markdown."""
        return "\n".join([*self.table().markdown(), "", "```", *self.lines(), "```", ""])

    def write(self, out: str | os.PathLike) -> None:
        """Write metrics.json and metrics.md into the folder `out`."""
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.json").write_text(json.dumps(self.values() | self.sources, indent=1), encoding="utf-8")
        (folder / "metrics.md").write_text(self.markdown(), encoding="utf-8")

    def print(self) -> None:
        """Print the twelve lines, then the table of the classes."""
        from rich.console import Console

        print(*self.lines(), sep="\n")
        Console(soft_wrap=True).print(self.table().rich(title=f"{self.num_images} images"))


def evaluate_json(
    truth: str | os.PathLike,
    results: str | os.PathLike,
    kind: str | None = None,
    out: str | os.PathLike | None = None,
) -> FileReport:
    """Score a file of results against a ground truth, both in COCO's format.

    Args:
        kind: "bbox" or "segm"; see `read_coco_files` for the default and the errors.
        out: folder for metrics.json and metrics.md; None writes nothing.
    """
    sources = {"ground_truth": str(truth), "results": str(results)}
    classes, kind, entries = read_coco_files(truth, results, kind)
    count = len(classes)
    objects = [entry.truth.labels[~entry.truth.ignore] for entry in entries]
    detections = [entry.detections.labels for entry in entries]
    empty = np.zeros(0, np.int64)  # for files without images
    report = FileReport(
        kind,
        coco_scores(entries, count, kind),
        classes,
        *(np.bincount(np.concatenate([empty, *labels]), minlength=count).tolist() for labels in (objects, detections)),
        len(entries),
        sources,
    )
    if out is not None:
        report.write(out)
    return report


def _line(number: Number, share: float | None) -> str:
    title, short = ("Average Precision", "(AP)") if number.table == "precision" else ("Average Recall", "(AR)")
    iou = "0.50:0.95" if number.iou is None else f"{number.iou:.2f}"
    area, limit = AREAS[number.area], MAX_DETECTIONS[number.detections]
    value = -1 if share is None else share
    return f" {title:<18} {short} @[ IoU={iou:<9} | area={area:>6s} | maxDets={limit:>3d} ] = {value:0.3f}"
