"""README.md and docs/: links lead somewhere, commands parse, configs exist, and Python code runs."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import xseg
from backbones.contract import check_backbone
from heads.contract import DetectionHead, check_head
from xseg.cli import build_parser
from xseg.config import load_config, shipped_configs
from xseg.study import shipped_studies
from xseg.weights.published import PUBLISHED

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.M | re.S)
FOLDERS = sorted({name.split("/")[0] for name in shipped_configs() if "/" in name})
CONFIG = re.compile(rf"(?<![\w/.])(?:{'|'.join(FOLDERS)})/\w+")
PLACEHOLDERS = {"CONFIG": "quickstart", "N": "1", "H": "513", "W": "513"}  # others serve as they are
AFTER_OPTION = {"--scales": "1.0", "--sections": "inference"}


class Block(NamedTuple):
    page: str
    language: str
    text: str


def blocks_of(page: Path) -> list[Block]:
    """The code blocks of a page, also those that are indented in a list."""
    matches = CODE.findall(page.read_text(encoding="utf-8"))
    return [Block(page.name, language, re.sub(f"(?m)^{indent}", "", text)) for indent, language, text in matches]


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    titles = re.findall(r"(?m)^#+ (.+)$", CODE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def commands_of(block: Block) -> list[list[str]]:
    """The words after `xseg` of every command; optional parts are taken, and of `a|b` the first."""
    joined = re.sub(r"\\?\n +", " ", block.text)
    words = [shlex.split(line, comments=True) for line in joined.splitlines()]
    commands = [command for line in words for command in split(line, "&&")]
    starts = [(command, command.index("xseg") + 1) for command in commands if "xseg" in command]
    return [plain(command[start:]) for command, start in starts if command[0] != "pip"]


def split(words: list[str], separator: str) -> list[list[str]]:
    parts = [[]]
    for word in words:
        if word == separator:
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def plain(words: list[str]) -> list[str]:
    """A command as it can be parsed: without the signs of a synopsis, with values for its placeholders."""
    result = []
    for word in words:
        if "=" not in word or "{" not in word:  # a value of --cfg-options may hold any sign
            word = word.strip("[]").split("|")[0].removesuffix("…")
        if not word:
            continue
        if result and result[-1] in AFTER_OPTION and not word.startswith("--"):
            result.append(AFTER_OPTION[result[-1]])
        else:
            result.append(PLACEHOLDERS.get(word, word))
    return result


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
COMMANDS = [(block.page, command) for block in BLOCKS if not block.language for command in commands_of(block)]
CONFIGS = [block for block in BLOCKS if block.language == "python" and block.text.startswith("_base_")]


def test_the_readme_is_one_page():
    assert len(PAGES[0].read_text(encoding="utf-8").splitlines()) <= 150


def test_the_readme_marks_the_commands_of_ci():
    text = PAGES[0].read_text(encoding="utf-8")
    marked = dict(re.findall(r"<!-- ci:(\w+) -->\n```\n(.*)\n```\n<!-- /ci -->", text))
    assert marked == {
        "quickstart": "pip install . && xseg train quickstart && xseg eval quickstart work_dirs/quickstart",
        "test": 'pip install -e ".[test]" && pytest -n 2 --dist loadfile',
    }


@pytest.mark.parametrize("page", [*PAGES, ROOT / "configs" / "studies" / "README.md"], ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    for target in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"\w+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.is_file(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors_of(file), f"{page.name}: {target}"


def test_the_index_lists_every_page():
    listed = set(LINK.findall((DOCS / "index.md").read_text(encoding="utf-8"))) - {"../README.md"}
    assert listed == {page.name for page in DOCS.glob("*.md")} - {"index.md"}


@pytest.mark.parametrize(
    "page, command", COMMANDS, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_commands_parse(page, command):
    """Names of configs, studies and published weights in them exist."""
    try:
        arguments = build_parser().parse_args(command)
    except SystemExit:
        pytest.fail(f"{page}: xseg {' '.join(command)} is wrong usage")
    config = getattr(arguments, "config", None)
    own = config == "my.py" or (config or "").startswith(("DIR", "work_dirs/"))  # files and folders of the reader
    assert config is None or config in shipped_configs() or own, f"{page}: {config}"
    study = getattr(arguments, "study", None)
    assert study in (None, "list") or study in shipped_studies(), f"{page}: {study}"
    for weights in (getattr(arguments, name, None) for name in ("weights", "load_from")):
        if weights and re.fullmatch(r"[a-z]\w+", weights):
            assert weights in PUBLISHED, f"{page}: {weights}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_of_configs_exist(page):
    named = {name for name in CONFIG.findall(page.read_text(encoding="utf-8")) if not name.endswith("_")}
    assert named <= set(shipped_configs()), named - set(shipped_configs())


@pytest.mark.parametrize("block", CONFIGS, ids=lambda block: block.page)
def test_configs_load(block, tmp_path):
    """Shipped names, classes and keys are checked; the data need not exist."""
    (tmp_path / "my.py").write_text(block.text)
    assert load_config(tmp_path / "my.py").model


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    """A folder with what `xseg train quickstart` leaves, after two iterations."""
    folder = tmp_path_factory.mktemp("quickstart")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        xseg.train("quickstart", overrides={"train_cfg.max_iters": 2, "train_cfg.val_interval": 2})
    return folder


@pytest.mark.parametrize("page", ["README.md", pytest.param("python.md", marks=pytest.mark.slow)])
def test_python_code_runs(page, quickstart, monkeypatch):
    monkeypatch.chdir(quickstart)
    for block in (block for block in BLOCKS if block.page == page and block.language == "python"):
        exec(compile(block.text.replace('"train_cfg.max_iters": 100', '"train_cfg.max_iters": 2'), page, "exec"), {})
    assert Path("out.png" if page == "README.md" else "comparison.png").is_file()


@pytest.mark.slow
def test_code_for_an_exported_file_runs(quickstart, monkeypatch, capsys):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    from xseg.deploy.onnx import export

    monkeypatch.chdir(quickstart)
    export(xseg.load("work_dirs/quickstart"), "model.onnx")
    for block in blocks_of(DOCS / "export.md"):
        if block.language == "python":
            exec(compile(block.text, block.page, "exec"), {})
    assert "(1, 5, " in capsys.readouterr().out


@pytest.fixture
def page():
    """Names that the Python blocks of a page define, run in order."""
    from mmengine.registry import DATASETS, METRICS

    registered = [(registry, set(registry.module_dict)) for registry in (DATASETS, METRICS)]

    def run(name):
        names = {}
        for block in blocks_of(DOCS / name):
            if block.language == "python":
                exec(compile(block.text, name, "exec"), names)
        return names

    yield run
    for registry, before in registered:
        for name in set(registry.module_dict) - before:
            del registry._module_dict[name]


def test_parts_of_ones_own(page, tmp_path):
    """The backbone and the head of docs/contracts.md learn; the data set reads; the metric counts."""
    names = page("contracts.md")
    for stem in "ab":
        Image.new("RGB", (30, 20)).save(tmp_path / f"{stem}.jpg")
        Image.fromarray(np.tile(np.arange(30) // 10, (20, 1)).astype(np.uint8)).save(tmp_path / f"{stem}_mask.png")
    dataset = names["Pairs"](tmp_path, classes=["left", "middle", "right"])
    assert len(dataset) == 2 and dataset.metainfo["classes"] == ("left", "middle", "right")
    sample = dataset[0]
    model = names["model"].train()
    data = model.data_preprocessor({"images": [sample["image"]] * 2, "samples": [{"mask": sample["mask"]}] * 2}, True)
    losses = model(**data, mode="loss")
    sum(losses.values()).backward()
    assert all(weight.grad is not None for weight in model.parameters())
    metric = names["WrongPixels"]()
    metric.update({"mask": torch.zeros(20, 30)}, sample)  # one third of the pixels is class 0
    assert metric.evaluate(1)["wrong"] == pytest.approx(200 / 3)


def test_all_that_a_part_lacks_is_told_at_once():
    class Empty(nn.Module):
        num_classes = 3

    with pytest.raises(TypeError, match=r"(?s)Empty cannot serve as DetectionHead.*set_strides.*forward.*loss.*decode"):
        check_head(Empty(), DetectionHead)
    with pytest.raises(TypeError, match=r"(?s)Backbone.*channels.*strides.*output_stride.*set_output_stride.*forward"):
        check_backbone(Empty())
    with pytest.raises(TypeError, match="base class"):
        check_backbone(object())
