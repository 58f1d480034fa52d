"""Writers: one file a format of annotation tools, so that predictions can be corrected there or trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from xseg.data.write import coco, cvat, geojson, labelme, png, voc, yolo
from xseg.data.write.objects import Labels, Object, Row


class Output(NamedTuple):
    """One format.

    write_image: writes the files of an image, which threads may do at once, or gives its entry of the common file.
    write_whole: writes the common file from all entries; None if there is none.
    """

    write_image: Callable[[Row, Labels, Path], object]
    write_whole: Callable[[Sequence, Labels, Path], None] | None = None


OUTPUTS = {
    "labelme": Output(labelme.write_image),
    "coco": Output(coco.write_image, coco.write_whole),
    "yolo": Output(yolo.write_image, yolo.write_whole),
    "cvat": Output(cvat.write_image, cvat.write_whole),
    "voc": Output(voc.write_image, voc.write_whole),
    "png": Output(png.write_image, png.write_whole),
    "geojson": Output(geojson.write_image),
}


def write(format: str, labels: Labels, rows: Iterable[Row], out: Path) -> None:
    """Write all rows as a format, a key of `OUTPUTS`."""
    output = OUTPUTS[format]
    entries = [output.write_image(row, labels, out) for row in rows]
    if output.write_whole:
        output.write_whole(entries, labels, out)


__all__ = ["OUTPUTS", "Labels", "Object", "Output", "Row", "write"]
