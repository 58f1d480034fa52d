"""Weights of every source into models: whole, strict, and with the numbers of the program they come from."""

import gzip
import json
import pickle
import tarfile
import zipfile

import h5py
import numpy as np
import pytest
import timm
import torch
from bundle import write_bundle
from peers import reference, reference_weight, shake, to_theirs
from safetensors.torch import save_file
from toy import ToyModel

import xseg
from backbones import AlignedXception, PreactXception, Xception
from heads import ClassificationHead, DeepLabV3Plus, DeepLabV3PlusDPC
from xseg.models import Classifier, Segmentor
from xseg.weights import load_weights, read_weights
from xseg.weights.maps import cadene, segmentron, tensorflow


def segmentor(depth=41, head=DeepLabV3Plus, num_classes=3, **options):
    backbone = AlignedXception(depth, output_stride=16, width=0.125, **options)
    return Segmentor(backbone, dict(type=head, num_classes=num_classes, channels=8, low_channels=8))


def classifier(backbone, num_classes=1000):
    return Classifier(backbone, dict(type=ClassificationHead, num_classes=num_classes))


def tf_arrays(model, key_map):
    return {name: value.contiguous().numpy() for name, value in to_theirs(key_map, model.state_dict()).items()}


def shaken(model):
    return shake(model).float()


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def reference_checkpoint(file, prefix):
    shapes = json.loads(reference("tf_deeplab", f"{file}_variables.json").read_text())
    arrays = {name: reference_weight(name, shape, 3) for name, shape in shapes.items()}
    write_bundle(prefix, arrays | {"global_step": np.array(30000, np.int64)})


@pytest.mark.parametrize(
    ("file", "config", "largest"),
    [
        ("xception_65", "voc/deeplabv3plus_eval", 1e-5),
        pytest.param("xception_71_dpc", "cityscapes/deeplabv3plus_dpc_eval", 1e-5, marks=pytest.mark.slow),
    ],
)
def test_same_logits_as_tensorflow_deeplab(file, config, largest, tmp_path):
    """A whole model by its published config, from a checkpoint with the program's own names."""
    reference_checkpoint(file, tmp_path / "model.ckpt")
    expected = np.load(reference("tf_deeplab", f"{file}_os16_129.npz"))
    model = xseg.load(config, weights=tmp_path, device="cpu").double()
    image = torch.from_numpy(expected["image"]).permute(0, 3, 1, 2).double() * 2 / 255 - 1
    with torch.inference_mode():
        logits = model.head(model.backbone(image)).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(logits, expected["logits"], atol=largest)


@pytest.mark.parametrize("head", [DeepLabV3Plus, DeepLabV3PlusDPC])
@pytest.mark.parametrize("depth", [41, 65, 71])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_every_depth_and_stride_loads_whole_from_tensorflow(depth, output_stride, head, tmp_path):
    first, second = shaken(segmentor(depth, head)), segmentor(depth, head).eval()
    key_map = tensorflow.MAPS[(41, 65, 71).index(depth) + 3 * (head is DeepLabV3PlusDPC)]
    slots = {f"xception_{depth}/entry_flow/conv1_1/weights/Momentum": np.zeros(3, np.float32)}
    write_bundle(tmp_path / "m", tf_arrays(first, key_map) | slots, num_shards=2)
    assert load_weights(second, tmp_path / "m") == []
    for model in (first, second):
        model.set_output_stride(output_stride)
    x = torch.rand(1, 3, 65, 97)
    with torch.inference_mode():
        assert torch.equal(first(x), second(x))


def test_tensorflows_imagenet_classifier_without_its_background(tmp_path):
    first = shaken(classifier(AlignedXception(41, out=("c5",), width=0.125), 1001))
    write_bundle(tmp_path / "m", tf_arrays(first, tensorflow.MAPS[0]))
    second = classifier(AlignedXception(41, out=("c5",), width=0.125)).eval()
    assert load_weights(second, tmp_path) == []
    x = torch.rand(2, 3, 65, 65)
    torch.testing.assert_close(second(x), first(x)[:, 1:])


def test_a_classifiers_backbone_under_a_segmentor(tmp_path, caplog):
    first = shaken(classifier(AlignedXception(41, width=0.125)))
    write_bundle(tmp_path / "m", tf_arrays(first, tensorflow.MAPS[0]))
    second = segmentor(41)
    fresh = load_weights(second, tmp_path)
    assert same(first.backbone, second.backbone)
    assert {name.split(".")[0] for name in fresh} == {"head"}
    bare = AlignedXception(41, width=0.125)
    assert load_weights(bare, tmp_path) == []
    assert same(first.backbone, bare)


def test_other_classes_want_a_new_classifier_by_name(tmp_path):
    write_bundle(tmp_path / "m", tf_arrays(shaken(segmentor(41)), tensorflow.MAPS[0]))
    other = segmentor(41, num_classes=5)
    with pytest.raises(ValueError, match=r"other shape \(2\).*\n.*--new head.classifier"):
        load_weights(other, tmp_path)
    assert load_weights(other, tmp_path, new=["head.classifier"]) == ["head.classifier.weight", "head.classifier.bias"]


def test_a_downloaded_archive(tmp_path):
    first, second = shaken(segmentor(41)), segmentor(41).eval()
    write_bundle(tmp_path / "deeplab" / "model.ckpt", tf_arrays(first, tensorflow.MAPS[0]))
    (tmp_path / "deeplab" / "frozen_inference_graph.pb").write_bytes(b"graph")
    with tarfile.open(tmp_path / "deeplab.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "deeplab", "deeplab")
    assert load_weights(second, tmp_path / "deeplab.tar.gz") == []
    assert same(first, second)


def write_keras_h5(path, suffix, inside_model):
    """As Keras 1 (W, running_std, a number at the end), 2 and 3 name what they write."""
    shapes = json.loads(reference("keras_xception", "xception_variables.json").read_text())
    layers: dict[str, dict] = {}
    for name, shape in shapes.items():
        layer, leaf = name.split("/")
        layers.setdefault(layer, {})[leaf] = reference_weight(name, shape, -1)
    old = {"kernel": "W", "bias": "b", "moving_mean": "running_mean", "moving_variance": "running_std"}
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights") if inside_model else file
        group.attrs["layer_names"] = [b"input_1", *(layer.encode() for layer in layers)]
        group.create_group("input_1").attrs["weight_names"] = np.zeros(0, "S1")
        for layer, arrays in layers.items():
            names = [f"{layer}/{leaf}:0" if suffix == "2" else f"{layer}_{old.get(leaf, leaf)}_1:0" for leaf in arrays]
            sub = group.create_group(layer)
            sub.attrs["weight_names"] = [name.encode() for name in names]
            for name, array in zip(names, arrays.values(), strict=True):
                sub[name] = array


@pytest.mark.parametrize(("keras", "inside_model"), [("1", False), ("2", True)])
def test_same_logits_as_keras(keras, inside_model, tmp_path):
    write_keras_h5(tmp_path / "xception.h5", keras, inside_model)
    expected = np.load(reference("keras_xception", "xception_299.npz"))
    model = xseg.load("imagenet/xception", weights=tmp_path / "xception.h5", device="cpu").double()
    image = torch.from_numpy(expected["image"]).permute(0, 3, 1, 2).double() / 127.5 - 1
    with torch.inference_mode():
        np.testing.assert_allclose(model(image).numpy(), expected["logits"], atol=1e-4)
    assert (model.classes[0], model.classes[281], len(model.classes)) == ("tench", "tabby", 1000)


@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        ("xception41", AlignedXception(41, out=("c5",))),
        ("xception65", AlignedXception(65, out=("c5",))),
        ("xception71", AlignedXception(71, out=("c5",))),
        ("xception41p", PreactXception(41, out=("c5",), bn_eps=1e-5)),
        ("xception65p", PreactXception(65, out=("c5",))),
        ("legacy_xception", Xception(out=("c5",), stem="valid", bn_eps=1e-5)),
    ],
)
def test_same_logits_as_timm(name, backbone, tmp_path):
    ref = shake(timm.create_model(name))
    save_file({key: value.float() for key, value in ref.state_dict().items()}, tmp_path / "model.safetensors")
    ref = ref.float().double()
    ours = classifier(backbone).eval()
    assert load_weights(ours, tmp_path / "model.safetensors") == []
    x = torch.rand(1, 3, 97, 97, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(ours.double()(x), ref(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("last", ["fc", "last_linear"])
def test_cadenes_file_with_either_name_and_flat_pointwise_kernels(last, tmp_path):
    first = shaken(classifier(Xception(out=("c5",), width=0.125, bn_eps=1e-5)))
    state = {key.replace("fc.", f"{last}."): v for key, v in to_theirs(cadene.MAPS[0], first.state_dict()).items()}
    state = {key: v.flatten(1) if "pointwise" in key else v for key, v in state.items()}
    torch.save(state, tmp_path / "xception.pth")
    second = classifier(Xception(out=("c5",), width=0.125, bn_eps=1e-5)).eval()
    load_weights(second, tmp_path / "xception.pth")
    assert same(first, second)


def test_segmentrons_backbone(tmp_path):
    first = shaken(segmentor(65))
    state = {key: v for key, v in first.state_dict().items() if key.startswith("backbone.")}
    torch.save(to_theirs(segmentron.MAPS[0], state), tmp_path / "x65.pth")
    second = segmentor(65)
    assert all(name.startswith("head.") for name in load_weights(second, tmp_path / "x65.pth"))
    assert same(first.backbone, second.backbone)


def test_the_epsilon_is_part_of_the_weights(tmp_path):
    first = classifier(Xception(out=("c5",), width=0.125, bn_eps=1e-5))
    torch.save(to_theirs(cadene.MAPS[0], first.state_dict()), tmp_path / "xception.pth")
    with pytest.raises(ValueError, match=r"epsilon 1e-05, but the model's backbone uses 0.001; set model.*bn_eps"):
        load_weights(classifier(Xception(out=("c5",), width=0.125)), tmp_path / "xception.pth")


def test_other_classes_only_if_named_new(tmp_path):
    source, model = ToyModel(classes=5), ToyModel()
    torch.save(source.state_dict(), tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"--new classifier"):
        load_weights(model, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="none called 'clasifier'"):
        load_weights(model, tmp_path / "w.pth", new=("clasifier",))
    assert load_weights(model, tmp_path / "w.pth", new=("classifier",)) == ["classifier.weight", "classifier.bias"]
    assert torch.equal(model.backbone.pointwise.weight, source.backbone.pointwise.weight)


@pytest.mark.parametrize("prefix", ["", "backbone.", "module.backbone."])
def test_a_bare_backbone_of_ours(prefix, tmp_path):
    source, model = ToyModel(), ToyModel()
    torch.save({prefix + name: value for name, value in source.backbone.state_dict().items()}, tmp_path / "w.pth")
    assert load_weights(model, tmp_path / "w.pth") == ["classifier.weight", "classifier.bias"]
    assert torch.equal(model.backbone.pointwise.weight, source.backbone.pointwise.weight)


class Runs:
    def __reduce__(self):
        return print, ("this must never be printed",)


def bad_files(folder):
    """Name -> (file, what its error must say)."""
    good = tf_arrays(segmentor(41), tensorflow.MAPS[0])
    write_bundle(folder / "whole" / "m", good)
    with tarfile.open(folder / "whole.tar.gz", "w:gz") as archive:
        archive.add(folder / "whole", "whole")
    packed = (folder / "whole.tar.gz").read_bytes()

    def file(name, data):
        (folder / name).write_bytes(data)
        return folder / name

    yield "truncated", file("cut.tar.gz", packed[: len(packed) // 2]), "is cut off or not a .tar.gz"
    write_bundle(folder / "deep" / "m", tf_arrays(segmentor(65), tensorflow.MAPS[1]))
    yield "wrong depth", folder / "deep", "the file holds 21 blocks, the model has 13: another depth"
    write_bundle(folder / "mobile" / "m", {"MobilenetV2/Conv/weights": np.zeros((3, 3, 3, 8), np.float32)})
    yield "other model", folder / "mobile", "no Xception or DeepLabv3.* its variables belong to MobilenetV2"
    with zipfile.ZipFile(folder / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(50_000_000))
    yield "zip bomb", folder / "bomb.pth", "holds compressed data .* it is refused"
    torch.save({"state_dict": {"w": torch.zeros(1)}, "code": Runs()}, folder / "code.pth")
    yield "pickle with code", folder / "code.pth", "Python code objects"
    yield "old pickle with code", file("old.pth", pickle.dumps(Runs(), 2)), "Python code objects"
    yield "empty", file("empty.safetensors", b""), "is damaged or no safetensors file|is empty"
    yield "web page", file("page.tar.gz", b"<!DOCTYPE html><title>404</title>"), "a web page"
    torch.save({k: v.half() for k, v in segmentor(41).state_dict().items()}, folder / "half.pth")
    yield "float16", folder / "half.pth", r"tensors are torch.float16.*rounded"
    write_bundle(folder / "shards" / "m", good, num_shards=2)
    (folder / "shards" / "m.data-00001-of-00002").unlink()
    yield "missing shard", folder / "shards", "shard m.data-00001-of-00002 is missing"
    yield "cut .h5", file("cut.h5", b"\x89HDF\r\n\x1a\n" + bytes(100)), "is damaged or not an HDF5 file"
    yield "two checkpoints", two(folder, good), "holds 2 checkpoints"
    yield (
        "archive without a checkpoint",
        file("no.tar.gz", gzip.compress(bytes(10240))),
        "holds no TensorFlow checkpoint",
    )


def two(folder, good):
    write_bundle(folder / "two" / "a", good)
    write_bundle(folder / "two" / "b", good)
    return folder / "two"


def test_bad_files_are_refused_with_the_reason(tmp_path, capsys):
    before = segmentor(41)
    kept = {name: value.clone() for name, value in before.state_dict().items()}
    for name, path, message in bad_files(tmp_path):
        with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
            load_weights(before, path)
        assert path.name in str(error.value), name
    assert "never be printed" not in capsys.readouterr().out
    assert all(torch.equal(kept[name], value) for name, value in before.state_dict().items())


def test_an_archive_that_unpacks_to_too_much(tmp_path, monkeypatch):
    write_bundle(tmp_path / "m" / "m", {"net/x": np.zeros(300_000, np.float32)})
    with tarfile.open(tmp_path / "m.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "m", "m")
    monkeypatch.setattr("xseg.weights.files.MAX_UNPACKED", 1 << 20)
    with pytest.raises(ValueError, match=r"bytes unpack to more than .* refused"):
        read_weights(tmp_path / "m.tar.gz")


def test_an_archive_cannot_write_outside(tmp_path):
    write_bundle(tmp_path / "m" / "m", tf_arrays(segmentor(41), tensorflow.MAPS[0]))
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        for file in (tmp_path / "m").iterdir():
            archive.add(file, f"../../escaped/{file.name}")
    assert load_weights(segmentor(41), tmp_path / "x.tar.gz") == []
    assert not (tmp_path.parent / "escaped").exists()
