"""`--deploy` and `--backend` of `xseg eval` and `xseg predict` give the numbers and masks of the trained model."""

import json

import numpy as np
import pytest
from PIL import Image

from xseg.cli import main
from xseg.models import Segmentor

TINY = [
    "--cfg-options",
    "train_cfg.max_iters=2",
    "train_cfg.val_interval=2",
    "default_hooks.checkpoint.interval=2",
    "train_dataloader.batch_size=2",
    "model.backbone.width=0.125",
    *(f"{loader}_dataloader.num_workers=0" for loader in ("train", "val")),
    *(f"{loader}_dataloader.persistent_workers=False" for loader in ("train", "val")),
    *(f"{loader}_dataloader.dataset.num_images={{'train': 4, 'val': 3}}" for loader in ("train", "val")),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    assert main(["train", "quickstart", "--data-root", f"{folder}/shapes", "--work-dir", f"{folder}/run", *TINY]) == 0
    return folder


@pytest.fixture
def deployed(monkeypatch):
    """The dtypes with which `deploy` was called."""
    dtypes, deploy = [], Segmentor.deploy
    monkeypatch.setattr(
        Segmentor, "deploy", lambda self, dtype=None, **o: dtypes.append(dtype) or deploy(self, dtype, **o)
    )
    return dtypes


def test_eval(trained, deployed):
    command = ["eval", "quickstart", f"{trained}/run", "--data-root", f"{trained}/shapes", "--worst", "0"]
    confusions = {}
    for name, options in {"plain": [], "fp32": ["--deploy"], "bf16": ["--deploy", "bf16"]}.items():
        assert main([*command, "--out", f"{trained}/{name}", *options, *TINY]) == 0
        confusions[name] = np.array(json.loads((trained / name / "metrics.json").read_text())["confusion"])
    assert deployed == ["fp32", "bf16"]
    for name, share in (("fp32", 0.001), ("bf16", 0.05)):  # share of pixels that may change their class
        assert abs(confusions[name] - confusions["plain"]).sum() <= 2 * share * confusions["plain"].sum()


def test_predict(trained, deployed, tmp_path):
    image = next((trained / "shapes" / "JPEGImages").iterdir())
    masks = {}
    for name, options in {"plain": [], "fp32": ["--deploy"], "bf16": ["--deploy", "bf16"]}.items():
        stride = ["--output-stride", "8"]
        assert main(["predict", f"{trained}/run", f"{image}", "--out", f"{tmp_path}/{name}", *stride, *options]) == 0
        masks[name] = np.array(Image.open(tmp_path / name / "mask" / f"{image.stem}.png"))
    assert deployed == ["fp32", "bf16"]
    assert (masks["fp32"] == masks["plain"]).mean() > 0.999
    assert (masks["bf16"] == masks["plain"]).mean() > 0.95


def test_an_unknown_dtype_is_wrong_usage():
    with pytest.raises(SystemExit) as caught:
        main(["predict", "run", "x.jpg", "--deploy", "int8"])
    assert caught.value.code == 2


SLOW = [pytest.param(backend, marks=pytest.mark.slow) for backend in ("openvino", "onnxruntime")]


@pytest.mark.parametrize("backend", ["auto", *SLOW])
def test_predict_on_an_engine(trained, tmp_path, backend):
    for package in ("onnx", "onnxscript", *({backend} - {"auto"})):
        pytest.importorskip(package)
    image = next((trained / "shapes" / "JPEGImages").iterdir())
    for name, options in {"plain": [], "engine": ["--backend", backend]}.items():
        assert main(["predict", f"{trained}/run", f"{image}", "--out", f"{tmp_path}/{name}", *options]) == 0
    plain, engine = (
        np.array(Image.open(tmp_path / name / "mask" / f"{image.stem}.png")) for name in ("plain", "engine")
    )
    assert (engine == plain).mean() > 0.999


def test_eval_on_an_engine(trained):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    command = ["eval", "quickstart", f"{trained}/run", "--data-root", f"{trained}/shapes", "--worst", "0"]
    confusions = []
    for name, options in {"plain": [], "engine": ["--backend", "onnxruntime"]}.items():
        assert main([*command, "--out", f"{trained}/{name}", *options, *TINY]) == 0
        confusions.append(np.array(json.loads((trained / name / "metrics.json").read_text())["confusion"]))
    assert abs(confusions[0] - confusions[1]).sum() <= 0.002 * confusions[0].sum()


def test_export(trained, capsys):
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    onnxruntime = pytest.importorskip("onnxruntime")
    out = trained / "model.onnx"
    assert main(["export", f"{trained}/run", "--out", f"{out}"]) == 0
    assert "1 x 192 x 256: equal to PyTorch to" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    assert facts["task"] == "segmentor" and "background" in json.loads(facts["classes"])
    assert json.loads(facts["mean"]) == [127.5]


def test_export_needs_the_suffix_onnx(trained, capsys):
    assert main(["export", f"{trained}/run", "--out", f"{trained}/model.pt"]) == 1
    assert "model.pt: an export is an .onnx file" in capsys.readouterr().err
