"""TensorFlow DeepLab (`research/deeplab`): Xception-41, 65 and 71 with a DeepLabv3+ head or an ImageNet classifier.

Kernels are HWIO. The middle flow is one block of many units.
"""

from xseg.weights.keymap import HALVES, KeyMap, Rule, Words, expand

BN = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
LINEAR = {"weight": "weights", "bias": "biases"}


def conv(ours: str, theirs: str) -> list[Rule]:
    """Rules of a convolution and its BatchNorm."""
    return [(f"{ours}.conv.weight", f"{theirs}/weights"), (f"{ours}.bn.{{bn}}", f"{theirs}/BatchNorm/{{bn}}")]


def separable(ours: str, theirs: str) -> list[Rule]:
    """Rules of a depthwise and a pointwise convolution, each with BatchNorm."""
    return [
        (f"{ours}.depthwise.weight", f"{theirs}_depthwise/depthwise_weights"),
        (f"{ours}.pointwise.weight", f"{theirs}_pointwise/weights"),
        (f"{ours}.{{half}}_bn.{{bn}}", f"{theirs}_{{half}}/BatchNorm/{{bn}}"),
    ]


BACKBONE = [
    *conv("backbone.stem.{stem}", "{net}/entry_flow/conv1_{stem}"),
    *separable("backbone.blocks.{block}.convs.{conv}", "{net}/{block}/xception_module/separable_conv{conv}"),
    *conv("backbone.blocks.{block}.shortcut", "{net}/{block}/xception_module/shortcut"),
    ("head.fc.{linear}", "{net}/logits/{linear}"),  # 1x1 convolution, 1001 classes; class 0 is the background
]
HEAD = [
    *conv("head.image_pooling", "image_pooling"),
    *conv("head.aspp.0", "aspp0"),
    *separable("head.aspp.{aspp}", "aspp{aspp}"),
    *conv("head.aspp.{aspp}", "aspp{aspp}"),  # 3x3 convolution instead of a separable one
    *conv("head.project", "concat_projection"),
    *conv("head.low_project", "decoder/feature_projection0"),
    *separable("head.decoder.{decoder}", "decoder/decoder_conv{decoder}"),
    *conv("head.decoder.{decoder}", "decoder/decoder_conv{decoder}"),
    ("head.classifier.{linear}", "logits/semantic/{linear}"),
]
DENSE_CELL = [  # replaces ASPP
    *separable("head.branches.{branch}", "meta_architecture/branch{branch}"),
    *conv("head.project", "meta_architecture/concat_projection"),
]


def blocks(depth: int) -> Words:
    """Our block number -> block and unit in TensorFlow's entry, middle or exit flow."""
    num_entry, num_middle = {41: (3, 8), 65: (3, 16), 71: (5, 16)}[depth]
    places = [
        *(f"entry_flow/block{k + 1}/unit_1" for k in range(num_entry)),
        *(f"middle_flow/block1/unit_{k + 1}" for k in range(num_middle)),
        *(f"exit_flow/block{k + 1}/unit_1" for k in range(2)),
    ]
    return {str(index): place for index, place in enumerate(places)}


def key_map(depth: int, dense_cell: bool) -> KeyMap:
    """Map of Xception of a depth, with the dense prediction cell or with ASPP."""
    rules = [(ours.replace("{net}", ""), theirs.replace("{net}", f"xception_{depth}")) for ours, theirs in BACKBONE]
    head = [(ours, theirs) for ours, theirs in HEAD if not (dense_cell and theirs.startswith("concat_projection"))]
    table = expand(
        [*rules, *head, *(DENSE_CELL if dense_cell else [])],
        block=blocks(depth),
        stem={"0": "1", "1": "2"},
        conv={"0": "1", "1": "2", "2": "3"},
        half=HALVES,
        bn=BN,
        linear=LINEAR,
        aspp={str(k): str(k) for k in (1, 2, 3)},
        decoder={str(k): str(k) for k in (0, 1)},
        branch={str(k): str(k) for k in range(5)},
    )
    return KeyMap(
        source=f"TensorFlow DeepLab's xception_{depth}" + (" with dense prediction cell" if dense_cell else ""),
        table=table,
        bn_eps={"backbone": 1e-3, "head": 1e-5},
        ignored=r"global_step|.*/(Momentum|ExponentialMovingAverage|Adam(_1)?|RMSProp(_1)?)|_CHECKPOINTABLE_OBJECT_GRAPH",
        tensorflow=True,
        backbone=dict(type="AlignedXception", depth=depth),
    )


MAPS = [key_map(depth, dense_cell) for dense_cell in (False, True) for depth in (41, 65, 71)]
