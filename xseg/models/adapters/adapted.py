"""Adapted: what the backbones from timm and segmentation-models-pytorch share."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from backbones.contract import LEVEL_STRIDES, check_levels

SMALL_HW = (96, 160)  # size of the image that a new network is tried on; Inception needs at least 75 pixels


class Adapted(nn.Module):
    """An encoder of another library as a backbone.

    A subclass builds `net` for an output stride (`_build`) and reads its maps (`_maps`). When a network is built, an
    image is run through it: `channels` are those of its maps, and maps of other strides are refused.
    """

    library: str

    def __init__(self, out: Sequence[str], output_stride: int, in_channels: int):
        super().__init__()
        self.out, self.in_channels = check_levels(out), in_channels
        self.set_output_stride(output_stride)

    @property
    def strides(self) -> tuple[int, ...]:
        return self._strides(self.output_stride)

    def _strides(self, output_stride: int) -> tuple[int, ...]:
        return tuple(min(LEVEL_STRIDES[level], output_stride) for level in self.out)

    def set_output_stride(self, output_stride: int) -> None:
        """Build the encoder for another stride, with the same weights, device and mode."""
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride}")
        net = self._build(output_stride)
        if (old := getattr(self, "net", None)) is not None:
            first = next(old.parameters())
            net.to(first.device, first.dtype).train(old.training)  # before loading, or float64 weights are rounded
            net.load_state_dict(old.state_dict())
        self.net = net
        self.output_stride = output_stride

    def forward(self, images: Tensor) -> list[Tensor]:
        return self._maps(self.net, images)

    def _pick(self, available: dict[str, int]) -> list[int]:
        """Indices of the levels `out`, from the {level: index} of a network; ValueError for a level that it lacks."""
        if missing := [level for level in self.out if level not in available]:
            given = ", ".join(sorted(available)) or "no map at stride 2, 4, 8, 16 or 32"
            raise ValueError(f"{self.library}'s {self.name} has no {', '.join(missing)}: it gives {given}")
        return [available[level] for level in self.out]

    def _made(self, make: Callable[[], nn.Module], task: str) -> nn.Module:
        return made(make, f"{self.library}'s {self.name}", task)

    @torch.no_grad()
    def _checked(self, net: nn.Module, output_stride: int, size_hw: Sequence[int] = SMALL_HW) -> nn.Module:
        """The network, after a test with an image of this size; sets `channels`. ValueError for wrong strides."""
        size, strides, training = tuple(size_hw), self._strides(output_stride), net.training
        task = f"take an image of {size[0]} x {size[1]}"
        maps = self._made(lambda: self._maps(net.eval(), torch.zeros(1, self.in_channels, *size)), task)
        net.train(training)
        given = [tuple(m.shape[-2:]) for m in maps]
        claimed = [tuple(edge // stride for edge in size) for stride in strides]
        if given != claimed:
            raise ValueError(
                f"{self.library}'s {self.name} does not keep strides {strides}: an image of {size} gives maps of "
                f"{given}, not {claimed}, as its convolutions do not pad or it ignores output_stride={output_stride}"
            )
        self.channels = tuple(m.shape[1] for m in maps)
        return net


def made(make: Callable[[], nn.Module], who: str, task: str) -> nn.Module:
    """What `make` returns. Errors of a library, of any type and some without a text, become ValueError."""
    try:
        return make()
    except OSError:  # a failed download has a clear message
        raise
    except Exception as error:
        reason = str(error) or f"{type(error).__name__}, {traceback.extract_tb(error.__traceback__)[-1].line}"
        raise ValueError(f"{who} cannot {task}: {reason}") from error
