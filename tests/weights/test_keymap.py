import itertools
import json

import pytest
import timm
import torch
from peers import reference, to_theirs

from backbones import AlignedXception, PreactXception, Xception
from heads import ClassificationHead, DeepLabV3Plus, DeepLabV3PlusDPC
from xseg.models import Classifier, Segmentor
from xseg.weights.keymap import KeyMap, expand, recognise
from xseg.weights.maps import ALL_MAPS, cadene, keras, segmentron, tensorflow
from xseg.weights.maps import timm as timm_maps


def weights_of(model):
    return {name for name in model.state_dict() if not name.endswith("num_batches_tracked")}


def classifier(backbone, **options):
    return Classifier(backbone(out=("c5",), width=0.125, **options), dict(type=ClassificationHead, num_classes=7))


def segmentor(depth, head=DeepLabV3Plus, **options):
    return Segmentor(
        AlignedXception(depth, output_stride=16, width=0.125), dict(type=head, num_classes=3, channels=8, **options)
    )


def pairs():
    """Every map beside a model whose parameters it must name."""
    for depth, key_map in zip((41, 65, 71), tensorflow.MAPS[:3], strict=True):
        yield key_map, segmentor(depth)
        yield key_map, classifier(AlignedXception, depth=depth)
    for depth, key_map in zip((41, 65, 71), tensorflow.MAPS[3:], strict=True):
        yield key_map, segmentor(depth, DeepLabV3PlusDPC)
    yield tensorflow.MAPS[0], segmentor(41, separable=False, image_pooling=False)
    yield timm_maps.MAPS[0], classifier(AlignedXception, depth=71)
    yield timm_maps.MAPS[1], classifier(PreactXception, depth=41, bn_eps=1e-5)
    yield timm_maps.MAPS[2], classifier(PreactXception, depth=65)
    yield cadene.MAPS[0], classifier(Xception, bn_eps=1e-5)
    yield segmentron.MAPS[0], classifier(AlignedXception, depth=65)
    yield keras.MAPS[0], classifier(Xception)


@pytest.mark.parametrize(("key_map", "model"), [*pairs()], ids=lambda x: getattr(x, "source", type(x).__name__))
def test_there_and_back(key_map, model):
    """Every parameter has a name there, which the map inverted brings back, with the same values bit by bit; and the
    names alone tell whose they are."""
    theirs = to_theirs(key_map, model.state_dict())
    assert len(theirs) == len(weights_of(model))
    assert recognise(theirs, ALL_MAPS) is key_map or key_map.tensorflow  # a backbone alone has no cell to tell by
    back = key_map.to_ours(theirs)
    assert back.keys() == weights_of(model)
    for name, value in back.items():
        own = model.state_dict()[name]
        assert torch.equal(value.flatten(1) if value.ndim == 4 and own.ndim == 2 else value, own), name
    assert to_theirs(key_map, back).keys() == theirs.keys()


@pytest.mark.parametrize(
    ("file", "depth", "head"), [("xception_65", 65, DeepLabV3Plus), ("xception_71_dpc", 71, DeepLabV3PlusDPC)]
)
def test_names_and_shapes_are_tensorflows(file, depth, head):
    """All 732 and 812 variables as they stand in a checkpoint of `research/deeplab`."""
    shapes = json.loads(reference("tf_deeplab", f"{file}_variables.json").read_text())
    num_classes = shapes["logits/semantic/biases"][0]
    backbone = AlignedXception(depth, output_stride=16)
    model = Segmentor(backbone, dict(type=head, num_classes=num_classes))
    key_map = recognise(shapes, ALL_MAPS)
    theirs = to_theirs(key_map, model.state_dict())
    assert {name: list(value.shape) for name, value in theirs.items()} == shapes


def test_names_and_shapes_are_keras():
    shapes = json.loads(reference("keras_xception", "xception_variables.json").read_text())
    model = Classifier(Xception(out=("c5",)), dict(type=ClassificationHead, num_classes=1000))
    theirs = to_theirs(keras.MAPS[0], model.state_dict())
    named = {name: shape for name, shape in shapes.items() if not name.startswith(("conv2d", "batch_norm"))}
    assert {name: list(value.shape) for name, value in theirs.items() if "shortcut" not in name} == named
    assert len(theirs) == len(shapes)


@pytest.mark.parametrize("name", ["xception41", "xception71", "xception41p", "xception65p", "legacy_xception"])
def test_names_are_timms(name):
    state = timm.create_model(name, num_classes=5).state_dict()
    key_map = recognise(state, ALL_MAPS)
    ours = key_map.to_ours(state)
    assert all(key.startswith(("backbone.", "head.fc.")) for key in ours)
    assert to_theirs(key_map, ours).keys() == {key for key in state if "num_batches" not in key}


def test_tensorflow_names_written_out():
    """A few of each place, typed from `research/deeplab/core/xception.py` and not made by the map."""
    table = tensorflow.MAPS[2].table
    entry, block = "xception_71/entry_flow/block5/unit_1", "xception_module/separable_conv3_pointwise"
    assert table["backbone.blocks.4.convs.2.pointwise.weight"] == f"{entry}/{block}/weights"
    middle = "xception_71/middle_flow/block1/unit_16/xception_module"
    assert (
        table["backbone.blocks.20.convs.0.depthwise.weight"] == f"{middle}/separable_conv1_depthwise/depthwise_weights"
    )
    exit_ = "xception_71/exit_flow/block1/unit_1/xception_module/shortcut"
    assert table["backbone.blocks.21.shortcut.bn.running_var"] == f"{exit_}/BatchNorm/moving_variance"
    assert table["head.decoder.1.pointwise_bn.bias"] == "decoder/decoder_conv1_pointwise/BatchNorm/beta"
    assert table["head.fc.bias"] == "xception_71/logits/biases"


def test_segmentrons_names_written_out():
    """From `segmentron/models/backbones/xception.py` and `modules/basic.py`."""
    table = segmentron.MAPS[0].table
    assert table["backbone.blocks.20.convs.2.pointwise_bn.weight"] == "block21.sep_conv3.block.bn_point.weight"
    assert table["backbone.blocks.0.shortcut.conv.weight"] == "block1.conv.weight"
    assert table["backbone.stem.1.bn.bias"] == "bn2.bias"


def test_fields_run_together_on_both_sides():
    table = expand([("a.{i}.{x}", "{x}/A{i}")], i={"0": "1", "1": "2"}, x={"w": "W"})
    assert table == {"a.0.w": "W/A1", "a.1.w": "W/A2"}


def test_strangers_are_not_recognised():
    assert recognise([], ALL_MAPS) is None
    assert recognise(timm.create_model("resnet18").state_dict(), ALL_MAPS) is None
    assert recognise(segmentor(41).state_dict(), ALL_MAPS) is None


def test_no_two_maps_share_most_of_their_names():
    for a, b in itertools.combinations(ALL_MAPS, 2):
        if a.source.split("'")[0] != b.source.split("'")[0]:
            assert len(set(a.table.values()) & set(b.table.values())) < len(a.table) / 10, (a.source, b.source)


def test_two_of_ours_under_one_name_are_a_fault():
    with pytest.raises(AssertionError, match="parameters share a name"):
        KeyMap("x", {"a": "n", "b": "n"}, {})
