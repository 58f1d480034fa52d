"""keras.applications.Xception, with or without its classifier ("top").

Keras numbers the layers of the four shortcuts across all models of a session. The reader renames them after their
blocks.
"""

from xseg.weights.keymap import KeyMap, expand

BN = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
RULES = [
    ("backbone.stem.{stem}.conv.weight", "block1_conv{stem}/kernel"),
    ("backbone.stem.{stem}.bn.{bn}", "block1_conv{stem}_bn/{bn}"),
    ("backbone.blocks.{block}.convs.{conv}.{half}.weight", "block{block}_sepconv{conv}/{half}_kernel"),
    ("backbone.blocks.{block}.convs.{conv}.bn.{bn}", "block{block}_sepconv{conv}_bn/{bn}"),
    ("backbone.blocks.{strided}.shortcut.conv.weight", "block{strided}_shortcut/kernel"),
    ("backbone.blocks.{strided}.shortcut.bn.{bn}", "block{strided}_shortcut_bn/{bn}"),
    ("head.fc.weight", "predictions/kernel"),
    ("head.fc.bias", "predictions/bias"),
]
SHORTCUTS = {"0": "2", "1": "3", "2": "4", "11": "13"}  # our block -> block in Keras

MAPS = [
    KeyMap(
        "keras.applications' Xception",
        expand(
            RULES,
            stem={"0": "1", "1": "2"},
            block={str(k): str(k + 2) for k in range(13)},
            strided=SHORTCUTS,
            conv={"0": "1", "1": "2", "2": "3"},
            half={"depthwise": "depthwise", "pointwise": "pointwise"},
            bn=BN,
        ),
        bn_eps={"backbone": 1e-3},
        ignored=r"(top_level_model_weights|optimizer_weights)/.*",
        tensorflow=True,
        backbone=dict(type="Xception", pool_padding="tensorflow"),
    )
]
