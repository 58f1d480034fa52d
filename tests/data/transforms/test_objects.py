"""Copy-paste on images made by hand: what is pasted hides, what is hidden shrinks or goes, keys stay together."""

import pytest
import torch
from torchvision import tv_tensors

from xseg.data import CopyPaste, Draw, ShapesDetection
from xseg.data.transforms.objects import paste


def sample(boxes_xyxy, value, size_hw=(10, 12), crowds=(), **more):
    """An image full of `value`, objects i = 0, 1, … painted with value + 1 + i."""
    image = torch.full((3, *size_hw), value, dtype=torch.uint8)
    masks = torch.zeros(len(boxes_xyxy), *size_hw, dtype=torch.uint8)
    for index, (x1, y1, x2, y2) in enumerate(boxes_xyxy):
        image[:, y1:y2, x1:x2] = value + 1 + index
        masks[index, y1:y2, x1:x2] = 1
    boxes = torch.tensor(boxes_xyxy, dtype=torch.float32).reshape(-1, 4)
    return dict(
        image=tv_tensors.Image(image),
        boxes_xyxy=tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size_hw),
        labels=torch.arange(len(boxes_xyxy)) + value,
        iscrowd=torch.tensor([index in crowds for index in range(len(boxes_xyxy))], dtype=torch.bool),
        area=torch.arange(len(boxes_xyxy)) * 10.0,
        masks=tv_tensors.Mask(masks),
        meta=dict(id=value, path=f"{value}.png", size_hw=size_hw),
        **more,
    )


BELOW = [(0, 0, 4, 4), (6, 1, 10, 3), (1, 6, 3, 8), (4, 1, 7, 2)]
ABOVE = [(2, 1, 6, 9), (0, 5, 4, 9)]


def test_by_hand():
    """The first pasted object, columns 2-5, rows 1-8, cuts the first below to an L, its box stays 0-4; it hides
    columns 4-5 of the fourth, whose box shrinks to 6-7; it hides column 2 of the third: 1-2. The second stays."""
    below, above = sample(BELOW, 100), sample(ABOVE, 200)
    out = paste(below, above, torch.tensor([True, False]))
    assert out["labels"].tolist() == [100, 101, 102, 103, 200] and out["area"].tolist() == [0, 10, 20, 30, 0]
    assert out["boxes_xyxy"].tolist() == [[0, 0, 4, 4], [6, 1, 10, 3], [1, 6, 2, 8], [6, 1, 7, 2], [2, 1, 6, 9]]
    assert out["masks"].flatten(1).sum(1).tolist() == [16 - 6, 8, 2, 1, 32]
    assert out["masks"].sum(0).max() == 2, "what overlapped before (6, 1) still does"
    assert out["image"][0, 4].tolist() == [100, 100, 201, 201, 201, 201, 100, 100, 100, 100, 100, 100]
    assert out["image"][0, 1].tolist() == [101, 101, 201, 201, 201, 201, 104, 102, 102, 102, 100, 100]
    assert out["meta"] == below["meta"] and len(below["labels"]) == 4 and below["image"][0, 4, 2] == 100
    assert isinstance(out["masks"], tv_tensors.Mask) and isinstance(out["boxes_xyxy"], tv_tensors.BoundingBoxes)


def test_hidden_objects_go_and_small_remainders_by_request():
    """(2, 2, 4, 4) is hidden whole; of (0, 0, 3, 3) five of nine pixels stay; a pixel that nobody touches stays."""
    below, above = sample([(2, 2, 4, 4), (0, 0, 3, 3), (9, 9, 10, 10)], 100), sample([(1, 1, 6, 6)], 200)
    everything = torch.tensor([True])
    assert paste(below, above, everything)["labels"].tolist() == [101, 102, 200]
    assert paste(below, above, everything, min_pixels=5)["labels"].tolist() == [101, 102, 200]
    assert paste(below, above, everything, min_pixels=6)["labels"].tolist() == [102, 200]


def test_images_of_different_sizes():
    """6 x 12 and 10 x 5 make 10 x 12, padded with the fill where neither is."""
    below = sample([(0, 0, 2, 2)], 100, (6, 12), mask=tv_tensors.Mask(torch.zeros(6, 12, dtype=torch.uint8)))
    above = sample([(1, 4, 4, 10)], 200, (10, 5), mask=tv_tensors.Mask(torch.ones(10, 5, dtype=torch.uint8)))
    out = paste(below, above, torch.tensor([True]), fill=(1, 2, 3))
    assert out["image"].shape == (3, 10, 12) and out["masks"].shape == (2, 10, 12)
    assert out["boxes_xyxy"].canvas_size == (10, 12) and out["boxes_xyxy"].tolist() == [[0, 0, 2, 2], [1, 4, 4, 10]]
    assert out["image"][:, 8].T.tolist()[:5] == [[1, 2, 3], *[[201] * 3] * 3, [1, 2, 3]]
    assert out["mask"][8].tolist() == [255, 1, 1, 1, *[255] * 8] and out["mask"][5].tolist() == [0, 1, 1, 1, *[0] * 8]


def test_crowds_empty_images_and_chances():
    torch.manual_seed(0)
    crowd = sample(ABOVE, 200, crowds=(0, 1))
    empty = sample([], 100)
    assert CopyPaste(p_object=1)(empty, lambda: crowd) is empty
    assert CopyPaste(p_object=1)(empty, lambda: sample(ABOVE, 200))["labels"].tolist() == [200, 201]
    assert CopyPaste()(sample(BELOW, 100), lambda: empty)["labels"].tolist() == [100, 101, 102, 103]
    below = sample(BELOW, 100)
    assert CopyPaste(p=0)(below, lambda: pytest.fail("read for nothing")) is below
    pasted = [(CopyPaste()(empty, lambda: sample(ABOVE, 200))["labels"] >= 200).sum() for _ in range(200)]
    assert sum(pasted) == pytest.approx(200, abs=45), "half of two objects"


def test_in_a_data_set_reproducible_by_its_draw(tmp_path):
    """The second image went through the jitter, too; a draw gives the same, other draws others."""
    transforms = [dict(type="ScaleJitter", size_hw=(48, 48), scale=(0.5, 2)), dict(type="CopyPaste", p_object=1)]
    small = dict(num_images=dict(train=5, val=1), size_hw=(64, 80), with_masks=True)
    dataset = ShapesDetection(tmp_path / "shapes", transforms=transforms, **small)
    first, again, other = (dataset[Draw(1, seed)] for seed in (7, 7, 8))
    assert torch.equal(first["image"], again["image"]) and torch.equal(first["masks"], again["masks"])
    assert first["image"].shape != other["image"].shape or not torch.equal(first["image"], other["image"])
    seen = set()
    for seed in range(12):
        drawn = dataset[Draw(seed % 5, seed)]
        assert max(drawn["image"].shape[1:]) <= 48 and type(drawn["masks"]) is torch.Tensor
        counts = {len(drawn[key]) for key in ("boxes_xyxy", "labels", "iscrowd", "area", "masks")}
        assert len(counts) == 1 and (drawn["masks"].sum(0) <= 1).all()
        for mask, box in zip(drawn["masks"], drawn["boxes_xyxy"], strict=True):
            rows, columns = torch.nonzero(mask, as_tuple=True)
            x1, y1, x2, y2 = box.tolist()  # of a cut object, which may lie in a part of what the crop left of its box
            assert x1 - 1 <= columns.min() and columns.max() + 1 <= x2 + 1
            assert y1 - 1 <= rows.min() and rows.max() + 1 <= y2 + 1
        seen |= counts
    assert max(seen) > 5, "more objects than any scene has"


def test_wrong_use():
    with pytest.raises(ValueError, match="p_object must be a probability from 0 to 1, got 2"):
        CopyPaste(p_object=2)
    with pytest.raises(ValueError, match="min_pixels must be at least 1, got 0"):
        CopyPaste(min_pixels=0)
    plain = sample(BELOW, 100)
    del plain["masks"]
    with pytest.raises(ValueError, match=r"100\.png: CopyPaste needs instance masks; set with_masks=True"):
        CopyPaste()(plain, lambda: plain)
