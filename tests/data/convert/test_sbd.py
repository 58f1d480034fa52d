"""Conversion of SBD on made files with overlapping lists."""

import numpy as np
import pytest
from trees import write_voc

from xseg.data import VOC, read_mask

scipy_io = pytest.importorskip("scipy.io", reason="scipy (xseg[sbd]) is not installed")
sbd = pytest.importorskip("xseg.data.convert.sbd")


@pytest.fixture
def roots(tmp_path):
    """VOC train a, b; val c, d.   SBD train b, c, e; val d, f: (b c d e f + a b) - (c d) = a b e f."""
    voc = write_voc(tmp_path / "voc", train=["a", "b"], val=["c", "d"])
    root = tmp_path / "sbd"
    (root / "dataset" / "cls").mkdir(parents=True)
    (root / "dataset" / "train.txt").write_text("e\nb\nc\n")
    (root / "dataset" / "val.txt").write_text("f\nd\n")
    for id in "bcdef":
        mask = np.full((20, 30), 20, np.uint8)
        mask[0, 0] = 7
        scipy_io.savemat(root / "dataset" / "cls" / f"{id}.mat", {"GTcls": {"Segmentation": mask}})
    for id in "ef":
        (voc / "JPEGImages" / f"{id}.jpg").write_bytes((voc / "JPEGImages" / "a.jpg").read_bytes())
    return root, voc


def test_lists_and_masks(roots):
    root, voc = roots
    with pytest.warns(UserWarning, match="4 images, not 10582"):
        counts = sbd.convert_sbd(root, voc)
    assert counts == dict(sbd=5, voc_train=2, voc_val=2, train_aug=4)
    dataset = VOC(voc, "train_aug", mask_dir="SegmentationClassAug")
    assert [pair[0] for pair in dataset.pairs] == ["a", "b", "e", "f"]
    assert dataset[1]["mask"].unique().tolist() == [0, 1], "b is in both: VOC's own mask"
    assert dataset[2]["mask"].unique().tolist() == [7, 20] and dataset[2]["mask"][0, 0] == 7
    assert read_mask(voc / "SegmentationClassAug" / "c.png").unique().tolist() == [0, 1], "val masks are VOC's"


def test_root_may_be_the_inner_folder(roots):
    root, voc = roots
    with pytest.warns(UserWarning):
        assert sbd.convert_sbd(root / "dataset", voc)["train_aug"] == 4


def test_errors_name_the_file(roots):
    root, voc = roots
    with pytest.raises(FileNotFoundError, match=r"nowhere: no folder cls or dataset/cls"):
        sbd.convert_sbd(root / "nowhere", voc)
    (root / "dataset" / "cls" / "e.mat").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"e\.mat cannot be read"):
        sbd.convert_sbd(root, voc)
    (root / "dataset" / "cls" / "e.mat").unlink()
    with pytest.raises(FileNotFoundError, match=r"e\.mat: no such file; get benchmark\.tgz"):
        sbd.convert_sbd(root, voc)
    assert not (voc / "ImageSets" / "Segmentation" / "train_aug.txt").exists(), "no list without its masks"
    (root / "dataset" / "val.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"val\.txt: no such list"):
        sbd.convert_sbd(root, voc)
