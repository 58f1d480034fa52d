"""Listing, reading and checking samples; augmentation that depends on the draw alone."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS
from PIL import Image
from torch.utils.data import DataLoader
from trees import write_detection, write_pair, write_voc

from xseg.data import (
    VOC,
    VOC_CLASSES,
    Cityscapes,
    Draw,
    ImageMaskFolder,
    SegmentationDataset,
    VOCDetection,
    collate,
    write_mask,
)

SHARED = Path(__file__).parents[3].parent / "shared" / "data"
AUGMENT = [
    dict(type="RandomScaleCrop", size_hw=(16, 16)),
    dict(type="RandomFlip"),
    dict(type="PhotometricDistortion"),
]


def assert_same(first, second):
    assert torch.equal(first["image"], second["image"]) and torch.equal(first["mask"], second["mask"])
    assert first["meta"] == second["meta"]


def test_sample_is_the_contract(tmp_path):
    dataset = VOC(write_voc(tmp_path, train=["a", "b"]))
    sample = dataset[1]
    assert sample.keys() == {"image", "mask", "meta"}
    assert type(sample["image"]) is torch.Tensor and type(sample["mask"]) is torch.Tensor
    assert sample["image"].dtype == sample["mask"].dtype == torch.uint8
    assert sample["image"].shape == (3, 20, 30) and sample["mask"].shape == (20, 30)
    assert sample["image"].untyped_storage().nbytes() == 3 * 20 * 30, "nothing travels with it"
    assert sample["meta"] == dict(id="b", path=str(tmp_path / "JPEGImages" / "b.jpg"), size_hw=(20, 30))
    assert dataset.metainfo["classes"] == VOC_CLASSES and dataset.metainfo["palette"][1] == (128, 0, 0)
    assert len(dataset) == 2


def test_size_in_meta_is_that_before_the_transforms(tmp_path):
    sample = VOC(write_voc(tmp_path, train=["a"]), transforms=AUGMENT)[0]
    assert sample["image"].shape == (3, 16, 16) and sample["meta"]["size_hw"] == (20, 30)


def test_builds_by_name_from_a_config(tmp_path):
    dataset = DATASETS.build(dict(type="VOC", root=write_voc(tmp_path, train=["a"]), transforms=AUGMENT))
    assert isinstance(dataset, VOC) and len(dataset.transforms) == 3


def test_classes_file_in_the_root_is_taken(tmp_path):
    write_voc(tmp_path, train=["a"])
    (tmp_path / "classes.txt").write_text("ground\nblock\n")
    assert VOC(tmp_path).classes == ("ground", "block")
    assert VOC(tmp_path, classes=["x", "y", "z"]).classes == ("x", "y", "z")


def test_image_without_mask(tmp_path):
    image, _ = write_pair(tmp_path, "a")
    sample = SegmentationDataset([("a", image, None)], ["x"])[0]
    assert sample.keys() == {"image", "meta"}
    assert collate([sample])["samples"] == [dict(meta=sample["meta"])]


def test_collate_keeps_sizes_apart(tmp_path):
    write_pair(tmp_path, "a", (10, 11))
    write_pair(tmp_path, "b", (12, 9))
    dataset = ImageMaskFolder(tmp_path / "JPEGImages", tmp_path / "SegmentationClass", ["x", "y"])
    batch = collate([dataset[0], dataset[1]])
    assert [tuple(image.shape) for image in batch["images"]] == [(3, 10, 11), (3, 12, 9)]
    assert [sample["meta"]["id"] for sample in batch["samples"]] == ["a", "b"]
    assert all(sample.keys() == {"mask", "meta"} for sample in batch["samples"])


# draws


def test_same_draw_same_sample(tmp_path):
    dataset = VOC(write_voc(tmp_path, train=["a"]), transforms=AUGMENT)
    state = torch.get_rng_state()
    first = dataset[Draw(0, 5)]
    assert torch.equal(torch.get_rng_state(), state), "a draw must leave the global generator as it was"
    torch.rand(3)
    assert_same(first, dataset[Draw(0, 5)])
    assert not torch.equal(first["image"], dataset[Draw(0, 6)]["image"])


def test_workers_do_not_change_samples(tmp_path):
    dataset = VOC(write_voc(tmp_path, train=["a", "b", "c"]), transforms=AUGMENT)
    draws = [Draw(index % 3, 100 + index) for index in range(8)]
    runs = [
        [
            (image, sample)
            for batch in DataLoader(dataset, 2, sampler=draws, num_workers=workers, collate_fn=collate)
            for image, sample in zip(batch["images"], batch["samples"], strict=True)
        ]
        for workers in (0, 2)
    ]
    assert len(runs[0]) == len(runs[1]) == 8
    for (image, sample), (other_image, other_sample) in zip(*runs, strict=True):
        assert_same(dict(sample, image=image), dict(other_sample, image=other_image))


# errors


@pytest.mark.parametrize("count", [1, 2, 254, 255, 256])
def test_every_label_is_mapped_or_refused(count, tmp_path):
    """Of 256 values the first `count` are allowed, and become ids in reverse; all ids but one may be taken."""
    label_map = [*reversed(range(count)), *[-1] * (256 - count)]
    dataset = SegmentationDataset([("a", "a.jpg", None)], ["x"], label_map=label_map)
    values = torch.arange(256, dtype=torch.uint8)[None]
    assert dataset.map_labels(values[:, :count], "a.png")[0].tolist() == label_map[:count]
    for wrong in range(count, 256):
        with pytest.raises(ValueError, match=f"a.png: label {wrong} at row 0, column 1,"):
            dataset.map_labels(values[:, [0, wrong]], "a.png")


def test_label_out_of_range_names_the_pixel(tmp_path):
    """The first wrong pixel in reading order; 255 before it is no fault."""
    image, mask_path = write_pair(tmp_path, "2007_000032", (20, 90))
    mask = np.zeros((20, 90), np.uint8)
    mask[3, 3], mask[12, 80], mask[15, 2] = 255, 37, 40
    write_mask(mask_path, mask)
    dataset = SegmentationDataset([("2007_000032", image, mask_path)], VOC_CLASSES)
    message = f"{mask_path}: label 37 at row 12, column 80, but the data set has 21 classes (ignore 255)"
    with pytest.raises(ValueError) as error:
        dataset[0]
    assert str(error.value) == message


def test_size_mismatch_names_both_files(tmp_path):
    image, mask = write_pair(tmp_path, "a", (20, 30))
    Image.new("L", (20, 30)).save(mask)
    with pytest.raises(ValueError, match=r"a\.jpg is 30x20 .* its mask .*a\.png is 20x30; .*EXIF"):
        SegmentationDataset([("a", image, mask)], ["x"])[0]


def test_missing_root_tells_layout_and_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such folder; expected .*JPEGImages.*--data-root"):
        VOC(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such folder; expected .*leftImg8bit.*--data-root"):
        Cityscapes(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        ImageMaskFolder(tmp_path / "nowhere", tmp_path, ["x"])


def test_missing_and_empty_splits(tmp_path):
    write_voc(tmp_path, train=["a"], empty=[])
    with pytest.raises(FileNotFoundError, match=r"test\.txt: no such split; splits there: empty, train"):
        VOC(tmp_path, "test")
    with pytest.raises(ValueError, match=r"empty\.txt lists no image"):
        VOC(tmp_path, "empty")
    with pytest.raises(ValueError, match="no images"):
        SegmentationDataset([], ["x"])


@pytest.mark.parametrize("kind", [VOC, VOCDetection])
def test_a_line_of_a_split_is_one_name(tmp_path, kind):
    """`i1 old` was cut at the blank, so that i1 was trained in its place; a BOM hid in the first name."""
    names = ["i1 old", "i1", "übung.2"]
    write_voc(tmp_path, train=names)
    write_detection(tmp_path, [("dog", 1, 1, 9, 9, 0)], ids=names)
    folder = "Segmentation" if kind is VOC else "Main"
    path = tmp_path / "ImageSets" / folder / "train.txt"
    path.write_bytes("i1 old  \r\n\r\n i1\r\nübung.2\r\n".encode("utf-8-sig"))
    dataset = kind(tmp_path)
    assert [sample["meta"]["id"] for sample in dataset] == names
    assert [Path(sample["meta"]["path"]).name for sample in dataset] == [f"{name}.jpg" for name in names]


@pytest.mark.parametrize("kind", [VOC, VOCDetection])
def test_two_images_of_one_name_are_refused(tmp_path, kind):
    """The order of the folder chose one."""
    write_voc(tmp_path, train=["a", "b"])
    write_detection(tmp_path, [("dog", 1, 1, 9, 9, 0)], ids=["a", "b"])
    Image.new("RGB", (30, 20)).save(tmp_path / "JPEGImages" / "other.jpg")
    Image.new("RGB", (30, 20)).save(tmp_path / "JPEGImages" / "other.png")
    assert len(kind(tmp_path)) == 2, "of no image that is listed"
    Image.new("RGB", (30, 20)).save(tmp_path / "JPEGImages" / "b.png")
    with pytest.raises(ValueError, match=r"b\.jpg and b\.png are both images of b; keep one of them"):
        kind(tmp_path)


def test_lone_stems_are_reported(tmp_path):
    image, _ = write_pair(tmp_path, "a")
    _, mask = write_pair(tmp_path, "b")
    write_pair(tmp_path, "c")
    image.unlink()
    mask.unlink()
    with pytest.raises(ValueError, match=r"1 \(b\) without a mask, 1 \(a\) without an image"):
        ImageMaskFolder(tmp_path / "JPEGImages", tmp_path / "SegmentationClass", ["x", "y"])


def test_mask_suffix(tmp_path):
    _, mask = write_pair(tmp_path, "a")
    mask.rename(mask.with_name("a_mask.png"))
    dataset = ImageMaskFolder(mask.parents[1] / "JPEGImages", mask.parent, ["x", "y"], mask_suffix="_mask")
    assert dataset[0]["mask"].unique().tolist() == [0, 1]


@pytest.mark.parametrize("wrong", [dict(palette=[(0, 0, 0)]), dict(label_map=[0, 1]), dict(classes=["x", "x"])])
def test_wrong_arguments(tmp_path, wrong):
    image, mask = write_pair(tmp_path, "a")
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SegmentationDataset([("a", image, mask)], **dict(dict(classes=["x", "y"]), **wrong))


# layouts


def test_cityscapes_ids_become_train_ids(tmp_path):
    """Raw row: unlabeled, road, bicycle, 255 (the licence plate's -1) -> ignore, 0, 18, ignore."""
    for city in ("ulm", "bonn"):
        for folder, ending, value in (
            ("leftImg8bit", "leftImg8bit", np.zeros((2, 4, 3), np.uint8)),
            ("gtFine", "gtFine_labelIds", np.array([[0, 7, 33, 255]] * 2, np.uint8)),
        ):
            path = tmp_path / folder / "val" / city / f"{city}_000001_000019_{ending}.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(value).save(path)
    dataset = Cityscapes(tmp_path, "val")
    assert [pair[0] for pair in dataset.pairs] == ["bonn_000001_000019", "ulm_000001_000019"]
    assert dataset[0]["mask"].tolist() == [[255, 0, 18, 255]] * 2
    assert len(dataset.metainfo["classes"]) == 19
    Image.fromarray(np.array([[0, 7, 34, 255]] * 2, np.uint8)).save(dataset.pairs[0][2])
    with pytest.raises(ValueError, match="label 34 at row 0, column 2, but the data set has 19 classes"):
        dataset[0]


@pytest.mark.parametrize(
    "name, split, length, num_classes, size_hw", [("voc3", "val", 3, 21, None), ("camvid", "val", 101, 11, (360, 480))]
)
def test_real_data(name, split, length, num_classes, size_hw):
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is not on this machine")
    dataset = VOC(SHARED / name, split)
    assert len(dataset) == length and len(dataset.classes) == num_classes
    for index in range(3):
        sample = dataset[index]
        assert sample["image"].shape[1:] == sample["mask"].shape
        assert len(sample["mask"].unique()) > 1
        assert size_hw is None or sample["meta"]["size_hw"] == size_hw


def test_paths_in_errors_are_as_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_voc(Path("data/voc"), train=["a"])
    Path("data/voc/SegmentationClass/a.png").unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(str(Path("data/voc/SegmentationClass/a.png")))):
        VOC("data/voc")[0]
