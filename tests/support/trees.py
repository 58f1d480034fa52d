"""Small data sets on disk for the tests of this folder."""

import numpy as np
from PIL import Image

from xseg.data import write_mask


def write_pair(root, id, size_hw=(20, 30), label=1, seed=None):
    """A noise image and a mask of background with a block of `label` in the middle; returns both paths."""
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
    """VOC layout: write_voc(root, train=["a", "b"], val=["c"])."""
    for split, ids in splits.items():
        for id in ids:
            write_pair(root, id)
        write_split(root, split, ids)
    return root
