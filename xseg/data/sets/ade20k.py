"""ADE20K's scene parsing challenge."""

from pathlib import Path

from mmengine.registry import DATASETS

from xseg.data.read.classes import IGNORE
from xseg.data.read.layout import remedy, require_folder
from xseg.data.sample import Path_, Transforms
from xseg.data.sets.segmentation import SegmentationDataset


@DATASETS.register_module()
class ADE20K(SegmentationDataset):
    """ADE20K's scene parsing challenge: class 0, "other", which masks ignore, and 150 classes.

    TensorFlow's weights have these 151 outputs.
    """

    @staticmethod
    def describe(root: Path_, split: str = "training", **_) -> dict:
        """dict(classes, palette); reads the table of classes only."""
        root, table = Path(root), Path(root) / "objectInfo150.txt"
        require_folder(root, root, _layout(split), _ADE20K_SOURCE)
        if not table.is_file():
            raise FileNotFoundError(f"{table}: no such file; {remedy(root, _layout(split), _ADE20K_SOURCE)}")
        rows = table.read_text(encoding="utf-8").splitlines()[1:]  # Idx, Ratio, Train, Val, Stuff, Name
        names = [row.split("\t")[-1].split(",")[0].strip() for row in rows if row.strip()]
        return SegmentationDataset.describe(("other", *names))

    def __init__(self, root: Path_, split: str = "training", transforms: Transforms = (), cache: Path_ | None = None):
        root = Path(root)
        described = ADE20K.describe(root, split)
        image_dir, mask_dir = root / "images" / split, root / "annotations" / split
        for folder in (image_dir, mask_dir):
            require_folder(folder, root, _layout(split), _ADE20K_SOURCE)
        pairs = [(image.stem, image, mask_dir / f"{image.stem}.png") for image in sorted(image_dir.glob("*.jpg"))]
        num_named = len(described["classes"]) - 1  # without "other"
        labels = [IGNORE, *range(1, num_named + 1), *[-1] * (255 - num_named)]
        super().__init__(pairs, **described, transforms=transforms, label_map=labels, cache=cache)


def _layout(split: str) -> str:
    return f"images/{split}/*.jpg, annotations/{split}/*.png, objectInfo150.txt"


_ADE20K_SOURCE = "http://sceneparsing.csail.mit.edu (ADEChallengeData2016.zip)"
