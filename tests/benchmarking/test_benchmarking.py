"""The benchmark runs, checks what it compares, and writes its tables. No time is asserted."""

import json

import pytest
import torch

from xseg.benchmarking import benchmark, metrics, sections
from xseg.benchmarking.networks import our_deeplab
from xseg.benchmarking.report import report_of
from xseg.benchmarking.sections import agreement
from xseg.benchmarking.timing import count_gflop
from xseg.cli import main

TINY = dict(quick=True, size=33, rounds=1, threads=1, depth=41, batch=2, detection_images=3)
TINY |= dict(samples=2, sources_hw=((48, 64),), mask_hw=(8, 16))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    out = tmp_path_factory.mktemp("benchmark")
    return benchmark(out=out, **TINY), out


def test_every_section_has_rows_of_every_peer(report):
    sections = report[0]["sections"]
    assert list(sections) == ["inference", "train", "data", "metrics"]
    names = {name: " ".join(row["name"] for row in section["rows"]) for name, section in sections.items()}
    for part in ("ours, eager", "deployed bf16", "smp", "torchvision", "timm xception41", "our Xception-41"):
        assert part in names["inference"]
    assert "smp" in names["train"] and "AMP" in names["train"]
    assert "pycocotools, COCO boxes, 3 images" in names["metrics"]
    assert "torchvision" in names["data"] and "torch.histc" in names["metrics"]
    checks = " ".join(sections["inference"]["checks"])
    assert "deployed and eager agree" in checks and "timm's agree" in checks
    assert sections["inference"]["left_out"] == ["compiled forms (--quick)"]
    for section in sections.values():
        firsts = {}
        for row in section["rows"]:
            firsts.setdefault(row["group"], row)
            assert row["quartiles_ms"][0] <= row["ms"] <= row["quartiles_ms"][1]
        assert all(row["ratio"] == 1 for row in firsts.values())


def test_files_hold_what_was_returned(report):
    report, out = report
    assert json.loads((out / "benchmark.json").read_text()) == json.loads(json.dumps(report))
    text = (out / "benchmark.md").read_text()
    assert all(f"## {name}" in text for name in report["sections"])
    assert "matmul ceiling" in text and "33 px, 1 rounds" in text


def test_threads_are_put_back(report):
    before = torch.get_num_threads()
    benchmark(["metrics"], **{**TINY, "threads": before + 1})
    assert torch.get_num_threads() == before


def test_a_row_by_hand():
    """Seconds 1, 2, 3: median 2, quartiles 1.5 and 2.5; 100 GFLOP in 2 s are half of a ceiling of 100 GFLOP/s."""
    first = sections.Candidate("a", print, "g", 4, gflop=100, seconds=[3, 1, 2])
    other = sections.Candidate("b", print, "g", seconds=[1, 1, 1])
    rows = report_of(sections.Section([first, other]), {"float32": 100})["rows"]
    assert (rows[0]["ms"], rows[0]["quartiles_ms"], rows[0]["ratio"]) == (2000, [1500, 2500], 1)
    assert (rows[0]["ceiling_percent"], rows[0]["per_s"]) == (50, 2)
    assert (rows[1]["ratio"], rows[1]["gflop"], rows[1]["ceiling_percent"]) == (0.5, None, None)


def test_flop_of_the_published_size():
    """DeepLabv3+ X-65 at 513 x 513, output stride 16: 54.17 GMAC, 2 operations each; deployed the same."""
    with torch.device("meta"):
        net, images = our_deeplab(65).eval(), torch.empty(1, 3, 513, 513)
    assert count_gflop(net, images) == pytest.approx(2 * 54.17, rel=0.02)


def test_outputs_that_differ_stop_the_benchmark():
    a = torch.ones(3)
    assert agreement("a and b", a, a * (1 + 1e-6)).startswith("a and b agree to")
    for b in (a * 1.1, a * float("nan")):
        with pytest.raises(ValueError, match=r"a and b differ by .* nothing was timed"):
            agreement("a and b", a, b)


def test_wrong_counts_stop_the_benchmark(monkeypatch):
    monkeypatch.setattr(metrics, "confusion_matrix", lambda *_: torch.zeros(19, 19, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"the counts of torch.histc are not ours"):
        benchmark(["metrics"], **TINY)


def test_peers_that_are_not_installed_are_named(monkeypatch):
    find = sections.importlib.util.find_spec
    monkeypatch.setattr(sections.importlib.util, "find_spec", lambda name: None if name == "sklearn" else find(name))
    section = benchmark(["metrics"], **TINY)["sections"]["metrics"]
    assert "sklearn (not installed)" in section["left_out"]
    assert not any("scikit" in row["name"] for row in section["rows"])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"sections": ["speed"]}, "sections must be of inference"), ({"size": 16}, "size must be at least 17")],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        benchmark(**{**TINY, **options})


def test_command(tmp_path, capsys):
    assert main(["benchmark", "--sections", "metrics", "--quick", "--rounds", "1", "--out", f"{tmp_path}"]) == 0
    out = capsys.readouterr().out
    assert "torch.histc" in out and "are equal" in out
    assert json.loads((tmp_path / "benchmark.json").read_text())["scale"]["rounds"] == 1
    with pytest.raises(SystemExit) as caught:
        main(["benchmark", "--sections", "speed"])
    assert caught.value.code == 2
