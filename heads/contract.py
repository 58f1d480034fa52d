"""The contracts of the heads, and the types that detection heads take and return.

A head is an `nn.Module` built from numbers, not from a backbone: `Head(num_classes=…, in_channels=…, in_strides=…)`.
The model fills in `in_channels` and `in_strides`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from backbones.contract import check_members

Array = Any  # a tensor, or a NumPy array on the CPU


class Target(NamedTuple):
    """The objects of one training image.

    boxes_xyxy: (M, 4) float. labels: (M,) int64. masks: (M, h, w), 0 or 1, for heads that learn masks.
    size_hw: size of the image within the batch, the rest of which is padding; None if there is no padding.
    """

    boxes_xyxy: Tensor
    labels: Tensor
    masks: Tensor | None = None
    size_hw: Sequence[int] | None = None


class Instances(NamedTuple):
    """The detections of one image, by falling score: their only form, from the head to the files of results.

    A head gives tensors in pixels of the image as fed to the model; a model gives them in pixels of the original image;
    results and metrics hold arrays on the CPU. A further field stands here once, with None as its default: `rows` and
    `numpy` carry it along.

    boxes_xyxy: (K, 4). scores: (K,). labels: (K,).
    masks: of a head (K, S, S), the probability that a cell of the box belongs to the object; of a model K run lengths
        (see `xseg.data.read.rle`), whose memory does not grow with the image; None from heads without masks.
    boxes_xywh, area: (K, 4) and (K,), where a file of results states them; x + width would round.
    """

    boxes_xyxy: Array
    scores: Array
    labels: Array
    masks: Array | list[dict] | None = None
    boxes_xywh: Array | None = None
    area: Array | None = None

    def rows(self, index: Array | slice) -> Instances:
        """The detections at `index`, a slice, positions or a bool for each, with all their fields."""

        def pick(values):
            if not isinstance(values, list) or isinstance(index, slice):
                return values[index]
            return [values[row] for row in torch.arange(len(values))[index].tolist()]

        return Instances(*(None if values is None else pick(values) for values in self))

    def numpy(self) -> Instances:
        """The same with arrays on the CPU in place of tensors."""
        return Instances(*(v.detach().cpu().numpy() if isinstance(v, Tensor) else v for v in self))


class Selection(NamedTuple):
    """The rule that turns predictions into detections."""

    score_threshold: float = 0.05
    nms_iou: float = 0.5
    topk: int = 1000  # candidates per level
    max_detections: int = 100


class Head(Protocol):
    """What every model asks of its head."""

    @property
    def num_classes(self) -> int:
        """Number of classes that it tells apart, without background and void."""

    def set_strides(self, in_strides: Sequence[int]) -> None:
        """Follow the backbone to other strides; ValueError for strides that the head does not support."""


class SegmentationHead(Head, Protocol):
    """What `Segmentor` and `JointModel` ask of a head that classifies pixels."""

    align_corners: bool = False
    """Whether its logits are upsampled with aligned corners; a head without this attribute gets False."""

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps of the backbone -> logits (N, num_classes, h, w) of any size."""


class DetectionHead(Head, Protocol):
    """What `Detector` and `JointModel` ask of a head that detects objects."""

    def forward(self, features: Sequence[Tensor]) -> Any:
        """Maps of the backbone -> raw predictions, which only `loss` and `decode` read."""

    def loss(self, output: Any, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Raw predictions and the objects of each image -> scalar losses by name."""

    def decode(self, output: Any, sizes_hw: Sequence[Sequence[int]], rule: Selection) -> list[Instances]:
        """Raw predictions and the size of each image within the batch -> detections of each image."""


class ClassifierHead(Head, Protocol):
    """What `Classifier` asks of a head that classifies images, such as `heads.ClassificationHead`."""

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps of the backbone -> logits (N, num_classes)."""


Module = TypeVar("Module", bound=nn.Module)


def check_head(head: Module, protocol: type) -> Module:
    """Return the head, with the defaults that the protocol has for attributes; TypeError that lists what it lacks.

    Args:
        protocol: `SegmentationHead`, `DetectionHead` or `ClassifierHead`.
    """
    check_members(head, protocol)
    if protocol is SegmentationHead and not hasattr(head, "align_corners"):
        head.align_corners = SegmentationHead.align_corners
    return head
