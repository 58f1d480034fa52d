"""Label Studio's own JSON export: all tasks in one file; the images lie beside it or anywhere below the root."""

import posixpath

from xseg.data.formats.catalog import Catalog, Evidence, Format, Item, class_files, class_order, split_of
from xseg.data.formats.images import Images, item_ids, without_image
from xseg.data.formats.regions import no_area_note
from xseg.data.formats.shapes import of_one_kind, of_tags, regions_of
from xseg.data.formats.tree import Tree, folders
from xseg.data.read.labelstudio import Task, file_names, read_labelstudio, upload_name


def find(tree: Tree) -> Evidence | None:
    names = _files(tree)
    if not names:
        return None
    tasks = sum(tree.path(name).read_bytes().count(b'"data"') for name in names)
    return Evidence(max(tasks, 1), f"Label Studio's {names[0]}" + (f" and {len(names) - 1} more" if names[1:] else ""))


def read(tree: Tree) -> Catalog:
    names, images = _files(tree), Images(tree)
    if not names:
        raise ValueError(f"{tree.root} has no JSON file with a list of Label Studio's tasks; name another format")
    files = {name: read_labelstudio(tree.path(name)) for name in names}
    located, missing = _located(images, {name: tasks for name, (tasks, _) in files.items()})
    notes = without_image(missing, len(located) + len(missing), tree, "tasks")
    shapes_there = any(task.regions for task in located.values())
    labels = {
        label
        for task in located.values()
        for label in ((label for label, _ in task.regions) if shapes_there else task.choices)
    }
    if not labels:
        raise ValueError(f"{tree.path(names[0])} has no rectangle, polygon, ellipse or choice; annotate it")
    classes = class_order(tree, labels)
    items, no_area = [], 0
    for id, (name, task) in zip(item_ids(list(located)), located.items(), strict=True):
        size_hw = images.size_hw(name, task.size_hw, task.place)
        regions, count = regions_of(task.shapes(size_hw), classes, size_hw) if shapes_there else (None, 0)
        labels = None if shapes_there else tuple(sorted(map(classes.index, task.choices)))
        items.append(Item(id, tree.path(name), size_hw, split_of(folders(name)), regions=regions, labels=labels))
        no_area += count
    kind, items, kind_notes = (of_one_kind if shapes_there else of_tags)(items)
    notes += kind_notes + no_area_note(no_area) + images.notes()
    counts = {
        "tasks without an annotation are left out": sum(bare for _, bare in files.values()),
        "keypoints, open lines and regions without a label are left out": sum(t.left_out for t in located.values()),
        "second and further annotations of a task are not used": sum(task.others for task in located.values()),
    }
    notes += [f"{count} {what}" for what, count in counts.items() if count]
    ignored = tree.unused([*names, *class_files(tree), *tree.names_of(item.path for item in items)])
    return Catalog("labelstudio", tree.root, kind, classes, tuple(items), ignored=ignored, notes=tuple(notes))


def _located(images: Images, files: dict[str, list[Task]]) -> tuple[dict[str, Task], list[tuple[str, str]]]:
    """{image: its task}, and (JSON file, stated image) of missing ones; ValueError for two tasks of an image."""
    uploaded: dict[str, list[str]] = {}
    for name in images.tree.images:
        uploaded.setdefault(upload_name(posixpath.basename(name)), []).append(name)
    located: dict[str, Task] = {}
    missing = []
    for file, tasks in files.items():
        for task in tasks:
            stated = file_names(task.image)
            name = next((name for path in stated if (name := images.find(path, file))), None)
            if name is None and len(same := uploaded.get(posixpath.basename(stated[-1]), [])) == 1:
                name = same[0]
            if name is None:
                missing.append((file, task.image))
            elif name in located:
                raise ValueError(f"{task.place} has the image of {located[name].place}; keep one of the tasks")
            else:
                located[name] = task
    return located, missing


def _files(tree: Tree) -> list[str]:
    return [name for name in tree.with_suffix(".json") if _is_labelstudio(tree.head(name, 1 << 16))]


def _is_labelstudio(head: str) -> bool:
    keys = '"annotations"' in head or '"completions"' in head
    return head.lstrip("\ufeff \n\r\t").startswith("[") and keys and ('"result"' in head or '"data"' in head)


FORMAT = Format("labelstudio", "Label Studio's JSON: a list of tasks with data and annotations", find, read)
