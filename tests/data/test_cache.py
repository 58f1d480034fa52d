"""Decoded files kept: the same samples, from sources as they are now, whatever happened while they were written."""

import os
import signal

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from xseg.data import Draw, ImageMaskFolder, MaskModeError, RandomScaleCrop, SegmentationDataset, collate
from xseg.data.sets import segmentation

CROP = [dict(type=RandomScaleCrop, size_hw=(16, 16), scale=(0.5, 2.0))]


@pytest.fixture
def folder(tmp_path):
    """Three noise images of 40 x 30 pixels and masks of two classes."""
    rng = np.random.default_rng(0)
    for name, suffix, shape, high in (("images", "bmp", (30, 40, 3), 256), ("masks", "png", (30, 40), 2)):
        (tmp_path / name).mkdir()
        for index in range(3):
            Image.fromarray(rng.integers(0, high, shape, dtype=np.uint8)).save(tmp_path / name / f"{index}.{suffix}")
    return tmp_path


def dataset(folder, cached=True, **options):
    cache = dict(cache=folder / "cache") if cached else {}
    return ImageMaskFolder(folder / "images", folder / "masks", ["a", "b"], **cache, **options)


def assert_same(one, other):
    assert one["meta"] == other["meta"]
    assert torch.equal(one["image"], other["image"]) and torch.equal(one["mask"], other["mask"])


@pytest.mark.parametrize("transforms", [(), CROP])
def test_samples_are_those_without_a_cache(folder, transforms):
    plain, cached = dataset(folder, False, transforms=transforms), dataset(folder, transforms=transforms)
    for _ in ("written", "read"):
        for seed in range(6):
            assert_same(cached[Draw(seed % 3, seed)], plain[Draw(seed % 3, seed)])
    assert len(list((folder / "cache").glob("*.npy"))) == 6


def test_files_are_decoded_once(folder, monkeypatch):
    first = dataset(folder)[0]
    for name in ("read_image", "read_mask"):
        monkeypatch.setattr(segmentation, name, lambda path: pytest.fail(f"{path} was decoded again"))
    assert_same(dataset(folder)[0], first)


@pytest.mark.parametrize("size_hw", [(30, 40), (20, 50)])
def test_changed_sources_are_decoded_anew(folder, size_hw):
    """Also an image of the same size in bytes: the time tells."""
    before = dataset(folder)[0]
    for name, mode in (("images/0.bmp", "RGB"), ("masks/0.png", "L")):
        path = folder / name
        Image.new(mode, size_hw[::-1]).save(path)
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    for _ in ("written", "read"):
        after = dataset(folder)[0]
        assert_same(after, dataset(folder, False)[0])
        assert after["meta"]["size_hw"] == size_hw and not after["image"].any() and before["image"].any()
    assert len(list((folder / "cache").iterdir())) == 2, "entries are replaced, not gathered"


def test_changes_of_a_sample_do_not_reach_the_entry(folder):
    def blacken(sample):
        sample["image"].zero_()
        sample["mask"].zero_()
        return sample

    for _ in ("written", "read"):
        assert not dataset(folder, transforms=[blacken])[1]["image"].any()
    assert_same(dataset(folder)[1], dataset(folder, False)[1])


def test_a_process_killed_while_writing_leaves_no_entry(folder, monkeypatch):
    def half(file, values):
        file.write(bytes(values.nbytes // 2))
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        np.save = half
        dataset(folder)[0]
        os._exit(1)  # not reached
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert [path.suffix for path in (folder / "cache").iterdir()] == [".part"]
    assert_same(dataset(folder)[0], dataset(folder, False)[0])


@pytest.mark.parametrize("kept", [0, 10, 130, 0.5, -1])
def test_torn_entries_are_written_anew(folder, kept):
    """By a machine that lost its power: cut off in front of, within and behind the header, or one byte short."""
    plain = dataset(folder, False)[0]
    dataset(folder)[0]
    for path in (folder / "cache").iterdir():
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * kept) if 0 < kept < 1 else kept])
    for _ in ("written", "read"):
        assert_same(dataset(folder)[0], plain)


def test_workers_write_one_entry_at_once(folder):
    pairs = dataset(folder, False).pairs[:1] * 12
    several = SegmentationDataset(pairs, ["a", "b"], cache=folder / "cache")
    loader = DataLoader(several, batch_size=1, num_workers=2, collate_fn=collate)
    plain = dataset(folder, False)[0]
    assert sum(torch.equal(batch["images"][0], plain["image"]) for batch in loader) == 12
    assert sorted(path.suffix for path in (folder / "cache").iterdir()) == [".npy"] * 2


def test_labels_are_kept_by_their_table(folder):
    pairs = dataset(folder).pairs
    swapped = SegmentationDataset(pairs, ["a", "b"], label_map=[1, 0, *[-1] * 254], cache=folder / "cache")
    assert torch.equal(1 - swapped[0]["mask"], dataset(folder)[0]["mask"])


def test_faults_are_told_every_time(folder):
    Image.new("RGB", (40, 30)).save(folder / "masks" / "0.png")
    Image.new("L", (40, 30), 7).save(folder / "masks" / "1.png")
    for _ in range(2):
        with pytest.raises(MaskModeError, match=r"0\.png is an RGB image"):
            dataset(folder)[0]
        with pytest.raises(ValueError, match=r"1\.png: label 7 at row 0, column 0"):
            dataset(folder)[1]
    missing = dataset(folder)
    (folder / "images" / "2.bmp").unlink()
    with pytest.raises(FileNotFoundError, match=r"2\.bmp: no such image file"):
        missing[2]


def test_a_folder_that_cannot_be_written_is_named(folder):
    (folder / "cache").write_text("a file")
    with pytest.raises(OSError, match=r"cache .*/cache: 0\.0 MiB cannot be written .*leave cache out"):
        dataset(folder)[0]
