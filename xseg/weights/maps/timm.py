"""timm's aligned Xceptions: `xception41`, `65`, `71`, and with pre-activation `xception41p`, `xception65p`."""

from xseg.weights.keymap import BN, FROM_ONE, KeyMap, Words, expand

ALIGNED = [
    ("backbone.stem.{stem}.conv.weight", "stem.{stem}.conv.weight"),
    ("backbone.stem.{stem}.bn.{bn}", "stem.{stem}.bn.{bn}"),
    ("backbone.blocks.{block}.convs.{conv}.{half}.weight", "blocks.{block}.stack.conv{conv}.conv_{half}.weight"),
    ("backbone.blocks.{block}.convs.{conv}.{half}_bn.{bn}", "blocks.{block}.stack.conv{conv}.bn_{half}.{bn}"),
    ("backbone.blocks.{block}.shortcut.conv.weight", "blocks.{block}.shortcut.conv.weight"),
    ("backbone.blocks.{block}.shortcut.bn.{bn}", "blocks.{block}.shortcut.bn.{bn}"),
    ("head.fc.{linear}", "head.fc.{linear}"),
]
PREACT = [
    ("backbone.stem.0.conv.weight", "stem.0.conv.weight"),
    ("backbone.stem.0.bn.{bn}", "stem.0.bn.{bn}"),
    ("backbone.stem.1.weight", "stem.1.weight"),
    ("backbone.blocks.{block}.convs.{conv}.{half}.weight", "blocks.{block}.stack.conv{conv}.conv_{half}.weight"),
    ("backbone.blocks.{block}.convs.0.bn.{bn}", "blocks.{block}.norm.{bn}"),
    ("backbone.blocks.{block}.convs.{later}.bn.{bn}", "blocks.{block}.stack.conv{later}.norm.{bn}"),
    ("backbone.blocks.{block}.shortcut.weight", "blocks.{block}.shortcut.weight"),
    ("head.fc.{linear}", "head.fc.{linear}"),
]


def fields(num_blocks: int) -> dict[str, Words]:
    """Our words -> timm's words, for each field of the rules."""
    return dict(
        stem={"0": "0", "1": "1"},
        block={str(k): str(k) for k in range(num_blocks)},
        conv={str(k): FROM_ONE[str(k)] for k in range(3)},
        later={str(k): FROM_ONE[str(k)] for k in (1, 2)},
        half={"depthwise": "dw", "pointwise": "pw"},
        bn=BN,
        linear={"weight": "weight", "bias": "bias"},
    )


MAPS = [
    KeyMap("timm's aligned Xception", expand(ALIGNED, **fields(23)), bn_eps={"backbone": 1e-3}),
    KeyMap("timm's xception41p", expand(PREACT, **fields(13)), bn_eps={"backbone": 1e-5}),
    KeyMap("timm's xception65p", expand(PREACT, **fields(21)), bn_eps={"backbone": 1e-3}),
]
