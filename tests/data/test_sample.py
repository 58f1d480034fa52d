"""The contract of samples: one error lists all that is wrong, and a data set of ten lines trains."""

import copy

import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS

from xseg.config import load_config
from xseg.data import DrawnDataset, ShapesPanoptic, check_sample, collate
from xseg.data.sample import describe
from xseg.run.train import train


@DATASETS.register_module(force=True)
class Squares(DrawnDataset):
    """A white square on black: all that a data set of one's own needs."""

    metainfo = dict(classes=("ground", "square"))  # noqa: RUF012  as a user writes it

    def __len__(self):
        return 8

    def sample(self, index):
        mask = torch.zeros(64, 64, dtype=torch.uint8)
        mask[index : index + 20, 10:30] = 1
        image = mask.expand(3, 64, 64) * 255
        return dict(image=image, mask=mask, meta=dict(id=index, path=f"{index}.png", size_hw=(64, 64)))


@DATASETS.register_module(force=True)
class Boxes(Squares):
    metainfo = dict(classes=("square",))  # noqa: RUF012

    def sample(self, index):
        sample = super().sample(index)
        del sample["mask"]
        boxes = torch.tensor([[10.0, index, 30, index + 20]])
        return sample | dict(boxes_xyxy=boxes, labels=torch.tensor([0]))


@pytest.mark.parametrize("name, kind", [("quickstart", "Squares"), ("fcos_quickstart", "Boxes")])
def test_a_data_set_of_ten_lines_trains(tmp_path, monkeypatch, name, kind):
    monkeypatch.chdir(tmp_path)
    cfg = load_config(name)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset = dict(type=kind)
        loader.update(num_workers=0, persistent_workers=False, batch_size=2)
    runner = train(cfg, dry_run=True)
    assert runner.iter == 2 and runner.cfg.model.head.num_classes == len(DATASETS.get(kind).metainfo["classes"])
    assert not list(tmp_path.iterdir())


def test_samples_of_ours_keep_the_contract(tmp_path):
    dataset = ShapesPanoptic(tmp_path / "s", num_images=dict(train=2, val=1), size_hw=(48, 64))
    check_sample(dataset[0])
    check_sample(Squares()[0])


def whole():
    return dict(
        image=torch.zeros(3, 4, 6, dtype=torch.uint8),
        mask=torch.zeros(4, 6, dtype=torch.uint8),
        boxes_xyxy=torch.zeros(2, 4),
        labels=torch.zeros(2, dtype=torch.int64),
        masks=torch.zeros(2, 4, 6, dtype=torch.uint8),
        iscrowd=torch.zeros(2, dtype=torch.bool),
        label=1,
        meta=dict(id="a", path="a.png", size_hw=(4, 6)),
    )


def test_empty_one_and_many_objects_pass():
    for count in (0, 1, 5):
        objects = dict(
            boxes_xyxy=torch.zeros(count, 4),
            labels=torch.zeros(count, dtype=torch.int64),
            masks=torch.zeros(count, 4, 6, dtype=torch.uint8),
            iscrowd=torch.zeros(count, dtype=torch.bool),
        )
        check_sample(whole() | objects | dict(label=torch.zeros(7)))


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(image=None), r"image must be a uint8 tensor \(3, H, W\), got NoneType"),
        (dict(image=torch.zeros(3, 4, 6)), r"image must be .*, got float32 \(3, 4, 6\)"),
        (dict(image=np.zeros((4, 6, 3))), r"image must be .*, got ndarray \(4, 6, 3\)"),
        (dict(mask=torch.zeros(4, 5, dtype=torch.uint8)), r"mask must be a uint8 tensor \(H, W\), got uint8 \(4, 5\)"),
        (dict(mask=torch.zeros(4, 6, dtype=torch.int64)), r"mask must be .*, got int64 \(4, 6\)"),
        (dict(boxes_xyxy=torch.zeros(2, 4).double()), r"boxes_xyxy must be a float32 tensor \(M, 4\), got float64"),
        (dict(labels=torch.zeros(3, dtype=torch.int64)), r"labels must be a int64 tensor \(M,\), got int64 \(3,\)"),
        (dict(masks=torch.zeros(2, 6, 4, dtype=torch.uint8)), r"masks must be .*\(M, H, W\), got uint8 \(2, 6, 4\)"),
        (dict(iscrowd=torch.zeros(2)), r"iscrowd must be a bool tensor \(M,\), got float32"),
        (dict(label=True), r"label must be an int or a float32 tensor \(num_classes,\), got bool"),
        (dict(meta=None), r"sample 'without id' .*meta must be a dict\(id, path, size_hw\), got NoneType"),
        (dict(meta=dict(id=7)), r"sample 7 .*meta has no path; meta has no size_hw"),
        (dict(meta=dict(id=7, path="a", size_hw=4)), r"meta size_hw must be \(height, width\), got 4"),
    ],
)
def test_a_fault_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        check_sample(whole() | changes)


@pytest.mark.parametrize(
    "absent, message",
    [
        (["image"], "image is missing"),
        (["meta"], "meta is missing"),
        (["labels"], "labels is missing, which boxes_xyxy needs"),
        (["boxes_xyxy"], "boxes_xyxy is missing, which labels and masks need"),
    ],
)
def test_a_missing_key_is_named(absent, message):
    sample = {key: value for key, value in whole().items() if key not in absent}
    with pytest.raises(ValueError, match=message):
        check_sample(sample)


def test_one_error_lists_all_and_comes_from_collate():
    sample = copy.deepcopy(whole())
    del sample["labels"], sample["meta"]["path"]
    sample["mask"] = sample["mask"].long()
    with pytest.raises(ValueError) as error:
        collate([sample])
    for part in ("sample 'a' breaks the contract", "labels is missing", "mask must be", "meta has no path"):
        assert part in str(error.value)
    with pytest.raises(ValueError, match=r"a sample must be a dict .*, got tuple"):
        collate([(1, 2)])


def test_metainfo_without_classes_is_named():
    class Nameless(Squares):
        metainfo = None

    with pytest.raises(ValueError, match=r"Nameless\.metainfo must be a dict .*'classes', got None"):
        describe(dict(type=Nameless))
