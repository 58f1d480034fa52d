"""The benchmark runs, compares outputs before timing, and writes its tables. No time is asserted."""

import json
from functools import partial
from importlib.util import find_spec

import cv2
import pytest
import torch

from xseg.benchmark import benchmark, metrics, sections
from xseg.benchmark.engines import Process, smp_alone
from xseg.benchmark.networks import our_deeplab
from xseg.benchmark.report import report_of
from xseg.benchmark.running import QUICK, SECTIONS
from xseg.benchmark.sections import agreement
from xseg.benchmark.timing import count_gflop, peak_mib
from xseg.cli import build_parser, main

TINY = dict(quick=True, size=32, rounds=1, threads=1, depth=41, batch=2, train_size=32, classifier_size=80)
TINY |= dict(samples=2, sources_hw=((48, 64),), mask_hw=(8, 16), detection_images=3, predicted=2)
TINY |= dict(sides=(1, 1.5), batches=(1, 2), classes=(5,), evaluated=(1, 2))
IN_A_MINUTE = [name for name in SECTIONS if name not in ("predict", "start")]  # these two: see the slow test


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    out = tmp_path_factory.mktemp("benchmark")
    return benchmark(IN_A_MINUTE, out=out, **TINY), out


@pytest.mark.slow
def test_every_section_has_rows_of_every_peer(report):
    sections = report[0]["sections"]
    names = {name: {row["name"] for row in section["rows"]} for name, section in sections.items()}
    assert {"smp DeepLabV3Plus, eager", "ours, deployed bf16", "timm xception41", "our Xception-41"} < names[
        "inference"
    ]
    assert {"torchvision inception_v3", "torchvision RetinaNet", "our Faster R-CNN, deployed"} < names["inference"]
    assert names["train"] == {
        "smp DeepLabV3Plus, eager",
        "ours, eager",
        "torchvision inception_v3",
        "our Xception",
    }
    assert {"torchvision's reference preset", "ours, decoded before"} < names["data"]
    assert {"torch.histc", "pycocotools", "ours"} < names["metrics"]
    assert names["kernels"] == {"PyTorch", "ours"}
    checks = " ".join(sections["inference"]["checks"])
    assert "deployed and eager agree" in checks and "timm's agree" in checks
    assert sections["inference"]["left_out"] == ["torch.compile, OpenVINO and ONNX Runtime (--quick)"]
    for section in sections.values():
        firsts = {}
        for row in section["rows"]:
            firsts.setdefault((row["group"], row["x"]), row)
            assert row["quartiles_ms"][0] <= row["ms"] <= row["quartiles_ms"][1]
        assert all(row["times_first"] == 1 for row in firsts.values())


@pytest.mark.slow
def test_curves(report):
    report, out = report
    rows = report["sections"]["growth"]["rows"]
    points = {(row["group"], row["name"], row["x"]) for row in rows}
    assert ("side of one image in pixels", "ours, deployed", 48) in points
    assert ("images of a batch", "smp DeepLabV3Plus", 2) in points
    for what in ("mIoU", "COCO's numbers of boxes"):
        assert (f"images of an evaluation, {what}", "ours", 2) in points
    height, width, _ = cv2.imread(str(out / "growth.png")).shape
    assert height > width  # five rows of plots
    assert "![growth](growth.png)" in (out / "benchmark.md").read_text()


@pytest.mark.slow
def test_files_hold_the_returned_report(report):
    report, out = report
    assert json.loads((out / "benchmark.json").read_text()) == json.loads(json.dumps(report))
    text = (out / "benchmark.md").read_text()
    assert all(f"## {name}" in text for name in report["sections"])
    assert "matmul ceiling" in text and "GB/s; 32 px, 1 rounds" in text


@pytest.mark.slow
def test_the_number_of_threads_is_restored(report):
    before = torch.get_num_threads()
    benchmark(["metrics"], **{**TINY, "threads": before + 1})
    assert torch.get_num_threads() == before


def test_a_row_by_hand():
    """Seconds 1, 2, 3 for 4 images: median 2, quartiles 1.5 and 2.5, 2 images/s. 100 GFLOP in 2 s are half of a ceiling
    of 100 GFLOP/s; 3 GB in 1 s are 3/4 of 4 GB/s. One image per second is half as fast."""
    first = sections.Candidate("a", print, "g", 4, gflop=100, seconds=[3, 1, 2])
    other = sections.Candidate("b", print, "g", gbyte=3, seconds=[1, 1, 1])
    machine = {"matmul_gflops": {"float32": 100}, "copy_gbyte_s": 4}
    rows = report_of(sections.Section([first, other]), machine)["rows"]
    assert (rows[0]["ms"], rows[0]["quartiles_ms"], rows[0]["times_first"]) == (2000, [1500, 2500], 1)
    assert (rows[0]["ceiling_percent"], rows[0]["per_s"]) == (50, 2)
    assert (rows[1]["times_first"], rows[1]["gflop"], rows[1]["ceiling_percent"]) == (0.5, None, 75)


def test_peak_of_a_run():
    """64 MiB are allocated beside 32 MiB that are already held."""
    kept = torch.ones(2**23)
    assert peak_mib(lambda: torch.ones(2**24), "cpu") == pytest.approx(64, abs=8)
    assert peak_mib(lambda: kept.add_(1), "cpu") == pytest.approx(0, abs=8)


@pytest.mark.slow
def test_engines_run_in_their_own_processes():
    with pytest.raises(ValueError, match="the benchmark's process for nothing has ended; see its output above"):
        Process("nothing", partial(int, "no number"), (1, 3, 32, 32))
    process = Process("smp", partial(smp_alone, 41), (1, 3, 32, 32))
    assert process.names == [("smp", "fp32")]
    process.run(("smp", "fp32"))
    process.close()
    assert not process.process.is_alive()


@pytest.mark.slow
def test_whole_benchmark(tmp_path):
    """Takes minutes: also compiled networks and engines, which --quick leaves out, and new Python processes."""
    sections = benchmark(out=tmp_path, **{**TINY, "quick": False})["sections"]
    assert sections.keys() == SECTIONS.keys()
    names = {row["name"] for section in sections.values() for row in section["rows"]}
    assert {"smp DeepLabV3Plus, compiled bf16", "ours, deployed bf16, compiled", "ours, compiled"} < names
    assert {"the bare network", "xseg predict", "xseg --help", "and xseg"} < names
    assert "smp, eager in a process of its own, fp32" in names
    for package, engine in (("openvino", "OpenVINO"), ("onnxruntime", "ONNX Runtime")):
        available = all(map(find_spec, (package, "onnx", "onnxscript")))
        assert available == ({f"smp, {engine}, fp32", f"ours, {engine}, fp32"} < names)


def test_flop_of_the_published_size():
    """DeepLabv3+ X-65 at 513 x 513 and output stride 16 has 54.17 GMAC of 2 operations each."""
    with torch.device("meta"):
        net, images = our_deeplab(65).eval(), torch.empty(1, 3, 513, 513)
    net.head.align_corners = True  # False pads 513 pixels to 528
    assert count_gflop(net, images) == pytest.approx(2 * 54.17, rel=0.02)


def test_outputs_that_differ_stop_the_benchmark():
    a = torch.ones(3)
    assert agreement("a and b", a, a * (1 + 1e-6)).startswith("a and b agree to")
    for b in (a * 1.1, a * float("nan")):
        with pytest.raises(ValueError, match=r"a and b differ by .* nothing was timed"):
            agreement("a and b", a, b)


def test_wrong_counts_stop_the_benchmark(monkeypatch):
    monkeypatch.setattr(metrics, "confusion_matrix", lambda *_: torch.zeros(19, 19, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"the counts of torch.histc differ from ours"):
        benchmark(["metrics"], **TINY)


def test_peers_that_are_not_installed_are_named(monkeypatch):
    find = sections.importlib.util.find_spec
    monkeypatch.setattr(sections.importlib.util, "find_spec", lambda name: None if name == "sklearn" else find(name))
    section = benchmark(["metrics"], **TINY)["sections"]["metrics"]
    assert "sklearn (not installed)" in section["left_out"]
    assert not any("scikit" in row["name"] for row in section["rows"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sections": ["speed"]}, "sections must be of inference"),
        ({"size": 33}, "size must be a multiple of 16, at least 32"),
        ({"size": 0}, "size must be a multiple of 16, at least 32"),
        ({"rounds": 0}, "rounds at least 1; got 32 and 0"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        benchmark(**{**TINY, **options})


def test_the_command_offers_every_section():
    assert build_parser().parse_args(["benchmark", "--sections", *SECTIONS]).sections == [*SECTIONS]
    assert set(QUICK) < set(SECTIONS)


def test_command(tmp_path, capsys):
    options = ["--quick", "--rounds", "1", "--size", "32", "--out", f"{tmp_path}"]
    assert main(["benchmark", "--sections", "kernels", *options]) == 0
    out = capsys.readouterr().out
    assert "stride 2, rate 1" in out and "ours and PyTorch's agree" in out
    assert json.loads((tmp_path / "benchmark.json").read_text())["scale"]["rounds"] == 1
    with pytest.raises(SystemExit) as caught:
        main(["benchmark", "--sections", "speed"])
    assert caught.value.code == 2
