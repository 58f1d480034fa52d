"""The HTML page of a study: every text is escaped, and the page needs no other file."""

import base64
from fnmatch import fnmatch
from html.parser import HTMLParser
from pathlib import Path

import pytest

from xseg.study import Result, Run, Study
from xseg.study.page import TEMPLATE, page
from xseg.study.report import cells, headline, remarks, report_of
from xseg.study.running import Cost

ROOT = Path(__file__).resolve().parents[2]
TITLE = "Is <a> \"better\" & 'smaller'?"
PNG = b"\x89PNG of nothing"


class Reader(HTMLParser):
    """Texts by innermost tag, attributes of images, and the balance of opening and closing tags."""

    def __init__(self):
        super().__init__()
        self.open, self.texts, self.images = [], {}, []

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes))
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.setdefault(self.open[-1], []).append(data)


@pytest.fixture
def report():
    study = Study("s", TITLE, "cpu", "c.py", {"x": "<1>"}, {"a": {}, "<b>": {"y": 2}}, (0, 1), paper="a > b & c")
    profile = [dict(step=10, seconds=2.0, top1=81.0)]
    results = [Result("a", Cost(7, 0.5), [Run(0, profile), Run(1, profile)])]
    results.append(Result("<b>", Cost(9, 0.5), [Run(0, [], "loss <nan>")]))
    return report_of(study, results)


@pytest.fixture
def read(report, tmp_path):
    def read(plots=()):
        (tmp_path / "axis.png").write_bytes(PNG)
        reader = Reader()
        reader.feed(page(report, dict(plots), tmp_path))
        reader.close()
        assert not reader.open
        return reader

    return read


def test_the_page_shows_every_text_of_the_report_unchanged(report, read):
    texts = read().texts
    assert texts["title"] == texts["h1"] == [TITLE]
    assert texts["p"] == [headline(report), "All variants: x=<1>."]
    assert texts["li"] == remarks(report)
    runs = ["a", "0", "81.00", "a", "1", "81.00", "<b>", "0", "loss <nan>"]
    rows = [cell for row in report["rows"] for cell in cells(row) if cell]
    assert texts["td"] == [*rows, *runs, "a", "nothing", "<b>", "y=2"]
    assert texts["th"][-5:] == ["variant", "seed", "top1, %", "variant", "settings"]


def test_plots_are_inside_the_page(read):
    assert read().images == []
    reader = read({"axis": 'top1 < "all"'})
    assert reader.images == [
        {"alt": 'top1 < "all"', "src": f"data:image/png;base64,{base64.b64encode(PNG).decode()}"},
    ]
    assert reader.texts["figcaption"] == ['top1 < "all"']


def test_options_of_all_variants_are_left_out_when_there_are_none(report, read):
    report["options"] = {}
    assert read().texts["p"] == [headline(report)]


def test_the_template_travels_in_the_wheel():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib")
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["xseg.study"]
    assert any(fnmatch(TEMPLATE, pattern) for pattern in patterns) and (ROOT / "xseg/study" / TEMPLATE).exists()
