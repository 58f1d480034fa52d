"""A FeatureCollection an image, in the form of GeoJSON but in pixels of the image: x to the right, y downwards.

QuPath and other viewers of large images read it. An object is a MultiPolygon with its holes; a box is a Polygon.
"""

import json
from pathlib import Path

import numpy as np

from xseg.data.read.outlines import corners
from xseg.data.write.objects import Labels, Object, Row


def write_image(row: Row, labels: Labels, out: Path) -> None:
    path = out / f"{row.name}.geojson"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = dict(
        type="FeatureCollection",
        image=dict(file_name=row.file, height=row.size_hw[0], width=row.size_hw[1]),
        features=[_feature(item, labels) for item in row.objects],
    )
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _feature(item: Object, labels: Labels) -> dict:
    if item.rings is None:
        geometry = dict(type="Polygon", coordinates=[_closed(np.reshape(corners(item.box_xyxy), (-1, 2)))])
    else:
        polygons = [[_closed(outline) for outline in (ring.outer, *ring.holes)] for ring in item.rings]
        geometry = dict(type="MultiPolygon", coordinates=polygons)
    name, colour = labels.names[item.label], [int(value) for value in labels.palette[item.label]]
    properties = dict(classification=dict(name=name, color=colour))
    if item.score is not None:
        properties["score"] = round(item.score, 4)
    return dict(type="Feature", geometry=geometry, properties=properties)


def _closed(outline: np.ndarray) -> list[list[float]]:
    """The first corner is also the last."""
    return [*outline.tolist(), outline[0].tolist()]
