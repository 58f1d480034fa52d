import json
import resource

import pytest
import torch
from peers import shake
from safetensors import safe_open

import xseg
import xseg.run.load
from backbones import AlignedXception, Xception
from heads import DeepLabV3Plus, RetinaNet
from xseg.cli import main
from xseg.engine import plain_model_config
from xseg.models import Detector, Preprocessor, Segmentor, SmpBackbone, TimmBackbone
from xseg.weights import save_safetensors

LEVELS = ("c3", "c4", "c5")
CONFIG = dict(
    type=Segmentor,
    backbone=dict(type=AlignedXception, depth=41, output_stride=16, width=0.125),
    head=dict(type=DeepLabV3Plus, num_classes=3, channels=8, low_channels=8),
    preprocessor=dict(type=Preprocessor, mean=(100.0, 110.0, 120.0), std=50.0),
)


@pytest.fixture
def model():
    built = shake(xseg.run.load._build(dict(CONFIG), {"classes": ("a", "b", "c"), "palette": None})).float()
    built.palette = [(0, 0, 0), (255, 0, 0), (0, 255, 0)]
    return built


def test_there_and_back_bit_by_bit(model, tmp_path):
    save_safetensors(model, CONFIG, tmp_path / "x.safetensors", {"licence": "MIT"})
    again = xseg.load(tmp_path / "x.safetensors", device="cpu")
    assert (again.classes, again.palette) == (model.classes, model.palette)
    assert again.card == {
        "mean": [100.0, 110.0, 120.0],
        "std": [50.0],
        "value_range": [0, 255],
        "channels": "RGB",
        "bn_eps": {"backbone": [1e-3], "head": [1e-5]},
        "licence": "MIT",
    }
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    image = torch.randint(0, 256, (3, 40, 50), dtype=torch.uint8)
    assert (model.predict(image).mask == again.predict(image).mask).all()
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


def test_a_folder_as_the_hub_keeps_it(model, tmp_path, monkeypatch):
    """Both were taken for something else: a work dir without a checkpoint, a model of the Hub."""
    folder = tmp_path / "org" / "name"
    save_safetensors(model, CONFIG, folder / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    for source in (folder, "org/name", f"hf:{folder}", "hf:org/name", "hf:./org/name"):
        again = xseg.load(source, device="cpu")
        assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    with pytest.raises(FileNotFoundError, match=r"org holds no model\.safetensors"):
        xseg.load(f"hf:{folder.parent}")
    with pytest.raises(FileNotFoundError, match=r"/nowhere/model: no such folder"):
        xseg.load("hf:/nowhere/model")
    with pytest.raises(FileNotFoundError, match=r"org holds no checkpoint \(\.pth\) and no model\.safetensors"):
        xseg.load(folder.parent)


def test_a_flipped_byte_is_found(model, tmp_path):
    """The format has no checksum: weights, shapes and class names changed in silence. Ours carries one."""
    save_safetensors(model, CONFIG, path := tmp_path / "x.safetensors")
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    first_class = content.index(b'[\\"a') + 3
    for position in (first_class, header, (header + len(content)) // 2, len(content) - 1):
        damaged = bytearray(content)
        damaged[position] ^= 0x01
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"x.safetensors: is damaged: its bytes are not those that were written"):
            xseg.load(path, device="cpu")
    path.write_bytes(content)
    assert xseg.load(path, device="cpu").classes == ("a", "b", "c")


def test_a_card_cannot_name_foreign_code(model, tmp_path):
    save_safetensors(model, {**CONFIG, "type": "subprocess.run"}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"asks for 'subprocess.run', which is no model of xseg: refused"):
        xseg.load(tmp_path / "x.safetensors")


def changed(config: dict, **options: dict) -> dict:
    """A config with other options of its parts."""
    return {**config, **{part: {**config[part], **values} for part, values in options.items()}}


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize(
    "options, message",
    [
        (dict(backbone=dict(width=100.0)), r"describes a model of [\d,.]+ MB, more than the file holds"),
        (dict(head=dict(num_classes=1_000_000)), r"describes a model of [\d,.]+ MB, more than the file holds"),
        (dict(backbone=dict(in_channels=10**12)), r"must be at most 1,000,000, got 1000000000000; refused"),
        (dict(backbone=dict(type=Xception, num_middle=10**6)), "cannot be built .*more parts than the file holds"),
        (dict(backbone=dict(out=LEVELS), head=dict(type=RetinaNet, num_levels=10**6)), "num_levels must be at most 12"),
    ],
    ids=["width", "classes", "number", "blocks", "levels"],
)
def test_a_card_cannot_ask_for_more_memory_than_its_file_has(model, tmp_path, suffix, options, message):
    """The model was built before its weights were looked at: `width: 100.0` took all memory there was."""
    config = changed(CONFIG, **options)
    if options.get("head", {}).get("type"):
        config |= dict(type=Detector, head=dict(options["head"], num_classes=3))
    if options.get("backbone", {}).get("type"):
        config |= dict(backbone=options["backbone"])
    path = tmp_path / f"x.{suffix}"
    if suffix == "safetensors":
        save_safetensors(model, config, path)
    else:
        meta = {"xseg": {"model": plain_model_config(config), "classes": model.classes}}
        torch.save({"state_dict": model.state_dict(), "meta": meta}, path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=rf"x\.{suffix}.*{message}"):
        xseg.load(path, device="cpu")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KB


def test_a_tensor_that_repeats_its_memory_counts_once(model, tmp_path):
    """A .pth may hold a view of one number as a million of them."""
    config = changed(CONFIG, head=dict(num_classes=1_000_000))
    state = model.state_dict() | {"head.classifier.weight": torch.zeros(1).expand(1_000_000, 8, 1, 1)}
    meta = {"xseg": {"model": plain_model_config(config), "classes": model.classes}}
    torch.save({"state_dict": state, "meta": meta}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="more than the file holds"):
        xseg.load(tmp_path / "x.pth", device="cpu")


@pytest.mark.parametrize(
    "backbone",
    [
        dict(type=TimmBackbone, name="resnet18"),
        dict(type=TimmBackbone, name="swin_tiny_patch4_window7_224", img_size=64),
        dict(type=SmpBackbone, name="mobilenet_v2"),
        dict(type=SmpBackbone, name="mit_b0"),  # reads the values of a linspace while it is built
    ],
    ids=lambda backbone: backbone["name"],
)
def test_networks_of_other_libraries_are_loaded_by_their_card(backbone, tmp_path):
    config = dict(type=Segmentor, backbone=backbone, head=CONFIG["head"])
    saved = xseg.run.load._build(dict(config), {"classes": ("a", "b", "c")})
    save_safetensors(saved, config, tmp_path / "x.safetensors")
    again = xseg.load(tmp_path / "x.safetensors", device="cpu")
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in saved.state_dict().items())


def test_the_command_converts_and_the_file_serves_alone(model, tmp_path, capsys):
    config = tmp_path / "small.py"
    config.write_text(
        "from backbones import AlignedXception\nfrom heads import DeepLabV3Plus\nfrom xseg.models import Segmentor\n"
        "model = dict(type=Segmentor, backbone=dict(type=AlignedXception, depth=41, output_stride=16, width=0.125),\n"
        "             head=dict(type=DeepLabV3Plus, num_classes=3, channels=8, low_channels=8))\n"
    )
    torch.save(model.state_dict(), tmp_path / "w.pth")
    out = tmp_path / "out" / "w.safetensors"
    assert main(["weights", "convert", str(tmp_path / "w.pth"), str(out), "--config", str(config)]) == 0
    assert "Segmentor" in capsys.readouterr().out
    with safe_open(out, "pt") as file:
        card = json.loads(file.metadata()["xseg"])["card"]
    assert card["source"].endswith("w.pth") and card["config"] == "small"
    torch.save({k: v for k, v in model.state_dict().items() if k.startswith("backbone.")}, tmp_path / "b.pth")
    assert main(["weights", "convert", str(tmp_path / "b.pth"), str(out), "--config", str(config)]) == 1
    assert "no weights for" in capsys.readouterr().err
    assert main(["weights", "convert", str(tmp_path / "w.pth"), "w.pth", "--config", str(config)]) == 1
    assert "must end in .safetensors" in capsys.readouterr().err


def test_the_published_ones_are_listed(capsys):
    assert main(["weights", "list"]) == 0
    shown = capsys.readouterr().out
    assert "deeplabv3plus_xception71_dpc_cityscapes" in shown and "82.66" in shown


def test_to_the_hub_and_back(model, tmp_path, monkeypatch):
    """The Hub itself is a folder here: what is uploaded is what `hf:` finds."""
    import shutil

    import huggingface_hub

    class Hub:
        def __init__(self, token=None): ...

        def create_repo(self, repository, private, exist_ok): ...

        def upload_folder(self, repo_id, folder_path):
            shutil.copytree(folder_path, tmp_path / repo_id)

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda repo, name, revision: str(tmp_path / repo / name))
    with pytest.raises(ValueError, match="does not know its config"):
        Segmentor(**{k: v for k, v in CONFIG.items() if k != "type"}).push_to_hub("a/b")
    assert model.push_to_hub("me/small") == "https://huggingface.co/me/small"
    readme = (tmp_path / "me" / "small" / "README.md").read_text()
    assert 'xseg.load("hf:me/small")' in readme and "| classes | 3: a, b, c |" in readme
    assert "pipeline_tag: image-segmentation\n" in readme
    assert "tags: [image-segmentation, semantic-segmentation, alignedxception, deeplabv3plus]\n" in readme
    again = xseg.load("hf:me/small", device="cpu")
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
