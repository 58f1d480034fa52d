"""What other libraries' networks give, family by family, beside what `TimmBackbone` and `SmpBackbone` say of them."""

import pytest
import segmentation_models_pytorch as smp
import torch

from xseg.models import SmpBackbone, TimmBackbone

TIMM = {  # levels and output strides -> the smallest network of each family of timm that gives them
    ("c2 c3 c4 c5", "32"): """
        coat_tiny cpubone_nano davit_tiny edgenext_xx_small efficientformer_l1 efficientformerv2_s0 efficientvit_b0
        fasternet_t0 fastvit_t8 focalnet_tiny_srf gcvit_xxtiny hgnetv2_b0 hiera_tiny_224 sam2_hiera_tiny iformer_t
        lcnetv2_small lowformer_b0 test_mambaout poolformerv2_s12 mvitv2_tiny nextvit_small pvt_v2_b0 rdnet_tiny
        repvit_m1 starnet_s050 swiftformer_xs swin_tiny_patch4_window7_224 swinv2_tiny_window16_256
        swinv2_cr_tiny_224 tiny_vit_5m_224 twins_svt_small tresnet_m
    """,
    ("c1 c2 c3 c4 c5", "32 16 8"): """
        test_byobnet cs3darknet_focus_s cspnext_tiny mobilenetv2_035 hardcorenas_b mobilenetv3_small_050
        mobilevit_xxs test_nfnet regnetx_002 res2next50 resnest14d test_resnet resnetv2_18 rexnet_100 skresnet18
        xception41p
    """,
    ("c4", "32 16"): """
        beit_base_patch16_224 cait_xxs24_224 convit_tiny deit_tiny_patch16_224 vit_tiny_patch16_dinov3_qkvb
        gemma4_vit_167m mixer_s16_224 naflexvit_base_patch16_parfac_gap qwen3_vit_88m tnt_s_legacy_patch16_224
        test_vit test_vit_relpos samvit_base_patch16_224 vitamin_small_224 xcit_nano_12_p16_224
    """,
    ("c1 c2 c3 c4 c5", "32"): """
        densenet121 dla46x_c dpn48b ghostnet_050 hrnet_w18_small maxvit_pico_rw_256 mobilenetv5_300m repghostnet_050
        selecsls42 legacy_seresnet18 vgg11 ese_vovnet19b_slim_dw dla34
    """,
    ("c4 c5", "32"): """
        efficientvim_m1 efficientvit_m0 levit_128s shvit_s1 pit_ti_224
    """,
    ("c2 c3 c4 c5", "32 16 8"): """
        test_convnext inception_next_atto
    """,
    ("c3 c4 c5", "32"): """
        csatv2 visformer_tiny
    """,
    ("c2 c3 c4", "32 16"): """
        jx_nest_tiny
    """,
    ("c5", "32"): """
        vit_tiny_r_s16_p8_224
    """,
    ("c3 c4", "32 16"): """
        volo_d1_224
    """,
    ("c3", "32 16 8"): """
        xcit_nano_12_p8_224
    """,
}
REFUSED = {  # timm's networks of which something does not go -> levels, what is said
    "adv_inception_v3": ("c2 c5", "does not keep strides"),
    "convmixer_768_32": ("c4", "has no c4: it gives no map at stride 2, 4, 8, 16 or 32"),
    "crossvit_tiny_240": ("c4", "has no c4: it gives no map"),
    "deepseek_vit_412m": ("c4", "has no c4: it gives no map"),
    "ens_adv_inception_resnet_v2": ("c2 c5", "does not keep strides"),
    "halonet_h1": ("c2 c5", "cannot take an image of 96 x 160: AssertionError"),
    "inception_v4": ("c2 c5", "does not keep strides"),
    "legacy_xception": ("c2 c5", "does not keep strides"),
    "nasnetalarge": ("c1 c5", "does not keep strides"),
    "pit_ti_224": ("c3 c5", r"does not keep strides \(8, 32\): an image of \(224, 224\) gives maps of \[\(27, 27\)"),
    "pnasnet5large": ("c1 c5", "does not keep strides"),
    "sequencer2d_s": ("c4", "has no c4: it gives no map"),
    "tresnet_m": ("c1 c5", "has no c1: it gives c2, c3, c4, c5"),
    "vit_tiny_patch16_224": ("c2 c5", "has maps of one stride alone, as c4"),
}
SMP = {
    ("c1 c2 c3 c4 c5", "32 16 8"): """
        resnet18 se_resnet50 dpn68 efficientnet-b0 mobilenet_v2 timm-efficientnet-b0 timm-skresnet18 mobileone_s0
        timm-tf_efficientnet_lite0 timm-regnetx_002 timm-resnest14d timm-mobilenetv3_small_minimal_100 timm-gernet_s
        timm-res2net50_48w_2s
    """,
    ("c1 c2 c3 c4 c5", "32"): "vgg11 densenet121 inceptionresnetv2 inceptionv4 xception tu-dla34",
    ("c2 c3 c4 c5", "32 16 8"): "mit_b0",
}
QUICK = """
    test_resnet test_convnext test_vit dla34 starnet_s050 ese_vovnet19b_slim_dw mobilenetv3_small_050 hrnet_w18_small
    xcit_nano_12_p8_224 cpubone_nano legacy_xception vit_tiny_patch16_224 mobilenet_v2 mit_b0 densenet121
""".split()


def cases(table):
    return [
        case(name, levels.split(), [int(stride) for stride in strides.split()])
        for (levels, strides), names in table.items()
        for name in names.split()
    ]


def case(name, *values):
    return pytest.param(name, *values, id=name, marks=[] if name in QUICK else pytest.mark.slow)


def check(make, name, levels, strides):
    for output_stride in (32, 16, 8):
        if output_stride not in strides:
            with pytest.raises(ValueError, match=f"{name} cannot be dilated to output stride {output_stride}: ."):
                make(name, output_stride, levels)
            continue
        backbone = make(name, output_stride, levels).eval()
        fixed = isinstance(backbone, TimmBackbone) and backbone.net.pretrained_cfg.get("fixed_input_size")
        height, width = backbone.net.pretrained_cfg["input_size"][1:] if fixed else (128, 192)
        with torch.inference_mode():
            features = backbone(torch.rand(1, 3, height, width))
        assert [f.shape[1] for f in features] == [*backbone.channels]
        assert [f.shape[-2:] for f in features] == [(height // s, width // s) for s in backbone.strides]
        assert [*backbone.strides] == [min(2 ** int(level[1]), output_stride) for level in levels]


@pytest.mark.parametrize(("name", "levels", "strides"), cases(TIMM))
def test_timm(name, levels, strides):
    check(TimmBackbone, name, levels, strides)


@pytest.mark.parametrize(("name", "levels", "message"), [case(name, *row) for name, row in REFUSED.items()])
def test_timm_says_what_does_not_go(name, levels, message):
    with pytest.raises(ValueError, match=f"timm's {name} {message}"):
        TimmBackbone(name, out=levels.split())


@pytest.mark.parametrize(("name", "levels", "strides"), cases(SMP))
def test_smp(name, levels, strides):
    check(SmpBackbone, name, levels, strides)


def test_dla_at_its_own_strides():
    """A position in timm's list of maps was taken for one among those it gives by default: strides 2 and 16."""
    backbone = TimmBackbone("dla34", out=("c2", "c5")).eval()
    with torch.inference_mode():
        features = backbone(torch.rand(1, 3, 64, 96))
    assert [f.shape[1:] for f in features] == [(64, 16, 24), (512, 2, 3)]


def test_the_deepest_of_several_maps_of_one_stride():
    """Of a plain transformer's twelve blocks one was kept."""
    backbone = TimmBackbone("vit_tiny_patch16_224", output_stride=16, out=("c4",), img_size=64).eval()
    assert len(backbone.net.model.blocks) == 12
    with pytest.raises(ValueError, match="vit_tiny_patch16_224 cannot be dilated to output stride 8"):
        backbone.set_output_stride(8)


def test_smp_names_what_is_near():
    with pytest.raises(ValueError, match=r"smp has no encoder 'resnet19'; near it: .*resnet18"):
        SmpBackbone("resnet19")


def test_every_family_of_smp_is_in_the_table():
    """Families are smp's classes of encoders."""
    table = {name for names in SMP.values() for name in names.split()}
    classes = {name: row["encoder"] for name, row in smp.encoders.encoders.items() if not name.startswith("xseg-")}
    assert {classes[name] for name in table & classes.keys()} == set(classes.values())
