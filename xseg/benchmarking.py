"""`xseg benchmark`: ours beside what a user would run instead: one process, the same input, the same threads, in turn.

Candidates of a section run one after the other, round after round, so that whatever else the machine does falls on
all of them; before that, outputs that should agree are compared.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from os import PathLike
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from backbones import AlignedXception
from heads import DeepLabV3Plus
from xseg.data import RandomFlip, RandomScaleCrop, Shapes, collate
from xseg.engine import keep_freed_memory
from xseg.evaluation.confusion import confusion_matrix
from xseg.models import Segmentor
from xseg.weights.maps.timm import MAPS

NUM_CLASSES = 21
AGREEMENT = 1e-3  # float32, of the largest value; orders of summation differ over 65 layers


@dataclass
class Candidate:
    """One row of a table."""

    name: str
    run: Callable[[], object]
    group: str  # ratios are to the first of its group
    items: int = 1  # images, samples or pairs that one run deals with
    gflop: float | None = None
    dtype: str = "float32"  # whose matrix product is the ceiling
    seconds: list[float] = field(default_factory=list)
    peak_mib: float | None = None  # of device memory, on CUDA


@dataclass
class Section:
    candidates: list[Candidate]
    checks: list[str] = field(default_factory=list)  # what was found equal before the clock started
    left_out: list[str] = field(default_factory=list)  # peers that are not installed, or not run here


@dataclass
class Scale:
    """How much is measured; every size in pixels."""

    size: int
    rounds: int
    compiled: bool
    budget_s: float  # of a section's rounds; no round begins after it
    depth: int = 65  # of the Xception
    batch: int = 2  # of a training step
    samples: int = 16  # per turn of the data section
    mask_hw: tuple[int, int] = (1024, 2048)
    device: str = "cpu"

    @property
    def even(self) -> int:
        """The edge that smp takes in place of k * 16 + 1."""
        return self.size // 16 * 16


def benchmark(
    sections: Sequence[str] = ("inference", "train", "data", "metrics"),
    *,
    quick: bool = False,
    rounds: int | None = None,
    size: int | None = None,
    threads: int | None = None,
    out: str | PathLike | None = None,
    **scale,
) -> dict:
    """Measure, write benchmark.json and benchmark.md to `out`, and return what the former holds.

    Args:
        sections: of `SECTIONS`.
        quick: 257 pixels, 3 rounds or 15 seconds of them a section, nothing compiled, instead of 513, 10 and both.
        size: edge of the square images in pixels, at least 17.
        threads: of the CPU; put back afterwards.
        scale: further fields of `Scale`.
    """
    if unknown := [name for name in sections if name not in SECTIONS]:
        raise ValueError(f"sections must be of {', '.join(SECTIONS)}, got {', '.join(unknown)}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size, rounds = size or (257 if quick else 513), rounds or (3 if quick else 10)
    if size < 17 or rounds < 1:
        raise ValueError(f"size must be at least 17 pixels and rounds at least 1, got {size} and {rounds}")
    plan = Scale(size, rounds, **{"compiled": not quick, "budget_s": 15 if quick else 3600, "device": device, **scale})
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    keep_freed_memory()
    try:
        report = {"machine": machine(plan), "scale": asdict(plan), "sections": {}}
        for name in sections:
            section = SECTIONS[name](plan)
            take_turns(section.candidates, plan)
            report["sections"][name] = report_of(section, report["machine"]["matmul_gflops"])
    finally:
        torch.set_num_threads(before)
    if out is not None:
        write_report(report, Path(out))
    return report


def machine(plan: Scale) -> dict:
    """What the figures were measured on, and its matmul ceiling in GFLOP/s by type."""
    edge = 4096 if plan.device == "cuda" else min(2048, 4 * plan.size)
    ceiling = {}
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.rand(edge, edge, device=plan.device).to(dtype)
        seconds = min(timed(lambda a=a: a @ a, plan.device) for _ in range(6))
        ceiling[str(dtype).removeprefix("torch.")] = 2e-9 * edge**3 / seconds
    name = torch.cuda.get_device_name() if plan.device == "cuda" else cpu_name()
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "matmul_gflops": ceiling,
    }


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def timed(run: Callable[[], object], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def take_turns(candidates: Sequence[Candidate], plan: Scale) -> None:
    for candidate in candidates:  # warm up: kernels are chosen, graphs compiled
        candidate.run()
    start = time.perf_counter()
    for index in range(plan.rounds):
        if index and time.perf_counter() - start > plan.budget_s:
            break
        for candidate in candidates:
            if plan.device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            candidate.seconds.append(timed(candidate.run, plan.device))
            if plan.device == "cuda":
                candidate.peak_mib = torch.cuda.max_memory_allocated() / 2**20


def inference(plan: Scale) -> Section:
    """DeepLabv3+ Xception-65 at output stride 16 in its forms, smp's, and torchvision's DeepLabv3; then the trunks."""
    ours = our_deeplab(plan.depth).eval().to(plan.device)
    images = torch.rand(1, 3, plan.size, plan.size, device=plan.device)
    gflop = count_gflop(ours, images)
    fast, narrow = ours.deploy(), ours.deploy("bf16")
    section = Section([], [agreement("deployed and eager", without_grad(fast, images), without_grad(ours, images))])

    def add(name: str, net: nn.Module, x: Tensor, group: str, work: float, dtype: str = "float32") -> None:
        section.candidates.append(Candidate(name, lambda: without_grad(net, x), group, 1, work, dtype))

    add("ours, eager", ours, images, "segmentation", gflop)
    add("ours, deployed", fast, images, "segmentation", gflop)
    add("ours, deployed bf16", narrow, images, "segmentation", gflop, "bfloat16")
    theirs, even = smp_deeplab(plan.depth).eval().to(plan.device), images[..., : plan.even, : plan.even].contiguous()
    work = count_gflop(theirs, even)
    add(f"smp DeepLabV3Plus, eager, {plan.even} px", theirs, even, "segmentation", work)
    if plan.compiled:
        add("ours, deployed, compiled", ours.deploy(compile=True), images, "segmentation", gflop)
        add("ours, deployed bf16, compiled", ours.deploy("bf16", True), images, "segmentation", gflop, "bfloat16")
        add(f"smp DeepLabV3Plus, compiled, {plan.even} px", torch.compile(theirs), even, "segmentation", work)
    else:
        section.left_out.append("compiled forms (--quick)")
    resnet = _Out(torchvision_deeplab()).eval().to(plan.device)
    add("torchvision deeplabv3_resnet101, OS 8", resnet, images, "segmentation", count_gflop(resnet, images))
    for name, net in trunks(section, images, plan.depth).items():
        add(name, net, images, "trunk", count_gflop(net, images))
    return section


def trunks(section: Section, images: Tensor, depth: int) -> dict[str, nn.Module]:
    """Our Xception and timm's with the same weights, after comparing what they give."""
    import timm

    theirs = timm.create_model(f"xception{depth}", pretrained=False, output_stride=16, num_classes=0).eval()
    renamed = MAPS[0].to_ours(theirs.state_dict())
    ours = AlignedXception(depth, output_stride=16, out=("c5",)).eval()
    ours.load_state_dict({name.removeprefix("backbone."): value for name, value in renamed.items()})
    theirs.forward = theirs.forward_features
    nets = {f"our Xception-{depth}": ours.to(images.device), f"timm xception{depth}": theirs.to(images.device)}
    a, b = (without_grad(net, images) for net in nets.values())
    section.checks.append(agreement("our Xception and timm's", a[0], b))
    return nets


def train(plan: Scale) -> Section:
    """One step of SGD: forward, cross-entropy at full resolution, backward, update; in bfloat16 too."""
    edge, section = plan.even, Section([])
    images = torch.rand(plan.batch, 3, edge, edge, device=plan.device)
    masks = torch.randint(0, NUM_CLASSES, (plan.batch, edge, edge), device=plan.device)
    samples = [{"mask": mask.byte()} for mask in masks]
    ours = our_deeplab(plan.depth, channels_last=True).train().to(plan.device)
    theirs = smp_deeplab(plan.depth).train().to(plan.device, memory_format=torch.channels_last)
    images_last = images.contiguous(memory_format=torch.channels_last)
    losses = {
        "ours": (ours, lambda: ours(images, samples, mode="loss")["loss_ce"]),
        "smp DeepLabV3Plus": (theirs, lambda: F.cross_entropy(theirs(images_last).float(), masks)),
    }
    # The counter takes the weight gradient of a depthwise convolution for that of a dense one: hence 3 forward passes.
    work = {name: 3 * count_gflop(net, images) for name, (net, _) in losses.items()}
    steps = {name: training_step(net, loss, plan.device) for name, (net, loss) in losses.items()}
    for dtype in ("float32", "bfloat16"):
        for name, step in steps.items():
            run = partial(step, dtype == "bfloat16")
            title = f"{name}, channels-last, {dtype if dtype == 'float32' else 'bf16 AMP'}"
            section.candidates.append(Candidate(title, run, dtype, plan.batch, work[name], dtype))
    return section


def training_step(net: nn.Module, loss: Callable[[], Tensor], device: str) -> Callable[[bool], None]:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.007, momentum=0.9)

    def step(narrow: bool) -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=narrow):
            value = loss()
        value.backward()
        optimizer.step()

    return step


def data(plan: Scale) -> Section:
    """Drawn scenes of half the crop's edge more, scaled by 0.5 to 2, cropped and flipped; one worker, this process."""
    from torchvision.transforms import v2

    edge = plan.size * 3 // 2
    reference = [  # torchvision/references/segmentation/presets.py
        v2.ScaleJitter((edge, edge), (0.5, 2.0), antialias=True),
        v2.RandomHorizontalFlip(),
        v2.RandomCrop(plan.size, pad_if_needed=True, fill=127),
    ]
    forms = {
        "ours": [RandomScaleCrop((plan.size, plan.size), (0.5, 2.0)), RandomFlip()],
        "torchvision's reference preset": reference,
    }
    folder = tempfile.TemporaryDirectory(prefix="xseg-benchmark-")
    section = Section([])
    for name, transforms in forms.items():
        shapes = Shapes(folder.name, "train", {"train": plan.samples, "val": 1}, (edge, edge), transforms=transforms)
        loader = torch.utils.data.DataLoader(shapes, plan.samples, collate_fn=collate)
        loader.folder = folder  # lives as long as it is read from
        section.candidates.append(Candidate(name, partial(list, loader), "samples", plan.samples))
    return section


def metrics(plan: Scale) -> Section:
    """Counting one prediction against its mask: 19 classes, some pixels ignored."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 20, plan.mask_hw, generator=generator).byte()
    prediction = torch.randint(0, 19, plan.mask_hw, generator=generator).byte()
    truth[truth == 19] = 255
    seen = truth != 255
    forms = {
        "ours": lambda: confusion_matrix(prediction, truth, 19),
        "torch.histc": lambda: torch.histc(
            19 * truth[seen].float() + prediction[seen].float(), 361, -0.5, 360.5
        ).reshape(19, 19),
    }
    section = Section([])
    if installed("torchmetrics", section):
        from torchmetrics.functional.classification import multiclass_confusion_matrix

        pair = prediction.long(), truth.long()
        forms["torchmetrics"] = lambda: multiclass_confusion_matrix(*pair, num_classes=19, ignore_index=255)
    if installed("sklearn", section):
        from sklearn.metrics import confusion_matrix as sklearn_counts

        flat = truth[seen].numpy(), prediction[seen].numpy()
        forms["scikit-learn"] = lambda: torch.from_numpy(sklearn_counts(*flat, labels=range(19)))
    expected = forms["ours"]()
    for name, count in forms.items():
        if not torch.equal(count().long(), expected):
            raise ValueError(f"metrics: the counts of {name} are not ours; nothing was timed")
        section.candidates.append(Candidate(name, count, "one pair"))
    section.checks.append(f"the counts of {', '.join(forms)} are equal")
    return section


SECTIONS = {"inference": inference, "train": train, "data": data, "metrics": metrics}


def our_deeplab(depth: int, **options) -> Segmentor:
    return Segmentor(AlignedXception(depth, 16), {"type": DeepLabV3Plus, "num_classes": NUM_CLASSES}, **options)


def smp_deeplab(depth: int) -> nn.Module:
    import segmentation_models_pytorch as smp

    options = dict(encoder_output_stride=16, encoder_weights=None, classes=NUM_CLASSES)
    return smp.DeepLabV3Plus(f"tu-xception{depth}", **options)


def torchvision_deeplab() -> nn.Module:
    from torchvision.models.segmentation import deeplabv3_resnet101

    return deeplabv3_resnet101(weights=None, weights_backbone=None, num_classes=NUM_CLASSES)


class _Out(nn.Module):
    """torchvision's networks give a dict."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)["out"]


def installed(package: str, section: Section) -> bool:
    found = importlib.util.find_spec(package) is not None
    if not found:
        section.left_out.append(f"{package} (not installed)")
    return found


@torch.no_grad()
def without_grad(net: nn.Module, images: Tensor):
    return net(images)


def agreement(what: str, a: Tensor, b: Tensor) -> str:
    """A line that says how well two outputs agree; ValueError if they do not."""
    error = ((a - b).abs().max() / b.abs().max()).item()
    if not error <= AGREEMENT:
        raise ValueError(f"{what} differ by {error:.1e} of the largest value, more than {AGREEMENT}; nothing was timed")
    return f"{what} agree to {error:.1e} of the largest value"


def count_gflop(net: nn.Module, images: Tensor) -> float:
    """10^9 floating-point operations of a forward pass, two a multiply-add, counted without computing."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        copy.deepcopy(net).to("meta")(images.to("meta"))
    return counter.get_total_flops() / 1e9


def report_of(section: Section, ceiling: dict[str, float]) -> dict:
    """Rows of plain values: milliseconds, ratio to the first of the group, GFLOP, share of the ceiling in percent."""
    rows, first = [], {}
    for c in section.candidates:
        low, median, high = (1e3 * float(v) for v in np.percentile(c.seconds, (25, 50, 75)))
        base = first.setdefault(c.group, median)
        share = c.gflop and 100 * c.gflop / (median / 1e3) / ceiling[c.dtype]
        row = {
            "group": c.group,
            "name": c.name,
            "ms": median,
            "quartiles_ms": [low, high],
            "ratio": median / base,
            "per_s": 1e3 * c.items / median,
            "rounds": len(c.seconds),
        }
        rows.append({**row, "gflop": c.gflop, "ceiling_percent": share, "dtype": c.dtype, "peak_mib": c.peak_mib})
    return {"rows": rows, "checks": section.checks, "left_out": section.left_out}


COLUMNS = ("what", "median ms", "quartiles ms", "x first", "per s", "GFLOP", "% of ceiling", "peak MiB")


def cells(row: dict) -> list[str]:
    low, high = row["quartiles_ms"]
    optional = [(row["gflop"], ".1f"), (row["ceiling_percent"], ".0f"), (row["peak_mib"], ".0f")]
    given = ["" if value is None else format(value, form) for value, form in optional]
    return [
        row["name"],
        f"{row['ms']:.1f}",
        f"{low:.1f}-{high:.1f}",
        f"{row['ratio']:.2f}",
        f"{row['per_s']:.4g}",
        *given,
    ]


def headline(report: dict) -> str:
    m, s = report["machine"], report["scale"]
    ceiling = ", ".join(f"{value:.0f} GFLOP/s {name}" for name, value in m["matmul_gflops"].items())
    return (
        f"{m['device']}, {m['threads']} threads, torch {m['torch']}, {m['date']}; matmul ceiling {ceiling}; "
        f"{s['size']} px, {s['rounds']} rounds"
    )


def write_report(report: dict, out: Path) -> None:
    """benchmark.json, and benchmark.md with a table a section."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "benchmark.json").write_text(json.dumps(report, indent=1))
    lines = ["# xseg benchmark", "", headline(report)]
    for name, section in report["sections"].items():
        lines += ["", f"## {name}", "", _line(COLUMNS), _line(["---"] * len(COLUMNS))]
        lines += [_line(cells(row)) for row in section["rows"]]
        lines += ["", *(f"- {note}" for note in notes(section))]
    (out / "benchmark.md").write_text("\n".join(lines) + "\n")


def _line(values: Sequence[str]) -> str:
    return f"| {' | '.join(values)} |"


def notes(section: dict) -> list[str]:
    return section["checks"] + [f"left out: {name}" for name in section["left_out"]]


def print_report(report: dict) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    console.print(headline(report))
    for name, section in report["sections"].items():
        table = Table(COLUMNS[0], title=name, title_justify="left")
        for column in COLUMNS[1:]:
            table.add_column(column, justify="right")
        previous = None
        for row in section["rows"]:
            if previous not in (None, row["group"]):
                table.add_section()
            table.add_row(*cells(row))
            previous = row["group"]
        console.print(table)
        for note in notes(section):
            console.print(note)
