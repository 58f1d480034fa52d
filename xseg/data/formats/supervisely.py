"""Supervisely's projects: meta.json and folders {dataset}/{img,ann}, one JSON an image."""

from xseg.data.formats.catalog import Catalog, Evidence, Format, Item, class_files, class_order, split_of
from xseg.data.formats.images import Images, background_note, item_ids, pair
from xseg.data.formats.regions import no_area_note
from xseg.data.formats.shapes import of_one_kind, palette_of, regions_of
from xseg.data.formats.tree import Tree, folders, stem
from xseg.data.read.images import IMAGE_SUFFIXES
from xseg.data.read.supervisely import read_meta, read_supervisely


def find(tree: Tree) -> Evidence | None:
    names = _files(tree)
    if not names:
        return None
    return Evidence(len(names), f"{len(names)} Supervisely files, one an image, first {names[0]}")


def read(tree: Tree) -> Catalog:
    names, images = _files(tree), Images(tree)
    if not names:
        raise ValueError(f"{tree.root} has no JSON file with Supervisely's size and objects; name another format")
    files = {name: read_supervisely(tree.path(name)) for name in names}
    metas = [name for name in tree.with_suffix(".json") if stem(name) == "meta"]
    classes, palette = _classes(tree, metas, {label for file in files.values() for label in file.labels})
    image_of, notes = pair(images, names, lambda name: _image(images, name))
    background = images.unlabelled()
    rows, no_area = [], 0  # (image, size_hw, split that tags state, regions)
    for name, image in image_of.items():
        file = files[name]
        size_hw = images.size_hw(image, file.size_hw, file.path)
        regions, count = regions_of(file.shapes(), classes, size_hw)
        rows.append((image, size_hw, split_of(file.tags), regions))
        no_area += count
    rows += [(image, images.size_hw(image, None, image), None, ()) for image in background]
    kind, items, kind_notes = of_one_kind(
        [
            Item(id, tree.path(image), size_hw, split_of(folders(image)) or split, regions=regions)
            for id, (image, size_hw, split, regions) in zip(item_ids([row[0] for row in rows]), rows, strict=True)
        ]
    )
    notes += kind_notes + background_note(len(background)) + no_area_note(no_area) + images.notes()
    if left_out := sum(files[name].left_out for name in image_of):
        notes.append(f"{left_out} points, lines and other shapes without area are left out")
    ignored = tree.unused([*names, *metas, *class_files(tree), *image_of.values(), *background])
    return Catalog("supervisely", tree.root, kind, classes, tuple(items), palette, ignored=ignored, notes=tuple(notes))


def _classes(tree: Tree, metas: list[str], labels: set[str]):
    """Names and palette in the order of meta.json; without one as `class_order`."""
    if not metas:
        return class_order(tree, labels), None
    colours: dict[str, str | None] = {}
    for name in metas:
        colours |= read_meta(tree.path(name)) | colours
    if unknown := sorted(labels - colours.keys()):
        raise ValueError(f"{tree.path(metas[0])} lacks {', '.join(unknown)}, which labels have; add it to classes")
    return tuple(colours), palette_of(colours.values())


def _image(images: Images, name: str) -> str | None:
    """ann/a.jpg.json belongs to img/a.jpg; older exports write ann/a.json."""
    image = images.find(stem(name), name) if stem(name).lower().endswith(IMAGE_SUFFIXES) else None
    return image or images.find_stem(stem(name), name)


def _files(tree: Tree) -> list[str]:
    return [name for name in tree.with_suffix(".json") if _is_supervisely(name, tree.head(name, 1 << 14))]


def _is_supervisely(name: str, head: str) -> bool:
    keys = '"size"' in head and '"objects"' in head
    return keys and ('"classTitle"' in head or folders(name)[-1:] == ("ann",))


FORMAT = Format("supervisely", "meta.json and one JSON an image with size and objects", find, read)
