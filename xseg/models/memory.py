"""Estimate the memory of a segmentation, and use windows if the whole image needs more than is free."""

from __future__ import annotations

import logging
import math
import weakref
from collections.abc import Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

import torch
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from xseg.engine import free_memory
from xseg.models.inference import Inference

PROBE_HW = (512, 512)  # size of the image without values on which a network is measured
IMAGE_BYTES = 64  # per pixel: image as bytes, normalised, padded twice, in channels-last memory, and its labels
AT_MOST = 4096  # bytes per pixel, above all our networks: an image that fits with this needs no measurement
SHARE = 0.9  # usable share of the free memory
WINDOWS = (1024, 512, 256)  # edges in pixels of the windows to try, the largest first


def fitting(model: nn.Module, images: Tensor) -> Inference:
    """The model's inference, or one with windows (logged as a warning) if images (N, 3, H, W) do not fit as a whole."""
    inference, (count, _, *size_hw) = model.inference, images.shape
    free = SHARE * free_memory(images.device)
    pixels = count * max(math.prod(size_hw), math.prod(inference.largest_hw(size_hw)))
    if inference.window_hw is not None or pixels * AT_MOST <= free:
        return inference
    needed = bytes_needed(model, inference, count, size_hw)
    if needed <= free:
        return inference
    for edge in WINDOWS:
        windows = replace(inference, window_hw=(edge, edge))
        if bytes_needed(model, windows, count, size_hw) <= free:
            break
    print_log(
        f"{count} x {size_hw[0]} x {size_hw[1]} pixels at once would take {needed / 1e9:.1f} GB of memory, of which "
        f"{free / SHARE / 1e9:.1f} GB are free: predicting in windows of {edge} x {edge} (--window sets others)",
        logger="current",
        level=logging.WARNING,
    )
    return windows


def bytes_needed(model: nn.Module, inference: Inference, count: int, size_hw: Sequence[int]) -> int:
    """Peak memory in bytes, without the weights, of mode "predict" for `count` images of a size."""
    network = math.prod(inference.largest_hw(size_hw)) * bytes_per_pixel(model)
    scores = 0
    if inference.window_hw is not None:  # scores of a row of windows, of the row above, and of one window
        scores = 3 * 4 * model.num_classes * min(inference.window_hw[0], size_hw[0]) * size_hw[1]
    return round(count * (network + scores + math.prod(size_hw) * IMAGE_BYTES))


_MEASURED: WeakKeyDictionary[nn.Module, dict[int, float]] = WeakKeyDictionary()  # backbone -> {largest stride: bytes}


def bytes_per_pixel(model: nn.Module) -> float:
    """Peak bytes per image pixel of the tensors that are alive while backbone and head compute.

    Measured at one size on tensors without values. Attention over all pixels grows faster than this estimate.
    """
    measured = _MEASURED.setdefault(model.backbone, {})
    stride = max(model.backbone.strides)
    if stride not in measured:
        measured[stride] = _peak_bytes(model) / math.prod(PROBE_HW)
    return measured[stride]


@torch.no_grad()
def _peak_bytes(model: nn.Module) -> int:
    first = next(model.backbone.parameters())
    extra = int(model.head.align_corners)
    images = first.new_empty((1, 3, *(edge + extra for edge in PROBE_HW)), device="meta")
    if model.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    backbone, head = ((part, _on_meta(part)) for part in (model.backbone, model.head))
    with torch.compiler.set_stance("force_eager"), LiveBytes() as live:
        functional_call(*head, (functional_call(*backbone, (images,)),))
    return live.peak


def _on_meta(module: nn.Module) -> dict[str, Tensor]:
    return {name: t.to("meta") for name, t in (*module.named_parameters(), *module.named_buffers())}


class LiveBytes(TorchDispatchMode):
    """Count the bytes of the tensors that operations create, until they are freed. `peak`: the maximum so far."""

    def __init__(self):
        super().__init__()
        self.live: set[int] = set()  # addresses of storages
        self.now = self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._note(tensor.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        address, size = storage._cdata, storage.nbytes()
        if address not in self.live:
            self.live.add(address)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._freed, address, size)

    def _freed(self, address: int, size: int) -> None:
        self.live.discard(address)
        self.now -= size
