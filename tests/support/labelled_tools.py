"""Folders of boxes and outlines as annotation tools write them, from a `Catalog`; comparison of two catalogs."""

import base64
import io
import json
import zlib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from xseg.data.formats.catalog import BOXES, OUTLINES, Catalog, Item, Region
from xseg.data.read.images import write_mask
from xseg.data.read.rle import decode_masks, encode_masks, run_lengths

CLASSES = ("ant", "big cat", "Käfer")
SIZE_HW = (40, 60)


def blob(y, x, size_hw=SIZE_HW):
    """Run lengths of an 8 x 10 rectangle at (y, x) with a hole of 3 x 4."""
    mask = np.zeros((1, *size_hw), np.uint8)
    mask[0, y : y + 8, x : x + 10] = 1
    mask[0, y + 2 : y + 5, x + 3 : x + 7] = 0
    return encode_masks(mask)[0]


def catalog_of(kind: str, splits=("train", "val"), blobs: bool = True) -> Catalog:
    """One image a split in a folder of its name, and one without an object; names with blanks and other scripts.

    Args:
        blobs: OUTLINES: one object has a hole and is stated as run lengths.
    """
    items = []
    for number, split in enumerate(splits):
        box = (3.0 + number, 5.0, 20.0, 31.0)
        triangle = [[2.5, 2.5, 50.5, 4.5, 20.5, 36.5]]
        if kind == BOXES:
            regions = (Region(1, box), Region(0, (0.0, 0.0, 60.0, 40.0)))
        else:
            whole = Region(2, (30, 20, 40, 28), blob(20, 30))
            regions = (Region(1, (2.5, 2.5, 50.5, 36.5), triangle), whole)[: 1 + blobs]
        items.append(Item(f"{split}/ein Bild {number} 図", Path(), SIZE_HW, split, regions=regions))
        items.append(Item(f"{split}/bare.{number}", Path(), SIZE_HW, split, regions=()))
    return Catalog("x", Path(), kind, CLASSES, tuple(items))


def write_image(path: Path, size_hw=SIZE_HW):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mask(path, np.zeros(size_hw, np.uint8))


def assert_same(read: Catalog, catalog: Catalog, id_of=lambda item: item.id.rpartition("/")[2]):
    """Equal kind, classes, images, splits and regions: boxes and masks to a pixel."""
    assert (read.kind, read.classes) == (catalog.kind, catalog.classes)
    theirs = {id_of(item): item for item in read.items}
    assert theirs.keys() == {id_of(item) for item in catalog.items} and len(theirs) == len(read.items)
    for item in catalog.items:
        other = theirs[id_of(item)]
        assert (other.size_hw, other.split) == (item.size_hw, item.split), item.id
        assert len(other.regions) == len(item.regions), item.id
        for ours, region in zip(item.regions, other.regions, strict=True):
            assert (region.label, region.crowd) == (ours.label, ours.crowd)
            np.testing.assert_allclose(region.box_xyxy, ours.box_xyxy, atol=1)
            if catalog.kind == OUTLINES:
                assert mask_iou(region.outline, ours.outline, item.size_hw) > 0.95


def mask_iou(outline, other, size_hw) -> float:
    first, second = decode_masks([run_lengths(value, size_hw) for value in (outline, other)], size_hw).bool()
    return float((first & second).sum() / (first | second).sum())


def write_voc_boxes(catalog: Catalog, root: Path, lists: bool = True):
    """As the VOC devkit: JPEGImages/, Annotations/, ImageSets/Main/{split}.txt; an image without objects has an XML."""
    for item in catalog.items:
        name = item.id.rpartition("/")[2]
        write_image(root / "JPEGImages" / f"{name}.png", item.size_hw)
        voc_xml(root / "Annotations" / f"{name}.xml", catalog, item, f"{name}.png")
        if lists:
            (root / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
            with open(root / "ImageSets" / "Main" / f"{item.split}.txt", "a", encoding="utf-8") as file:
                file.write(f"{name}\n")
    (root / "classes.txt").write_text("\n".join(catalog.classes), encoding="utf-8")


def voc_xml(path: Path, catalog: Catalog, item: Item, file_name: str):
    """Pixels from 1; xmax, ymax is the last pixel inside."""
    tree = ElementTree.Element("annotation")
    ElementTree.SubElement(tree, "filename").text = file_name
    size = ElementTree.SubElement(tree, "size")
    for key, value in zip(("width", "height", "depth"), (*item.size_hw[::-1], 3), strict=True):
        ElementTree.SubElement(size, key).text = str(value)
    for region in item.regions:
        node = ElementTree.SubElement(tree, "object")
        ElementTree.SubElement(node, "name").text = catalog.classes[region.label]
        ElementTree.SubElement(node, "difficult").text = str(int(region.crowd))
        box = ElementTree.SubElement(node, "bndbox")
        x1, y1, x2, y2 = region.box_xyxy
        for key, value in zip(("xmin", "ymin", "xmax", "ymax"), (x1 + 1, y1 + 1, x2, y2), strict=True):
            ElementTree.SubElement(box, key).text = f"{value:g}"
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(tree).write(path, encoding="utf-8")


def write_cvat(catalog: Catalog, root: Path):
    """As CVAT exports a project: annotations.xml and images/{subset}/; masks as runs of their box, row by row."""
    tree = ElementTree.Element("annotations")
    ElementTree.SubElement(tree, "version").text = "1.1"
    labels = ElementTree.SubElement(ElementTree.SubElement(ElementTree.SubElement(tree, "meta"), "project"), "labels")
    for name in catalog.classes:
        label = ElementTree.SubElement(labels, "label")
        ElementTree.SubElement(label, "name").text = name
    for number, item in enumerate(catalog.items):
        name = f"{item.id.rpartition('/')[2]}.png"
        write_image(root / "images" / item.split / name, item.size_hw)
        height, width = map(str, item.size_hw)
        image = dict(id=str(number), name=name, subset=item.split, width=width, height=height)
        node = ElementTree.SubElement(tree, "image", image)
        for region in item.regions or ():
            tag, attributes = cvat_shape(region, item.size_hw)
            common = dict(label=catalog.classes[region.label], source="manual", occluded="0", z_order="0")
            ElementTree.SubElement(node, tag, common | attributes)
        for label in item.labels or ():
            ElementTree.SubElement(node, "tag", dict(label=catalog.classes[label], source="manual"))
    ElementTree.ElementTree(tree).write(root / "annotations.xml", encoding="utf-8")


def cvat_shape(region: Region, size_hw) -> tuple[str, dict]:
    if region.outline is None:
        return "box", {key: f"{v:.2f}" for key, v in zip(("xtl", "ytl", "xbr", "ybr"), region.box_xyxy, strict=True)}
    if isinstance(region.outline, list):
        pairs = zip(region.outline[0][::2], region.outline[0][1::2], strict=True)
        return "polygon", dict(points=";".join(f"{x:.2f},{y:.2f}" for x, y in pairs))
    x1, y1, x2, y2 = map(int, region.box_xyxy)
    pixels = decode_masks([region.outline], size_hw)[0, y1:y2, x1:x2].ravel().tolist()
    runs, value = [0], 0
    for pixel in pixels:
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    place = dict(left=x1, top=y1, width=x2 - x1, height=y2 - y1)
    return "mask", dict(rle=", ".join(map(str, runs))) | {key: str(number) for key, number in place.items()}


def write_supervisely(catalog: Catalog, root: Path):
    """As Supervisely exports a project: a dataset a split, pixels by index, masks as PNG of their box."""
    classes = [dict(title=name, shape="any", color=f"#0000{number:02x}") for number, name in enumerate(catalog.classes)]
    (root / "meta.json").write_text(json.dumps(dict(classes=classes, tags=[], projectType="images")), encoding="utf-8")
    for item in catalog.items:
        name = f"{item.id.rpartition('/')[2]}.png"
        write_image(root / item.split / "img" / name, item.size_hw)
        objects = [
            dict(classTitle=catalog.classes[region.label], tags=[], **supervisely_shape(region, item.size_hw))
            for region in item.regions
        ]
        size = dict(height=item.size_hw[0], width=item.size_hw[1])
        path = root / item.split / "ann" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dict(description="", tags=[], size=size, objects=objects)), encoding="utf-8")


def supervisely_shape(region: Region, size_hw) -> dict:
    x1, y1, x2, y2 = map(int, region.box_xyxy)
    if region.outline is None:
        return dict(geometryType="rectangle", points=dict(exterior=[[x1, y1], [x2 - 1, y2 - 1]], interior=[]))
    if isinstance(region.outline, list):
        points = np.reshape(region.outline[0], (-1, 2)).astype(int).tolist()
        return dict(geometryType="polygon", points=dict(exterior=points, interior=[]))
    pixels = decode_masks([region.outline], size_hw)[0, y1:y2, x1:x2].numpy()
    return dict(geometryType="bitmap", bitmap=dict(data=supervisely_data(pixels), origin=[x1, y1]))


def supervisely_data(pixels: np.ndarray) -> str:
    """A palette PNG whose first entry is transparent, compressed, in base64."""
    image = Image.fromarray(pixels.astype(np.uint8))
    image.putpalette([0, 0, 0, 255, 255, 255])
    file = io.BytesIO()
    image.save(file, format="PNG", transparency=0)
    return base64.b64encode(zlib.compress(file.getvalue())).decode()


def write_labelstudio(catalog: Catalog, root: Path):
    """As Label Studio exports uploads: a prefix of 8 digits, blanks as underscores, percent of the image."""
    tasks = []
    for number, item in enumerate(catalog.items):
        name = f"{item.id.rpartition('/')[2]}.png"
        write_image(root / item.split / name, item.size_hw)
        results = [
            dict(id=f"r{index}", from_name="label", to_name="image", image_rotation=0)
            | dict(original_height=item.size_hw[0], original_width=item.size_hw[1])
            | labelstudio_value(region, catalog.classes[region.label], item.size_hw)
            for index, region in enumerate(item.regions)
        ]
        upload = f"0a1b2c{number:02x}-{name.replace(' ', '_')}"
        annotation = dict(id=number, completed_by=1, result=results, was_cancelled=False, ground_truth=False)
        data = dict(image=f"/data/upload/3/{upload}")
        tasks.append(dict(id=number, annotations=[annotation], file_upload=upload, predictions=[], data=data))
    (root / "project-3.json").write_text(json.dumps(tasks), encoding="utf-8")
    (root / "classes.txt").write_text("\n".join(catalog.classes), encoding="utf-8")


def labelstudio_value(region: Region, label: str, size_hw) -> dict:
    height, width = size_hw
    x1, y1, x2, y2 = region.box_xyxy
    if region.outline is None:
        sides = dict(width=100 * (x2 - x1) / width, height=100 * (y2 - y1) / height)
        value = dict(x=100 * x1 / width, y=100 * y1 / height, rotation=0, rectanglelabels=[label], **sides)
        return dict(type="rectanglelabels", value=value)
    points = (np.reshape(region.outline[0], (-1, 2)) * 100 / (width, height)).tolist()
    return dict(type="polygonlabels", value=dict(points=points, closed=True, polygonlabels=[label]))
