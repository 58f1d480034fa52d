"""The simplified Inception module from which Xception is derived.

Paper: Chollet 2017 (arXiv:1610.02357). Fig. 2: towers. Fig. 3: the same function as one 1x1 convolution, then a 3x3
convolution of segments of its channels. Fig. 4: one segment per channel. Fig. 3 and 4 are
`PlainSeparableConv(order="pointwise_first")`.
"""

import torch
from torch import Tensor, nn

from backbones.xception import PlainSeparableConv


class InceptionTowers(nn.Module):
    """Parallel towers of a 1x1 and a 3x3 convolution; their outputs are concatenated, then BatchNorm (Fig. 2).

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H, W); each tower has out_channels / num_towers outputs.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_towers: int = 3,
        bn_eps: float = 1e-3,
        bn_momentum: float = 0.1,
    ):
        super().__init__()
        if num_towers < 1 or out_channels % num_towers:
            raise ValueError(f"num_towers must divide out_channels ({out_channels}), got {num_towers}")
        channels = out_channels // num_towers
        self.towers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, bias=False), nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            )
            for _ in range(num_towers)
        )
        self.bn = nn.BatchNorm2d(out_channels, eps=bn_eps, momentum=bn_momentum)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(torch.cat([tower(x) for tower in self.towers], 1))

    def merged(self) -> PlainSeparableConv:
        """The same function and weights as one 1x1 convolution, then a 3x3 convolution of segments (Fig. 3)."""
        first, second = (torch.cat([tower[place].weight for tower in self.towers]) for place in (0, 1))
        segments = None if second.shape[1] == 1 else len(self.towers)
        in_channels, out_channels = first.shape[1], len(second)
        net = PlainSeparableConv(in_channels, out_channels, order="pointwise_first", segments=segments)
        net.bn = nn.BatchNorm2d(out_channels, self.bn.eps, self.bn.momentum)
        state = {f"bn.{name}": value for name, value in self.bn.state_dict().items()}
        net.to(first).load_state_dict({**state, "pointwise.weight": first, "depthwise.weight": second})
        return net.train(self.training)
