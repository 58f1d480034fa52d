"""SegmenTron's Xception-65, converted from TensorFlow; BatchNorm epsilon 1e-3 as there."""

from xseg.weights.keymap import BN, KeyMap, expand

RULES = [
    ("backbone.stem.{stem}.conv.weight", "conv{stem}.weight"),
    ("backbone.stem.{stem}.bn.{bn}", "bn{stem}.{bn}"),
    ("backbone.blocks.{block}.convs.{conv}.{half}.weight", "block{block}.sep_conv{conv}.block.{half}.weight"),
    ("backbone.blocks.{block}.convs.{conv}.depthwise_bn.{bn}", "block{block}.sep_conv{conv}.block.bn_depth.{bn}"),
    ("backbone.blocks.{block}.convs.{conv}.pointwise_bn.{bn}", "block{block}.sep_conv{conv}.block.bn_point.{bn}"),
    ("backbone.blocks.{block}.shortcut.conv.weight", "block{block}.conv.weight"),
    ("backbone.blocks.{block}.shortcut.bn.{bn}", "block{block}.bn.{bn}"),
    ("head.fc.{linear}", "fc.{linear}"),
]
MAPS = [
    KeyMap(
        "SegmenTron's Xception-65",
        expand(
            RULES,
            stem={"0": "1", "1": "2"},
            block={str(k): str(k + 1) for k in range(21)},
            conv={"0": "1", "1": "2", "2": "3"},
            half={"depthwise": "depthwise", "pointwise": "pointwise"},
            bn=BN,
            linear={"weight": "weight", "bias": "bias"},
        ),
        bn_eps={"backbone": 1e-3},
        backbone=dict(type="AlignedXception", depth=65),
        aliases=[(r"^encoder\.", "")],
    )
]
