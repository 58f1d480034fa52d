"""The contract of a backbone, and `Trunk`, the base class of the backbones in this package.

Levels are C1..C5 of the detection literature, at strides of 2, 4, 8, 16 and 32 input pixels. At output stride 16 the
last level keeps stride 16; at 8 the last two keep stride 8. Convolutions past that point are dilated instead.
"""

import inspect
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

LEVELS = ("c1", "c2", "c3", "c4", "c5")
LEVEL_STRIDES = {"c1": 2, "c2": 4, "c3": 8, "c4": 16, "c5": 32}


class Backbone(Protocol):
    """What a model asks of its backbone, which is an `nn.Module`; `check_backbone` lists what is missing."""

    @property
    def channels(self) -> Sequence[int]:
        """Channels of each map that `forward` returns."""

    @property
    def strides(self) -> Sequence[int]:
        """Input pixels per output pixel of each map, at the present output stride."""

    @property
    def output_stride(self) -> int:
        """The largest stride that the network allows at present."""

    def set_output_stride(self, output_stride: int) -> None:
        """Change `output_stride`, keep all weights; ValueError for a stride that the network does not support."""

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (N, 3, H, W) -> one map (N, channels[i], h_i, w_i) per level, shallow to deep."""


Module = TypeVar("Module", bound=nn.Module)


def check_backbone(backbone: Module) -> Module:
    """Return the backbone; TypeError that lists every member of `Backbone` that it lacks."""
    check_members(backbone, Backbone)
    channels, strides = tuple(backbone.channels), tuple(backbone.strides)
    if len(channels) != len(strides) or not channels:
        raise ValueError(
            f"{type(backbone).__name__} must have one channel count and one stride per map, "
            f"got channels {channels} and strides {strides}"
        )
    return backbone


def check_members(module: object, protocol: type) -> None:
    """TypeError if `module` is no `nn.Module` or lacks a member of the protocol; the message lists all of them."""
    missing = [] if isinstance(module, nn.Module) else ["torch.nn.Module as a base class"]
    for name, member in _members(protocol).items():
        if getattr(module, name, None) is None or getattr(type(module), name, None) is nn.Module.forward:
            if not isinstance(member, property):
                name += f"({', '.join([*inspect.signature(member).parameters][1:])})"
            missing.append(f"{name}: {inspect.getdoc(member)}")
    if missing:
        raise TypeError(
            f"{type(module).__name__} cannot serve as {protocol.__name__} (see {protocol.__module__}), it lacks:\n"
            + "\n".join(f"  {line}" for line in missing)
        )


def _members(protocol: type) -> dict[str, object]:
    """The public members of a protocol and of the protocols it extends."""
    return {
        name: member
        for link in reversed(protocol.__mro__)
        if getattr(link, "_is_protocol", False)
        for name, member in vars(link).items()
        if not name.startswith("_") and (callable(member) or isinstance(member, property))
    }


class Trunk(nn.Module):
    """Base class of the backbones in this package; keeps the contract `Backbone`.

    A subclass sets `level_channels`, `stem`, `blocks` and `stage_ends` (the number of blocks up to C2, C3, C4 and C5),
    implements `_apply_output_stride`, and calls `set_output_stride` at the end of its constructor.
    """

    level_channels: dict[str, int]
    stem: nn.Module
    blocks: nn.ModuleList
    stage_ends: Sequence[int]

    def __init__(self, out: Sequence[str], frozen_stages: int, frozen_bn: bool):
        super().__init__()
        self.out = check_levels(out)
        if not 0 <= frozen_stages <= 5:
            raise ValueError(f"frozen_stages must be 0 (none) to 5 (all), got {frozen_stages}")
        self.frozen_stages = frozen_stages
        self.frozen_bn = frozen_bn

    @property
    def channels(self) -> tuple[int, ...]:
        return tuple(self.level_channels[level] for level in self.out)

    @property
    def strides(self) -> tuple[int, ...]:
        """Input pixels per output pixel of each level at the present output stride."""
        return tuple(min(LEVEL_STRIDES[level], self.output_stride) for level in self.out)

    def set_output_stride(self, output_stride: int) -> None:
        """Replace strides by dilation or the reverse; weights and their names stay the same."""
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride}")
        self.output_stride = output_stride
        self._apply_output_stride(output_stride)

    def _apply_output_stride(self, output_stride: int) -> None:
        raise NotImplementedError

    def train(self, mode: bool = True):
        """As `nn.Module.train`, but frozen stages and frozen BatchNorms stay in eval mode and untrained."""
        super().train(mode)
        for stage in self._stages()[: self.frozen_stages]:
            stage.eval().requires_grad_(False)
        if self.frozen_bn:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval().requires_grad_(False)
        return self

    def _stages(self) -> list[nn.Module]:
        """The stem, then the blocks that lead to C2, C3, C4 and C5."""
        return [self.stem, *(self.blocks[a:b] for a, b in itertools.pairwise((0, *self.stage_ends)))]

    def __prepare_scriptable__(self) -> nn.Module:
        """What `torch.jit.script` compiles: the operations of `forward` at the present output stride and mode."""
        return torch.fx.symbolic_trace(self)


def dilate(strides: Iterable[int], output_stride: int) -> Iterator[tuple[int, int]]:
    """(stride, atrous rate) of each block behind a stem of stride 2; no map gets coarser than `output_stride`.

    A block that would exceed it gets stride 1 and keeps the present rate. The blocks behind it get twice that rate.
    """
    current, rate = 2, 1
    for stride in strides:
        if current == output_stride:
            yield 1, rate
            rate *= stride
        else:
            yield stride, 1
            current *= stride


def check_levels(out: Sequence[str]) -> tuple[str, ...]:
    out = tuple(out)
    if not out or any(level not in LEVELS for level in out) or list(out) != sorted(set(out)):
        raise ValueError(f"out must name levels of {LEVELS} from shallow to deep, each once, got {out}")
    return out


def scale_channels(channels: int, width: float, divisor: int = 8) -> int:
    """`channels * width`, rounded to a multiple of `divisor`; kernels load multiples of 8 with wide instructions."""
    if not 0 < width < float("inf"):
        raise ValueError(f"width must be a number above 0, got {width}")
    return max(divisor, round(channels * width / divisor) * divisor)
