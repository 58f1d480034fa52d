"""timm's plain vision transformers under every kind of head."""

import pytest
import timm
import torch

from heads import FCOS, DeepLabV3Plus, FCNHead, MaskRCNN
from xseg.config import load_config
from xseg.models import Detector, Segmentor, TimmBackbone, ViTBackbone

LEVELS = ("c1", "c2", "c3", "c4", "c5")
RCNN = dict(num_classes=3, channels=8, hidden=16, mask_convs=1)
SMALL = dict(embed_dim=32, depth=2, num_heads=2)
NAMES = ["vit_tiny_patch16_224", "vit_small_patch14_dinov2", "vit_small_patch14_reg4_dinov2", "deit_tiny_patch16_224"]
NAMES += ["vit_small_patch16_dinov3", "eva02_tiny_patch14_224"]  # with rotary position embeddings


def small(name="vit_tiny_patch16_224", **options):
    torch.manual_seed(0)
    return ViTBackbone(name, width=16, **{**SMALL, **options})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("size_hw", [(64, 96), (65, 97)])
def test_maps_are_as_large_as_the_strides_say(name, output_stride, size_hw):
    backbone = small(name, out=LEVELS, output_stride=output_stride).eval()
    with torch.inference_mode():
        maps = backbone(torch.rand(2, 3, *size_hw))
    strides = [2, 4, 8, *(min(stride, output_stride) for stride in (16, 32))]
    assert list(backbone.strides) == strides and backbone.channels == (16,) * 5
    assert [tuple(m.shape) for m in maps] == [(2, 16, *(-(-edge // s) for edge in size_hw)) for s in strides]


@pytest.mark.parametrize("patch", [14, 16])
def test_tokens_are_those_of_timm(patch):
    name = {14: "vit_small_patch14_dinov2", 16: "vit_small_patch16_224"}[patch]
    torch.manual_seed(0)
    backbone = ViTBackbone(name, **SMALL).eval()
    theirs = timm.create_model(name, num_classes=0, global_pool="", dynamic_img_size=True, **SMALL).eval()
    theirs.load_state_dict(backbone.net.state_dict())
    images = torch.rand(1, 3, 64, 96)
    seen = images if patch == 16 else torch.nn.functional.interpolate(images, (56, 84), mode="bilinear", antialias=True)
    with torch.inference_mode():
        tokens = theirs.forward_features(seen)[:, theirs.num_prefix_tokens :]
        torch.testing.assert_close(backbone._tokens(images).flatten(2).transpose(1, 2), tokens)


def test_with_aligned_corners_every_16th_pixel_is_the_centre_of_a_token():
    """A bright pixel 16 k changes the token k more than any other, without attention between them."""
    backbone = small(depth=1).eval()
    backbone.net.blocks = torch.nn.Sequential(torch.nn.Identity())
    black = torch.zeros(1, 3, 65, 65)
    for row, column in ((0, 0), (16, 48), (64, 32)):
        image = black.clone()
        image[..., max(0, row - 3) : row + 4, max(0, column - 3) : column + 4] = 1
        with torch.inference_mode():
            change = (backbone._tokens(image) - backbone._tokens(black)).abs().sum(1)[0]
        assert divmod(int(change.argmax()), 5) == (row // 16, column // 16)
        assert (change > 0).sum() == 1


TWO, PYRAMID = ("c2", "c5"), ("c3", "c4", "c5")


@pytest.mark.parametrize(
    ("out", "make"),
    [
        (TWO, lambda b: Segmentor(b, dict(type=DeepLabV3Plus, num_classes=3, channels=8))),
        (("c5",), lambda b: Segmentor(b, dict(type=FCNHead, num_classes=3, channels=8))),
        (PYRAMID, lambda b: Detector(b, dict(type=FCOS, num_classes=3, channels=8), size=None)),
        (PYRAMID, lambda b: Detector(b, dict(type=MaskRCNN, **RCNN), size=None)),
    ],
    ids=["DeepLabv3+", "FCN", "FCOS", "Mask R-CNN"],
)
@pytest.mark.parametrize("name", ["vit_small_patch14_dinov2", "vit_small_patch16_dinov3"])
def test_every_head_trains_every_parameter(name, out, make):
    torch.manual_seed(0)
    model = make(small(name, out=out, output_stride=16))
    images = torch.rand(2, 3, 64, 96)
    masks = torch.zeros(1, 64, 96, dtype=torch.uint8)
    masks[0, 8:40, 8:60] = 1
    sample = dict(
        mask=masks[0] * 2,
        masks=masks,
        boxes_xyxy=torch.tensor([[8.0, 8, 60, 40]]),
        labels=torch.tensor([1]),
        input_hw=(64, 96),
    )
    model.train()
    loss = sum(model(images, [sample, sample], mode="loss").values())
    loss.backward()
    without = [n for n, p in model.backbone.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not without and loss.isfinite()
    model.predict(torch.randint(0, 255, (3, 70, 50), dtype=torch.uint8))


def test_it_replaces_the_backbone_of_a_config():
    cfg = load_config("own/deeplabv3plus", backbone="vit:vit_small_patch14_dinov2.lvd142m")
    assert cfg.model.backbone.type == "ViTBackbone" and cfg.model.backbone.pretrained
    assert cfg.model.backbone.output_stride == 16
    assert cfg.model.preprocessor.mean == (123.675, 116.28, 103.53)
    assert "pretrained" not in load_config("own/fcos", backbone="vit:vit_tiny_patch16_224").model.backbone


def test_the_output_stride_changes_without_weights():
    backbone = small(out=("c2", "c5"), output_stride=32).eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        before = backbone(images)
        backbone.set_output_stride(8)
        assert backbone(images)[1].shape[-1] == 8
        backbone.set_output_stride(32)
        assert all(torch.equal(a, b) for a, b in zip(before, backbone(images), strict=True))
    with pytest.raises(ValueError, match="output_stride must be 8, 16 or 32, got 4"):
        backbone.set_output_stride(4)


def test_networks_that_are_no_plain_transformers_are_refused():
    with pytest.raises(
        ValueError, match=r"timm's resnet18 cannot be a plain vision transformer for images of any size"
    ):
        ViTBackbone("resnet18")
    with pytest.raises(ValueError, match=r"vit_tiny_patch16_224 has maps of one stride alone, as c4.*vit:vit_tiny"):
        TimmBackbone("vit_tiny_patch16_224")
    with pytest.raises(ValueError, match=r"timm has no model 'vit_tiny_patch17'.*vit_ti"):
        ViTBackbone("vit_tiny_patch17")
