"""The deployment form of a model: BatchNorms folded into convolutions, no training parts, channels-last memory.

A small image is run through the network to find which convolution feeds which BatchNorm. The code of the network is not
inspected, so networks of other libraries fold like ours.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from backbones.layers import DepthwiseConv
from xseg.deploy.engines import choose, on_engine
from xseg.deploy.packing import RELUS, pack, packable, unshare_relus
from xseg.deploy.runtimes import DTYPES

RELU = "ReLU"  # stands for a ReLU where a BatchNorm's name is expected
CONVOLUTIONS = (nn.Conv2d.forward, DepthwiseConv.forward)  # their output is linear in their own weight
REFUSAL = (
    "a deployed model is for prediction: its BatchNorms are folded and its losses removed; {} the model that deploy() "
    "was called on"
)


class Pair(NamedTuple):
    """Names of a convolution and of the BatchNorm that is the only reader of its output."""

    conv: str
    bn: str


def deployed(
    model: nn.Module, dtype: torch.dtype | str | None, compile: bool, size_hw: Sequence[int], backend: str
) -> nn.Module:
    """A copy of a `Model` for prediction; `Model.deploy` describes it and the arguments."""
    if model.deployed:
        raise ValueError(REFUSAL.format("deploy"))
    first = next(model.backbone.parameters())
    dtype = read_dtype(dtype) or first.dtype
    reason = model.export_obstacle
    backend = choose("torch" if reason and backend == "auto" else backend, dtype, first.device, compile)
    if backend != "torch":
        if reason:
            raise ValueError(f"backend {backend} cannot take {reason}: use torch")
        own = torch.float32 if first.device.type == "cpu" else dtype
        return on_engine(deployed(model, own, compile, size_hw, "torch"), backend, dtype)
    model = copy.deepcopy(model).eval().requires_grad_(False)
    for name in model.training_parts:
        setattr(model, name, None)
    pairs = find_pairs(model, size_hw)
    fold(model, pairs)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.modules.dropout._DropoutNd):
            model.set_submodule(name, nn.Identity())
    if hasattr(model.backbone, "_build"):  # it builds a new network for a new output stride
        prefix = "backbone.net."
        own = [Pair(*(name.removeprefix(prefix) for name in pair)) for pair in pairs if pair.conv.startswith(prefix)]
        model.backbone._build = partial(_build_folded, model.backbone._build, own)
    if packable(first.device, dtype) and not compile:
        unshare_relus(model)
        pack(model, find_rectified(model, size_hw))
    model.to(memory_format=torch.channels_last)
    narrow = [model.backbone] if model.finds_objects else [model.backbone, model.head]
    for part in narrow:  # a detection head keeps its dtype: bf16 cannot tell pixel 257 from 258
        part.to(dtype)
    if dtype.itemsize < 4:
        narrow[-1].register_forward_hook(_widen)
    _guard(model, dtype)
    if compile:
        for part in model.networks:
            part.compile(options={"freezing": True})
    return model


def read_dtype(dtype: torch.dtype | str | None) -> torch.dtype | None:
    """The torch.dtype for a name or dtype; None stays None. ValueError for one that models cannot be deployed in."""
    dtype = DTYPES.get(dtype, dtype)
    if dtype not in (None, torch.float64, *DTYPES.values()):
        raise ValueError(f"dtype must be {', '.join(DTYPES)}, a floating-point torch.dtype or None, got {dtype!r}")
    return dtype


def find_pairs(model: nn.Module, size_hw: Sequence[int]) -> list[Pair]:
    """Convolutions whose output is read by one BatchNorm and nothing else when a black image is run.

    Pairs that would not fold exactly are skipped: a convolution whose weight is computed or shared between modules, a
    BatchNorm with other inputs or without running statistics. `model` must be in eval mode.
    """
    watch = watched(model, size_hw)
    shared = Counter(id(conv.weight) for conv in watch.convs.values())
    pairs = []
    for name, outputs in watch.outputs.items():
        readers = [reader for output in outputs for reader in watch.readers[id(output)]]
        alone = len(set(readers)) == 1 and len(readers) == len(outputs) == watch.runs[readers[0]]
        if alone and readers[0] not in ("", RELU) and shared[id(watch.convs[name].weight)] == 1:
            pairs.append(Pair(name, readers[0]))
    return pairs


def find_rectified(model: nn.Module, size_hw: Sequence[int]) -> list[str]:
    """Names of convolutions whose output is read by ReLUs and nothing else when a black image is run."""
    watch = watched(model, size_hw)
    readers = {name: {r for o in outputs for r in watch.readers[id(o)]} for name, outputs in watch.outputs.items()}
    return [name for name, read_by in readers.items() if read_by == {RELU}]


def watched(model: nn.Module, size_hw: Sequence[int]) -> Watch:
    """Run a black image of a size through the model and record who reads each convolution."""
    first = next(m for m in model.backbone.modules() if isinstance(m, nn.Conv2d))
    images = first.weight.new_zeros(1, first.in_channels * first.groups, *size_hw)
    watch = Watch(model)
    with torch.no_grad(), watch.hooked(), watch:
        returned = model(images)
    for tensor in tensors(returned):
        watch.readers.get(id(tensor), []).append("")
    return watch


class Watch(TorchFunctionMode):
    """Records the outputs of every convolution and their readers: a BatchNorm by name, RELU, or "" for any other."""

    def __init__(self, model: nn.Module):
        super().__init__()
        named = dict(model.named_modules())
        self.convs = {n: m for n, m in named.items() if type(m).forward in CONVOLUTIONS and "weight" in m._parameters}
        norms = {n: m for n, m in named.items() if isinstance(m, _BatchNorm) and m.running_mean is not None}
        self.norm_of = {id(m.running_mean): name for name, m in norms.items()}
        self.outputs: dict[str, list[Tensor]] = {}  # kept alive, so that no id is reused
        self.readers: dict[int, list[str]] = {}
        self.runs: Counter[str] = Counter()  # of the BatchNorms

    @contextmanager
    def hooked(self) -> Iterator[None]:
        handles = [conv.register_forward_hook(partial(self._note, name)) for name, conv in self.convs.items()]
        yield
        for handle in handles:
            handle.remove()

    def _note(self, name: str, conv: nn.Module, args: tuple, output: Tensor) -> None:
        self.outputs.setdefault(name, []).append(output)
        self.readers[id(output)] = []

    def __torch_function__(self, func: Callable, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        given = list(tensors([args, kwargs]))
        other = RELU if func in RELUS else ""
        norm = next((self.norm_of[id(tensor)] for tensor in given if id(tensor) in self.norm_of), other)
        if any(True for _ in tensors(result)):  # otherwise a size or dtype was read, and nothing computed
            self.runs[norm] += 1
            for tensor in given:
                if id(tensor) in self.readers:
                    self.readers[id(tensor)].append(norm)
        return result


def tensors(value: object) -> Iterator[Tensor]:
    """All tensors in nested lists, tuples and dicts, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors(item)
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))


def fold(model: nn.Module, pairs: Sequence[Pair]) -> None:
    """Fold each BatchNorm into its convolution, and replace it by its own activation if it has one, else Identity."""
    for pair in pairs:
        conv, bn = model.get_submodule(pair.conv), model.get_submodule(pair.bn)
        mean, var = bn.running_mean.double(), bn.running_var.double()
        scale = torch.rsqrt(var + bn.eps) * (1 if bn.weight is None else bn.weight.double())
        shift = (0 if conv.bias is None else conv.bias.double()) - mean
        bias = shift * scale + (0 if bn.bias is None else bn.bias.double())
        weight, dtype = conv.weight.double() * scale.reshape(-1, 1, 1, 1), conv.weight.dtype
        conv.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
        conv.bias = nn.Parameter(bias.to(dtype), requires_grad=False)
        model.set_submodule(pair.bn, getattr(bn, "act", nn.Identity()))  # timm's BatchNormAct2d


def _build_folded(build: Callable[[int], nn.Module], pairs: Sequence[Pair], output_stride: int) -> nn.Module:
    """Build a network of another library for another stride, folded, so that the folded weights can be loaded."""
    net = build(output_stride).requires_grad_(False)
    fold(net, pairs)
    return net.to(memory_format=torch.channels_last)


def _guard(model: nn.Module, dtype: torch.dtype) -> None:
    """Convert images of any dtype and memory format, and refuse training and saving."""
    model.deployed = True
    model.backbone.register_forward_pre_hook(partial(_cast_images, dtype))
    model.register_forward_pre_hook(_refuse_loss, with_kwargs=True)
    model.register_state_dict_pre_hook(_refuse_state)


def _cast_images(dtype: torch.dtype, backbone: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
    return (args[0].to(dtype=dtype, memory_format=torch.channels_last),)


def _widen(part: nn.Module, args: tuple, outputs: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
    """Convert outputs to float32, for resizing, argmax and detection heads."""
    return [output.float() for output in outputs] if isinstance(outputs, (list, tuple)) else outputs.float()


def _refuse_loss(model: nn.Module, args: tuple, kwargs: dict) -> None:
    if (args[2] if len(args) > 2 else kwargs.get("mode")) == "loss":
        raise ValueError(REFUSAL.format("train"))


def _refuse_state(model: nn.Module, prefix: str, keep_vars: bool) -> None:
    """Refuse `state_dict()`, but not for torch.export, which alone sets `keep_vars`."""
    if not keep_vars:
        raise ValueError(REFUSAL.format("save, convert or push"))
