"""A folder of images and a folder of masks."""

from collections.abc import Sequence
from pathlib import Path

from mmengine.registry import DATASETS

from xseg.data.read.images import IMAGE_SUFFIXES
from xseg.data.sample import Path_, Transforms
from xseg.data.sets.layout import require_folder
from xseg.data.sets.segmentation import SegmentationDataset


@DATASETS.register_module()
class ImageMaskFolder(SegmentationDataset):
    """A folder of images and a folder of masks, paired by file name without its suffix.

    Args:
        classes: names in the order of ids, or the path of a classes.txt.
        mask_suffix: what mask names carry in addition, "_mask" for 12.jpg with 12_mask.png.
    """

    describe = staticmethod(SegmentationDataset.describe)

    def __init__(
        self,
        images: Path_,
        masks: Path_,
        classes: Sequence[str] | Path_,
        transforms: Transforms = (),
        palette: Sequence[Sequence[int]] | None = None,
        mask_suffix: str = "",
        cache: Path_ | None = None,
    ):
        image_of, mask_of = _files_by_stem(Path(images)), _files_by_stem(Path(masks), mask_suffix)
        lone_images, lone_masks = sorted(image_of.keys() - mask_of.keys()), sorted(mask_of.keys() - image_of.keys())
        if lone_images or lone_masks:
            raise ValueError(
                f"{images} and {masks} do not pair by name: {_few(lone_images)} without a mask, {_few(lone_masks)} "
                f"without an image; rename or move these{'' if mask_suffix else ', or set mask_suffix'}"
            )
        pairs = [(stem, image_of[stem], mask_of[stem]) for stem in sorted(image_of)]
        super().__init__(pairs, classes, palette, transforms, cache=cache)


def _files_by_stem(folder: Path, suffix: str = "") -> dict[str, Path]:
    require_folder(folder, folder, "one file per image", "your own images")
    files = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith(".") or not path.stem.endswith(suffix):
            continue
        stem = path.stem.removesuffix(suffix)
        if stem in files:
            raise ValueError(f"{files[stem]} and {path} share one name; keep one of them")
        files[stem] = path
    if not files:
        raise FileNotFoundError(f"{folder} holds no file *{suffix}({'|'.join(IMAGE_SUFFIXES)})")
    return files


def _few(names: list[str]) -> str:
    if not names:
        return "none"
    return f"{len(names)} ({', '.join(names[:5])}{', …' if len(names) > 5 else ''})"
