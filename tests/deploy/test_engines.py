"""Engines give the outputs of the model they were exported from, at sizes and batches of all kinds."""

import pytest
import torch
from peers import shake
from torch import nn

from backbones import AlignedXception, Xception
from heads import FCOS, ClassificationHead, DeepLabV3Plus, RetinaNet
from xseg.deploy.backends import BACKENDS, ONNX_PACKAGES
from xseg.deploy.engines import Raw, choose, compare
from xseg.deploy.form import EXAMPLE_HW
from xseg.deploy.onnx import write_onnx
from xseg.deploy.runtimes import DTYPES
from xseg.models import Classifier, Detector, Segmentor

ENGINES = ["openvino", "onnxruntime"]
CPU = torch.device("cpu")


@pytest.fixture(params=ENGINES)
def backend(request):
    for package in (request.param, "onnx", "onnxscript"):
        pytest.importorskip(package)
    return request.param


def segmentor() -> Segmentor:
    torch.manual_seed(0)
    backbone = AlignedXception(41, output_stride=16, width=0.125)
    return shake(Segmentor(backbone, {"type": DeepLabV3Plus, "num_classes": 4, "channels": 16})).float().eval()


def detector(head: type[nn.Module]) -> Detector:
    """Classifiers that are sure of many things, as they come from training."""
    torch.manual_seed(0)
    backbone = AlignedXception(41, out=("c3", "c4", "c5"), width=0.125)
    options = {"type": head, "num_classes": 3, "channels": 16, "num_convs": 1}
    model = shake(Detector(backbone, options, size=None, selection={"score_threshold": 0.02})).float().eval()
    for weight in model.head.parameters():
        if weight.ndim == 4:
            nn.init.normal_(weight, std=0.15)
    return model


@torch.inference_mode()
def test_segmentor(backend):
    model = segmentor()
    deployed = model.deploy(backend=backend)
    for shape in ((1, 3, 33, 33), (3, 3, 50, 97), (2, 3, 128, 64)):
        x = torch.rand(shape)
        expected = model(x)
        assert (deployed(x) - expected).abs().max() <= 1e-4 * expected.abs().max()
    image = torch.randint(0, 256, (3, 70, 90), dtype=torch.uint8)
    assert (deployed.predict(image).mask == model.predict(image).mask).mean() > 0.999
    with pytest.raises(ValueError, match=rf"{backend} computes at output stride 16.* set 8 before deploy"):
        deployed.set_output_stride(8)
    with pytest.raises(ValueError, match="train the model that deploy"):
        deployed.train()


@torch.inference_mode()
def test_classifier(backend):
    model = shake(Classifier(Xception(width=0.125), {"type": ClassificationHead, "num_classes": 5})).float().eval()
    x = torch.rand(2, 3, 75, 91)
    torch.testing.assert_close(model.deploy(backend=backend)(x), model(x), rtol=1e-3, atol=1e-4)


@torch.inference_mode()
@pytest.mark.slow
@pytest.mark.parametrize("head", [RetinaNet, FCOS])
def test_detector(backend, head):
    model = detector(head)
    deployed = model.deploy(backend=backend)
    for hw in ((64, 96), (100, 70)):
        image = torch.randint(0, 256, (3, *hw), dtype=torch.uint8)
        found, expected = deployed.predict(image), model.predict(image)
        assert len(expected.scores) > 5
        assert found.scores == pytest.approx(expected.scores, abs=1e-4)


@torch.inference_mode()
def test_bf16():
    for package in ("openvino", "onnx", "onnxscript"):
        pytest.importorskip(package)
    model, x = segmentor(), torch.rand(1, 3, 65, 65)
    expected = model(x)
    assert (model.deploy("bf16", backend="openvino")(x) - expected).abs().max() <= 0.05 * expected.abs().max()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@torch.inference_mode()
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("backend", ["cudagraphs", "tensorrt"])
def test_on_a_gpu(backend, dtype):
    """Shapes in turn, and more of them than graphs are kept."""
    for package in BACKENDS[backend].packages:
        pytest.importorskip(package)
    model = segmentor().cuda()
    plain, deployed = model.deploy(dtype), model.deploy(dtype, backend=backend)
    for edge in (33, 65, 33, *range(33, 193, 16), 33):
        x = torch.rand(1, 3, edge, 64, device="cuda")
        expected = plain(x)
        first, again = deployed(x), deployed(x + 1)
        assert (first - expected).abs().max() <= 0.05 * expected.abs().max()
        assert not torch.equal(first, again), "an output must outlive the next image"
    with torch.inference_mode(False), torch.no_grad():
        deployed(x.clone())
    with pytest.raises(ValueError, match="set 8 before deploy"):
        deployed.set_output_stride(8)


@pytest.mark.parametrize("dtype", DTYPES)
def test_narrow_models_export_as_the_format_allows(dtype, tmp_path):
    """What TensorRT reads: weights and convolutions in the type, images and logits in float32."""
    for package in ONNX_PACKAGES:
        pytest.importorskip(package)
    import onnx

    model = segmentor().deploy(dtype)
    raw, path = Raw(model.backbone, model.head), tmp_path / "a.onnx"
    write_onnx(raw, path, (torch.rand(2, 3, *EXAMPLE_HW),), ["images"], ["output"], {})
    file = onnx.load(path)
    onnx.checker.check_model(file, full_check=True)
    kinds = {"fp32": onnx.TensorProto.FLOAT, "bf16": onnx.TensorProto.BFLOAT16, "fp16": onnx.TensorProto.FLOAT16}
    weights = {node.input[1] for node in file.graph.node if node.op_type == "Conv"}
    assert len(weights) > 90
    assert {value.data_type for value in file.graph.initializer if value.name in weights} == {kinds[dtype]}
    ends = (*file.graph.input, *file.graph.output)
    assert {value.type.tensor_type.elem_type for value in ends} == {onnx.TensorProto.FLOAT}


def test_an_engine_that_disagrees_is_refused():
    raw = torch.nn.Flatten(2)
    compare(lambda x: [x.flatten(2)], lambda x: [raw(x)], "an engine", 1e-3, CPU)
    with pytest.raises(ValueError, match=r"an engine on 1 x 160 x 160 differs from PyTorch by .* than 0\.001"):
        compare(lambda x: [x.flatten(2) * 1.01], lambda x: [raw(x)], "an engine", 1e-3, CPU)


def test_auto_takes_the_fastest_that_is_installed(monkeypatch):
    have = {"onnx", "onnxscript", "onnxruntime", "openvino"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name in have or None)
    assert choose("auto", torch.float32, CPU, False) == "openvino"
    assert choose("auto", torch.float64, CPU, False) == choose("auto", torch.float32, CPU, True) == "torch"
    assert choose("auto", torch.float32, torch.device("cuda"), False) == "torch"
    have.remove("openvino")
    assert choose("auto", torch.float32, CPU, False) == "torch"


@pytest.mark.parametrize(
    ("backend", "dtype", "device", "compile", "message"),
    [
        ("tflite", torch.float32, "cpu", False, "backend must be torch, .*, cudagraphs or auto, got 'tflite'"),
        ("onnxruntime", torch.bfloat16, "cpu", False, "onnxruntime computes in fp32"),
        ("openvino", torch.float64, "cpu", False, "openvino computes in fp32 or bf16 or fp16, got torch.float64"),
        ("openvino", torch.float32, "cuda", False, "openvino computes on a CPU, the model is on cuda"),
        ("openvino", torch.float32, "cpu", True, "compile=True is torch.compile"),
        ("tensorrt", torch.float32, "cuda", True, "compile=True is torch.compile"),
        ("tensorrt", torch.float32, "cpu", False, "tensorrt computes on an NVIDIA GPU, the model is on cpu"),
        ("cudagraphs", torch.bfloat16, "cpu", True, "cudagraphs computes on an NVIDIA GPU, the model is on cpu"),
    ],
)
def test_what_an_engine_cannot_do(monkeypatch, backend, dtype, device, compile, message):
    monkeypatch.setattr("xseg.deploy.engines.require", lambda *_: None)
    with pytest.raises(ValueError, match=message):
        choose(backend, dtype, torch.device(device), compile)


def test_a_missing_engine_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"backend openvino needs openvino, .* pip install openvino onnx"):
        choose("openvino", torch.float32, CPU, False)
