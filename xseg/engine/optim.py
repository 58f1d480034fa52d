"""Mixed precision on CPU and GPU, and parameter groups with DeepLab's rules of weight decay."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

DTYPES = {"bf16": torch.bfloat16, "bfloat16": torch.bfloat16, "fp16": torch.float16, "float16": torch.float16}
NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
FUSED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)  # can update in one pass, on CPU and GPU
OPTIONS = {
    "backbone_lr_mult": 1.0,
    "head_lr_mult": 1.0,
    "decay_depthwise": False,
    "decay_norm": False,
    "decay_bias": False,
}


@OPTIM_WRAPPERS.register_module(name="XsegAmpOptimWrapper")  # "AmpOptimWrapper" is mmengine's, for GPUs only
class AmpOptimWrapper(OptimWrapper):
    """Trains under autocast: bf16 on CPU and GPU, fp16 on GPU with dynamic loss scaling.

    Args:
        dtype: "bf16" (or "bfloat16") or "fp16" (or "float16").
        init_scale: first loss scale of fp16.
        kwargs: as in mmengine's OptimWrapper (optimizer, clip_grad, accumulative_counts).

    Raises ValueError for another dtype, and for fp16 on CPU, where it is slow and overflows.
    """

    def __init__(self, dtype: str = "bf16", init_scale: float = 2.0**16, **kwargs) -> None:
        super().__init__(**kwargs)
        if dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
        self.dtype = DTYPES[dtype]
        self.device_type = self.optimizer.param_groups[0]["params"][0].device.type
        if self.dtype is torch.float16 and self.device_type == "cpu":
            raise ValueError("dtype must be bf16 on CPU, got fp16; write --amp bf16, or train on a GPU")
        scaled = self.dtype is torch.float16
        self.loss_scaler = torch.amp.GradScaler(self.device_type, init_scale=init_scale) if scaled else None

    def backward(self, loss: torch.Tensor, **kwargs) -> None:
        if self.loss_scaler is not None:
            loss = self.loss_scaler.scale(loss)
        super().backward(loss, **kwargs)

    def step(self, **kwargs) -> None:
        if self.loss_scaler is None:
            super().step(**kwargs)
            return
        if self.clip_grad_kwargs:
            self.loss_scaler.unscale_(self.optimizer)
            self._clip_grad()
        self.loss_scaler.step(self.optimizer, **kwargs)  # does nothing if a gradient overflowed
        self.loss_scaler.update()

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast(self.device_type, dtype=self.dtype):
            yield

    def state_dict(self) -> dict:
        state = super().state_dict()
        if self.loss_scaler is not None:
            state["loss_scaler"] = self.loss_scaler.state_dict()
        return state

    def load_state_dict(self, state_dict: dict) -> None:
        state_dict = dict(state_dict)
        scale = state_dict.pop("loss_scaler", None)
        if scale and self.loss_scaler is not None:
            self.loss_scaler.load_state_dict(scale)
        super().load_state_dict(state_dict)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class ParamGroups:
    """Builds the optimizer with at most four parameter groups: backbone or head, with or without weight decay.

    Every parameter that requires a gradient is in exactly one group; frozen ones are in none. By default depthwise
    kernels, norms and biases have no weight decay, as in the released DeepLab (the arg scopes of slim regularise full
    convolutions only). mmengine makes one group per tensor, which costs time in every step. Optimizers in `FUSED`
    update all weights in one pass, unless their config says `fused=False`.

    Args:
        optim_wrapper_cfg: config of the wrapper, with `optimizer`.
        paramwise_cfg: `backbone_lr_mult=1.0`, `head_lr_mult=1.0` (of all parameters outside `backbone`),
            `decay_depthwise=False`, `decay_norm=False`, `decay_bias=False` (biases, other vectors, and scalars).
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        self.wrapper = dict(optim_wrapper_cfg)
        self.optimizer = dict(self.wrapper.pop("optimizer"))
        unknown = sorted(set(paramwise_cfg or {}) - set(OPTIONS))
        if unknown:
            raise ValueError(f"paramwise_cfg of ParamGroups must hold only {', '.join(OPTIONS)}; got {unknown}")
        self.options = OPTIONS | dict(paramwise_cfg or {})

    def __call__(self, model: nn.Module) -> OptimWrapper:
        model = getattr(model, "module", model)  # DistributedDataParallel
        kind = self.optimizer["type"]
        if isinstance(kind, str):
            kind = OPTIMIZERS.get(kind)
        first = next(iter(inspect.signature(kind).parameters))  # "params"
        if kind in FUSED and not {"foreach", "differentiable"} & self.optimizer.keys():
            self.optimizer.setdefault("fused", True)
        optimizer = OPTIMIZERS.build({**self.optimizer, first: self.groups(model)})
        wrapper = {"type": OptimWrapper, **self.wrapper}
        return OPTIM_WRAPPERS.build(wrapper, default_args=dict(optimizer=optimizer))

    def groups(self, model: nn.Module) -> list[dict]:
        """Parameter groups by the names "backbone", "backbone, no decay", "head", "head, no decay"; none is empty."""
        groups: dict[str, dict] = {}
        for part, decays, param in self._rules(model):
            name = part if decays else f"{part}, no decay"
            group = groups.setdefault(name, dict(params=[], name=name))
            group["params"].append(param)
            if not decays:
                group["weight_decay"] = 0.0
            if self.options[f"{part}_lr_mult"] != 1:
                group["lr"] = self.optimizer["lr"] * self.options[f"{part}_lr_mult"]
        if not groups:
            raise ValueError("model must have a parameter with requires_grad, but all are frozen")
        sizes = "; ".join(f"{name} {sum(p.numel() for p in g['params']):,}" for name, g in groups.items())
        print_log(f"Trained parameters: {sizes}", logger="current")
        return list(groups.values())

    def _rules(self, model: nn.Module) -> Iterator[tuple[str, bool, nn.Parameter]]:
        """(part, decays, parameter) of every trained parameter; a shared one counts at its first place."""
        seen: set[int] = set()
        for path, module in model.named_modules():
            part = "backbone" if path.split(".")[0] == "backbone" else "head"
            for name, param in module.named_parameters(recurse=False):
                if param.requires_grad and id(param) not in seen:
                    seen.add(id(param))
                    yield part, self._decays(module, name, param), param

    def _decays(self, module: nn.Module, name: str, param: nn.Parameter) -> bool:
        if isinstance(module, NORMS):
            return self.options["decay_norm"]
        if name == "bias" or param.ndim <= 1:
            return self.options["decay_bias"]
        if isinstance(module, _ConvNd) and module.groups == module.in_channels > 1:
            return self.options["decay_depthwise"]
        return True
