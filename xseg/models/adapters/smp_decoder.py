"""Decoders of segmentation-models-pytorch as heads."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

DOUBLING = ("UnetPlusPlus", "MAnet", "Linknet", "FPN")  # decoders whose every level doubles the size
FIXED_RATES = ("DeepLabV3", "DeepLabV3Plus", "PAN")  # decoders with rates or sizes for one output stride


class SmpDecoder(nn.Module):
    """A decoder of segmentation-models-pytorch as a head: "Unet", "UnetPlusPlus", "FPN", "PAN", "UPerNet", "MAnet", …

    The backbone must return all five levels, `out=("c1", "c2", "c3", "c4", "c5")`. Decoders in `DOUBLING` need output
    stride 32. Decoders in `FIXED_RATES` keep the output stride that they are built for.

    Shapes: features (N, in_channels[i], H / in_strides[i], W / in_strides[i]) -> logits (N, num_classes, H, W).

    Args:
        name: a model class of smp; its decoder and last layer are used.
        num_classes, in_channels, in_strides: classes, and channels and strides of the five maps.
        options: arguments of that class, such as `decoder_channels=(256, 128, 64, 32, 16)`.
    """

    align_corners = False

    def __init__(self, name: str, num_classes: int, in_channels: Sequence[int], in_strides: Sequence[int], **options):
        super().__init__()
        if len(in_channels) != 5:
            raise ValueError(
                f"SmpDecoder needs five levels, got {len(in_channels)}: set the backbone's out=('c1', …, 'c5')"
            )
        self.name, self.num_classes, self.output_stride = name, num_classes, in_strides[-1]
        self.set_strides(in_strides)
        model = _smp_model(name, tuple(in_channels), num_classes, in_strides[-1], options)
        self.decoder, self.segmentation_head = model.decoder, model.segmentation_head

    def set_strides(self, in_strides: Sequence[int]) -> None:
        """Raise ValueError for strides that this decoder does not support; nothing else depends on the strides."""
        if self.name in DOUBLING and list(in_strides) != [2, 4, 8, 16, 32]:
            raise ValueError(
                f"smp's {self.name} doubles the size from level to level, so it needs output stride 32, "
                f"got strides {tuple(in_strides)}"
            )
        if self.name in FIXED_RATES and in_strides[-1] != self.output_stride:
            raise ValueError(
                f"smp's {self.name} was built for output stride {self.output_stride}, not {in_strides[-1]}: "
                "build the model anew with that one"
            )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        n, _, h, w = features[0].shape
        image = features[0].new_empty((n, 0, 2 * h, 2 * w))  # decoders read its size only
        return self.segmentation_head(self.decoder([image, *features]))


class _Levels(nn.Module):
    """A stand-in for the encoder, with what an smp model reads of it while it builds a decoder."""

    def __init__(self, channels: tuple[int, ...], output_stride: int):
        super().__init__()
        self.out_channels, self.output_stride = [3, *channels], output_stride

    def set_in_channels(self, in_channels: int, pretrained: bool) -> None: ...

    def make_dilated(self, output_stride: int) -> None: ...


def _smp_model(name: str, channels: tuple[int, ...], num_classes: int, output_stride: int, options: dict) -> nn.Module:
    import segmentation_models_pytorch as smp
    from segmentation_models_pytorch.encoders import encoders

    models = {m.__name__: m for m in smp.MODEL_ARCHITECTURES_MAPPING.values()}
    if name not in models:
        raise ValueError(f"name must be one of {', '.join(sorted(models))}, got {name!r}")
    if name in ("PAN", "DeepLabV3", "DeepLabV3Plus"):
        options = {"encoder_output_stride": output_stride, **options}
    stand_in = "xseg-levels"
    encoders[stand_in] = {"encoder": lambda **_: _Levels(channels, output_stride), "params": {}}
    try:
        return models[name](encoder_name=stand_in, encoder_weights=None, classes=num_classes, **options)
    finally:
        del encoders[stand_in]
