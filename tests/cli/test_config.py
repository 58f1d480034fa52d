"""`xseg config`: list, show."""

from xseg.cli import main
from xseg.config import load_config


def test_list_names_the_shipped_configs(capsys):
    assert main(["config", "list"]) == 0
    assert "voc/deeplabv3plus" in capsys.readouterr().out


def test_show_prints_a_config_that_loads(capsys, tmp_path):
    arguments = ["voc/deeplabv3plus", "--backbone", "xception41", "--cfg-options", "train_dataloader.batch_size=3"]
    assert main(["config", "show", *arguments]) == 0
    (tmp_path / "saved.py").write_text(capsys.readouterr().out)
    cfg = load_config("voc/deeplabv3plus", {"train_dataloader.batch_size": 3}, backbone="xception41")
    assert load_config(tmp_path / "saved.py").to_dict() == cfg.to_dict()
