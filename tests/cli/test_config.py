"""`xseg config`: list, info, show, new."""

import re

import pytest

from xseg.cli import main
from xseg.config import load_config, shipped_configs


def test_list_names_the_shipped_configs(capsys):
    assert main(["config", "list"]) == 0
    assert "voc/deeplabv3plus" in capsys.readouterr().out


def test_show_prints_a_config_that_loads(capsys, tmp_path):
    arguments = ["voc/deeplabv3plus", "--backbone", "xception41", "--cfg-options", "train_dataloader.batch_size=3"]
    assert main(["config", "show", *arguments]) == 0
    (tmp_path / "saved.py").write_text(capsys.readouterr().out)
    cfg = load_config("voc/deeplabv3plus", {"train_dataloader.batch_size": 3}, backbone="xception41")
    assert load_config(tmp_path / "saved.py").to_dict() == cfg.to_dict()


def lines(capsys, *arguments):
    """What `xseg config info` prints: facts by label, and cells of the table by part."""
    assert main(["config", "info", *arguments]) == 0
    facts, _, table = capsys.readouterr().out.partition("\npart ")
    rows = [re.split(r"\s{2,}", line.strip()) for line in table.splitlines()]
    return dict(re.split(r"\s+", line, maxsplit=1) for line in facts.splitlines()), {row[0]: row[1:] for row in rows}


def test_info_tells_data_schedule_and_parts(capsys, tmp_path):
    facts, rows = lines(capsys, "quickstart", "--data-root", str(tmp_path / "none"))
    assert facts == {
        "config": "quickstart",
        "title": "DeepLabv3+ on a quarter-width Xception-41, drawn shapes of 128 x 128.",
        "task": "segmentation",
        "data": f"Shapes in {tmp_path}/none (no such folder yet), 5 classes",
        "schedule": "850 iterations, batches of 8 per process",
        "images": "8 x 97 x 97 pixels, fp32",
    }
    assert rows["backbone.stem"] == ["16 x 49 x 49", "2", "1", "7", "1,416", "0.0033", "4.4"]
    assert rows["head.aspp.3"][:4] == ["128 x 7 x 7", "16", "3", "1243"]  # the rate for crops of 97
    assert rows["total"] == ["2,120,797", "0.1447", "117.4"]
    assert not (tmp_path / "none").exists()


def test_info_of_the_published_sizes(capsys):
    """54.04 and 176.85 GMAC; 54.17 and 177.10 in the paper, see tests/models/test_summary.py."""
    _, rows = lines(capsys, "voc/deeplabv3plus")
    assert rows["total"][1] == "54.04"
    facts, rows = lines(capsys, "voc/deeplabv3plus_eval_os8_ms", "--size", "513", "513", "--batch", "2")
    assert rows["total"][1] == "176.85"
    assert facts["schedule"] == "no training; weights deeplabv3plus_xception65_voc"


def test_info_follows_its_options(capsys):
    facts, rows = lines(capsys, "coco/retinanet", "--schedule", "2x", "--backbone", "timm:resnet50")
    assert facts["config"] == "coco/retinanet --backbone timm:resnet50 --schedule 2x"
    assert facts["data"] == "CocoDetection in data/coco (no such folder yet), 80 classes as the config states"
    assert facts["schedule"] == "180,000 iterations, batches of 16 per process"
    assert facts["images"] == "16 x 800 x 1333 pixels, fp32"
    assert rows["head.fpn"][:2] == ["256 x 100 x 167 … 7 x 11", "8 … 128"]
    facts, _ = lines(capsys, "shapes/joint")
    assert facts["images"].endswith("512 x 512 pixels, fp32; size assumed, the config states none (--size sets one)")
    facts, full = lines(capsys, "quickstart", "--size", "65", "97", "--batch", "8")
    assert facts["images"] == "8 x 65 x 97 pixels, fp32"
    facts, half = lines(capsys, "quickstart", "--size", "65", "97", "--batch", "4", "--amp")
    assert facts["images"] == "4 x 65 x 97 pixels, bf16"
    assert full["total"][1] == half["total"][1]
    assert float(half["total"][2]) == pytest.approx(float(full["total"][2]) / 4, rel=0.01)


def test_info_without_data_assumes_a_number_of_classes(capsys):
    for name, count in (("own/deeplabv3plus", 21), ("own/cells", 20)):
        facts, _ = lines(capsys, name)
        assert f"(no such folder yet), number of classes unknown without the data: {count} assumed" in facts["data"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--size", "0", "9"), "size must be a height and a width of 1 or more, got (0, 9)"),
        (("--batch", "0"), "batch must be 1 or more, got 0"),
    ],
)
def test_info_refuses_empty_images(options, message, capsys):
    assert main(["config", "info", "quickstart", *options]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_configs())
def test_info_of_every_shipped_config(name, capsys):
    facts, rows = lines(capsys, name)
    assert facts["title"] and facts["task"] and facts["schedule"]
    assert float(rows["total"][1]) > 0 and float(rows["total"][2].replace(",", "")) > 0


@pytest.mark.parametrize(
    "options",
    [
        dict(base="coco/retinanet", data_root="data/coco 2"),
        dict(base="own/deeplabv3plus", data_root='a "quoted" \\ folder', backbone="timm:resnet18"),
        dict(base="coco/mask_rcnn", data_root="/data", backbone="xception41@0.5", schedule="2x"),
        dict(base="voc/deeplabv3plus_eval", data_root="VOC2012"),
        dict(base="imagenet/xception65"),
    ],
)
def test_a_new_config_equals_the_command_line(options, tmp_path, monkeypatch, capsys):
    """From the folder that it was written in, and from another one."""
    base, data_root = options["base"], options.get("data_root")
    flags = [f"--{key}={value}" for key, value in options.items() if key not in ("base", "data_root")]
    flags += [f"--data={data_root}"] if data_root else []
    monkeypatch.chdir(tmp_path)
    assert main(["config", "new", "my own.py", "--from", base, *flags]) == 0
    path = tmp_path / "my own.py"
    assert len(path.read_text().splitlines()) <= 15
    task = "eval" if base.endswith("eval") else "train"
    command = f"xseg {task} 'my own.py'"
    if base == "imagenet/xception65":
        command = "xseg predict xception65_imagenet IMAGE… --config 'my own.py'"
    assert command in capsys.readouterr().out and command in path.read_text()
    (tmp_path / "elsewhere").mkdir()
    expected = load_config(**{("config" if key == "base" else key): value for key, value in options.items()})
    for place, name in ((tmp_path, "my own.py"), (tmp_path / "elsewhere", path)):
        monkeypatch.chdir(place)
        assert load_config(name).pretty_text == expected.pretty_text
        assert main(["config", "show", str(name)]) == 0
        assert capsys.readouterr().out == expected.pretty_text + "\n"


def test_an_old_name_becomes_the_present_one(tmp_path):
    with pytest.warns(FutureWarning, match="is now 'coco/fcos --backbone xception41 --schedule 2x'"):
        assert main(["config", "new", f"{tmp_path}/my.py", "--from", "fcos_xception41_coco_2x"]) == 0
    lines = (tmp_path / "my.py").read_text().splitlines()
    assert lines[3:6] == ['_base_ = "coco/fcos"', 'backbone = "xception41"', 'schedule = "2x"']


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("there.py", ["--from", "coco/retinanet"], "there.py is there already; remove it, or choose another name"),
        ("my.py", ["--from", "coco/retinnet"], "no config 'coco/retinnet'; did you mean 'coco/retinanet'?"),
        ("my.py", ["--from", "there.py"], "by its name (`xseg config list`), got the file 'there.py'"),
        ("my.py", ["--from", "coco/fcos", "--backbone", "xception56"], "no backbone 'xception56'; did you mean"),
        ("my.py", ["--from", "coco/fcos", "--schedule", "3x"], "no schedule '3x'; there are 1x, 2x"),
        ("my.json", ["--from", "coco/fcos"], "a config must be a .py file, got 'my.json'"),
    ],
)
def test_new_refuses_and_writes_nothing(name, flags, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.py").write_text("mine = 1\n")
    assert main(["config", "new", name, *flags]) == 1
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["there.py"]
    assert (tmp_path / "there.py").read_text() == "mine = 1\n"
