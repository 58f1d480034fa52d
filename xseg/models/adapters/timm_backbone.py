"""timm's networks as backbones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from backbones.contract import LEVEL_STRIDES
from xseg.models.adapters.adapted import SMALL_HW, Adapted


class TimmBackbone(Adapted):
    """A timm model with `features_only` as a backbone. Its maps must have strides 2, 4, 8, 16 or 32.

    If a network has several maps of one stride, the deepest is used. A plain vision transformer has one stride alone:
    `ViTBackbone` puts a pyramid on it.

    Args:
        name: a name of `timm.list_models()`, optionally with the tag of its weights: "resnet101.a1h_in1k".
        output_stride: largest stride of the maps; 8 and 16 dilate the network.
        out: levels to return, from shallow to deep.
        pretrained: download the weights from the Hugging Face Hub.
        in_channels: channels of the images.
        options: further arguments of `timm.create_model`.

    Raises:
        ValueError: timm has no such model, or the model lacks a level of `out`, cannot be dilated to `output_stride`,
            or returns maps of other sizes than H / stride.
    """

    library = "timm"

    def __init__(
        self,
        name: str,
        output_stride: int = 32,
        out: Sequence[str] = ("c2", "c5"),
        pretrained: bool = False,
        in_channels: int = 3,
        **options,
    ):
        self.name, self.pretrained = name, pretrained
        self.options = {"in_chans": in_channels, **options}
        super().__init__(out, output_stride, in_channels)
        self.pretrained = False  # a later set_output_stride keeps the weights it has

    def _build(self, output_stride: int) -> nn.Module:
        import timm

        check_name(self.name)
        create = partial(timm.create_model, self.name, features_only=True, **self.options)
        rows = self._made(create, "be a backbone").feature_info.info  # all maps, not only the default ones
        by_stride = {stride: level for level, stride in LEVEL_STRIDES.items()}
        levels = {by_stride.get(row["reduction"]): i for i, row in enumerate(rows) if row["module"]}
        levels.pop(None, None)
        if len(levels) == 1 and not levels.keys() >= {*self.out}:
            raise ValueError(
                f"timm's {self.name} has maps of one stride alone, as {next(iter(levels))}; if it is a plain vision "
                f"transformer, ViTBackbone (--backbone vit:{self.name}) puts a pyramid on them"
            )
        create = partial(create, out_indices=self._pick(levels), pretrained=self.pretrained)
        task = "be a backbone"
        if LEVEL_STRIDES[self.out[-1]] > output_stride:  # otherwise no level of `out` needs dilation
            task = f"be dilated to output stride {output_stride}"
            create = partial(create, output_stride=output_stride)
        net = self._made(create, task)
        return self._checked(net, output_stride, self._size_hw(net))

    def _size_hw(self, net: nn.Module) -> Sequence[int]:
        """A size that the network accepts; some transformers are built for one size."""
        size = self.options.get("img_size")
        if size is not None:
            return (size, size) if isinstance(size, int) else size
        config = net.pretrained_cfg
        return config["input_size"][1:] if config.get("fixed_input_size") else SMALL_HW

    def _maps(self, net: nn.Module, images: Tensor) -> list[Tensor]:
        maps = net(images)
        if getattr(net, "output_fmt", "NCHW") == "NHWC":
            return [m.permute(0, 3, 1, 2).contiguous() for m in maps]
        return maps


def check_name(name: str) -> None:
    """ValueError if timm has no model of this name, a tag apart."""
    import timm

    bare = name.split(".")[0]
    if not timm.is_model(bare):
        close = ", ".join(timm.list_models(f"*{bare[:6]}*")[:8])
        raise ValueError(f"timm has no model {name!r}" + (f"; near it: {close}" if close else ""))
