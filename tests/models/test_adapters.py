import importlib

import pytest
import segmentation_models_pytorch as smp
import torch
import torchvision
from torchvision.models.detection import RetinaNet

import xseg.models.smp_encoders
from backbones import AlignedXception, Xception
from heads import DeepLabV3Plus
from xseg.engine.saving import dotted_name
from xseg.models import InceptionV3, Segmentor, SmpBackbone, SmpDecoder, TimmBackbone, TorchvisionBackbone

LEVELS = ("c1", "c2", "c3", "c4", "c5")


def small(**options):
    return AlignedXception(41, width=0.125, **options)


BACKBONES = [
    {"type": AlignedXception, "depth": 41, "width": 0.125},
    {"type": Xception, "width": 0.125},
    {"type": TimmBackbone, "name": "resnet18"},
    {"type": TimmBackbone, "name": "convnext_atto"},
    {"type": SmpBackbone, "name": "resnet18"},
    {"type": SmpBackbone, "name": "tu-mobilenetv3_small_050"},
]


@pytest.mark.parametrize("config", BACKBONES, ids=lambda c: c.get("name", c["type"].__name__))
@pytest.mark.parametrize("output_stride", [16, 32])
def test_a_backbone_swap_is_one_line(config, output_stride):
    """Each trains a step under the same head; its channels and strides tell the truth."""
    model = Segmentor(
        {**config, "output_stride": output_stride}, {"type": DeepLabV3Plus, "num_classes": 3, "channels": 16}
    )
    features = model.backbone(torch.rand(2, 3, 64, 96))
    assert [f.shape[1] for f in features] == [*model.backbone.channels]
    assert [96 // f.shape[-1] for f in features] == [*model.backbone.strides] == [4, output_stride]
    masks = [{"mask": torch.randint(0, 3, (64, 96), dtype=torch.uint8)} for _ in range(2)]
    loss = model(torch.rand(2, 3, 64, 96), masks, mode="loss")["loss_ce"]
    loss.backward()
    assert loss.isfinite()


@pytest.mark.parametrize("make", [lambda: TimmBackbone("resnet18"), lambda: SmpBackbone("resnet18"), small])
def test_output_stride_changes_with_the_weights_kept(make):
    backbone = make().eval()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        coarse = backbone(x)
        backbone.set_output_stride(8)
        fine = backbone(x)
        backbone.set_output_stride(32)
        again = backbone(x)
    assert fine[-1].shape[-1] == 8
    assert not backbone.training
    assert all(torch.equal(before[key], value) for key, value in backbone.state_dict().items())
    torch.testing.assert_close(again[-1], coarse[-1])


def test_rates_of_the_head_follow_the_segmentor():
    model = Segmentor(small(output_stride=16), {"type": DeepLabV3Plus, "num_classes": 2, "channels": 8})
    model.set_output_stride(8)
    assert [branch.depthwise.dilation[0] for branch in list(model.head.aspp)[1:]] == [12, 24, 36]


def test_levels_that_an_encoder_lacks_are_named():
    with pytest.raises(ValueError, match="convnext_atto has no c1: it gives c2, c3, c4, c5"):
        TimmBackbone("convnext_atto", out=("c1", "c5"))
    with pytest.raises(ValueError, match="mit_b0 has no c1"):
        SmpBackbone("mit_b0", out=("c1", "c5"))


def test_channels_last_transformers_come_as_nchw():
    backbone = TimmBackbone("swin_tiny_patch4_window7_224", out=("c2", "c5"), img_size=64).eval()
    with torch.inference_mode():
        features = backbone(torch.rand(1, 3, 64, 64))
    assert [tuple(f.shape[1:]) for f in features] == [(96, 16, 16), (768, 2, 2)]
    with pytest.raises(ValueError, match="cannot be dilated to output stride 16"):
        backbone.set_output_stride(16)


def test_unknown_names_are_refused_with_what_is_near():
    with pytest.raises(ValueError, match=r"timm has no model 'xception66'.*xception65"):
        TimmBackbone("xception66")
    with pytest.raises(ValueError, match=r"name must be one of .*Unet.*, got 'UNet'"):
        SmpDecoder("UNet", 2, (1,) * 5, (2, 4, 8, 16, 32))


@pytest.mark.parametrize(
    "name",
    [
        "Unet",
        "UnetPlusPlus",
        "MAnet",
        "Linknet",
        "FPN",
        "PSPNet",
        "DeepLabV3",
        "DeepLabV3Plus",
        "PAN",
        "UPerNet",
        "Segformer",
    ],
)
def test_smp_decoders_as_heads(name):
    model = Segmentor(
        small(out=LEVELS, output_stride=16 if name.startswith(("DeepLab", "PAN")) else 32),
        {"type": SmpDecoder, "name": name, "num_classes": 3},
    ).eval()
    size_hw = (130, 150)  # PAN pools the deepest level three times
    with torch.inference_mode():
        assert model(torch.rand(1, 3, *size_hw)).shape == (1, 3, *size_hw)


def test_smp_decoder_gives_what_the_smp_model_gives():
    ours = SmpBackbone("resnet18", out=LEVELS)
    theirs = smp.Unet("resnet18", encoder_weights=None, classes=3).eval()
    ours.net.load_state_dict(theirs.encoder.state_dict())
    head = SmpDecoder("Unet", 3, ours.channels, ours.strides).eval()
    head.decoder.load_state_dict(theirs.decoder.state_dict())
    head.segmentation_head.load_state_dict(theirs.segmentation_head.state_dict())
    x = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(head(ours.eval()(x)), theirs(x))


def test_smp_decoder_without_all_levels_says_what_to_set():
    with pytest.raises(ValueError, match=r"needs five levels, got 2: set the backbone's out="):
        SmpDecoder("Unet", 3, (16, 32), (4, 32))


@pytest.mark.parametrize("name", ["xseg-xception", "xseg-xception41"])
@pytest.mark.parametrize("model", ["DeepLabV3Plus", "Unet"])
def test_our_backbones_under_smp_models(name, model):
    net = getattr(smp, model)(name, encoder_weights=None, classes=2, in_channels=4).eval()
    with torch.inference_mode():
        assert net(torch.rand(1, 4, 64, 96)).shape == (1, 2, 64, 96)
    assert net.encoder.output_stride == (16 if model == "DeepLabV3Plus" else 32)


def test_smp_encoder_depth_and_dilation():
    assert xseg.models.smp_encoders.TRUNKS.keys() == {"xseg-xception", *(f"xseg-xception{d}" for d in (41, 65, 71))}
    encoder = smp.encoders.get_encoder("xseg-xception41", depth=3)
    assert encoder.out_channels == [3, 128, 256, 728]
    features = encoder.eval()(torch.rand(1, 3, 32, 32))
    assert [f.shape[-1] for f in features] == [32, 16, 8, 4]


@pytest.mark.parametrize("backbone", [small(out=("c3", "c4", "c5")), Xception(16, width=0.125, out=("c3", "c4", "c5"))])
def test_our_backbones_under_torchvision_detectors(backbone):
    """RetinaNet's loss is finite and trains the backbone, also where two levels share a stride."""
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    anchors = AnchorGenerator(((16,), (32,), (64,)), ((1.0,),) * 3)
    body = TorchvisionBackbone(backbone, out_channels=16)
    net = RetinaNet(body, num_classes=3, anchor_generator=anchors, min_size=64, max_size=64)
    targets = [{"boxes": torch.tensor([[8.0, 8, 40, 40]]), "labels": torch.tensor([1])}]
    losses = net([torch.rand(3, 64, 64)], targets)
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert any(p.grad is not None and p.grad.any() for p in backbone.parameters())


def test_inception_v3_is_torchvisions_and_its_parameters_are_accounted_for():
    """The paper counts 23,626,728, torchvision's has 207,840 more: 17,216 are BatchNorm's scales, which Google's and
    Keras' implementations leave out (Keras counts 23,817,352 trainable); where the other 190,624 are, it does not say.
    """
    ours, theirs = InceptionV3(), torchvision.models.inception_v3(weights=None, aux_logits=False, init_weights=False)
    state = {name.removeprefix("net."): value for name, value in ours.state_dict().items()}
    theirs.load_state_dict({**state, "fc.weight": theirs.fc.weight.data, "fc.bias": theirs.fc.bias.data})
    theirs.fc = torch.nn.Identity()
    x = torch.rand(1, 3, 107, 107)
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(x)[0].mean((2, 3)), theirs.eval()(x))
    assert sum(p.numel() for p in ours.parameters()) + (2048 + 1) * 1000 == 23_834_568
    assert sum(m.num_features for m in ours.modules() if isinstance(m, torch.nn.BatchNorm2d)) == 17_216


def test_narrow_inception_v3_scales_every_convolution():
    narrow, full = InceptionV3(0.25), InceptionV3()
    for a, b in zip(narrow.modules(), full.modules(), strict=True):
        if isinstance(a, torch.nn.Conv2d):
            assert a.out_channels * 4 == b.out_channels
    assert narrow.channels == (512,)
    with pytest.raises(ValueError, match="width must be a multiple of 1/16"):
        InceptionV3(0.3)
    with pytest.raises(ValueError, match="output stride 32 only, got 16"):
        narrow.set_output_stride(16)


def test_checkpoints_find_the_adapters_under_both_names():
    for cls in (TimmBackbone, SmpBackbone, SmpDecoder, InceptionV3, TorchvisionBackbone):
        assert getattr(importlib.import_module("xseg.models.adapters"), cls.__name__) is cls
        assert dotted_name(cls) == f"xseg.models.{cls.__name__}"
