"""Conversion of SBD's additional VOC annotations ("train_aug") from .mat files to palette PNGs.

Numbers of the full data: SBD labels 11,355 images (train 8,498, val 2,857), VOC 2012 labels 1,464 + 1,449 = 2,913
(train + val), and 2,237 images are in both. Together these are 11,355 + 2,913 - 2,237 = 12,031 images. Without the
1,449 validation images of VOC, 10,582 remain for training.

Source: Hariharan et al. 2011, "Semantic contours from inverse detectors",
http://home.bharathh.info/pubs/codes/SBD/download.html
"""

import os
import shutil
import warnings
from pathlib import Path

import numpy as np

from xseg.data.read.classes import VOC_CLASSES, voc_palette
from xseg.data.read.images import check_regular, write_mask
from xseg.data.read.layout import read_split
from xseg.data.sample import Path_

NUM_TRAIN_AUG = 10_582


def convert_sbd(sbd_root: Path_, voc_root: Path_) -> dict[str, int]:
    """Write `SegmentationClassAug/*.png` and `ImageSets/Segmentation/train_aug.txt` below `voc_root`.

    The list is (SBD train + SBD val + VOC train) without VOC val, sorted. If VOC labels an image itself, its finer mask
    is copied. The validation masks of VOC are copied, too, so that one folder has both splits.

    Args:
        sbd_root: folder with `cls/*.mat`, `train.txt` and `val.txt`, or with a folder `dataset` (or
            `benchmark_RELEASE/dataset`) that has these.
        voc_root: VOCdevkit/VOC2012.

    Returns:
        dict(sbd, voc_train, voc_val, train_aug): numbers of images. Warns if train_aug is not 10,582.
    """
    sbd, voc = _sbd_folder(Path(sbd_root)), Path(voc_root)
    lists = voc / "ImageSets" / "Segmentation"
    voc_train, voc_val = (_ids(lists / f"{split}.txt", _VOC_REMEDY) for split in ("train", "val"))
    sbd_ids = _ids(sbd / "train.txt", _SBD_REMEDY) | _ids(sbd / "val.txt", _SBD_REMEDY)
    train_aug = sorted((sbd_ids | voc_train) - voc_val)

    out = voc / "SegmentationClassAug"
    out.mkdir(exist_ok=True)
    for id in sorted(voc_train | voc_val):
        source = voc / "SegmentationClass" / f"{id}.png"
        if not source.exists():
            raise FileNotFoundError(f"{source}: no such mask; {_VOC_REMEDY}")
        shutil.copyfile(source, out / source.name)
    for id in train_aug:
        if id not in voc_train:
            write_mask(out / f"{id}.png", read_sbd_mask(sbd / "cls" / f"{id}.mat"), voc_palette(len(VOC_CLASSES)))

    partial = lists / "train_aug.txt.partial"  # last and atomic: it exists only if all masks do
    partial.write_text("\n".join(train_aug) + "\n")
    os.replace(partial, lists / "train_aug.txt")
    if len(train_aug) != NUM_TRAIN_AUG:
        warnings.warn(
            f"train_aug has {len(train_aug)} images, not {NUM_TRAIN_AUG} as with the full SBD and VOC 2012; "
            "check that both are complete",
            stacklevel=2,
        )
    return dict(sbd=len(sbd_ids), voc_train=len(voc_train), voc_val=len(voc_val), train_aug=len(train_aug))


def read_sbd_mask(path: Path_) -> np.ndarray:
    """(H, W) uint8 class ids in VOC's order, without void, of one `cls/*.mat`."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    if not Path(path).exists():
        raise FileNotFoundError(f"{path}: no such file; {_SBD_REMEDY}")
    check_regular(path, "mask")
    try:
        content = loadmat(path, squeeze_me=True, struct_as_record=False)
    except (MatReadError, ValueError, OSError, TypeError) as error:
        raise ValueError(f"{path} cannot be read as a .mat file: {error}; copy it again") from error
    if "GTcls" not in content:
        raise ValueError(f"{path} has no GTcls; use the files from SBD's folder cls, not inst")
    return np.asarray(content["GTcls"].Segmentation, dtype=np.uint8)


_SBD_REMEDY = "get benchmark.tgz from http://home.bharathh.info/pubs/codes/SBD/download.html and unpack all of it"
_VOC_REMEDY = "get VOC 2012 trainval from http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ and unpack all of it"


def _sbd_folder(root: Path) -> Path:
    for folder in (root, root / "dataset", root / "benchmark_RELEASE" / "dataset"):
        if (folder / "cls").is_dir():
            return folder
    raise FileNotFoundError(f"{root}: no folder cls or dataset/cls; {_SBD_REMEDY}")


def _ids(path: Path, remedy: str) -> set[str]:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such list; {remedy}")
    return set(read_split(path))
