"""Rows of the summary, beside published figures, sums on paper, and the model itself."""

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from heads import ClassificationHead, DeepLabV3Plus
from xseg.config import fill_num_classes, load_config
from xseg.models import Classifier, Segmentor
from xseg.models.summary import summarize
from xseg.run.load import build_without_memory


class OneConv(nn.Module):
    """A 3x3 convolution and a ReLU."""

    channels, strides, output_stride = (4,), (1,), 1

    def __init__(self):
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.ReLU()

    def set_output_stride(self, output_stride):
        pass

    def forward(self, images):
        return [self.relu(self.conv(images))]


def deeplab(**backbone):
    """DeepLabv3+ Xception-65 as the config of VOC has it."""
    cfg = load_config("voc/deeplabv3plus", {"model.head.num_classes": 21})
    cfg.model.backbone.update(backbone)
    return build_without_memory(cfg.model.to_dict())


@pytest.mark.parametrize(("output_stride", "gmac", "published"), [(16, 54.035, 54.17), (8, 176.852, 177.10)])
def test_multiply_adds_of_the_paper(output_stride, gmac, published):
    """Chen et al. 2018 (arXiv:1802.02611), Table 5: 0.25 and 0.14 % above the convolutions at 513 x 513."""
    total = summarize(deeplab(output_stride=output_stride), (513, 513), batch=2).total
    assert total.gmac == pytest.approx(gmac, abs=0.001)
    assert total.gmac == pytest.approx(published, rel=0.003)


def test_rows_add_up_to_the_model():
    model = deeplab()
    parts, between, total = summarize(model, (129, 193))
    assert [part.name for part in parts[:5]] == [
        "backbone.stem",
        "backbone.blocks.0, entry 1",
        "backbone.blocks.1, entry 2",
        "backbone.blocks.2, entry 3",
        "backbone.blocks.3, middle 1",
    ]
    assert [part.name for part in parts[19:23]] == [
        "backbone.blocks.18, middle 16",
        "backbone.blocks.19, exit 1",
        "backbone.blocks.20, exit 2",
        "head.image_pooling",
    ]
    assert total.parameters == sum(p.numel() for p in model.parameters()) == sum(part.parameters for part in parts)
    for key in ("gmac", "mib"):
        assert sum(getattr(part, key) for part in (*parts, between)) == pytest.approx(getattr(total, key))
    assert between.gmac == 0 and between.mib > 0
    c5 = parts[21]
    assert c5.maps[0].shape == (2048, 9, 13) and c5.maps[0].stride_hw == (16, 16) and c5.dilation_hw == (2, 2)


def test_memory_counted_on_paper():
    """Two images of 8 x 8: the convolution keeps 3 channels of them, the ReLU 4, the linear layer 4 means an image."""
    model = Classifier(OneConv(), dict(type=ClassificationHead, num_classes=5))
    parts, between, total = summarize(model, (8, 8), batch=2)
    assert [part.name for part in parts] == ["backbone.conv", "head.fc"]
    conv, relu, linear = (4 * 2 * values / 2**20 for values in (3 * 64, 4 * 64, 4))
    assert [part.mib for part in parts] == [conv, linear]
    assert between.mib == pytest.approx(relu) and total.mib == conv + relu + linear
    assert summarize(model, (8, 8), batch=2, dtype=torch.bfloat16).total.mib == total.mib / 2
    assert total.gmac == (64 * 27 * 4 + 4 * 5) / 1e9
    assert total.parameters == 27 * 4 + 4 * 5 + 5
    assert parts[0].maps[0] == ((4, 8, 8), (1, 1), (3, 3))
    assert parts[1].maps[0].field_hw == (float("inf"),) * 2
    assert all(p.device.type == "cpu" and p.dtype == torch.float32 for p in model.parameters())


def test_frozen_and_recomputed_parts_keep_less():
    whole, frozen = (summarize(deeplab(frozen_stages=count), (97, 97)) for count in (0, 1))
    assert whole.parts[0].mib > frozen.parts[0].mib == 0
    recomputed = summarize(deeplab(checkpointing=True), (97, 97))
    assert recomputed.parts[4].mib < 0.1 * whole.parts[4].mib
    assert recomputed.total.gmac == whole.total.gmac


@pytest.mark.parametrize(
    ("config", "backbone", "rows"),
    [
        ("shapes/retinanet", None, {"backbone.stem", "head.fpn", "head.class_tower", "head.regressor"}),
        ("shapes/mask_rcnn", None, {"head.fpn", "head.rpn", "head.box_head", "head.mask_head"}),
        ("shapes/joint", None, {"head.aspp.3", "head.decoder", "detection_head.rpn"}),
        ("shapes/xception", None, {"backbone.blocks.0, entry 1", "backbone.blocks.11, exit 1", "head.fc"}),
        ("quickstart", "timm:resnet18", {"backbone.net.layer1", "backbone.net.layer4", "head.project"}),
        ("quickstart", "smp:mit_b0", {"backbone.net.patch_embed1", "backbone.net.block4"}),
        ("shapes/fcos", "smp:efficientnet-b0", {"backbone.net._blocks.15", "head.fpn"}),
    ],
)
def test_every_kind_of_model(config, backbone, rows):
    cfg = load_config(config, backbone=backbone)
    fill_num_classes(cfg, "train_dataloader")
    parts, _, total = summarize(build_without_memory(cfg.model.to_dict()), (128, 128), 2)
    assert rows <= {part.name for part in parts}
    assert total.parameters == sum(part.parameters for part in parts)
    idle = {part.name.rpartition(".")[2] for part in parts if part.gmac is None}
    assert idle <= {"box_head", "mask_head", "_conv_head", "_bn1"}  # the second stage, and what no level needs
    assert all(part.maps for part in parts if part.gmac is not None)
    for part in parts:
        if part.name == "head.fpn":
            assert [one.stride_hw for one in part.maps] == [(s, s) for s in (8, 16, 32, 64, 128)][: len(part.maps)]


def test_the_auxiliary_head_is_a_part():
    model = MODELS.build(
        dict(
            type=Segmentor,
            backbone=dict(type="AlignedXception", depth=41, width=0.1, out=("c2", "c4", "c5")),
            head=dict(type=DeepLabV3Plus, num_classes=3, channels=8),
            aux_head=dict(type="FCNHead", num_classes=3, level=1),
        )
    )
    names = [part.name for part in summarize(model, (97, 97)).parts]
    assert names[-2:] == ["aux_head.convs", "aux_head.classifier"]


def test_images_that_a_model_cannot_take_are_refused():
    model = build_without_memory(load_config("imagenet/xception").model.to_dict())
    assert summarize(model, (75, 64)).total.gmac > 0
    with pytest.raises(ValueError, match=r"cannot take images of \(2, 64\): .*; give another size"):
        summarize(model, (2, 64))
