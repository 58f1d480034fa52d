"""How long a training step of a config takes on this machine, and whether bf16 is faster."""

from __future__ import annotations

import copy
import time
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS

from xseg.data import collate
from xseg.engine.registry import resolve

WARM, TIMED = 1, 3


class Pace(NamedTuple):
    """Seconds on this machine."""

    step: float  # a training step with its data
    image: float  # to predict one validation image
    dtype: str  # "fp32", "bf16" or "fp16": the fastest


def pace(cfg: Config) -> Pace:
    """Train a few steps of a fresh model on real batches, and predict one image; nothing is kept."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cfg = copy.deepcopy(cfg)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MODELS.build(cfg.model).to(device).train()
        data = DATASETS.build(cfg.train_dataloader.dataset)
        size = cfg.train_dataloader.batch_size
        start = time.perf_counter()
        samples = [data[index % len(data)] for index in range(size)]
        reading = time.perf_counter() - start
        batch = model.data_preprocessor(collate(samples), training=True)
        settings = dict(cfg.optim_wrapper.optimizer)
        optimizer = resolve(settings.pop("type"))(model.parameters(), **settings)
        seconds = {name: _step(model, batch, optimizer, device, dtype) for name, dtype in _dtypes(device).items()}
        fastest = min(seconds, key=seconds.get)
        return Pace(seconds[fastest] + _waiting(reading, seconds[fastest], cfg), _image(model, cfg), fastest)


def _dtypes(device: torch.device) -> dict[str, torch.dtype]:
    """fp32, and bf16 where the machine has instructions for it."""
    if device.type == "cuda":
        return {"bf16": torch.bfloat16}
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return {"fp32": torch.float32} | ({"bf16": torch.bfloat16} if known() else {})


def _step(model, batch: dict, optimizer, device: torch.device, dtype: torch.dtype) -> float:
    for number in range(WARM + TIMED):
        if number == WARM:
            start = _now(device)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            losses = model(**batch, mode="loss")
            total = sum(value for name, value in losses.items() if "loss" in name)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    return (_now(device) - start) / TIMED


def _waiting(reading: float, step: float, cfg: Config) -> float:
    """Seconds a step waits for its batch: the loader works beside the training, on a CPU with the same cores."""
    workers = max(1, cfg.train_dataloader.get("num_workers", 0))
    if torch.cuda.is_available():
        return max(0.0, reading / workers - step)
    return reading / max(2, torch.get_num_threads())


def _image(model, cfg: Config) -> float:
    data = DATASETS.build(cfg.val_dataloader.dataset)
    times = []
    for index in (0, len(data) // 2, len(data) - 1):  # the first one warms up
        start = time.perf_counter()
        batch = model.data_preprocessor(collate([data[index]]), training=False)
        with torch.inference_mode():
            model.eval()(**batch, mode="predict")
        times.append(time.perf_counter() - start)
    return sum(times[1:]) / 2


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
