"""labelme's files: one JSON an image, with the path of the image relative to the JSON.

Parts of one object have one group_id. Holes are filled, because polygons of labelme have none.
"""

import json
import os
from pathlib import Path

from xseg.data.write.objects import Labels, Object, Row


def write_image(row: Row, labels: Labels, out: Path) -> None:
    path = out / f"{row.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = dict(
        version="5.0.0",
        flags={},
        shapes=[shape for number, item in enumerate(row.objects, start=1) for shape in _shapes(item, number, labels)],
        imagePath=Path(os.path.relpath(row.path, path.parent)).as_posix(),
        imageData=None,
        imageHeight=row.size_hw[0],
        imageWidth=row.size_hw[1],
    )
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def _shapes(item: Object, number: int, labels: Labels) -> list[dict]:
    text = "" if item.score is None else f"score {item.score:.4f}"
    common = dict(label=labels.names[item.label], description=text, flags={})
    if item.rings is None:
        x1, y1, x2, y2 = item.box_xyxy
        return [common | dict(points=[[x1, y1], [x2, y2]], shape_type="rectangle", group_id=None)]
    group = number if len(item.rings) > 1 else None
    return [common | dict(points=ring.outer.tolist(), shape_type="polygon", group_id=group) for ring in item.rings]
