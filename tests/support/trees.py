"""Writers of small data sets."""

import numpy as np
from PIL import Image

from xseg.data import write_mask


def write_pair(root, id, size_hw=(20, 30), label=1, seed=None):
    """Write a noise image, and a mask of background with a block of `label`; returns both paths."""
    height, width = size_hw
    rng = np.random.default_rng(sum(id.encode()) if seed is None else seed)
    image_path, mask_path = root / "JPEGImages" / f"{id}.jpg", root / "SegmentationClass" / f"{id}.png"
    for path in (image_path, mask_path):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(image_path)
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : height // 2, width // 4 : width // 2] = label
    write_mask(mask_path, mask)
    return image_path, mask_path


def write_split(root, split, ids):
    path = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{id}\n" for id in ids))


def write_voc(root, **splits):
    """Write VOC's layout: write_voc(root, train=["a", "b"], val=["c"])."""
    for split, ids in splits.items():
        for id in ids:
            write_pair(root, id)
        write_split(root, split, ids)
    return root


def write_cityscapes(root, ids, split="train", city="aachen"):
    """Write noise images in Cityscapes' layout: write_cityscapes(root, {"aachen_000000_000019": ids (H, W)})."""
    images, truth = root / "leftImg8bit" / split / city, root / "gtFine" / split / city
    for folder in (images, truth):
        folder.mkdir(parents=True, exist_ok=True)
    for id, values in ids.items():
        pixels = np.random.default_rng(sum(id.encode())).integers(0, 256, (*values.shape, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{id}_leftImg8bit.png")
        Image.fromarray(values.astype(np.uint16)).save(truth / f"{id}_gtFine_instanceIds.png")
        labels = np.where(values < 1000, values, values // 1000).astype(np.uint8)
        Image.fromarray(labels).save(truth / f"{id}_gtFine_labelIds.png")
    return root


def cityscapes_scene():
    """Instance ids of 12 x 20 pixels: road (7), a car of 3 x 5 cut in two by a pole (17), a second car, a group of
    persons (24), a caravan."""
    ids = np.full((12, 20), 7)
    ids[2:5, 1:6] = 26000
    ids[2:5, 3] = 17
    ids[6:8, 10:14] = 26001
    ids[8:12, 15:20] = 24
    ids[0, 0:4] = 29000  # has instances, but is not evaluated
    return ids


def write_detection(root, objects, ids=("a",), size_hw=(20, 30)):
    """Write VOC's detection layout; every image has the same objects (name, xmin, ymin, xmax, ymax, difficult)."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    height, width = size_hw
    for id in ids:
        Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(root / "JPEGImages" / f"{id}.jpg")
        items = "".join(
            f"<object><name>{name}</name><difficult>{difficult}</difficult><part><bndbox><xmin>1</xmin></bndbox></part>"
            f"<bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox></object>"
            for name, xmin, ymin, xmax, ymax, difficult in objects
        )
        size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        (root / "Annotations" / f"{id}.xml").write_text(f"<annotation>{size}{items}</annotation>")
    (root / "ImageSets" / "Main" / "train.txt").write_text("\n".join(ids) + "\n")
    return root
