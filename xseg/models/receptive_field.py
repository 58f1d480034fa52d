"""Receptive field and stride of every map of a network, followed through the operations that compute it.

The rules compose kernels along a path (Araujo et al. 2019, "Computing Receptive Fields of Convolutional Neural
Networks", distill.pub): a window of k taps at dilation d and stride s adds (k - 1) d times the input's stride to the
field, and multiplies the stride by s. Where paths meet, the field is that of the longest path; padding, and the
statistics of normalisation, do not count. A test compares the fields of our trunks with gradients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

Pair = tuple[float, float]  # vertical, horizontal
aten = torch.ops.aten


class Reach(NamedTuple):
    """What one pixel of a map sees of the image.

    field_hw: size in pixels of the image; infinite after global pooling, and after operations that no rule describes,
        such as attention. stride_hw: pixels of the image between neighbours of the map; NaN where it is not known.
    """

    field_hw: Pair = (1.0, 1.0)
    stride_hw: Pair = (1.0, 1.0)


UNLIMITED = Reach((math.inf, math.inf), (math.nan, math.nan))
UPSAMPLING_TAPS = {  # operation -> input pixels per axis between which an output pixel lies
    aten.upsample_nearest2d: 1,
    aten._upsample_nearest_exact2d: 1,
    aten.upsample_bilinear2d: 2,
    aten.upsample_bicubic2d: 4,
}
PIXEL_BY_PIXEL = {  # besides the operations with torch's tag "pointwise"
    aten.cat,
    aten.constant_pad_nd,
    aten.detach,
    aten.expand,
    aten.alias,
    aten._to_copy,
    aten.hardswish,
    aten.native_dropout,
    aten.native_batch_norm,
    aten._native_batch_norm_legit,
    aten._native_batch_norm_legit_no_training,
    aten.native_group_norm,
}
WITHOUT_VALUES = {aten.empty_like, aten.rand_like, aten.zeros_like, aten.ones_like, aten.new_empty, aten.new_zeros}


class ReceptiveFields(TorchDispatchMode):
    """While active, note the `Reach` of every tensor that is computed from tensors in `reach`.

    Start with `fields.reach[images] = Reach()`.
    """

    def __init__(self):
        super().__init__()
        self.reach = WeakTensorKeyDictionary()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        inputs = [self.reach[tensor] for tensor in tensors if tensor in self.reach]
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if inputs and outputs and func.overloadpacket not in WITHOUT_VALUES:
            reach = _after(func, args, inputs, outputs[0])
            for output in outputs:
                self.reach[output] = reach
        return result


def _after(func, args: Sequence, inputs: list[Reach], output: Tensor) -> Reach:
    """The reach of an operation's output."""
    kind, before = func.overloadpacket, _joined(inputs)
    if kind is aten.convolution:
        _, weight, _, stride, _, dilation, transposed, *_ = args
        window = _transposed if transposed else _window
        return window(before, weight.shape[2:], stride, dilation)
    if kind in (aten.max_pool2d_with_indices, aten.avg_pool2d):
        kernel, stride, _, dilation = [*args[1:], *[[]] * 4][:4]
        return _window(before, kernel, stride or kernel, dilation if kind is not aten.avg_pool2d and dilation else 1)
    if kind in UPSAMPLING_TAPS:
        taps = UPSAMPLING_TAPS[kind]
        return _upsampled(before, args[0].shape[2:], output.shape[2:], taps, align_corners=taps > 1 and args[2])
    if kind is aten.slice and args[0].ndim == 4:
        step, axis = (args[4] if len(args) > 4 else 1), args[1] % 4
        return _window(before, 1, [step if axis == 2 else 1, step if axis == 3 else 1], 1)
    if kind in PIXEL_BY_PIXEL or torch.Tag.pointwise in func.tags:
        return before
    return UNLIMITED


def _joined(inputs: list[Reach]) -> Reach:
    """The largest field, and the first known stride."""
    fields = zip(*(reach.field_hw for reach in inputs), strict=True)
    known = (reach.stride_hw for reach in inputs if not math.isnan(reach.stride_hw[0]))
    return Reach(tuple(map(max, fields)), next(known, UNLIMITED.stride_hw))


def _window(before: Reach, kernel, stride, dilation) -> Reach:
    kernel, stride, dilation = map(_pair, (kernel, stride, dilation))
    fields = zip(before.field_hw, kernel, dilation, before.stride_hw, strict=True)
    field = tuple(old if math.isinf(old) else old + (k - 1) * d * step for old, k, d, step in fields)
    return Reach(field, tuple(a * b for a, b in zip(before.stride_hw, stride, strict=True)))


def _transposed(before: Reach, kernel, stride, dilation) -> Reach:
    """An output pixel reads every `stride`-th tap of the kernel."""
    kernel, stride = _pair(kernel), _pair(stride)
    taps = [math.ceil(k / s) for k, s in zip(kernel, stride, strict=True)]
    return _window(before, taps, [1 / s for s in stride], dilation)


def _upsampled(before: Reach, size, new_size, taps: int, align_corners: bool) -> Reach:
    edge = int(align_corners)
    steps = [max(a - edge, 1) / max(b - edge, 1) for a, b in zip(size, new_size, strict=True)]
    return _window(before, [1 if step == 1 else taps for step in steps], steps, 1)


def _pair(value) -> Sequence[float]:
    value = [value] if isinstance(value, (int, float)) else list(value)
    return value * 2 if len(value) == 1 else value
