"""What the backbones from timm and segmentation-models-pytorch share."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from backbones.contract import LEVEL_STRIDES, check_levels

SMALL_HW = (96, 160)  # of the image that shows what a network gives; Inception's convolutions want 75 pixels at least


class Adapted(nn.Module):
    """A foreign encoder as a backbone.

    A subclass builds `net` for an output stride (`_build`) and reads its maps (`_maps`). Whatever the library says of
    its networks, `channels` and `strides` are what an image gives: a network that breaks them is refused when built.
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
        """Build the encoder for another stride; weights, device and mode stay."""
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride}")
        net = self._build(output_stride)
        if (old := getattr(self, "net", None)) is not None:
            first = next(old.parameters())
            net.to(first.device, first.dtype).train(old.training)  # before its weights come, or float64 is rounded
            net.load_state_dict(old.state_dict())
        self.net = net
        self.output_stride = output_stride

    def forward(self, images: Tensor) -> list[Tensor]:
        return self._maps(self.net, images)

    def _pick(self, available: dict[str, int]) -> list[int]:
        """Of the levels a network has, each with its index, the indices of those asked for."""
        if missing := [level for level in self.out if level not in available]:
            given = ", ".join(sorted(available)) or "no map at stride 2, 4, 8, 16 or 32"
            raise ValueError(f"{self.library}'s {self.name} has no {', '.join(missing)}: it gives {given}")
        return [available[level] for level in self.out]

    def _made(self, make: Callable[[], nn.Module], task: str) -> nn.Module:
        """What `make` returns. Libraries refuse with errors of all types, some without a text: ValueError for each."""
        try:
            return make()
        except OSError:  # a download that failed says so itself
            raise
        except Exception as error:
            reason = str(error) or f"{type(error).__name__}, {traceback.extract_tb(error.__traceback__)[-1].line}"
            raise ValueError(f"{self.library}'s {self.name} cannot {task}: {reason}") from error

    @torch.no_grad()
    def _checked(self, net: nn.Module, output_stride: int, size_hw: Sequence[int] = SMALL_HW) -> nn.Module:
        """The network, after an image of this size went through it; sets `channels`."""
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
