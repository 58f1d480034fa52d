"""Whole commands: `xseg predict` beside its bare network, and the start-up time of programs."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from xseg.benchmark.networks import our_deeplab, without_grad
from xseg.benchmark.sections import Candidate, Scale, Section
from xseg.data import write_shapes
from xseg.run.predict import predict


def predicting(plan: Scale) -> Section:
    """`xseg predict` from JPEG files to masks, coloured masks and overlays; the bare network on as many images."""
    folder, section = tempfile.TemporaryDirectory(prefix="xseg-benchmark-"), Section([], rounds=2)
    section.closing.append(folder.cleanup)
    scenes, out = Path(folder.name) / "scenes", Path(folder.name) / "out"
    write_shapes(scenes, num_train=plan.predicted, num_val=1, size_hw=(plan.size, plan.size))
    files = sorted((scenes / "JPEGImages").iterdir())[: plan.predicted]
    image = torch.rand(1, 3, plan.size, plan.size, device=plan.device)
    for precision in ("fp32", "bf16"):
        net = our_deeplab(plan.depth).eval().to(plan.device).deploy(precision)
        net.classes = tuple(map(str, range(net.num_classes)))
        without_grad(net, image)  # the first call chooses the kernels
        group = f"{plan.predicted} images of {plan.size} px, deployed {precision}"
        forms = {"the bare network": partial(bare, net, image, len(files))}
        forms["xseg predict"] = partial(to_files, net, files, out)
        for name, run in forms.items():
            section.candidates.append(Candidate(name, run, group, len(files), warm=False, memory=False))
    return section


def bare(net: nn.Module, image: Tensor, count: int) -> None:
    for _ in range(count):
        without_grad(net, image)


def to_files(net: nn.Module, files: list[Path], out: Path) -> None:
    for _ in predict(net, files, out):
        pass


def starting(plan: Scale) -> Section:
    """Time of new Python processes: the command's help, and the imports."""
    section = Section([])
    forms = {
        "xseg --help": ["-m", "xseg", "--help"],
        "import torch": ["-c", "import torch"],
        "and xseg": ["-c", "import torch, xseg"],
        "and all that xseg trains with": ["-c", "import torch; from xseg import evaluate, load, train"],
    }
    for name, arguments in forms.items():
        run = partial(subprocess.run, [sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        group = "command" if name.startswith("xseg") else "imports"
        section.candidates.append(Candidate(name, run, group, warm=False, memory=False))
    return section
