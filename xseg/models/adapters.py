"""Other libraries' encoders and decoders under our contracts, and our backbones under torchvision's."""

from __future__ import annotations

import difflib
import traceback
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torchvision.models import inception
from torchvision.ops import FeaturePyramidNetwork

from backbones.contract import LEVEL_STRIDES, LEVELS, check_levels

SMALL_HW = (96, 160)  # of the image that shows what a network gives; Inception's convolutions want 75 pixels at least


class _Adapted(nn.Module):
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


class TimmBackbone(_Adapted):
    """A timm model with `features_only` as a backbone: any whose maps lie at strides 2, 4, 8, 16 or 32.

    Where a network has several maps of one stride, as a plain vision transformer has, its level is the deepest.

    Args:
        name: as in `timm.list_models()`, with a tag for its weights: "resnet101.a1h_in1k".
        pretrained: download those weights from the Hugging Face Hub.
        options: handed to `timm.create_model`.

    Raises:
        ValueError: timm has no such model, or the model lacks a level of `out`, cannot be dilated to `output_stride`,
            or gives maps that are not at H / stride.
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
        self.pretrained = False  # from now on set_output_stride carries the weights over

    def _build(self, output_stride: int) -> nn.Module:
        import timm

        if not timm.is_model(self.name.split(".")[0]):
            close = ", ".join(timm.list_models(f"*{self.name.split('.')[0][:6]}*")[:8])
            raise ValueError(f"timm has no model {self.name!r}" + (f"; near it: {close}" if close else ""))
        create = partial(timm.create_model, self.name, features_only=True, **self.options)
        rows = self._made(create, "be a backbone").feature_info.info  # of all its maps, whichever it gives by default
        by_stride = {stride: level for level, stride in LEVEL_STRIDES.items()}
        levels = {by_stride.get(row["reduction"]): i for i, row in enumerate(rows) if row["module"]}
        levels.pop(None, None)
        create = partial(create, out_indices=self._pick(levels), pretrained=self.pretrained)
        task = "be a backbone"
        if LEVEL_STRIDES[self.out[-1]] > output_stride:  # else no level asked for is to be dilated
            task = f"be dilated to output stride {output_stride}"
            create = partial(create, output_stride=output_stride)
        net = self._made(create, task)
        return self._checked(net, output_stride, self._size_hw(net))

    def _size_hw(self, net: nn.Module) -> Sequence[int]:
        """Of an image that the network takes: some transformers are built for one size."""
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


class InceptionV3(nn.Module):
    """torchvision's Inception V3 without auxiliary tower, the peer in Xception's paper, as a backbone of one level.

    Shapes: (N, 3, H, W) -> [(N, channels[0], h, w)] with 2048 channels at width 1; nothing in it is padded to keep a
    stride, 299 gives 8, 107 gives 2, and 75 pixels are the least it takes.

    Args:
        width: factor on every channel count, in sixteenths so that all of them stay whole numbers.

    Paper: Szegedy et al. 2015, "Rethinking the Inception Architecture for Computer Vision" (arXiv:1512.00567).
    """

    out, strides, output_stride = ("c5",), (32,), 32

    def __init__(self, width: float = 1.0, output_stride: int = 32):
        super().__init__()
        if width <= 0 or width * 16 != round(width * 16):
            raise ValueError(f"width must be a multiple of 1/16 above 0, got {width}")
        self.set_output_stride(output_stride)
        self.channels = (round(2048 * width),)
        conv = partial(_narrow_conv, width)
        blocks = [conv, *(partial(block, conv_block=conv) for block in _INCEPTION_BLOCKS), inception.InceptionAux]
        net = inception.Inception3(aux_logits=False, inception_blocks=blocks, init_weights=True)
        parts = [(name, part) for name, part in net.named_children() if name not in ("avgpool", "dropout", "fc")]
        self.net = nn.Sequential(OrderedDict(parts))

    def set_output_stride(self, output_stride: int) -> None:
        """It cannot be dilated."""
        if output_stride != 32:
            raise ValueError(f"InceptionV3 has output stride 32 only, got {output_stride}")

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.net(images)]


_INCEPTION_BLOCKS = (
    inception.InceptionA,
    inception.InceptionB,
    inception.InceptionC,
    inception.InceptionD,
    inception.InceptionE,
)


def _narrow_conv(width: float, in_channels: int, out_channels: int, **options) -> nn.Module:
    """torchvision's convolution with BatchNorm and ReLU; the image's three channels stay."""
    ins = in_channels if in_channels == 3 else round(in_channels * width)
    return inception.BasicConv2d(ins, round(out_channels * width), **options)


class SmpBackbone(_Adapted):
    """An encoder of segmentation-models-pytorch as a backbone.

    Args:
        name: as in `smp.encoders.get_encoder_names()`.
        weights: name of pretrained weights to download, as "imagenet".

    Raises:
        ValueError: smp has no such encoder, or it lacks a level of `out`, cannot be dilated to `output_stride`, or
            gives maps that are not at H / stride.
    """

    library = "smp"

    def __init__(
        self,
        name: str,
        output_stride: int = 32,
        out: Sequence[str] = ("c2", "c5"),
        weights: str | None = None,
        in_channels: int = 3,
    ):
        self.name, self.weights = name, weights
        super().__init__(out, output_stride, in_channels)
        self.weights = None  # from now on set_output_stride carries the weights over

    def _build(self, output_stride: int) -> nn.Module:
        from segmentation_models_pytorch.encoders import encoders, get_encoder

        if self.name not in encoders and not self.name.startswith(("tu-", "timm-")):
            close = ", ".join(difflib.get_close_matches(self.name, encoders, n=8))
            raise ValueError(f"smp has no encoder {self.name!r}" + (f"; near it: {close}" if close else ""))
        create = partial(get_encoder, self.name, self.in_channels, 5, self.weights, output_stride)
        net = self._made(
            create, "be a backbone" if output_stride == 32 else f"be dilated to output stride {output_stride}"
        )
        channels = net.out_channels[1:]  # the first are the image's; 0 stands for a level that it lacks
        self.picked = self._pick({level: i for i, (level, c) in enumerate(zip(LEVELS, channels, strict=True)) if c})
        return self._checked(net, output_stride)

    def _maps(self, net: nn.Module, images: Tensor) -> list[Tensor]:
        maps = net(images)[1:]
        return [maps[index] for index in self.picked]


DOUBLING = ("UnetPlusPlus", "MAnet", "Linknet", "FPN")  # smp's decoders in which every level has twice the last size
FIXED_RATES = ("DeepLabV3", "DeepLabV3Plus", "PAN")  # and those with rates or sizes of one output stride


class SmpDecoder(nn.Module):
    """A decoder of segmentation-models-pytorch as a head: "Unet", "UnetPlusPlus", "FPN", "PAN", "UPerNet", "MAnet", …

    The backbone must give all five levels, `out=("c1", "c2", "c3", "c4", "c5")`, as these decoders skip none. Decoders
    in `DOUBLING` need output stride 32; those in `FIXED_RATES` keep the output stride that they are built for.

    Shapes: features (N, in_channels[i], H / in_strides[i], W / in_strides[i]) -> logits (N, num_classes, H, W).

    Args:
        name: a model class of smp, of which the decoder and the last layer are used.
        options: of that class, as `decoder_channels=(256, 128, 64, 32, 16)`.
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
        """ValueError for strides at which this decoder does not work; nothing else depends on them."""
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
        image = features[0].new_empty((n, 0, 2 * h, 2 * w))  # decoders ask its size only
        return self.segmentation_head(self.decoder([image, *features]))


class _Levels(nn.Module):
    """What an smp model asks of its encoder while it builds a decoder."""

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


class TorchvisionBackbone(nn.Module):
    """A backbone under a feature pyramid, as the models of `torchvision.models.detection` want it.

    Args:
        backbone: by our contract, as `AlignedXception(65, out=("c2", "c3", "c4", "c5"))`.
        out_channels: of every level of the pyramid.
        extra_blocks: torchvision's LastLevelMaxPool or LastLevelP6P7.
    """

    def __init__(self, backbone: nn.Module, out_channels: int = 256, extra_blocks: nn.Module | None = None):
        super().__init__()
        self.backbone = backbone
        self.fpn = FeaturePyramidNetwork(list(backbone.channels), out_channels, extra_blocks)
        self.out_channels = out_channels

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        return self.fpn(OrderedDict((str(i), m) for i, m in enumerate(self.backbone(images))))
