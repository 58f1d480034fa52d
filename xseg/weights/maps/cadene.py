"""Cadene's port of the original Xception, also used by timm (`legacy_xception`) and segmentation-models-pytorch.

Its weights come from Keras (BatchNorm epsilon 1e-3, one-sided pooling), but the port uses 1e-5 and symmetric pooling.
Its published accuracy was measured with the latter.
"""

from xseg.weights.keymap import BN, KeyMap, expand

# (block, separable convolution) of ours -> its index in `rep`, which is [ReLU, separable, BatchNorm] two or three
# times. Block 1 lacks the first ReLU. The BatchNorm has the next index.
PLACES = {
    (block, conv): 3 * conv + (0 if block == 0 else 1)
    for block in range(12)
    for conv in range(2 if block in (0, 1, 2, 11) else 3)
}
RULES = [
    ("backbone.stem.{stem}.conv.weight", "conv{stem}.weight"),
    ("backbone.stem.{stem}.bn.{bn}", "bn{stem}.{bn}"),
    ("backbone.blocks.{rep}.{half}.weight", "block{rep}.{half}.weight"),
    ("backbone.blocks.{rep_bn}.bn.{bn}", "block{rep_bn}.{bn}"),
    ("backbone.blocks.{strided}.shortcut.conv.weight", "block{strided}.skip.weight"),
    ("backbone.blocks.{strided}.shortcut.bn.{bn}", "block{strided}.skipbn.{bn}"),
    ("backbone.blocks.12.convs.{last}.{half}.weight", "conv{last}.{half}.weight"),
    ("backbone.blocks.12.convs.{last}.bn.{bn}", "bn{last}.{bn}"),
    ("head.fc.{linear}", "fc.{linear}"),
]
MAPS = [
    KeyMap(
        "Cadene's Xception (also timm's legacy_xception)",
        expand(
            RULES,
            stem={"0": "1", "1": "2"},
            rep={f"{b}.convs.{c}": f"{b + 1}.rep.{place}" for (b, c), place in PLACES.items()},
            rep_bn={f"{b}.convs.{c}": f"{b + 1}.rep.{place + 1}" for (b, c), place in PLACES.items()},
            strided={"0": "1", "1": "2", "2": "3", "11": "12"},
            last={"0": "3", "1": "4"},
            half={"depthwise": "conv1", "pointwise": "pointwise"},
            bn=BN,
            linear={"weight": "weight", "bias": "bias"},
        ),
        bn_eps={"backbone": 1e-5},
        backbone=dict(type="Xception", bn_eps=1e-5),
        aliases=[(r"^last_linear\.", "fc.")],
    )
]
