"""What all models share: the output stride changes whole or not at all."""

import pytest
import torch
from peers import shake
from torch import nn

from backbones import AlignedXception, PreactXception, Xception
from heads import FCOS, ClassificationHead, DeepLabV3Plus, FasterRCNN, FCNHead, MaskRCNN, RetinaNet
from xseg.models import Classifier, Detector, InceptionV3, JointModel, Segmentor, SmpBackbone, SmpDecoder, TimmBackbone
from xseg.models.model import HUB_TASKS

LEVELS = ("c2", "c3", "c4", "c5")
PIXELS = dict(type=DeepLabV3Plus, num_classes=3, channels=8, low_channels=8)
FCN = dict(type=FCNHead, num_classes=3)
SMALL = dict(num_classes=2, channels=8)
DETECTION = {
    "retinanet": dict(type=RetinaNet, num_convs=1, **SMALL),
    "fcos": dict(type=FCOS, num_convs=1, **SMALL),
    "faster_rcnn": dict(type=FasterRCNN, hidden=16, **SMALL),
    "mask_rcnn": dict(type=MaskRCNN, hidden=16, mask_convs=1, **SMALL),
}
BACKBONES = {
    "xception41": dict(type=AlignedXception, depth=41, width=0.125),
    "preact": dict(type=PreactXception, depth=41, width=0.125),
    "xception": dict(type=Xception, width=0.125),
    "timm": dict(type=TimmBackbone, name="resnet18"),
    "smp": dict(type=SmpBackbone, name="resnet18"),
}


class Rigid(nn.Module):
    """A head, or a part of one, that was built for one output stride."""

    num_classes, align_corners = 3, False

    def __init__(self, in_channels, in_strides):
        super().__init__()
        self.built_for, self.conv = tuple(in_strides), nn.Conv2d(in_channels[-1], 3, 1)

    def set_strides(self, in_strides):
        if tuple(in_strides) != self.built_for:
            raise ValueError(f"built for strides {self.built_for}, not {tuple(in_strides)}")

    def forward(self, features):
        return self.conv(features[-1])


def detector(backbone: str = "xception41", head: str = "fcos") -> Detector:
    return Detector(dict(BACKBONES[backbone], out=LEVELS), dict(DETECTION[head]), size=None)


def joint() -> JointModel:
    backbone = dict(BACKBONES["xception41"], out=LEVELS)
    return JointModel(backbone, dict(PIXELS), dict(DETECTION["fcos"]), (1, 2), detection_from=1)


def deployed(model: nn.Module) -> nn.Module:
    return model.eval().deploy(size_hw=(64, 64))


REFUSING = {
    **{f"detector-{name}": lambda name=name: detector(name) for name in BACKBONES},
    **{f"detector-{name}": lambda name=name: detector(head=name) for name in DETECTION},
    "joint": joint,
    "segmentor": lambda: Segmentor(dict(BACKBONES["xception41"]), dict(type=Rigid)),
    "segmentor-aux": lambda: Segmentor(dict(BACKBONES["xception41"]), dict(PIXELS), aux_head=dict(type=Rigid)),
    "segmentor-timm": lambda: Segmentor(dict(BACKBONES["timm"]), dict(type=Rigid)),
    "classifier": lambda: Classifier(InceptionV3(0.125), dict(type=ClassificationHead, num_classes=3)),
    "swin": lambda: Segmentor(dict(type=TimmBackbone, name="swin_tiny_patch4_window7_224", img_size=96), dict(FCN)),
    "deployed-detector": lambda: deployed(detector()),
    "deployed-timm": lambda: deployed(detector("timm")),
    "deployed-joint": lambda: deployed(joint()),
}


def outputs(value) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [tensor for item in value for tensor in outputs(item)] if isinstance(value, (list, tuple)) else []


def parts(model: nn.Module) -> list[tuple]:
    """Every module and tensor by name and identity, and what a convolution does with its input."""
    modules = [(name, id(m), getattr(m, "stride", 0), getattr(m, "dilation", 0)) for name, m in model.named_modules()]
    return modules + [(name, id(value)) for name, value in (*model.named_parameters(), *model.named_buffers())]


@pytest.mark.parametrize("kind", REFUSING)
@torch.no_grad()
def test_an_output_stride_that_a_part_refuses_changes_nothing(kind):
    """The backbone used to keep the new stride, and the head read its maps as if they had the old one."""
    torch.manual_seed(0)
    model = REFUSING[kind]().eval()
    images = torch.rand(1, 3, 96, 96)
    before, known, strides = outputs(model(images)), parts(model), model.backbone.strides
    with pytest.raises(ValueError, match="stride"):
        model.set_output_stride(8)
    assert model.backbone.strides == strides and parts(model) == known
    for value, expected in zip(outputs(model(images)), before, strict=True):
        assert torch.equal(value, expected)


@pytest.mark.parametrize("backbone", BACKBONES)
@torch.no_grad()
def test_a_model_at_another_output_stride_is_the_one_that_is_built_for_it(backbone):
    """Also deployed: its folded weights go into the network that another library builds for the new stride."""
    levels = ("c2", "c4", "c5")
    fine, coarse = (
        Segmentor(dict(BACKBONES[backbone], out=levels, output_stride=stride), dict(PIXELS), aux_head=dict(FCN))
        for stride in (8, 32)
    )
    fine = shake(fine).float().eval()
    coarse.eval().load_state_dict(fine.state_dict())
    images = torch.rand(1, 3, 64, 64)
    expected = fine(images)
    moved = coarse.deploy(size_hw=(64, 64))
    for model in (coarse, moved):
        model.set_output_stride(8)
        assert model.features["in_strides"] == fine.backbone.strides == (4, 8, 8)
        assert (model(images) - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("name", ["UnetPlusPlus", "MAnet", "Linknet", "FPN"])
def test_decoders_of_smp_that_double_every_level_refuse_repeated_strides(name):
    """They were built, and stopped at the first image with "Sizes of tensors must match"."""
    backbone, head = dict(BACKBONES["xception41"], out=("c1", *LEVELS)), dict(type=SmpDecoder, name=name, num_classes=3)
    with pytest.raises(ValueError, match=rf"{name} doubles the size .* got strides \(2, 4, 8, 16, 16\)"):
        Segmentor(dict(backbone, output_stride=16), dict(head))
    model = Segmentor(backbone, head).eval()
    with pytest.raises(ValueError, match=rf"{name} doubles the size .* got strides \(2, 4, 8, 8, 8\)"):
        model.set_output_stride(8)
    assert model(torch.rand(1, 3, 64, 64)).shape == (1, 3, 64, 64)


@pytest.mark.parametrize("name", ["DeepLabV3", "DeepLabV3Plus", "PAN"])
def test_decoders_of_smp_with_fixed_rates_keep_their_output_stride(name):
    """At another stride their atrous rates of the old one read the maps at other distances than in training."""
    backbone = dict(BACKBONES["xception41"], out=("c1", *LEVELS), output_stride=16)
    model = Segmentor(backbone, dict(type=SmpDecoder, name=name, num_classes=3)).eval()
    with pytest.raises(ValueError, match=f"{name} was built for output stride 16, not 8"):
        model.set_output_stride(8)
    assert model(torch.rand(1, 3, 128, 128)).shape == (1, 3, 128, 128)


@pytest.mark.parametrize(
    ("build", "tasks"),
    [
        (
            lambda: Segmentor(dict(BACKBONES["xception41"]), dict(PIXELS)),
            ("image-segmentation", "semantic-segmentation"),
        ),
        (detector, ("object-detection",)),
        (lambda: detector(head="mask_rcnn"), ("image-segmentation", "instance-segmentation", "object-detection")),
        (joint, ("image-segmentation", "semantic-segmentation", "object-detection")),
        (
            lambda: Classifier(InceptionV3(0.125), dict(type=ClassificationHead, num_classes=3)),
            ("image-classification",),
        ),
    ],
)
def test_the_hub_is_told_what_a_model_does(build, tasks):
    """A detector was tagged "image-classification", and every model "deeplabv3plus"."""
    assert build().hub_tasks == tasks


EVERY = {
    "segmentation": lambda **options: Segmentor(
        dict(BACKBONES["xception41"]), dict(PIXELS), aux_head=dict(FCN), **options
    ),
    "detection": lambda **options: Detector(
        dict(BACKBONES["xception41"], out=LEVELS), dict(DETECTION["retinanet"]), size=None, **options
    ),
    "instances": lambda **options: Detector(
        dict(BACKBONES["xception41"], out=LEVELS), dict(DETECTION["mask_rcnn"]), size=None, **options
    ),
    "joint": lambda **options: JointModel(
        dict(BACKBONES["xception41"], out=LEVELS), dict(PIXELS), dict(DETECTION["fcos"]), (1, 2), 1, **options
    ),
    "panoptic": lambda **options: JointModel(
        dict(BACKBONES["xception41"], out=LEVELS), dict(PIXELS), dict(DETECTION["mask_rcnn"]), (1, 2), **options
    ),
    "classification": lambda **options: Classifier(
        dict(BACKBONES["xception"]), dict(type=ClassificationHead, num_classes=3), **options
    ),
    "multilabel": lambda **options: Classifier(
        dict(BACKBONES["xception"]), dict(type=ClassificationHead, num_classes=3), multi_label=True, **options
    ),
}


@pytest.mark.parametrize("task", EVERY)
def test_every_model_names_its_task(task):
    assert EVERY[task]().task == task and task in HUB_TASKS


@pytest.mark.parametrize("task", EVERY)
@torch.no_grad()
def test_every_model_takes_channels_last(task):
    torch.manual_seed(0)
    plain, fast = (EVERY[task](**options).eval() for options in ({}, {"channels_last": True}))
    fast.load_state_dict(plain.state_dict())
    seen = []
    fast.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    images = torch.rand(1, 3, 96, 100)
    for value, expected in zip(outputs(fast(images)), outputs(plain(images)), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-4)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    weights = [p for part in fast.networks for p in part.parameters() if p.ndim == 4]
    assert len(weights) > 10 and all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)


@pytest.mark.parametrize("task", EVERY)
def test_every_model_can_be_compiled(task, monkeypatch):
    """Backbone and every head are compiled, an auxiliary one too; names of weights stay."""
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda module: compiled.append(module))
    model = EVERY[task](compiled=True)
    assert compiled == model.networks and len(compiled) == len(model.first_levels) + 1
    assert model.state_dict().keys() == EVERY[task]().state_dict().keys()


@pytest.mark.slow
@pytest.mark.parametrize("task", EVERY)
@torch.no_grad()
def test_a_compiled_model_gives_the_same_outputs(task, monkeypatch):
    compile_with = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda module: compile_with(module, backend="aot_eager"))
    torch.manual_seed(0)
    plain, fast = (EVERY[task](compiled=compiled).eval() for compiled in (False, True))
    fast.load_state_dict(plain.state_dict())
    for size_hw in ((96, 100), (128, 96)):
        images = torch.rand(1, 3, *size_hw)
        for value, expected in zip(outputs(fast(images)), outputs(plain(images)), strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("task", EVERY)
def test_the_form_for_export_or_the_obstacle(task):
    """A model is exported as plain tensors under their names, or says what in it cannot be exported."""
    model = EVERY[task]().eval()
    obstacles = {"instances": "a second stage, as MaskRCNN has"}
    obstacles |= dict.fromkeys(("joint", "panoptic"), "two heads, as a JointModel has")
    assert model.export_obstacle == obstacles.get(task)
    if model.export_obstacle:
        return
    form = model.export_form()
    assert len(form.inputs) == len(form.example)
    assert form.metadata["task"] == type(model).__name__.lower()
    with torch.no_grad():
        assert len(outputs([form.module(*form.example)])) == len(form.outputs)


@pytest.mark.parametrize("size_hw", [(1, 1), (31, 32), (33, 64), (513, 65)])
def test_images_are_padded_to_the_grid_of_the_maps(size_hw):
    """At stride 32: k * 32 pixels, with aligned corners k * 32 + 1."""
    model, aligned = detector(), Segmentor(dict(BACKBONES["xception41"]), dict(PIXELS, align_corners=True))
    images = torch.ones(1, 3, *size_hw)
    for padded, extra in ((model.padded(images), 0), (aligned.padded(images), 1)):
        assert all((side - extra) % 32 == 0 for side in padded.shape[-2:])
        assert all(0 <= new - old < 32 for new, old in zip(padded.shape[-2:], size_hw, strict=True))
        assert padded.sum() == images.sum() and padded[..., : size_hw[0], : size_hw[1]].min() == 1
