"""`xseg export`: a model as one ONNX file of any image size, which says itself how to feed it and what it answers."""

from __future__ import annotations

import importlib.util
import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xseg import __version__

EXAMPLE_HW = (160, 224)  # every map of a pyramid is larger than one pixel: sizes of 1 would be taken for fixed
CHECKED = ((1, 192, 256), (2, 257, 161))  # images, height, width
TOLERANCE = 1e-3  # of the largest value


class Whole(nn.Module):
    """What an exported file computes of images (N, 3, H, W), normalised as the file says, of any size.

    A segmentor gives logits (N, classes, H, W), a classifier logits (N, classes), a detector the detections of one
    image, N = 1: boxes_xyxy (K, 4) in its pixels, scores (K,), labels (K,), the surest first, of those that score
    above the second input.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        self.detects = hasattr(model.head, "decode")
        self.names = ("boxes_xyxy", "scores", "labels") if self.detects else ("logits",)

    def forward(self, images: Tensor, score_threshold: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        if not self.detects:
            return self.model.logits(images)
        height, width = images.shape[-2:]
        stride = max(self.model.backbone.strides)
        padded = F.pad(images, (0, -width % stride, 0, -height % stride))
        rule = self.model.selection._replace(score_threshold=score_threshold)
        return tuple(self.model.head.decode(self.model.raw(padded), [(height, width)], rule)[0][:3])

    def example(self) -> tuple[Tensor, ...]:
        images = torch.rand(1 if self.detects else 2, 3, *EXAMPLE_HW)
        return (images, torch.tensor(0.05)) if self.detects else (images,)


def export(model: nn.Module, out: str | os.PathLike) -> list[str]:
    """Write a Segmentor, Classifier or Detector to `out`, an .onnx file, and compare it with the model.

    Height and width are free, and for segmentation and classification the number of images. BatchNorms are folded.

    Returns: lines that say what was compared, and how well it agrees.

    Raises:
        ModuleNotFoundError: onnx, onnxscript or onnxruntime are missing.
        ValueError: `out` is no .onnx; the model has a second stage or two heads; the file's outputs are not the
            model's. Then no file is left.
    """
    out = Path(out)
    if out.suffix != ".onnx":
        raise ValueError(f"{out}: an export is an .onnx file; give --out a name that ends so")
    if reason := unsuited(model):
        raise ValueError(f"xseg export cannot take {reason}")
    require("xseg export", "onnx", "onnxscript", "onnxruntime")
    net = Whole(model.deploy("fp32").to("cpu"))
    out.parent.mkdir(parents=True, exist_ok=True)
    unchecked = out.with_suffix(".unchecked.onnx")
    try:
        write_onnx(net, unchecked, net.example(), net.names, describe(model))
        lines = compare(net, unchecked)
        os.replace(unchecked, out)
    finally:
        unchecked.unlink(missing_ok=True)
    return [*lines, f"{out}: {out.stat().st_size / 2**20:.1f} MiB"]


def describe(model: nn.Module) -> dict[str, str]:
    """What the file's metadata says, JSON where it is not plain text."""
    pre = model.data_preprocessor
    facts: dict[str, object] = {
        "producer": f"xseg {__version__}",
        "task": type(model).__name__.lower(),
        "input": "images (N, 3, H, W) float32, RGB, (pixel - mean) / std of pixels in 0..255",
        "mean": pre.mean.flatten().tolist(),
        "std": pre.std.flatten().tolist(),
        "classes": list(model.classes),
        "palette": model.palette,
    }
    if hasattr(model.head, "decode"):
        facts["output"] = "boxes_xyxy (K, 4) in pixels of the input, scores (K,), labels (K,) of one image, N = 1"
        facts["score_threshold"] = model.selection.score_threshold
        facts["resize"] = model.size and {"shortest": model.size[0], "longest": model.size[1]}
    elif hasattr(model, "crop_size"):
        facts["output"] = f"logits (N, classes), before a {'sigmoid' if model.multi_label else 'softmax'}"
        facts["crop"] = {"size": model.crop_size, "share": model.crop_share}
    else:
        facts["output"] = "logits (N, classes, H, W), whose argmax is the class of a pixel"
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}


def write_onnx(
    net: nn.Module, path: Path, example: Sequence[Tensor], names: Sequence[str], metadata: dict[str, str]
) -> None:
    """Export with free height and width of the first input, and free batch unless the example's is 1."""
    free = {axis: torch.export.Dim.DYNAMIC for axis in (0, 2, 3) if example[0].shape[axis] > 1}
    inputs = ["images", "score_threshold"][: len(example)]
    narrow = any(parameter.dtype == torch.bfloat16 for parameter in net.parameters())
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torchvision and dynamo, about themselves
        program = torch.onnx.export(
            net.eval(),
            tuple(example),
            dynamo=True,
            external_data=False,
            input_names=inputs,
            output_names=list(names),
            dynamic_shapes=(free, *[None] * (len(example) - 1)),
            custom_translation_table={torch.ops.xseg.nms_by_group.default: onnx_nms_by_group},
            opset_version=22 if narrow else None,  # the first whose Conv takes bfloat16
            verbose=False,
        )
    program.model.metadata_props.update(metadata)
    program.save(str(path), external_data=False)


def onnx_nms_by_group(boxes_xyxy, scores, groups, num_groups: int, iou: float):
    """`heads.detection.boxes.nms_by_group` in ONNX's operators, of which NonMaxSuppression looks at every class by
    itself.

    PyTorch compares with a float64 threshold, ONNX with a float32 one: that is rounded down, which decides alike.
    """
    from onnxscript import opset18 as op

    narrow = torch.tensor(iou)
    iou = (narrow if narrow.double() <= iou else narrow.nextafter(narrow - 1)).item()
    own = op.Equal(op.Unsqueeze(groups, [0]), op.Unsqueeze(op.Range(0, num_groups, 1), [1]))  # (groups, L)
    lowest = torch.finfo(torch.float32).min
    by_group = op.Where(own, op.Unsqueeze(scores, [0]), -float("inf"))
    chosen = op.NonMaxSuppression(  # (K, 3): image, group and box
        op.Unsqueeze(boxes_xyxy, [0]), op.Unsqueeze(by_group, [0]), 2**63 - 1, iou, lowest
    )
    rows = op.Slice(chosen, [2], [3], [1])  # (K, 1)
    kept = op.ScatterND(op.Mul(groups, 0), rows, op.Expand(1, op.Shape(op.Squeeze(rows, [1]))))  # (L,) 0 or 1
    return op.Cast(kept, to=9)  # bool


def compare(net: Whole, path: Path) -> list[str]:
    """A line a size, of images of noise and with detections of any score; ValueError if the file disagrees."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    generator, lines = torch.Generator().manual_seed(0), []
    for count, height, width in CHECKED:
        count = 1 if net.detects else count
        given = [torch.rand(count, 3, height, width, generator=generator) * 2 - 1]
        given += [torch.tensor(0.0)] if net.detects else []
        with torch.no_grad():
            expected = net(*given)
        feed = {node.name: x.numpy() for node, x in zip(session.get_inputs(), given, strict=True)}
        found = [torch.from_numpy(array) for array in session.run(None, feed)]
        line = detections_agree(found, expected, path) if net.detects else agreement(found[0], expected, path)
        lines.append(f"{count} x {height} x {width}: {line}")
    return lines


def agreement(found: Tensor, expected: Tensor, what: object, tolerance: float = TOLERANCE) -> str:
    """How well two outputs agree; ValueError if they do not."""
    if found.shape != expected.shape:
        raise ValueError(f"{what} gives {tuple(found.shape)} values where PyTorch gives {tuple(expected.shape)}")
    if not expected.numel():
        return "equal to PyTorch, nothing found"
    largest = expected.abs().max().clamp(min=1e-12)
    error = ((found.float() - expected.float()).abs().max() / largest).item()
    if not error <= tolerance:
        raise ValueError(f"{what} differs from PyTorch by {error:.1e} of the largest value, more than {tolerance}")
    return f"equal to PyTorch to {error:.1e} of the largest value"


def detections_agree(found: Sequence[Tensor], expected: Sequence[Tensor], what: object) -> str:
    """`agreement` of the scores, and of the boxes and labels whose rank is not by chance, as no other scores alike."""
    line = agreement(found[1], expected[1], what)
    apart = F.pad(expected[1].diff().abs() > 1e-5, (1, 1), value=True)
    clear = apart[1:] & apart[:-1]
    boxes = agreement(*(torch.cat((b, n[:, None].to(b)), 1)[clear] for b, _, n in (found, expected)), what)
    return f"scores {line}; {int(clear.sum())} boxes {boxes}"


def require(what: str, *packages: str) -> None:
    """ModuleNotFoundError that says what to install."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(f"{what} needs {', '.join(missing)}: pip install {' '.join(packages)}")


def unsuited(model: nn.Module) -> str | None:
    """What of a model cannot be one graph that is exported; None where it can."""
    if hasattr(model, "detection_head"):
        return f"two heads, as a {type(model).__name__} has"
    if hasattr(model.head, "rpn"):
        return f"a second stage, as {type(model.head).__name__} has"
    return None
