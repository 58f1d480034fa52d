"""The form in which a model is exported: a module of plain tensors, with names and metadata for its file."""

from __future__ import annotations

import json
from typing import NamedTuple

import torch
from torch import Tensor, nn

from xseg import __version__

EXAMPLE_HW = (160, 224)  # every map of a pyramid is larger than one pixel here: export takes sizes of 1 as fixed


class ExportForm(NamedTuple):
    """What ONNX export needs to know of a model.

    module: forward(*example) gives a tensor, or a tuple of tensors in the order of `outputs`.
    example: one tensor per input; the first are the images (N, 3, H, W), whose height and width stay free, and whose
        N stays free unless it is 1.
    inputs, outputs: names of the file's inputs and outputs.
    metadata: name -> text for the file; JSON where the value is not plain text.
    """

    module: nn.Module
    example: tuple[Tensor, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    metadata: dict[str, str]


def logits_form(model: nn.Module, **facts) -> ExportForm:
    """The export form of a model with `logits(images)`; `facts` are added to the metadata."""
    return ExportForm(Logits(model), (torch.rand(2, 3, *EXAMPLE_HW),), ("images",), ("logits",), metadata(model, facts))


def detections_form(model: nn.Module, **facts) -> ExportForm:
    """The export form of a `Detector`; `facts` are added to the metadata."""
    example = (torch.rand(1, 3, *EXAMPLE_HW), torch.tensor(0.05))
    outputs = ("boxes_xyxy", "scores", "labels")
    return ExportForm(Decoded(model), example, ("images", "score_threshold"), outputs, metadata(model, facts))


class Logits(nn.Module):
    """Images (N, 3, H, W), normalised, of any size -> the model's logits."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model.logits(images)


class Decoded(nn.Module):
    """One image (1, 3, H, W), normalised, of any size, and a score threshold () -> the detections above it.

    Returns boxes_xyxy (K, 4) in pixels of the image, scores (K,) and labels (K,), by falling score.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, score_threshold: Tensor) -> tuple[Tensor, ...]:
        height, width = images.shape[-2:]
        rule = self.model.selection._replace(score_threshold=score_threshold)
        output = self.model.raw(self.model.padded(images))
        return tuple(self.model.head.decode(output, [(height, width)], rule)[0][:3])


def metadata(model: nn.Module, facts: dict[str, object]) -> dict[str, str]:
    """Task, preprocessing and classes of a model, and the given facts, as texts."""
    normalisation = model.data_preprocessor
    known: dict[str, object] = {
        "producer": f"xseg {__version__}",
        "task": type(model).__name__.lower(),  # the value that readers of such files know
        "input": "images (N, 3, H, W) float32, RGB, (pixel - mean) / std of pixels in 0..255",
        "mean": normalisation.mean.flatten().tolist(),
        "std": normalisation.std.flatten().tolist(),
        "classes": list(model.classes),
        "palette": model.palette,
        **facts,
    }
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in known.items()}
