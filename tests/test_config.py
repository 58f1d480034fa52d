import json
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

import xseg
from backbones import AlignedXception, PreactXception, Xception
from xseg.config import (
    config_name,
    fill_context,
    fill_num_classes,
    find_config,
    load_config,
    shipped_configs,
    training_crop,
)
from xseg.config.renamed import RENAMED
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
def test_every_schedule_ends_with_its_training(name):
    cfg = load_config(name)
    if not cfg.get("train_cfg"):
        assert cfg.weights in PUBLISHED  # a config only for evaluation names its weights
        assert PUBLISHED[cfg.weights].config
        return
    cfg = load_config(name, {"train_cfg.max_iters": 100})
    assert cfg.param_scheduler[-1].end == (101 if "power" in cfg.param_scheduler[-1] else 100)
    cfg = load_config(name)
    last, max_iters = cfg.param_scheduler[-1], cfg.train_cfg.max_iters
    ends = (max_iters + 1,) if "power" in last else (max_iters, max_iters + 1)  # poly's last step is not at rate 0
    assert last.end in ends
    assert cfg.train_cfg.max_iters % cfg.default_hooks.checkpoint.interval == 0 or cfg.train_cfg.max_iters >= 1000
    assert cfg.train_dataloader.dataset.type == cfg.val_dataloader.dataset.type


def test_a_name_near_a_shipped_one_is_suggested():
    with pytest.raises(FileNotFoundError, match="did you mean 'voc/deeplabv3plus'"):
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
def test_a_misspelt_override_is_refused_with_a_suggestion(key, meant):
    with pytest.raises(KeyError, match=f"did you mean '{meant}'" if meant else "unknown key"):
        load_config("quickstart", {key: 1})


def test_overrides_reach_lists_and_arguments_that_the_config_does_not_state():
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


def test_variables_that_a_file_reads_are_accepted_and_removed(tmp_path):
    """Also those of a file that it inherits from; the config that a run saves does not hold them."""
    text = load_config("quickstart").pretty_text
    (tmp_path / "base.py").write_text(f"steps = 5\nsize = 3\n{text}")
    (tmp_path / "mine.py").write_text("_base_ = 'base.py'\nrate = 0.5\nlog_level = 'INFO'\nresume = bool(rate)\n")
    with pytest.raises(KeyError, match=r"unknown key 'steps'; .*nothing reads it"):
        load_config(tmp_path / "mine.py")
    (tmp_path / "base.py").write_text(f"steps = 5\n{text}\ntrain_cfg['max_iters'] = steps\n")
    cfg = load_config(tmp_path / "mine.py")
    assert cfg.train_cfg.max_iters == 5
    assert "steps" not in cfg and "rate" not in cfg


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("max_iterz = 5", "unknown key 'max_iterz'; did you mean 'train_cfg.max_iters'?"),
        ("log_levle = 'INFO'", "unknown key 'log_levle'; did you mean 'log_level'?"),
        ("env_cfg['cudnn_bench'] = True", "unknown key env_cfg.cudnn_bench; did you mean 'cudnn_benchmark'?"),
        ("env_cfg['mp_cfg']['num_threads'] = 1", "unknown key env_cfg.mp_cfg.num_threads"),
        ("randomness['sead'] = 1", "unknown key randomness.sead; did you mean 'seed'?"),
        ("default_hooks['checkpont'] = None", "unknown key default_hooks.checkpont; did you mean 'checkpoint'?"),
        ("default_hooks['checkpoint']['max_keep_ckptss'] = 3", "did you mean 'max_keep_ckpts'?"),
        (
            "custom_hooks.append(dict(type='EMAHook', momentun=0.1))",
            "did you mean 'momentum'?; EMAHook has no such argument",
        ),
    ],
)
def test_keys_that_were_accepted_in_silence_are_refused(tmp_path, change, message):
    """In a former version these keys had no effect, or ended the training at the first save."""
    text = load_config("quickstart").pretty_text
    (tmp_path / "mine.py").write_text(f"{text}\n{change}\n")
    with pytest.raises(KeyError) as caught:
        load_config(tmp_path / "mine.py")
    assert message in caught.value.args[0]


def test_the_ema_hook_takes_arguments_of_its_averaged_model():
    hook = dict(type="EMAHook", momentum=0.1, update_buffers=True)
    load_config("quickstart", {"custom_hooks": [hook]})


def test_a_config_object_is_checked_as_a_file_and_not_changed(tmp_path):
    """Once `xseg.train` merged `overrides` unchecked, and `xseg.evaluate` ignored them and `data_root`."""
    cfg = load_config("quickstart")
    for call in (xseg.train, lambda cfg, **given: xseg.evaluate(cfg, "none.pth", **given)):
        with pytest.raises(KeyError, match=r"did you mean 'train_cfg\.max_iters'"):
            call(cfg, overrides={"train_cfg.max_iter": 1})
    with pytest.raises(KeyError, match="unknown key 'max_iterz'"):
        xseg.train(Config(dict(model={}, max_iterz=5)))
    again = load_config(cfg, {"train_cfg.max_iters": 1}, data_root=tmp_path)
    assert again.train_cfg.max_iters == 1 and again.val_dataloader.dataset.root == str(tmp_path)
    assert cfg.train_cfg.max_iters > 1 and cfg.val_dataloader.dataset.root != str(tmp_path)


@pytest.mark.parametrize("width", [0, -1, float("nan"), float("inf")])
@pytest.mark.parametrize("network", [AlignedXception, Xception, PreactXception])
def test_a_width_that_is_no_factor_is_refused(network, width):
    """Once widths of 0 and -1 built a network of 8 channels everywhere."""
    with pytest.raises(ValueError, match="width must be a number above 0"):
        network(width=width)


@pytest.mark.parametrize("name", ["quickstart", "shapes/mask_rcnn", "own/cells"])
def test_a_json_config_equals_its_py_config(tmp_path, name):
    cfg = load_config(name)
    cfg.dump(tmp_path / "mine.json")
    saved = load_config(tmp_path / "mine.json")
    assert saved.model.backbone.type == "AlignedXception" if "quickstart" in name else "Xception"
    assert saved.train_cfg.max_iters == cfg.train_cfg.max_iters
    assert MODELS.get(saved.model.type) is cfg.model.type


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"type": "subprocess.check_output", "args": ["touch", "ran"]}}, "model.type is 'subprocess"),
        ({"model": {"type": "os.system"}}, "model.type is 'os.system', which is no registered class"),
        ({"model": {"type": "evil.Model"}}, "model.type is 'evil.Model'"),
        ({"model": {"type": "evil"}}, "model.type is 'evil'"),
        ({"model": {"head": [{"type": ["os.system"]}]}}, "model.head.0.type is"),
        ({"optim_wrapper": {"constructor": "evil.Model"}}, "optim_wrapper.constructor is 'evil.Model'"),
        ({"custom_hooks": [{"type": "EMAHook", "ema_type": "evil.Model"}]}, "custom_hooks.0.ema_type is 'evil.Model'"),
        ({"custom_imports": {"imports": ["evil"]}}, "custom_imports is {'imports': ['evil']}, which imports code"),
        ({"default_scope": "evil"}, "default_scope is 'evil', which imports code"),
        ({"model": {"_scope_": "evil", "type": "Segmentor"}}, "model._scope_ is 'evil', which imports code"),
        ({"_base_": "evil.py"}, "a JSON config has no _base_"),
        ({"max_iterz": 5}, "unknown key 'max_iterz'"),
    ],
)
def test_a_json_config_runs_no_code(tmp_path, monkeypatch, change, message):
    """mmengine would run `type: subprocess.check_output`, and import what `custom_imports`, scopes and bases name."""
    for name in ("evil.py", "evil/registry.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.json").write_text(json.dumps(change))
    for call in (load_config, xseg.train, xseg.load):
        with pytest.raises((ValueError, KeyError)) as caught:
            call(tmp_path / "mine.json")
        assert "mine.json" in caught.value.args[0] and message in caught.value.args[0]
    assert not (tmp_path / "ran").exists() and "evil" not in sys.modules


def test_a_broken_json_config_names_file_and_line(tmp_path):
    (tmp_path / "mine.json").write_text('{"model":\n {"type" "Segmentor"}}')
    with pytest.raises(ValueError, match=r"mine\.json: line 2: Expecting ':'"):
        load_config(tmp_path / "mine.json")
    (tmp_path / "mine.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"mine\.json: must hold a JSON object, got a list"):
        load_config(tmp_path / "mine.json")


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
        (None, (), (3, 6, 9)),  # from the crop, 257 x 257
        (weights("backbone.stem.0.conv.weight"), (), (3, 6, 9)),  # weights of a trunk have no rates
        (weights(ASPP), (), (6, 12, 18)),  # published weights
        (weights(ASPP, type="heads.DeepLabV3Plus", rates=(2, 4, 8)), (), (2, 4, 8)),  # our checkpoints hold the rates
        (weights(ASPP, type="heads.DeepLabV3Plus"), (), (6, 12, 18)),  # our oldest checkpoints do not
        (weights(ASPP), ("head.classifier",), (6, 12, 18)),
        (weights(ASPP), ("head",), (3, 6, 9)),
    ],
)
def test_rates_come_from_the_weights_or_from_the_crop(trained, new, rates):
    cfg = load_config("own/deeplabv3plus")
    fill_context(cfg, trained, new)
    assert cfg.model.head.rates == rates
    assert cfg.model.head.pooling_hw == ((257, 257) if rates == (3, 6, 9) else None)  # as published: the whole image


def test_stated_rates_and_other_heads_do_not_change():
    cfg = load_config("quickstart", {"model.head.rates": (5, 6, 7)})
    fill_context(cfg)
    assert cfg.model.head.rates == (5, 6, 7) and cfg.model.head.pooling_hw == (97, 97)
    cfg = load_config("cityscapes/deeplabv3plus")
    assert fill_context(cfg) == (769, 769)
    assert cfg.model.head.rates == (6, 12, 18) and cfg.model.head.pooling_hw is None
    for name in ("shapes/fcos", "shapes/xception", "cityscapes/deeplabv3plus_dpc_eval"):
        fill_context(cfg := load_config(name))
        assert "rates" not in cfg.model.head


def test_the_last_transform_with_a_size_gives_the_training_crop():
    assert training_crop(load_config("own/deeplabv3plus_gpu")) == (361, 481)
    assert training_crop(load_config("shapes/joint")) is None
    cfg = load_config("quickstart")
    cfg.train_dataloader.dataset.transforms.append(dict(type="CentreCrop", size=64))
    assert training_crop(cfg) == (64, 64)


def test_a_config_of_ones_own_inherits_by_name(tmp_path):
    """Anywhere on disk; the schedule ends at the own config's last iteration."""
    own = tmp_path / "cells.py"
    own.write_text(
        '_base_ = "own/retinanet"\ndata_root = "cells"\nbackbone = "xception41@0.125"\n'
        "train_cfg = dict(max_iters=40, val_interval=20)\ntrain_dataloader = dict(batch_size=2)\n"
    )
    cfg = load_config(own)
    assert cfg.model.backbone.width == 0.125 and cfg.model.backbone.out == ("c3", "c4", "c5")
    assert cfg.train_dataloader.batch_size == 2 and cfg.train_dataloader.num_workers
    assert cfg.train_dataloader.dataset.root == cfg.val_dataloader.dataset.root == "cells"
    assert cfg.param_scheduler[-1].end == 41 and config_name(cfg) == "cells"
    assert "read_base" not in cfg.pretty_text  # which a training writes to its work dir
    (tmp_path / "saved.py").write_text(cfg.pretty_text)
    assert load_config(tmp_path / "saved.py").to_dict() == cfg.to_dict()
    own.write_text('_base_ = "own/retinanet"\ntrain_dataloader = dict(batch_sise=2)\n')
    with pytest.raises(KeyError, match=r"cells.py: unknown key train_dataloader.batch_sise; did you mean 'batch_size'"):
        load_config(own)
    own.write_text('_base_ = "own/retinanett"\n')
    with pytest.raises(FileNotFoundError, match="did you mean 'own/retinanet'"):
        load_config(own)


@pytest.mark.parametrize(
    "config, backbone, expected",
    [
        ("coco/fcos", "xception", dict(type="Xception", pool_padding="tensorflow", frozen_stages=1, frozen_bn=True)),
        ("coco/mask_rcnn", "xception41", dict(type="AlignedXception", depth=41, frozen_stages=1, frozen_bn=True)),
        ("voc/deeplabv3plus", "xception", dict(type="Xception", output_stride=16, bn_momentum=3e-4)),
        (
            "voc/deeplabv3plus",
            "timm:resnet50.a1_in1k",
            dict(type="TimmBackbone", name="resnet50.a1_in1k", pretrained=True, output_stride=16),
        ),
        ("own/deeplabv3plus", "timm:resnet18", dict(type="TimmBackbone", name="resnet18", output_stride=16)),
        ("own/deeplabv3plus", "smp:mit_b0", dict(type="SmpBackbone", name="mit_b0", output_stride=16)),
        ("own/fcos", "xception65@0.5", dict(type="AlignedXception", depth=65, width=0.5)),
    ],
)
def test_another_backbone_keeps_levels_stride_and_frozen_parts(config, backbone, expected):
    before, cfg = load_config(config), load_config(config, backbone=backbone)
    levels = {"out": before.model.backbone.out} if "out" in before.model.backbone else {}
    assert dict(cfg.model.backbone) == expected | levels
    start = {"xception": "xception_keras_notop", "xception41": "xception41_imagenet"}.get(backbone)
    assert cfg.get("load_from") == (start if before.get("load_from") else None)
    assert ("bn_momentum" in cfg.model.head) == ("bn_momentum" in before.model.head and not backbone.startswith("timm"))


def test_another_schedule_keeps_the_rate_of_the_config():
    cfg = load_config("coco/mask_rcnn", schedule="2x")
    assert (cfg.train_cfg.max_iters, cfg.param_scheduler[-1].end) == (180000, 180000)
    assert cfg.param_scheduler[-1].milestones == [120000, 160000] and cfg.optim_wrapper.optimizer.lr == 0.02
    assert load_config("own/fcos", schedule="1x").optim_wrapper.optimizer.type.__name__ == "SGD"


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(backbone="xception45"), "no backbone 'xception45'; did you mean 'xception65'"),
        (dict(backbone="xception41@half"), "width after @ must be a number"),
        (dict(backbone="tim:resnet50"), "timm:NAME, vit:NAME or smp:NAME, got tim:resnet50"),
        (dict(schedule="3x"), "no schedule '3x'.*there are 1x, 2x"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        load_config("coco/retinanet", **options)


def test_old_names_still_work_with_a_warning():
    with pytest.warns(FutureWarning, match="is now 'coco/retinanet --backbone xception41 --schedule 2x'"):
        cfg = load_config("retinanet_xception41_coco_2x")
    assert cfg.model.backbone.depth == 41 and cfg.train_cfg.max_iters == 180000
    assert {name for name, *_ in RENAMED.values()} <= set(shipped_configs())
