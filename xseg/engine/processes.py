"""The process group of a run, and warnings that are of no use in it."""

import gc
import warnings
from contextlib import contextmanager

import torch
from mmengine.config import Config
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

NOISE = (  # warnings of torch about code of mmengine 0.10.7, and about pinned memory on a CPU
    r".*GradScaler.*is deprecated",
    r".*autocast.*is deprecated",
    r".*broadcast_buffers.*",
    r"'pin_memory' argument is set as true but no accelerator",
)


@contextmanager
def quiet():
    """Hide the warnings in `NOISE`."""
    with warnings.catch_warnings():
        for message in NOISE:
            warnings.filterwarnings("ignore", message=message)
        yield


@contextmanager
def processes(cfg: Config):
    """Open the process group of a run, and close it after.

    On CUDA mmengine makes the group; on a CPU, where mmengine would need a driver, this does.
    """
    group, on_cpu = torch.distributed, not torch.cuda.is_available()
    ours = cfg.launcher != "none" and not group.is_initialized()
    if cfg.launcher != "none" and on_cpu:
        if ours:
            group.init_process_group("gloo")
        unused = cfg.get("find_unused_parameters", False)
        wrapper = dict(device_ids=None, broadcast_buffers=False, find_unused_parameters=unused)
        cfg.model_wrapper_cfg = dict(type="MMDistributedDataParallel", **wrapper)
    yield  # after an error the group stays open: other ranks may wait in it, and torchrun ends them
    if ours and group.is_initialized():
        group.destroy_process_group()


def unwrap_model(runner: Runner) -> None:
    """Take the model out of DistributedDataParallel, once the runner has done its work.

    The wrapper keeps the process group alive. A thread of gloo that still runs while the interpreter ends can abort
    the process ("terminate called without an active exception").
    """
    if is_model_wrapper(runner.model):
        runner.model = runner.model.module
        gc.collect()  # wrapper and reducer refer to each other
