"""Our backbones as encoders of segmentation-models-pytorch. Importing this module registers them.

Example: `import xseg.models.smp_encoders; smp.Unet("xseg-xception65", encoder_weights=None)`. Their features are the
image and C1..C5. Unlike smp's own Xception, they can be dilated.
"""

from functools import partial

from segmentation_models_pytorch.encoders import encoders
from torch import Tensor, nn

from backbones import AlignedXception, Xception
from backbones.contract import LEVELS


class SmpEncoder(nn.Module):
    """One of our backbones with the methods and attributes that smp's models need from an encoder."""

    def __init__(self, trunk: type[nn.Module], depth: int = 5, output_stride: int = 32, **options):
        super().__init__()
        if not 1 <= depth <= 5:
            raise ValueError(f"encoder_depth must be 1 to 5, got {depth}")
        self._make = partial(trunk, out=LEVELS[:depth], **options)
        self._depth = depth
        self._use(self._make(), 3)

    def _use(self, trunk: nn.Module, in_channels: int) -> None:
        self.trunk = trunk
        self.out_channels = [in_channels, *trunk.channels]

    @property
    def output_stride(self) -> int:
        return min(self.trunk.output_stride, 2**self._depth)

    def set_in_channels(self, in_channels: int, pretrained: bool = False) -> None:
        if in_channels != 3:
            self._use(self._make(in_channels=in_channels), in_channels)

    def make_dilated(self, output_stride: int) -> None:
        self.trunk.set_output_stride(output_stride)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [images, *self.trunk(images)]


TRUNKS = {
    "xseg-xception": Xception,
    **{f"xseg-xception{depth}": partial(AlignedXception, depth) for depth in (41, 65, 71)},
}
for _name, _trunk in TRUNKS.items():
    encoders[_name] = {"encoder": partial(SmpEncoder, _trunk), "pretrained_settings": {}, "params": {}}
