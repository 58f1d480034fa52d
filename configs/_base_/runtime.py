"""Hooks, logs and processes of every training; `xseg train` adds no others in code."""

from mmengine.hooks import (
    DistSamplerSeedHook,
    IterTimerHook,
    LoggerHook,
    ParamSchedulerHook,
    RuntimeInfoHook,
)
from mmengine.runner import LogProcessor
from mmengine.visualization import LocalVisBackend, TensorboardVisBackend

from xseg.engine import (
    BestCheckpointHook,
    BroadcastBuffersHook,
    Curves,
    PlainCheckpointHook,
    StepSeedHook,
    StopOnNanHook,
    StopOnSignalHook,
    ThreadsHook,
    ThroughputHook,
)

default_hooks = dict(
    runtime_info=dict(type=RuntimeInfoHook),
    timer=dict(type=IterTimerHook),
    sampler_seed=dict(type=DistSamplerSeedHook),
    logger=dict(type=LoggerHook, interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type=ParamSchedulerHook),
    checkpoint=dict(
        type=BestCheckpointHook,
        by_epoch=False,
        interval=1000,
        max_keep_ckpts=2,
        backend_args=dict(backend="atomic"),
    ),
)
custom_hooks = [
    dict(type=StepSeedHook),
    dict(type=StopOnNanHook),
    dict(type=BroadcastBuffersHook),
    dict(type=ThroughputHook),
    dict(type=PlainCheckpointHook),
    dict(type=StopOnSignalHook),
    dict(type=ThreadsHook),
]
log_processor = dict(type=LogProcessor, by_epoch=False, window_size=50)
log_level = "INFO"
visualizer = dict(type=Curves, vis_backends=[dict(type=LocalVisBackend), dict(type=TensorboardVisBackend)])
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),  # loaders run in parallel workers, not in opencv threads
    dist_cfg=dict(backend="nccl"),  # becomes gloo without CUDA
)
randomness = dict(seed=0)
default_scope = "mmengine"
