"""The deployment form gives the outputs of the model it was made from, and refuses what it cannot do any more."""

import copy

import pytest
import torch
from peers import shake
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from backbones import AlignedXception, PreactXception, Xception
from backbones.layers import DepthwiseConv
from heads import ClassificationHead, DeepLabV3Plus, DeepLabV3PlusDPC, FCNHead
from xseg.deploy.fold import find_pairs, find_rectified
from xseg.deploy.packing import PackedConv, unshare_relus
from xseg.models import Classifier, Segmentor, TimmBackbone
from xseg.weights import save_safetensors

SMALL = {"output_stride": 16, "width": 0.125}
BACKBONES = {
    "xception41": lambda: AlignedXception(41, **SMALL),
    "xception65": lambda: AlignedXception(65, **SMALL),
    "xception71": lambda: AlignedXception(71, **SMALL),
    "xception": lambda: Xception(**SMALL),
    "preact": lambda: PreactXception(41, **SMALL),
    "resnet18": lambda: TimmBackbone("resnet18", output_stride=16),
}
HEADS = [
    {"type": DeepLabV3Plus},
    {"type": DeepLabV3Plus, "separable": False, "image_pooling": False},
    {"type": DeepLabV3PlusDPC},
]


def segmentor(backbone: str = "xception41", head: dict | None = None, **options) -> Segmentor:
    torch.manual_seed(0)
    model = Segmentor(BACKBONES[backbone](), {"num_classes": 4, "channels": 16, **(head or HEADS[0])}, **options)
    return shake(model)


def norms(model: nn.Module) -> int:
    return sum(isinstance(module, _BatchNorm) for module in model.modules())


@torch.inference_mode()
def assert_same(deployed: nn.Module, model: nn.Module, x: torch.Tensor, tolerance: float) -> None:
    expected = model(x)
    assert (deployed(x) - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("head", HEADS, ids=["aspp", "plain", "dpc"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_same_logits_at_every_stride(backbone, head):
    """Pre-activation keeps 13 BatchNorms: those that read the sums before its blocks 2 to 13, and C2's reader."""
    model = segmentor(backbone, head)
    deployed = model.deploy()
    assert norms(deployed) == (13 if backbone == "preact" else 0)
    x = torch.rand(2, 3, 49, 70, dtype=torch.float64)
    assert_same(deployed, model, x, 1e-9)
    # timm's networks are built anew in float32 for another stride, and their weights rounded to it
    tolerance = 1e-6 if backbone == "resnet18" else 1e-9
    for stride in (8, 32):
        model.set_output_stride(stride)
        deployed.set_output_stride(stride)
        assert_same(deployed, model, x, tolerance)


@pytest.mark.parametrize("backbone", ["xception65", "xception", "preact"])
def test_float32_and_half_precision(backbone):
    model = segmentor(backbone).float()
    x = torch.rand(1, 3, 65, 65)
    assert_same(model.deploy(), model, x, 1e-4)
    for dtype in ("bf16", torch.float16):
        half = model.deploy(dtype)
        assert {p.dtype for p in half.parameters()} == {torch.bfloat16 if dtype == "bf16" else torch.float16}
        with torch.inference_mode():
            assert half(x).dtype == torch.float32
        assert_same(half, model, x, 0.05)


def test_classifier():
    model = shake(Classifier(Xception(32, width=0.125), {"type": ClassificationHead, "num_classes": 5, "dropout": 0.5}))
    assert_same(model.deploy(), model, torch.rand(2, 3, 75, 75, dtype=torch.float64), 1e-9)


def test_what_only_training_needs_is_gone_and_the_model_itself_untouched():
    aux = {"type": FCNHead, "num_classes": 4, "level": -2}
    model = Segmentor(
        AlignedXception(41, 16, ("c2", "c4", "c5"), width=0.125), {**HEADS[0], "num_classes": 4}, aux_head=aux
    ).train()
    before = copy.deepcopy(model.state_dict())
    deployed = model.deploy()
    assert deployed.aux_head is None and not any(isinstance(m, nn.Dropout) for m in deployed.modules())
    assert not deployed.training and model.training and not model.deployed
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert deployed.backbone.stem[0].conv.weight.is_contiguous(memory_format=torch.channels_last)


def test_predict_gives_the_same_labels():
    model = segmentor().float()
    image = torch.randint(0, 256, (3, 50, 40), dtype=torch.uint8)
    assert (model.deploy().predict(image).mask == model.predict(image).mask).mean() > 0.999


def test_training_and_saving_are_refused(tmp_path):
    deployed = segmentor().float().deploy()
    with pytest.raises(ValueError, match=r"deployed model is for prediction.* train the model that deploy"):
        deployed.train()
    with pytest.raises(ValueError, match="train the model that deploy"):
        deployed(torch.rand(1, 3, 33, 33), [{"mask": torch.zeros(33, 33)}], mode="loss")
    deployed.config = {"type": "Segmentor"}
    for save in (
        lambda: deployed.push_to_hub("org/name"),
        lambda: save_safetensors(deployed, {}, tmp_path / "x.safetensors"),
        lambda: torch.save(deployed.state_dict(), tmp_path / "x.pth"),
    ):
        with pytest.raises(ValueError, match="save, convert or push the model that deploy"):
            save()
    assert not any(tmp_path.iterdir())
    with pytest.raises(ValueError, match="deploy the model that deploy"):
        deployed.deploy()
    with pytest.raises(ValueError, match="dtype must be fp32, bf16, fp16"):
        segmentor().deploy("int8")


class Odd(nn.Module):
    """Convolutions and BatchNorms that look like pairs; which of them are is told by the names."""

    def __init__(self):
        super().__init__()
        for name in ("fine", "read_twice", "used_twice", "returned", "relu_between"):
            setattr(self, name, nn.Conv2d(3, 3, 1))
            setattr(self, f"{name}_bn", nn.BatchNorm2d(3))
        self.no_statistics = nn.Conv2d(3, 3, 1)
        self.no_statistics_bn = nn.BatchNorm2d(3, track_running_stats=False)
        self.also_other_bn = nn.BatchNorm2d(3)

    def forward(self, x):
        x = self.fine_bn(self.fine(x))
        y = self.read_twice(x)
        x = self.read_twice_bn(y) + y
        x = self.used_twice_bn(self.used_twice(self.used_twice_bn(self.used_twice(x))))
        x = self.used_twice_bn(self.also_other_bn(self.used_twice(x)))  # three runs of each, but no pair
        x = self.relu_between_bn(self.relu_between(x).relu())
        x = self.no_statistics_bn(self.no_statistics(x))
        y = self.returned(x)
        return self.returned_bn(y), y


def test_only_exact_pairs_are_found():
    model = nn.Module()
    model.backbone = Odd()
    model.forward = model.backbone.forward
    assert [pair.conv for pair in find_pairs(model.eval(), (5, 5))] == ["backbone.fine"]


def test_a_deployed_model_exports():
    deployed = segmentor().float().deploy()
    x = torch.rand(1, 3, 33, 33)
    exported = torch.export.export(deployed, (x,))
    with torch.inference_mode():
        torch.testing.assert_close(exported.module()(x), deployed(x), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_compiled_gives_the_same_logits_at_two_strides():
    model = segmentor().float()
    deployed = model.deploy(compile=True)
    for stride in (16, 8):
        model.set_output_stride(stride)
        deployed.set_output_stride(stride)
        assert_same(deployed, model, torch.rand(1, 3, 65, 65), 1e-4)


class Readers(nn.Module):
    """Convolutions whose readers are told by the names."""

    def __init__(self):
        super().__init__()
        for name in ("relu_alone", "relu_and_sum", "two_relus", "returned", "tanh"):
            setattr(self, name, nn.Conv2d(3, 3, 1))
        self.relu, self.in_place = nn.ReLU(), nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.relu(self.relu_alone(x))
        y = self.relu_and_sum(x)
        x = self.in_place(y) + y
        y = self.two_relus(x)
        x = self.relu(self.tanh(self.relu(y) + y.relu()).tanh())
        y = self.returned(x)
        return self.relu(y), y


def test_only_convolutions_that_relus_alone_read_are_rectified():
    model = nn.Module()
    model.backbone = Readers()
    model.forward = model.backbone.forward
    unshare_relus(model.eval())
    assert find_rectified(model, (5, 5)) == ["backbone.relu_alone", "backbone.two_relus"]


@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize("rectify", [False, True])
def test_a_packed_convolution(groups, rectify):
    """Also when stride and rate change later, for a wide rate, a copy, and where a gradient is asked for."""
    conv = nn.Conv2d(8, 8, 3, padding=1) if groups == 1 else DepthwiseConv(8)
    conv.bias = nn.Parameter(torch.randn(8))
    conv.requires_grad_(False)
    packed = PackedConv(conv, rectify)
    x = torch.randn(2, 8, 21, 18).contiguous(memory_format=torch.channels_last)
    for stride, rate in ((1, 1), (2, 1), (1, 2), (1, 9)):
        for module in (conv, packed):
            module.stride, module.padding, module.dilation = (stride, stride), (rate, rate), (rate, rate)
        expected = conv(x).relu() if rectify else conv(x)
        for net, images in ((packed, x), (copy.deepcopy(packed), x), (packed, x.clone().requires_grad_())):
            torch.testing.assert_close(net(images), expected, rtol=1e-4, atol=1e-5)
    if rectify:
        assert packed(x).min() == 0


def test_a_weight_is_laid_out_for_every_size_of_map_and_kept_once_a_layout():
    """As if each size were the first; of sizes that come again nothing is done."""
    describe, reorder = torch.ops.mkldnn._get_mkldnn_serialized_md, torch.ops.mkldnn._reorder_convolution_weight
    conv = nn.Conv2d(256, 728, 1).requires_grad_(False)
    packed, layouts = PackedConv(conv, False), set()
    for edge in (8, 16, 32, 64, 96, 8, 32):
        x = torch.randn(1, 256, edge, edge).contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(packed(x), conv(x), rtol=1e-4, atol=1e-5)
        shape = ([0, 0], [1, 1], [1, 1], 1)
        fresh = describe(reorder(conv.weight, *shape, list(x.shape)))
        layouts.add(fresh.numpy().tobytes())
        assert torch.equal(describe(packed.packed[((0, 0), (1, 1), (1, 1), 1), x.dtype, x.shape]), fresh)
    assert len(packed.packed) == 5 and packed.layouts.keys() == layouts
    assert not copy.deepcopy(packed).packed


def test_convolutions_are_packed_for_a_cpu():
    deployed = segmentor().float().deploy()
    convs = [module for module in deployed.modules() if isinstance(module, nn.Conv2d)]
    assert all(type(module) is PackedConv for module in convs)
    assert sum(module.rectify for module in convs) > len(convs) / 4
