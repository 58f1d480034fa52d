"""ADE20K's scene parsing challenge."""

from pathlib import Path

from mmengine.registry import DATASETS

from xseg.data.read.classes import IGNORE
from xseg.data.sample import Path_, Transforms
from xseg.data.sets.layout import remedy, require_folder
from xseg.data.sets.segmentation import SegmentationDataset


@DATASETS.register_module()
class ADE20K(SegmentationDataset):
    """ADE20K's scene parsing challenge, 150 classes behind a class 0, "other", that is ignored in masks.

    TensorFlow's weights have those 151 outputs.
    """

    def __init__(self, root: Path_, split: str = "training", transforms: Transforms = (), cache: Path_ | None = None):
        root = Path(root)
        image_dir, mask_dir, table = root / "images" / split, root / "annotations" / split, root / "objectInfo150.txt"
        layout = f"images/{split}/*.jpg, annotations/{split}/*.png, objectInfo150.txt"
        for folder in (root, image_dir, mask_dir):
            require_folder(folder, root, layout, _ADE20K_SOURCE)
        if not table.is_file():
            raise FileNotFoundError(f"{table}: no such file; {remedy(root, layout, _ADE20K_SOURCE)}")
        rows = table.read_text(encoding="utf-8").splitlines()[1:]  # Idx, Ratio, Train, Val, Stuff, Name
        names = [row.split("\t")[-1].split(",")[0].strip() for row in rows if row.strip()]
        pairs = [(image.stem, image, mask_dir / f"{image.stem}.png") for image in sorted(image_dir.glob("*.jpg"))]
        labels = [IGNORE, *range(1, len(names) + 1), *[-1] * (255 - len(names))]
        super().__init__(pairs, ("other", *names), None, transforms, labels, cache)


_ADE20K_SOURCE = "http://sceneparsing.csail.mit.edu (ADEChallengeData2016.zip)"
