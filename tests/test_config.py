from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from xseg.config import (
    check_config,
    fill_num_classes,
    fill_rates,
    find_config,
    load_config,
    shipped_configs,
    training_crop,
)
from xseg.data import write_shapes
from xseg.weights import PUBLISHED, Weights


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp("shapes") / "shapes"
    write_shapes(root, num_train=4, num_val=2, size_hw=(48, 48))
    return root


@pytest.mark.parametrize("name", shipped_configs())
def test_every_shipped_config_reads_checks_and_can_be_saved(name, tmp_path):
    cfg = load_config(name)
    (tmp_path / "saved.py").write_text(cfg.pretty_text)
    assert load_config(tmp_path / "saved.py").model.backbone.type is not None
    header = find_config(name).read_text().split('"""')[1]
    command = "xseg train" if cfg.get("train_cfg") else "xseg eval" if cfg.get("val_dataloader") else "xseg predict"
    assert f"{command} " in header and name in header
    assert "Result:" in header


@pytest.mark.parametrize("name", shipped_configs())
def test_every_schedule_ends_with_its_run(name):
    cfg = load_config(name)
    if not cfg.get("train_cfg"):
        assert cfg.weights in PUBLISHED  # a config that only evaluates brings its weights
        assert PUBLISHED[cfg.weights].config
        return
    last, max_iters = cfg.param_scheduler[-1], cfg.train_cfg.max_iters
    ends = (max_iters + 1,) if "power" in last else (max_iters, max_iters + 1)  # poly's last step must not be at 0
    assert last.end in ends
    assert cfg.train_cfg.max_iters % cfg.default_hooks.checkpoint.interval == 0 or cfg.train_cfg.max_iters >= 1000
    assert cfg.train_dataloader.dataset.type == cfg.val_dataloader.dataset.type


def test_a_name_near_a_shipped_one_is_suggested():
    with pytest.raises(FileNotFoundError, match="did you mean 'deeplabv3plus_xception65_voc'"):
        load_config("deeplabv3plus_xception65_vok")


def test_yaml_is_refused(tmp_path):
    with pytest.raises(ValueError, match="YAML configs can run code"):
        find_config(tmp_path / "x.yaml")


def test_a_syntax_error_names_file_and_line(tmp_path):
    (tmp_path / "bad.py").write_text("a = 1\nb = = 2\n")
    with pytest.raises(ValueError, match=r"bad.py: line 2"):
        load_config(tmp_path / "bad.py")


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("model.backbone.dept", "model.backbone.depth"),
        ("modle.backbone.depth", "model"),
        ("train_dataloader.batchsize", "train_dataloader.batch_size"),
        ("train_dataloader.dataset.transforms.0.scales", "train_dataloader.dataset.transforms.0.scale"),
        ("default_hooks.checkpoint.intervall", "default_hooks.checkpoint.interval"),
        ("optim_wrapper.optimizer.learning", None),
    ],
)
def test_a_misspelt_override_is_refused_with_what_was_meant(key, meant):
    with pytest.raises(KeyError, match=f"did you mean '{meant}'" if meant else "unknown key"):
        load_config("quickstart", {key: 1})


def test_overrides_reach_lists_and_arguments_that_the_config_leaves_out():
    cfg = load_config(
        "quickstart", {"train_dataloader.dataset.transforms.0.scale": (1, 1), "model.backbone.drop_path": 0.1}
    )
    assert cfg.train_dataloader.dataset.transforms[0].scale == (1, 1)
    assert cfg.model.backbone.drop_path == 0.1
    with pytest.raises(KeyError, match="must be an index below that"):
        load_config("quickstart", {"train_dataloader.dataset.transforms.9.scale": 1})
    with pytest.raises(KeyError, match="has no keys"):
        load_config("quickstart", {"train_cfg.max_iters.x": 1})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.backbone.widht = 0.5", "unknown key model.backbone.widht; did you mean 'width'"),
        ("train_dataloader.batch_sise = 5", "did you mean 'batch_size'"),
        ("custom_hook = []", "unknown key 'custom_hook'; did you mean 'custom_hooks'"),
    ],
)
def test_a_misspelt_key_in_a_file_is_refused(tmp_path, change, message):
    text = load_config("quickstart").pretty_text
    (tmp_path / "mine.py").write_text(
        f"{text}\n{change}\n".replace("model.backbone.widht", "model['backbone']['widht']").replace(
            "train_dataloader.batch_sise", "train_dataloader['batch_sise']"
        )
    )
    with pytest.raises(KeyError, match=r"mine\.py") as caught:
        load_config(tmp_path / "mine.py")
    assert message in str(caught.value)


def test_variables_of_ones_own_are_no_faults():
    check_config(Config({"crop": (3, 3), "my_classes": ["a"]}))


def test_num_classes_follow_the_data(shapes):
    cfg = load_config("quickstart", data_root=shapes)
    cfg.train_dataloader.dataset.update(num_images={"train": 4, "val": 2}, size_hw=(48, 48))
    assert fill_num_classes(cfg, "train_dataloader")["classes"] == (
        "background",
        "circle",
        "square",
        "triangle",
        "ring",
    )
    assert cfg.model.head.num_classes == 5
    cfg.model.head.num_classes = 7
    with pytest.raises(ValueError, match=r"num_classes is 7, but the data set has 5 classes: background, circle"):
        fill_num_classes(cfg, "train_dataloader")


def weights(*names: str, **head) -> Weights:
    meta = {"xseg": {"model": {"head": head}}} if head else {}
    return Weights({name: torch.zeros(1) for name in names}, meta, None, Path("w.pth"))


ASPP = "head.aspp.0.conv.weight"


@pytest.mark.parametrize(
    ("trained", "new", "rates"),
    [
        (None, (), (3, 6, 9)),  # of the crop, 257 x 257
        (weights("backbone.stem.0.conv.weight"), (), (3, 6, 9)),  # a trunk knows no rates
        (weights(ASPP), (), (6, 12, 18)),  # published weights
        (weights(ASPP, type="heads.DeepLabV3Plus", rates=(2, 4, 8)), (), (2, 4, 8)),  # ours, which say so
        (weights(ASPP, type="heads.DeepLabV3Plus"), (), (6, 12, 18)),  # ours from before rates were said
        (weights(ASPP), ("head.classifier",), (6, 12, 18)),
        (weights(ASPP), ("head",), (3, 6, 9)),
    ],
)
def test_rates_are_those_of_the_weights_or_of_the_crop(trained, new, rates):
    cfg = load_config("deeplabv3plus_xception41_quarter_custom")
    fill_rates(cfg, trained, new)
    assert cfg.model.head.rates == rates


def test_stated_rates_and_other_heads_are_left_alone():
    cfg = load_config("quickstart", {"model.head.rates": (5, 6, 7)})
    fill_rates(cfg)
    assert cfg.model.head.rates == (5, 6, 7)
    for name in ("fcos_quickstart", "xception_quickstart", "deeplabv3plus_xception71_dpc_cityscapes_eval"):
        fill_rates(cfg := load_config(name))
        assert "rates" not in cfg.model.head


def test_the_last_transform_with_a_size_gives_the_training_crop():
    assert training_crop(load_config("deeplabv3plus_xception65_custom")) == (361, 481)
    assert training_crop(load_config("joint_quickstart")) is None
    cfg = load_config("quickstart")
    cfg.train_dataloader.dataset.transforms.append(dict(type="CentreCrop", size=64))
    assert training_crop(cfg) == (64, 64)
