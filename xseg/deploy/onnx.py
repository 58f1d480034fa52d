"""`xseg export`: a model as one ONNX file for images of any size, with metadata that describes inputs and outputs."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from xseg.deploy.agreement import agreement, detections_agree
from xseg.deploy.backends import ONNX_PACKAGES, require
from xseg.deploy.form import ExportForm

CHECKED = ((1, 192, 256), (2, 257, 161))  # images, height, width


def export(model: nn.Module, out: str | os.PathLike) -> list[str]:
    """Write a Segmentor, Classifier or Detector to `out`, an .onnx file, and compare the file with the model.

    Height and width of the images are free; for segmentation and classification, so is their number. BatchNorms are
    folded.

    Returns: one line per comparison, and one with the size of the file.

    Raises:
        ModuleNotFoundError: onnx, onnxscript or onnxruntime is not installed.
        ValueError: `out` does not end in .onnx; the model has a second stage or two heads; the file's outputs differ
            from the model's. No file is left in these cases.
    """
    out = Path(out)
    if out.suffix != ".onnx":
        raise ValueError(f"{out}: an export is an .onnx file; give --out a name that ends in .onnx")
    if model.export_obstacle:
        raise ValueError(f"xseg export cannot take {model.export_obstacle}")
    require("xseg export", *ONNX_PACKAGES, "onnxruntime")
    form = model.deploy("fp32").to("cpu").export_form()
    out.parent.mkdir(parents=True, exist_ok=True)
    unchecked = out.with_suffix(".unchecked.onnx")
    try:
        write_onnx(form.module, unchecked, form.example, form.inputs, form.outputs, form.metadata)
        lines = compare(form, unchecked, model.finds_objects)
        os.replace(unchecked, out)
    finally:
        unchecked.unlink(missing_ok=True)
    return [*lines, f"{out}: {out.stat().st_size / 2**20:.1f} MiB"]


def write_onnx(
    net: nn.Module,
    path: Path,
    example: Sequence[Tensor],
    inputs: Sequence[str],
    outputs: Sequence[str],
    metadata: dict[str, str],
) -> None:
    """Export a network. Height and width of the first input are free, and so is the batch unless the example's is 1."""
    free = {axis: torch.export.Dim.DYNAMIC for axis in (0, 2, 3) if example[0].shape[axis] > 1}
    narrow = any(parameter.dtype == torch.bfloat16 for parameter in net.parameters())
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision and dynamo warn about their own code
        program = torch.onnx.export(
            net.eval(),
            tuple(example),
            dynamo=True,
            external_data=False,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=(free, *[None] * (len(example) - 1)),
            custom_translation_table={torch.ops.xseg.nms_by_group.default: onnx_nms_by_group},
            opset_version=22 if narrow else None,  # the first whose Conv takes bfloat16
            verbose=False,
        )
    program.model.metadata_props.update(metadata)
    program.save(str(path), external_data=False)


def onnx_nms_by_group(boxes_xyxy, scores, groups, num_groups: int, iou: float):
    """`heads.detection.boxes.nms_by_group` in ONNX's operators; its NonMaxSuppression handles each class separately.

    PyTorch compares with a float64 threshold, ONNX with a float32 one. Rounding it down gives the same decisions.
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


def compare(form: ExportForm, path: Path, detections: bool) -> list[str]:
    """Run the file and the model on noise of the sizes `CHECKED`; one line per size, ValueError if they differ.

    Thresholds are set to 0, so that detections of all scores are compared.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    generator, lines = torch.Generator().manual_seed(0), []
    images, *thresholds = form.example
    for count, height, width in CHECKED:
        count = min(count, len(images))
        given = [torch.rand(count, 3, height, width, generator=generator) * 2 - 1, *map(torch.zeros_like, thresholds)]
        with torch.no_grad():
            expected = form.module(*given)
        feed = {name: x.numpy() for name, x in zip(form.inputs, given, strict=True)}
        outputs = [torch.from_numpy(array) for array in session.run(None, feed)]
        line = detections_agree(outputs, expected, path) if detections else agreement(outputs[0], expected, path)
        lines.append(f"{count} x {height} x {width}: {line}")
    return lines
