"""Files about the detections of an evaluation: precision curves, AP by size, kinds of errors, the worst images."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xseg.data.read.images import read_image
from xseg.drawing import curves_picture, draw_boxes, legend, panel
from xseg.evaluation.coco import AREAS, IOUS, RECALLS, CocoScores
from xseg.evaluation.entries import Entry
from xseg.evaluation.errors import CORRECT, ERRORS, Verdict, error_scores, judge
from xseg.evaluation.metric import write_worst
from xseg.evaluation.tables import Table, percent

SURE = 0.5  # lowest score of the detections that are drawn and counted as errors of an image
CURVES = slice(0, None, 2)  # the part of IOUS that is drawn: 0.5, 0.6, …, 0.9; analysis.json has all
GREEN, GREY = (60, 200, 90), (150, 150, 150)
COLOURS = (
    (255, 150, 0),
    (250, 225, 60),
    (165, 85, 225),
    (60, 150, 255),
    (230, 40, 40),
    (255, 90, 200),
)  # of ERRORS


class WrongImage(NamedTuple):
    """An image with its detections of score `SURE` or higher, and the verdict on them."""

    entry: Entry
    verdict: Verdict

    @property
    def num_errors(self) -> int:
        """Number of wrong detections plus number of objects without a correct detection."""
        wrong = (self.verdict.kinds != CORRECT) & ~self.verdict.skipped
        return int(wrong.sum() + self.verdict.unfound.sum())


def write_analysis(
    out: Path, entries: Sequence[Entry], scores: dict[str, CocoScores], classes: Sequence[str], num_worst: int
) -> list[str]:
    """Write analysis.json, curves.<kind>.png, pictures of the worst images, and report.md, which shows them all.

    Args:
        out: folder.
        scores: of "bbox", "segm" or both; the first kind decides which images are the worst.
        num_worst: how many of the worst images are drawn.

    Returns the names of the files and folders in `out`.
    """
    analyses = {kind: analysis(entries, values, classes, kind) for kind, values in scores.items()}
    (out / "analysis.json").write_text(json.dumps(analyses))
    for kind, values in scores.items():
        names = [f"{iou:.2f}" for iou in IOUS[CURVES]]
        curves_picture(out / f"curves.{kind}.png", values.precision[CURVES, :, :, 0], RECALLS, names, classes)
    worst = worst_images(entries, next(iter(scores)), num_worst)
    names = [f"errors{item.num_errors}_{Path(str(item.entry.id)).name}" for item in worst]
    drawn = (draw_errors(item, classes) for item in worst)
    pictures = write_worst(out, zip(names, drawn, strict=True), stale="*_errors*.jpg")
    (out / "report.md").write_text(page(analyses, pictures, len(entries)))
    return ["analysis.json", *(f"curves.{kind}.png" for kind in scores), *["worst/"] * bool(pictures), "report.md"]


def analysis(entries: Sequence[Entry], scores: CocoScores, classes: Sequence[str], kind: str) -> dict:
    """AP by class and size, errors at IoU 0.5, and precision at recalls 0, 0.01, …, 1.

    All in percent; None where the ground truth has no object.
    """
    errors = error_scores(entries, [judge(entry.truth, entry.detections, kind) for entry in entries])
    by_area = [scores.ap_by_area(label) for label in range(len(classes))]
    curves = np.where(scores.precision >= 0, np.round(100 * scores.precision, 2), None)
    return dict(
        AP={
            name: dict(AP=percent(sizes["all"]), AP50=percent(half))
            | {area: percent(sizes[area]) for area in AREAS[1:]}
            for name, sizes, half in zip(classes, by_area, scores.ap_50, strict=True)
        },
        errors=dict(
            AP50=percent(errors.ap),
            delta_AP50={name: percent(value) for name, value in errors.delta_ap.items()},
            delta_AP50_false_positives=percent(errors.false_positives),
            delta_AP50_false_negatives=percent(errors.false_negatives),
            counts=errors.counts,
        ),
        precision={
            f"{iou:.2f}": {name: table[:, label, 0].tolist() for label, name in enumerate(classes)}
            for iou, table in zip(IOUS, curves, strict=True)
        },
    )


def worst_images(entries: Sequence[Entry], kind: str, count: int) -> list[WrongImage]:
    """The `count` images with the most errors, most first. Images without errors or file path are skipped."""
    judged = [WrongImage(item, judge(item.truth, item.detections, kind)) for item in map(sure, entries) if item.path]
    return sorted((item for item in judged if item.num_errors), key=lambda item: -item.num_errors)[:count]


def sure(entry: Entry) -> Entry:
    """The entry without its detections of a score below `SURE`."""
    return entry._replace(detections=entry.detections.rows(entry.detections.scores >= SURE))


def draw_errors(item: WrongImage, classes: Sequence[str]) -> np.ndarray:
    """(H, W, 3) RGB: the image with its objects beside the image with its detections, in the colours of the verdict."""
    entry, verdict = item
    image = read_image(entry.path).permute(1, 2, 0).numpy()
    scale = max(1, -(-400 // image.shape[0]))  # small images are enlarged before boxes and names are drawn
    image = image.repeat(scale, 0).repeat(scale, 1)
    truth, detections = entry.truth, entry.detections
    colours = np.where(verdict.unfound[:, None], COLOURS[ERRORS.index("missed")], GREEN)
    if truth.ignore is not None:
        colours[truth.ignore] = GREY
    tiles = [draw_boxes(image, truth.boxes_xyxy * scale, [classes[label] for label in truth.labels], colours)]
    titles = [
        f"{classes[label]} {score:.2f}" for label, score in zip(detections.labels, detections.scores, strict=True)
    ]
    colours = [
        GREY if skipped else GREEN if kind == CORRECT else COLOURS[kind]
        for kind, skipped in zip(verdict.kinds, verdict.skipped, strict=True)
    ]
    tiles.append(draw_boxes(image, detections.boxes_xyxy[::-1] * scale, titles[::-1], colours[::-1]))  # best on top
    count = f"{item.num_errors} error{'s' * (item.num_errors != 1)}"
    picture = panel(tiles, ["ground truth", f"detections from score {SURE}: {count}"])
    names, colours = ["right", *ERRORS[:-1], "not found", "ignored"], [GREEN, *COLOURS, GREY]
    return np.vstack([picture, legend(names, colours, picture.shape[1])])


def page(analyses: dict[str, dict], pictures: Sequence[str], num_images: int) -> str:
    """Markdown with all tables and pictures."""
    lines = [f"# Detections in {num_images} images", ""]
    for kind, parts in analyses.items():
        errors = parts["errors"]
        lines += [f"## {kind}", "", *table_lines(["class", *next(iter(parts["AP"].values()))], parts["AP"])]
        lines += ["", f"![precision over recall](curves.{kind}.png)", ""]
        lines += [f"Errors at IoU 0.5, where AP is {number(errors['AP50'])}, and the points of AP that they cost:", ""]
        rows = {name: dict(count=errors["counts"][name], AP=errors["delta_AP50"][name]) for name in ERRORS}
        for name in ("false_positives", "false_negatives"):
            rows[f"all {name.replace('_', ' ')}"] = dict(count="", AP=errors[f"delta_AP50_{name}"])
        lines += [*table_lines(["error", "count", "AP50"], rows), ""]
    if pictures:
        lines += ["## The images with the most errors", "", *(f"![{name}]({name})" for name in pictures), ""]
    return "\n".join(lines)


def table_lines(columns: Sequence[str], rows: dict[str, dict]) -> list[str]:
    """Lines of a Markdown table: the name of each row, then its numbers."""
    return Table(columns, [[name, *map(number, row.values())] for name, row in rows.items()]).markdown("---:")


def number(value: float | int | str | None) -> str:
    """Text of a number in a table; None is a dash."""
    return "–" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)
