"""The process group of a run, and the warnings that mmengine causes in it."""

import warnings
from contextlib import contextmanager

import torch
from mmengine.config import Config

NOISE = (  # warnings that mmengine 0.10.7 causes in today's torch, and that pinned memory has no use on a CPU
    r".*GradScaler.*is deprecated",
    r".*autocast.*is deprecated",
    r".*broadcast_buffers.*",
    r"'pin_memory' argument is set as true but no accelerator",
)


@contextmanager
def quiet():
    with warnings.catch_warnings():
        for message in NOISE:
            warnings.filterwarnings("ignore", message=message)
        yield


@contextmanager
def processes(cfg: Config):
    """The process group, for the time of the run. mmengine makes it on CUDA; its way on CPU asks for a driver."""
    group, on_cpu = torch.distributed, not torch.cuda.is_available()
    ours = cfg.launcher != "none" and not group.is_initialized()
    if cfg.launcher != "none" and on_cpu:
        if ours:
            group.init_process_group("gloo")
        unused = cfg.get("find_unused_parameters", False)
        wrapper = dict(device_ids=None, broadcast_buffers=False, find_unused_parameters=unused)
        cfg.model_wrapper_cfg = dict(type="MMDistributedDataParallel", **wrapper)
    yield  # not closed after an error: the other ranks may be waiting inside, and torchrun ends them
    if ours and group.is_initialized():
        group.destroy_process_group()
