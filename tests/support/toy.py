"""A toy model, data set and config that train in milliseconds; run as a program, one training that tests can kill."""

import argparse
import os
import signal
from pathlib import Path
from typing import ClassVar

import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, FUNCTIONS, HOOKS, METRICS, MODELS
from torch import nn
from torch.utils.data import Dataset

from xseg.data.draw import Draw
from xseg.run.train import train


@DATASETS.register_module(force=True)
class ToyData(Dataset):
    """Random images; the augmentation is noise from the seed of the draw. `asked` records the requested keys."""

    metainfo: ClassVar[dict] = dict(classes=("a", "b"), palette=[(0, 0, 0), (1, 2, 3)])

    def __init__(self, size: int = 7) -> None:
        self.size = size
        self.asked: list = []

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key) -> dict:
        self.asked.append(key)
        index, seed = key if isinstance(key, Draw) else (key, 0)
        image = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(index))
        image += torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(seed))
        return dict(image=image, index=index)


@FUNCTIONS.register_module(force=True)
def toy_collate(samples: list[dict]) -> dict:
    return dict(images=[s["image"] for s in samples], samples=[dict(index=s["index"]) for s in samples])


class ToyBackbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(3, 3, 3, groups=3, padding=1)
        self.pointwise = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        return self.norm(self.pointwise(self.depthwise(x)))


@MODELS.register_module(force=True)
class ToyModel(BaseModel):
    def __init__(self, classes: int = 2, spoil_at: float = float("inf")) -> None:
        super().__init__()
        self.backbone = ToyBackbone()
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Conv2d(4, classes, 1)
        self.spoil_at, self.steps = spoil_at, 0

    def forward(self, images, samples=None, mode="tensor"):
        logits = self.classifier(self.dropout(self.backbone(torch.stack(images))))
        if mode != "loss":
            return list(logits)
        self.steps += self.training
        scale = float("nan") if self.steps > self.spoil_at else 1.0
        return dict(loss=logits.float().square().mean() * scale)


@METRICS.register_module(force=True)
class ToyMetric(BaseMetric):
    def process(self, data_batch, data_samples) -> None:
        self.results += [sample["index"] for sample in data_batch["samples"]]

    def compute_metrics(self, results) -> dict:
        return dict(mIoU=float(len(results)), distinct=float(len(set(results))))


@HOOKS.register_module(force=True)
class ActAtIteration(Hook):
    """Send a signal to this process, or to its whole group, in the middle of the run."""

    priority = "NORMAL"

    def __init__(self, at: int, number: int, group: bool = False) -> None:
        self.at, self.number, self.group = at, number, group

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter + 1 == self.at:
            (os.killpg if self.group else os.kill)(0 if self.group else os.getpid(), self.number)


def toy_config(max_iters: int = 8, workers: int = 0, ema: bool = False, extra_hooks: tuple = (), **model) -> Config:
    loader = dict(dataset=dict(type="ToyData"), collate_fn=dict(type="toy_collate"), batch_size=2, num_workers=workers)
    persistent = dict(persistent_workers=True, prefetch_factor=2) if workers else {}
    checkpoint = dict(
        type="CheckpointHook",
        by_epoch=False,
        interval=2,
        max_keep_ckpts=2,
        save_best="mIoU",
        backend_args=dict(backend="atomic"),
    )
    names = "StepSeed StopOnNan BroadcastBuffers Throughput PlainCheckpoint StopOnSignal"
    hooks = [f"{name}Hook" for name in names.split()]
    averaging = [dict(type="EMAHook", momentum=0.1)] if ema else []
    return Config(
        dict(
            model=dict(type="ToyModel", **model),
            train_dataloader=dict(**loader, **persistent, sampler=dict(type="TrainSampler")),
            val_dataloader=dict(**loader, sampler=dict(type="EvalSampler")),
            val_evaluator=dict(type="ToyMetric"),
            train_cfg=dict(type="TrainLoop", max_iters=max_iters, val_interval=4),
            val_cfg=dict(type="ValLoop"),
            optim_wrapper=dict(
                type="OptimWrapper",
                optimizer=dict(type="AdamW", lr=0.01, weight_decay=0.1),
                constructor="ParamGroups",
                paramwise_cfg=dict(backbone_lr_mult=0.5),
            ),
            param_scheduler=dict(type="PolyLR", by_epoch=False, power=0.9, begin=0, end=max_iters + 1),
            default_hooks=dict(
                logger=dict(type="LoggerHook", interval=1, log_metric_by_epoch=False), checkpoint=checkpoint
            ),
            custom_hooks=[*(dict(type=hook) for hook in hooks), *averaging, *extra_hooks],
            log_processor=dict(type="LogProcessor", by_epoch=False),
            randomness=dict(seed=3),
            log_level="WARNING",
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("--max-iters", type=int, default=8)
    parser.add_argument("--signal", choices=("SIGKILL", "SIGTERM"))
    parser.add_argument("--at", type=int, default=6)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--ema", action="store_true")
    parser.add_argument("--launcher", default="none")
    args = parser.parse_args()
    torch.set_num_threads(1)
    number = args.signal and signal.Signals[args.signal]
    act = dict(type="ActAtIteration", at=args.at, number=number, group=number == signal.SIGTERM)
    cfg = toy_config(args.max_iters, args.workers, args.ema, (act,) if args.signal else ())
    runner = train(cfg, work_dir=args.work_dir, launcher=args.launcher)
    if args.launcher != "none":
        state = {name: value.tolist() for name, value in runner.model.named_parameters()}
        threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
        torch.save(dict(state=state, threads=threads), args.work_dir / f"rank{runner.rank}.pt")


if __name__ == "__main__":
    main()
