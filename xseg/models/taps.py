"""Kernel taps that read only padding, because the maps of the training images are too small for them.

Such a tap gets no gradient and keeps its random initial value. It first acts when a larger image is predicted, and
spoils the result. On CamVid, trained on crops of 257 x 257 at atrous rates 6, 12 and 18, whole images of 480 x 360 gave
41 mIoU, and 66 with the eight outer taps of rate 18 set to zero.
"""

from collections.abc import Collection

import torch
from torch import Tensor, nn


def unseen_taps(model: nn.Module, images: Tensor, samples: list[dict]) -> dict[str, Tensor]:
    """Find the taps of every `nn.Conv2d` that read only padding when the losses of these images are computed.

    Args:
        model: has `forward(images, samples, mode="loss")`; its weights and statistics do not change.
        images: (N, C, H, W), normalised, as in training.

    Returns: name of the convolution -> (kernel_h, kernel_w) bool, True for a tap that read only padding. Convolutions
    that did not run or have no such tap are absent.
    """
    seen: dict[str, Tensor] = {}

    def note(name: str):
        def hook(conv: nn.Conv2d, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            taps = _taps_that_see(conv, inputs[0].shape[-2:], output.shape[-2:])
            seen[name] = seen[name] | taps if name in seen else taps

        return hook

    convs = {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d) and max(m.kernel_size) > 1}
    hooks = [conv.register_forward_hook(note(name)) for name, conv in convs.items()]
    training = model.training
    try:
        with torch.no_grad(), torch.random.fork_rng(), torch.compiler.set_stance("force_eager"):
            model.eval()(images, samples, mode="loss")
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return {name: ~taps for name, taps in seen.items() if not taps.all()}


def mute(model: nn.Module, unseen: dict[str, Tensor], keep: Collection[str] = ()) -> list[str]:
    """Set unseen taps to zero; they stay zero until an image reaches them. Return one log line per convolution.

    Args:
        unseen: what `unseen_taps` returned.
        keep: names of weights that were trained elsewhere; their taps do not change.
    """
    lines = []
    for name, taps in unseen.items():
        conv = model.get_submodule(name)
        if f"{name}.weight" in keep or not conv.weight.requires_grad:
            continue
        with torch.no_grad():
            conv.weight[..., taps.to(conv.weight.device)] = 0
        rate = f" at atrous rate {max(conv.dilation)}" if max(conv.dilation) > 1 else ""
        lines.append(f"{name}{rate}: {int(taps.sum())} of {taps.numel()}")
    return lines


def _taps_that_see(conv: nn.Conv2d, in_hw: tuple[int, int], out_hw: tuple[int, int]) -> Tensor:
    """(kernel_h, kernel_w) bool: whether a tap reads a pixel of the input at some output position."""
    rows, columns = (_seen_along(conv, axis, in_hw[axis], out_hw[axis]) for axis in (0, 1))
    return rows[:, None] & columns


def _seen_along(conv: nn.Conv2d, axis: int, size: int, out: int) -> Tensor:
    kernel, stride, rate = conv.kernel_size[axis], conv.stride[axis], conv.dilation[axis]
    before = _padding_before(conv, axis, size, out)
    reads = torch.arange(kernel)[:, None] * rate + torch.arange(out) * stride - before  # (kernel, out)
    return ((reads >= 0) & (reads < size)).any(1)


def _padding_before(conv: nn.Conv2d, axis: int, size: int, out: int) -> int:
    """Padding on the left or top, in pixels. Layers that pad in their own forward, like TensorFlow's "SAME", do not
    state it; it is derived from the sizes."""
    span, stride = conv.dilation[axis] * (conv.kernel_size[axis] - 1) + 1, conv.stride[axis]
    stated = 0 if isinstance(conv.padding, str) else conv.padding[axis]
    if (size + 2 * stated - span) // stride + 1 == out:
        return stated
    return max((out - 1) * stride + span - size, 0) // 2
