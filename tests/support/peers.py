"""Other people's programs as judges: their random weights under our names, and where their outputs lie.

`shake` gives a network BatchNorm statistics and weights under which a wrong order, epsilon or ReLU shows.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

SHARED = Path(__file__).resolve().parents[3] / "shared"


def shared(*parts: str) -> Path:
    """A file or folder that lies beside the checkout on our own machines; without it the test says so and skips."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    return path


def shake(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model in float64 and eval mode, with random BatchNorm statistics and scales."""
    generator = torch.Generator().manual_seed(seed)
    model = model.double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight, 0.5, 1.5),
                (module.bias, -0.2, 0.2),
                (module.running_mean, -0.2, 0.2),
                (module.running_var, 0.5, 1.5),
            ):
                tensor.data.uniform_(low, high, generator=generator)
    return model


def rename(state: dict[str, Tensor], *pairs: tuple[str, str]) -> dict[str, Tensor]:
    """The state dict with each `old` of the pairs replaced by `new`, in order, in every key."""
    renamed = {}
    for key, value in state.items():
        for old, new in pairs:
            key = key.replace(old, new)
        renamed[key] = value
    return renamed


def from_timm_aligned(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """timm's xception41/65/71 without classifier -> AlignedXception."""
    state = {key: value for key, value in state.items() if not key.startswith("head.")}
    digits = [(f".stack.conv{k + 1}.", f".convs.{k}.") for k in range(3)]
    halves = [("conv_dw", "depthwise"), ("bn_dw", "depthwise_bn"), ("conv_pw", "pointwise"), ("bn_pw", "pointwise_bn")]
    return rename(state, *digits, *halves)


def from_timm_legacy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """timm's legacy_xception without classifier -> Xception."""
    ours = {}
    stems = {"conv1": "stem.0.conv", "bn1": "stem.0.bn", "conv2": "stem.1.conv", "bn2": "stem.1.bn"}
    tails = {"conv3": "blocks.12.convs.0", "bn3": "blocks.12.convs.0", "conv4": "blocks.12.convs.1"}
    tails["bn4"] = tails["conv4"]
    for key, value in state.items():
        head, *rest = key.split(".")
        if head == "fc":
            continue
        if head in stems:
            ours[".".join((stems[head], *rest))] = value
        elif head in tails:
            ours[f"{tails[head]}.{half(rest, is_bn=head.startswith('bn'))}"] = value
        else:
            block = f"blocks.{int(head.removeprefix('block')) - 1}"
            if rest[0] == "rep":
                reps = sorted({int(k.split(".")[2]) for k in state if k.startswith(f"{head}.rep.")})
                place = reps.index(int(rest[1]))  # separable convolution and BatchNorm take turns
                ours[f"{block}.convs.{place // 2}.{half(rest[2:], is_bn=place % 2 == 1)}"] = value
            else:
                ours[f"{block}.shortcut.{'conv' if rest[0] == 'skip' else 'bn'}.{rest[-1]}"] = value
    return ours


def half(rest: list[str], is_bn: bool) -> str:
    if is_bn:
        return f"bn.{rest[-1]}"
    return "depthwise.weight" if rest[0] == "conv1" else "pointwise.weight"


def reference_weight(name: str, shape: list[int], fan_axes: int) -> np.ndarray:
    """The rule by which the reference programs were filled, see `shared/reference/README.md`."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    leaf = name.rsplit("/", 1)[-1]
    if leaf in ("moving_variance", "gamma"):
        weight = rng.uniform(0.5, 1.5, shape)
    elif leaf in ("moving_mean", "beta", "bias", "biases"):
        weight = 0.1 * rng.standard_normal(shape)
    elif leaf in ("depthwise_weights", "depthwise_kernel"):
        weight = rng.standard_normal(shape) / 3
    else:
        weight = rng.standard_normal(shape) * np.sqrt(1 / np.prod(shape[:fan_axes]))
    return weight.astype(np.float32)


TF_LEAVES = {
    "weights": "weight",
    "biases": "bias",
    "depthwise_weights": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "kernel": "weight",
    "depthwise_kernel": "weight",
    "pointwise_kernel": "weight",
    "bias": "bias",
}


def torch_layout(name: str, weight: np.ndarray) -> Tensor:
    """TensorFlow's HWIO -> OIHW, depthwise [3, 3, C, 1] -> [C, 1, 3, 3], dense [in, out] -> [out, in]."""
    if name.rsplit("/", 1)[-1].startswith("depthwise"):
        return torch.from_numpy(weight.transpose(2, 3, 0, 1).copy())
    if weight.ndim == 4:
        return torch.from_numpy(weight.transpose(3, 2, 0, 1).copy())
    return torch.from_numpy(weight.T.copy() if weight.ndim == 2 else weight)


def tf_deeplab_weights(variables: Path, fan_axes: int = 3) -> dict[str, Tensor]:
    """Name -> tensor in PyTorch's layout, for every variable of the reference program."""
    shapes = json.loads(variables.read_text())
    return {name: torch_layout(name, reference_weight(name, shape, fan_axes)) for name, shape in shapes.items()}


def tf_deeplab_key(name: str, blocks_before: dict[str, int]) -> str:
    """A variable of TensorFlow DeepLab -> the key of our `backbone.` / `head.` parameters.

    `blocks_before` counts the blocks in front of each flow: {"entry_flow": 0, "middle_flow": 3, "exit_flow": 4}; the
    middle flow is one block of many units.
    """
    *path, leaf = name.split("/")
    leaf = TF_LEAVES[leaf]
    bn = path[-1] == "BatchNorm"
    path = path[:-1] if bn else path
    if path[0].startswith("xception"):
        flow, block, *rest = path[1:]
        if block.startswith("conv1_"):
            return f"backbone.stem.{int(block[-1]) - 1}.{'bn' if bn else 'conv'}.{leaf}"
        number = int(block.removeprefix("block")) - 1 + int(rest[0].removeprefix("unit_")) - 1
        number += blocks_before[flow]
        if rest[-1] == "shortcut":
            return f"backbone.blocks.{number}.shortcut.{'bn' if bn else 'conv'}.{leaf}"
        conv, side = rest[-1].removeprefix("separable_conv").split("_")
        return f"backbone.blocks.{number}.convs.{int(conv) - 1}.{side}{'_bn' if bn else ''}.{leaf}"
    if path[0] == "logits":
        return f"head.classifier.{leaf}"
    place, _, side = path[-1].partition("_") if path[-1].startswith("aspp") else path[-1].rpartition("_")
    modules = {
        "image_pooling": "image_pooling",
        "concat_projection": "project",
        "feature_projection0": "low_project",
        "decoder_conv0": "decoder.0",
        "decoder_conv1": "decoder.1",
        **{f"aspp{k}": f"aspp.{k}" for k in range(4)},
    }
    if side in ("depthwise", "pointwise"):
        return f"head.{modules[place]}.{side}{'_bn' if bn else ''}.{leaf}"
    return f"head.{modules[path[-1]]}.{'bn' if bn else 'conv'}.{leaf}"
