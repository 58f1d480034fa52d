"""Additions to mmengine: samplers, loop, checkpoints, hooks, optimizer wrapper. Importing this registers them all."""

from .best import BestCheckpointHook
from .checkpoint import (
    checksum,
    find_resumable,
    latest_checkpoints,
    load_strict,
    read_checkpoint,
)
from .curves import Curves
from .deadline import DeadlineHook
from .hooks import BroadcastBuffersHook, ProfileHook, StepSeedHook, StopOnNanHook, StopOnSignalHook, ThroughputHook
from .loops import TrainLoop
from .memory import free_memory, keep_freed_memory
from .optim import AmpOptimWrapper, ParamGroups
from .sampler import EvalSampler, TrainSampler, repeat_factors
from .saving import AtomicBackend, PlainCheckpointHook, plain_model_config
from .threads import Threads, ThreadsHook, are_fixed, may_choose, set_threads

__all__ = [
    "AmpOptimWrapper",
    "AtomicBackend",
    "BestCheckpointHook",
    "BroadcastBuffersHook",
    "Curves",
    "DeadlineHook",
    "EvalSampler",
    "ParamGroups",
    "PlainCheckpointHook",
    "ProfileHook",
    "StepSeedHook",
    "StopOnNanHook",
    "StopOnSignalHook",
    "Threads",
    "ThreadsHook",
    "ThroughputHook",
    "TrainLoop",
    "TrainSampler",
    "are_fixed",
    "checksum",
    "find_resumable",
    "free_memory",
    "keep_freed_memory",
    "latest_checkpoints",
    "load_strict",
    "may_choose",
    "plain_model_config",
    "read_checkpoint",
    "repeat_factors",
    "set_threads",
]
