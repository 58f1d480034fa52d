"""What every part of a model gives and costs: output, receptive field, parameters, multiply-adds, activation memory.

One training forward of backbone and heads runs on tensors without values, so that nothing is computed or allocated.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from backbones.contract import Trunk
from xseg.models.model import Model
from xseg.models.receptive_field import UNLIMITED, Reach, ReceptiveFields

EXIT_BLOCKS = 2  # blocks of the exit flow of every trunk


class Map(NamedTuple):
    """An output of a part.

    shape: without the batch axis, (channels, height, width) of a map. stride_hw, field_hw: see `Reach`.
    """

    shape: tuple[int, ...]
    stride_hw: tuple[float, float]
    field_hw: tuple[float, float]


class Part(NamedTuple):
    """A row of the summary.

    name: of the module in the model, as in the weights' names.
    maps: its outputs, one per level where it runs on several.
    dilation_hw: the largest of its convolutions; None without a convolution.
    parameters: number of weights, trained or frozen.
    gmac: 10^9 multiply-adds of convolutions and matrix products for one image, as `torch.utils.flop_counter` counts.
    mib: MiB of the tensors that autograd keeps for the backward pass of the whole batch. Every memory counts once, at
        the part that keeps it first. Parameters, buffers and the inputs that checkpointing holds do not count.

    gmac and mib are None for a part that does not run in the forward pass, such as the second stage of an R-CNN.
    """

    name: str
    maps: tuple[Map, ...] = ()
    dilation_hw: tuple[int, int] | None = None
    parameters: int = 0
    gmac: float | None = None
    mib: float | None = None


class Summary(NamedTuple):
    """parts: in the order of the model. between: what the parts leave over. total: of the whole model."""

    parts: list[Part]
    between: Part
    total: Part


def summarize(model: Model, size_hw: Sequence[int], batch: int = 1, dtype: torch.dtype = torch.float32) -> Summary:
    """Costs of the forward pass of a training step up to the heads' raw outputs; losses are left out.

    Args:
        model: on any device; it stays as it is.
        size_hw: (height, width) of the images in pixels, as the backbone gets them.
        dtype: of weights and images. A half-precision type stands for autocast, whose half-precision copies of the
            weights are not counted.

    Raises ValueError if the model cannot take images of this size.
    """
    model = copy.deepcopy(model).to("meta", dtype).train()
    channels = next(module.in_channels for module in model.backbone.modules() if isinstance(module, nn.Conv2d))
    images = torch.empty((batch, channels, *size_hw), dtype=dtype, device="meta")
    record = _Record(model)
    try:
        record.run(model, images)
    except RuntimeError as error:
        raise ValueError(f"the model cannot take images of {tuple(size_hw)}: {error}; give another size") from error
    parts = [_part(name, module, record, batch) for name, module in _split(model, record.calls)]
    gmac, mib = record.cost(batch)
    total = Part("total", parameters=sum(p.numel() for p in model.parameters()), gmac=gmac, mib=mib)
    keys = ("parameters", "gmac", "mib")
    rest = {key: abs(round(getattr(total, key) - sum(getattr(part, key) or 0 for part in parts), 9)) for key in keys}
    return Summary(parts, Part("between the parts", **rest), total)


class _Call:
    """Sums over the calls of a module."""

    def __init__(self):
        self.maps: list[Map] = []
        self.flop = self.bytes = 0


class _Record:
    """Runs a model once and notes the calls of every module."""

    def __init__(self, model: nn.Module):
        self.calls: dict[nn.Module, _Call] = {}
        self.counter, self.fields = FlopCounterMode(display=False), ReceptiveFields()
        self.kept: dict[int, torch.UntypedStorage] = {}  # by address; held, so that no address is used twice
        self.bytes = 0
        self.weights = {t.untyped_storage()._cdata for t in (*model.parameters(), *model.buffers())}
        self.started: list[tuple[int, int]] = []

    def run(self, model: Model, images: Tensor) -> None:
        modules = [module for network in model.networks for module in network.modules()]
        hooks = [m.register_forward_pre_hook(self._before) for m in modules]
        hooks += [m.register_forward_hook(self._after) for m in modules]
        self.fields.reach[images] = Reach()
        with torch.compiler.set_stance("force_eager"), torch.autograd.graph.saved_tensors_hooks(self._keep, _given):
            with self.counter, self.fields:
                features = model.backbone(images)
                for name, first_level in model.first_levels.items():
                    if (head := getattr(model, name)) is not None:
                        head(features[first_level:])
        for hook in hooks:
            hook.remove()

    def cost(self, batch: int) -> tuple[float, float]:
        """GMAC of one image and MiB of the batch, of all that ran."""
        return self.counter.get_total_flops() / 2e9 / batch, self.bytes / 2**20

    def _before(self, module: nn.Module, inputs) -> None:
        self.started.append((self.counter.get_total_flops(), self.bytes))

    def _after(self, module: nn.Module, inputs, output) -> None:
        call, (flop, before) = self.calls.setdefault(module, _Call()), self.started.pop()
        call.flop += self.counter.get_total_flops() - flop
        call.bytes += self.bytes - before
        first = output[0] if isinstance(output, tuple) else output  # the others are taps, or anchors
        for tensor in tree_leaves(first):
            if isinstance(tensor, Tensor):
                reach = self.fields.reach.get(tensor, UNLIMITED)
                call.maps.append(Map(tuple(tensor.shape[1:]), reach.stride_hw, reach.field_hw))

    def _keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.kept and storage._cdata not in self.weights:
            self.kept[storage._cdata] = storage
            self.bytes += storage.nbytes()
        return tensor


def _given(tensor: Tensor) -> Tensor:
    return tensor


def _part(name: str, module: nn.Module, record: _Record, batch: int) -> Part:
    parameters = sum(p.numel() for p in module.parameters())
    dilations = [m.dilation for m in module.modules() if isinstance(m, nn.Conv2d)]
    dilation = tuple(map(max, zip(*dilations, strict=True))) if dilations else None
    if (call := record.calls.get(module)) is None:
        return Part(name, (), dilation, parameters)
    return Part(name, tuple(call.maps), dilation, parameters, call.flop / 2e9 / batch, call.bytes / 2**20)


def _split(model: Model, calls: dict[nn.Module, _Call]) -> Iterator[tuple[str, nn.Module]]:
    """Name and module of each part: the blocks of the backbone and the parts of each head that have parameters."""
    flows = _flows(model.backbone)
    for name in ("backbone", *model.first_levels):
        if (network := getattr(model, name)) is None:
            continue
        while len(children := [*network.named_children()]) == 1 and [*children[0][1].children()]:  # an adapter
            name, network = f"{name}.{children[0][0]}", children[0][1]
        for path, module in _opened(name, network, calls):
            yield path + flows.get(module, ""), module


def _opened(prefix: str, module: nn.Module, calls: dict[nn.Module, _Call]) -> Iterator[tuple[str, nn.Module]]:
    """The children that have parameters; those that do not run themselves, as lists of modules, are opened too."""
    for name, child in module.named_children():
        path = f"{prefix}.{name}"
        if child not in calls and any(inner in calls for inner in child.modules()):
            yield from _opened(path, child, calls)
        elif any(True for _ in child.parameters()):
            yield path, child


def _flows(backbone: nn.Module) -> dict[nn.Module, str]:
    """Block of a trunk -> ", entry 1", ", middle 3", …: its flow, and its place in that."""
    rows = getattr(backbone, "rows", None)
    if not isinstance(backbone, Trunk) or rows is None:
        return {}
    middle = sum(row.skip == "sum" for row in rows)
    counts = {"entry": len(rows) - middle - EXIT_BLOCKS, "middle": middle, "exit": EXIT_BLOCKS}
    names = [f", {flow} {index}" for flow, count in counts.items() for index in range(1, count + 1)]
    return dict(zip(backbone.blocks, names, strict=True))
