"""The code of the pages in docs/ runs, and does what the page says of it."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from backbones.contract import check_backbone
from heads.contract import DetectionHead, check_head

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture
def page():
    """Names that the Python blocks of a page define, run in order."""
    from mmengine.registry import DATASETS, METRICS

    registered = [(registry, set(registry.module_dict)) for registry in (DATASETS, METRICS)]

    def run(name):
        names = {}
        for block in re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(encoding="utf-8"), re.S):
            exec(compile(block, name, "exec"), names)
        return names

    yield run
    for registry, before in registered:
        for name in set(registry.module_dict) - before:
            del registry._module_dict[name]


def test_parts_of_ones_own(page, tmp_path):
    """The backbone and the head of docs/contracts.md learn; the data set reads; the metric counts."""
    names = page("contracts.md")
    for stem in "ab":
        Image.new("RGB", (30, 20)).save(tmp_path / f"{stem}.jpg")
        Image.fromarray(np.tile(np.arange(30) // 10, (20, 1)).astype(np.uint8)).save(tmp_path / f"{stem}_mask.png")
    dataset = names["Pairs"](tmp_path, classes=["left", "middle", "right"])
    assert len(dataset) == 2 and dataset.metainfo["classes"] == ("left", "middle", "right")
    sample = dataset[0]
    model = names["model"].train()
    data = model.data_preprocessor({"images": [sample["image"]] * 2, "samples": [{"mask": sample["mask"]}] * 2}, True)
    losses = model(**data, mode="loss")
    sum(losses.values()).backward()
    assert all(weight.grad is not None for weight in model.parameters())
    metric = names["WrongPixels"]()
    metric.update({"mask": torch.zeros(20, 30)}, sample)  # one third of the pixels is class 0
    assert metric.evaluate(1)["wrong"] == pytest.approx(200 / 3)


def test_all_that_a_part_lacks_is_told_at_once():
    class Empty(nn.Module):
        num_classes = 3

    with pytest.raises(TypeError, match=r"(?s)Empty cannot serve as DetectionHead.*set_strides.*forward.*loss.*decode"):
        check_head(Empty(), DetectionHead)
    with pytest.raises(TypeError, match=r"(?s)Backbone.*channels.*strides.*output_stride.*set_output_stride.*forward"):
        check_backbone(Empty())
    with pytest.raises(TypeError, match="base class"):
        check_backbone(object())
