"""Feature pyramid over any levels of a backbone, including levels of equal stride from a dilated backbone.

Paper: Lin et al. 2017 (arXiv:1612.03144). P6 and P7 as in RetinaNet (arXiv:1708.02002), or by subsampling.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

MOST_LEVELS = 12  # from stride 4 to stride 8192


class FPN(nn.Module):
    """Maps of `channels` channels with strides `strides`: each distinct input stride once, then doubling.

    Shapes: features (N, in_channels[i], h_i, w_i), shallow to deep -> list of (N, channels, h, w).
    Levels of equal stride (C4 and C5 at output stride 16) are added and give one map.

    Args:
        in_channels, in_strides: of the features.
        num_levels: number of maps to return.
        extra: source of the maps beyond the deepest level: "p" for convolutions of stride 2 on the last map, "c" for
            the same on the backbone's deepest level, "pool" for every second pixel of the last map.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[int],
        channels: int = 256,
        num_levels: int = 5,
        extra: str = "p",
    ):
        super().__init__()
        if extra not in ("p", "c", "pool"):
            raise ValueError(f"extra must be 'p', 'c' or 'pool', got {extra!r}")
        if list(in_strides) != sorted(in_strides):
            raise ValueError(f"in_strides must rise from shallow to deep, got {tuple(in_strides)}")
        own = list(dict.fromkeys(in_strides))  # each once
        if num_levels < len(own):
            raise ValueError(
                f"num_levels must be at least {len(own)} for the backbone's strides {own}, got {num_levels}"
            )
        if num_levels > MOST_LEVELS:
            raise ValueError(f"num_levels must be at most {MOST_LEVELS}, got {num_levels}")
        self.in_strides = tuple(in_strides)
        self.strides = tuple(own + [own[-1] * 2**k for k in range(1, num_levels - len(own) + 1)])
        self.channels, self.extra = channels, extra
        self.lateral = nn.ModuleList(nn.Conv2d(count, channels, 1) for count in in_channels)
        self.output = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in own)
        count = 0 if extra == "pool" else num_levels - len(own)
        first = in_channels[-1] if extra == "c" else channels
        self.down = nn.ModuleList(
            nn.Conv2d(channels if k else first, channels, 3, stride=2, padding=1) for k in range(count)
        )
        for conv in self.modules():
            if isinstance(conv, nn.Conv2d):
                nn.init.kaiming_uniform_(conv.weight, a=1)
                nn.init.zeros_(conv.bias)

    def set_strides(self, in_strides: Sequence[int]) -> None:
        if tuple(in_strides) != self.in_strides:
            raise ValueError(
                f"this pyramid was built for strides {self.in_strides}, got {tuple(in_strides)}: "
                "build a new model with that output stride"
            )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        merged: list[Tensor] = []  # deep to shallow, one per stride
        last_stride = None
        for conv, feature, stride in zip(self.lateral[::-1], features[::-1], self.in_strides[::-1], strict=True):
            x = conv(feature)
            if merged:
                x = x + F.interpolate(merged[-1], x.shape[-2:], mode="nearest")
            if stride == last_stride:
                merged[-1] = x
            else:
                merged.append(x)
            last_stride = stride
        maps = [conv(x) for conv, x in zip(self.output, merged[::-1], strict=True)]
        for index in range(len(self.strides) - len(maps)):
            if self.extra == "pool":
                maps.append(maps[-1][..., ::2, ::2])
            else:
                source = F.relu(maps[-1]) if index else features[-1] if self.extra == "c" else maps[-1]
                maps.append(self.down[index](source))
        return maps
