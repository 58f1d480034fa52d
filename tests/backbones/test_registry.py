"""Text configs of the OpenMMLab world find our classes by name, and these packages never import mmengine."""

import subprocess
import sys

import pytest


def python(code: str) -> str:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout.strip()


def test_the_packages_do_not_import_mmengine():
    assert python("import sys, backbones, heads; print('mmengine' in sys.modules)") == "False"


@pytest.mark.parametrize(
    ("package", "config"),
    [
        ("backbones", "type='AlignedXception', depth=41, width=0.125"),
        ("heads", "type='FCNHead', num_classes=3, in_channels=(8,), in_strides=(4,)"),
    ],
)
def test_one_import_after_mmengine_is_enough(package, config):
    code = f"import mmengine, {package}; m = mmengine.registry.MODELS.build(dict({config})); print(type(m).__module__)"
    assert python(code).startswith(package)


def test_every_public_class_is_registered():
    code = (
        "import mmengine, backbones, heads; from torch import nn\n"
        "classes = [c for p in (backbones, heads) for n in p.__all__ if isinstance(c := getattr(p, n), type)]\n"
        "print([c.__name__ for c in classes if mmengine.registry.MODELS.get(c.__name__) is not c])"
    )
    assert python(code) == "[]"


def test_xseg_registers_them_in_any_order_of_imports():
    code = "import backbones, heads; from mmengine.registry import MODELS; import xseg.models; "
    code += "print(MODELS.get('AlignedXception') is backbones.AlignedXception, MODELS.get('FCOS') is heads.FCOS)"
    assert python(code) == "True True"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            "backbone['norm_cfg'] = dict(type='SyncBN')",
            "use bn_eps, bn_momentum, frozen_bn, sync_bn=True of",
        ),
        ("backbone['norm_eval'] = True", "use frozen_bn instead; AlignedXception has no such argument"),
        ("backbone['init_cfg'] = dict(type='Pretrained')", "use load_from=… of xseg.train instead"),
        ("head['norm_cfg'] = dict(type='BN')", "use bn_eps, bn_momentum, sync_bn=True of the config instead"),
    ],
)
def test_keys_of_openmmlab_are_refused_with_ours(tmp_path, config, message):
    import xseg.models  # noqa: F401
    from xseg.config import load_config

    (tmp_path / "text.py").write_text(
        "backbone = dict(type='AlignedXception', depth=41)\nhead = dict(type='DeepLabV3Plus', num_classes=3)\n"
        f"{config}\nmodel = dict(type='Segmentor', backbone=backbone, head=head)\n"
    )
    with pytest.raises(KeyError) as error:
        load_config(tmp_path / "text.py")
    assert message in str(error.value)
