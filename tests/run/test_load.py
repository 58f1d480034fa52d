"""A user's own classes reload from a checkpoint only if their module is named or already imported."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import xseg
from backbones import AlignedXception
from xseg.drawing import write_image
from xseg.models import Segmentor
from xseg.run.load import import_modules
from xseg.weights import save_safetensors

HEAD = """
from torch import nn

class OwnHead(nn.Module):
    align_corners = False

    def __init__(self, num_classes, in_channels, in_strides):
        super().__init__()
        self.num_classes, self.conv = num_classes, nn.Conv2d(in_channels[-1], num_classes, 1)

    def set_strides(self, in_strides): ...

    def forward(self, features):
        return self.conv(features[-1])
"""


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A folder with the module own_heads.py, which is no longer imported, and a checkpoint of a model with its head."""
    (tmp_path / "own_heads.py").write_text(HEAD)
    monkeypatch.syspath_prepend(tmp_path)
    import own_heads

    backbone = dict(type=AlignedXception, depth=41, output_stride=16, width=0.125)
    config = dict(type=Segmentor, backbone=backbone, head=dict(type=own_heads.OwnHead, num_classes=3))
    save_safetensors(Segmentor(dict(backbone), dict(config["head"])), config, tmp_path / "x.safetensors")
    monkeypatch.delitem(sys.modules, "own_heads")
    return tmp_path


def test_a_class_of_a_named_module_is_loaded(saved):
    with pytest.raises(
        ValueError, match=r"'own_heads\.OwnHead', which is no model of xseg: refused.*--import own_heads"
    ):
        xseg.load(saved / "x.safetensors", device="cpu")
    assert "own_heads" not in sys.modules, "a checkpoint must not import code"
    for imports in ("own_heads", ["own_heads"]):
        model = xseg.load(saved / "x.safetensors", device="cpu", imports=imports)
        assert type(model.head).__name__ == "OwnHead" and model(torch.rand(1, 3, 32, 32)).shape == (1, 3, 32, 32)


def test_a_class_that_is_imported_already_is_loaded(saved):
    import own_heads

    assert type(xseg.load(saved / "x.safetensors", device="cpu").head) is own_heads.OwnHead


@pytest.mark.parametrize("name", ["torch.nn.Identity", "subprocess.Popen", "OwnHead", "torch.nn.modules.linear.Linear"])
@pytest.mark.parametrize("imports", [(), ("subprocess",)])
def test_imported_libraries_and_other_classes_are_refused(saved, name, imports):
    config = dict(type="xseg.models.Segmentor", backbone=dict(type="backbones.Xception"), head=dict(type=name))
    checkpoint = {"state_dict": {"x": torch.zeros(1)}, "meta": {"xseg": {"model": config, "classes": ["a"]}}}
    torch.save(checkpoint, saved / "y.pth")
    with pytest.raises(ValueError, match="which is no model of xseg: refused"):
        xseg.load(saved / "y.pth", device="cpu", imports=imports)


def test_a_missing_module_is_named(saved):
    with pytest.raises(ModuleNotFoundError, match="no module named 'own_head'; run in its folder"):
        import_modules("own_head")
    (saved / "broken.py").write_text("import nowhere_to_be_found")
    with pytest.raises(ModuleNotFoundError, match="No module named 'nowhere_to_be_found'"):
        import_modules("broken")


def test_the_command_imports_from_the_working_directory(saved):
    write_image(saved / "a.png", np.zeros((32, 40, 3), np.uint8))
    command = [
        sys.executable,
        "-c",
        "import sys; sys.path.remove(''); from xseg.cli import main; sys.exit(main())",
        "predict",
        "x.safetensors",
        "a.png",
        "--device",
        "cpu",
    ]
    refused = subprocess.run(command, cwd=saved, capture_output=True, text=True)
    assert refused.returncode == 1 and "--import own_heads on the command line" in refused.stderr
    subprocess.run([*command, "--import", "own_heads"], cwd=saved, check=True)
    assert (saved / "predictions" / "mask" / "a.png").is_file()
