"""`xseg config info`: the model of a config part by part, below the facts of its data and schedule."""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from torch import nn

from xseg.config import fill_context, fill_num_classes, training_crop
from xseg.engine.registry import resolve
from xseg.evaluation.tables import Table
from xseg.models.summary import Part, Summary, summarize
from xseg.run.load import build_without_memory

DEFAULT_HW = (512, 512)  # of a config that states no size of images
ASSUMED_CLASSES = 20  # of data that are not at hand and have no standard classes
COLUMNS = ("part", "output", "stride", "dilation", "field", "parameters", "GMAC", "MiB")
PRECISIONS = {None: torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Info(NamedTuple):
    """facts: (label, text). notes: what the columns mean."""

    facts: list[tuple[str, str]]
    table: Table
    notes: list[str]

    def print(self) -> None:
        """A table with lines on a terminal, aligned text elsewhere."""
        from rich.box import SIMPLE
        from rich.console import Console

        console = Console(highlight=False, markup=False)
        if not console.is_terminal:
            console.width = 240  # no line is wrapped
        for label, text in self.facts:
            console.print(f"{label:9} {text}", soft_wrap=True)
        console.print(self.table.rich(left=(0, 1), box=SIMPLE if console.is_terminal else None, pad_edge=False))
        for note in self.notes:
            console.print(note, soft_wrap=True)


def config_info(
    cfg: Config,
    name: str,
    size_hw: Sequence[int] | None = None,
    batch: int | None = None,
    amp: str | None = None,
) -> Info:
    """Summarise the model of a config; the data set is not built, and nothing is allocated or downloaded.

    Args:
        name: of the config, as it was given.
        size_hw: (height, width) of the images; default the training crop, else the size for prediction.
        batch: images in a batch; default that of the training.
        amp: None, "bf16" or "fp16"; None for the precision of the config.

    Raises ValueError for a size or batch below 1, or images that the model cannot take.
    """
    if batch is not None and batch < 1:
        raise ValueError(f"batch must be 1 or more, got {batch}")
    if size_hw is not None and min(size_hw) < 1:
        raise ValueError(f"size must be a height and a width of 1 or more, got {tuple(size_hw)}")
    data = _fill_classes(cfg)
    fill_context(cfg)
    model = build_without_memory(cfg.model.to_dict())
    size_hw = size_hw or training_crop(cfg) or _size_for_prediction(model)
    assumed = "" if size_hw else "; size assumed, the config states none (--size sets one)"
    size_hw = tuple(size_hw or DEFAULT_HW)
    batch = batch or (cfg.get("train_dataloader") or {}).get("batch_size", 1)
    amp = amp or _amp(cfg)
    summary = summarize(model, size_hw, batch, PRECISIONS[amp])
    facts = [
        ("config", name),
        ("title", _title(cfg)),
        ("task", model.task),
        ("data", data),
        ("schedule", _schedule(cfg)),
        ("images", f"{batch} x {size_hw[0]} x {size_hw[1]} pixels, {amp or 'fp32'}{assumed}"),
    ]
    return Info([fact for fact in facts if fact[1]], _table(summary), _notes(summary, batch, amp or "fp32"))


def _fill_classes(cfg: Config) -> str:
    """Give the heads their number of classes; return a text about the data set, "" for a config without data."""
    loader = next((key for key in ("train_dataloader", "val_dataloader", "test_dataloader") if cfg.get(key)), None)
    if loader is None:
        return ""
    dataset = cfg[loader].dataset
    kind, root = resolve(dataset.get("type")), dataset.get("root")
    text = getattr(kind, "__name__", str(kind)) + (f" in {root}" if root else "")
    if root and not Path(root).exists():
        text += " (no such folder yet)"
    try:
        return f"{text}, {len(fill_num_classes(cfg, loader)['classes'])} classes"
    except FileNotFoundError:
        stated, standard = cfg.model.head.get("num_classes"), getattr(kind, "standard", None)
        count = stated or (len(standard["classes"]) if standard else ASSUMED_CLASSES)
    for key in ("head", "aux_head", "detection_head"):
        if isinstance(cfg.model.get(key), dict):
            cfg.model[key].setdefault("num_classes", count)
    if "detection_head" in cfg.model:
        cfg.model.setdefault("things", list(range(cfg.model.detection_head.num_classes)))
    if stated:
        return f"{text}, {count} classes as the config states"
    return f"{text}, number of classes unknown without the data: {count} assumed (--data-root says where they are)"


def _schedule(cfg: Config) -> str:
    train, loader = cfg.get("train_cfg") or {}, cfg.get("train_dataloader") or {}
    if not train:
        return f"no training; weights {cfg.weights}" if cfg.get("weights") else "no training"
    batch = loader.get("batch_size")
    if "max_iters" not in train:
        return f"{train.get('max_epochs')} epochs, batches of {batch}"
    text = f"{train.max_iters:,} iterations, batches of {batch} per process"
    images = (loader.dataset.get("num_images") or {}).get(loader.dataset.get("split"))
    return text + (f", {train.max_iters * batch / images:.4g} epochs in one process" if images else "")


def _title(cfg: Config) -> str:
    """The first line of the config file's docstring."""
    path = Path(cfg.filename or "")
    if path.suffix != ".py" or not path.is_file():
        return ""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


def _amp(cfg: Config) -> str | None:
    """The half precision in which the config trains, if it does."""
    wrapper = cfg.get("optim_wrapper") or {}
    amp = str(wrapper.get("dtype") or "").replace("bfloat16", "bf16").replace("float16", "fp16")
    return amp if amp in PRECISIONS else None


def _size_for_prediction(model: nn.Module) -> Sequence[int] | None:
    if model.task in ("classification", "multilabel"):
        return (model.crop_size, model.crop_size)
    return model.size if model.finds_objects else None


def _table(summary: Summary) -> Table:
    rows = [_cells(part) for part in summary.parts]
    return Table(COLUMNS, rows, [_cells(summary.between), _cells(summary.total)])


def _cells(part: Part) -> tuple[str, ...]:
    dilation = part.dilation_hw and _pixels(part.dilation_hw)
    return (
        part.name,
        _outputs([one.shape for one in part.maps]),
        _range(_pixels(one.stride_hw) for one in part.maps),
        dilation or "",
        _range(_pixels(one.field_hw) for one in part.maps),
        f"{part.parameters:,}",
        "-" if part.gmac is None else f"{part.gmac:,.2f}" if part.gmac >= 1 else f"{part.gmac:.4f}",
        "-" if part.mib is None else f"{part.mib:,.1f}",
    )


def _outputs(shapes: Sequence[tuple[int, ...]]) -> str:
    """The shape of one level, or the first level's and the last one's size, if their channels are the same."""
    if len({shape[:1] for shape in shapes}) == 1:
        shapes = [shapes[0], *(shape[1:] for shape in shapes[1:] if shape != shapes[0])]
    return _range(" x ".join(map(str, shape)) for shape in shapes)


def _range(texts) -> str:
    """The text of one level, or those of the first and the last level."""
    texts = list(texts)
    return texts[0] if len(set(texts)) == 1 else f"{texts[0]} … {texts[-1]}" if texts else ""


def _pixels(pair: Sequence[float]) -> str:
    """A height and a width in pixels, rounded up; once if they are equal, "-" if one is unlimited or unknown."""
    if not all(map(math.isfinite, pair)):
        return "-"
    height, width = (math.ceil(value - 1e-6) for value in pair)
    return str(height) if height == width else f"{height} x {width}"


def _notes(summary: Summary, batch: int, precision: str) -> list[str]:
    notes = [
        "output: channels x height x width. field: receptive field. It and the stride are in pixels of the image; '-' "
        "where unlimited, as after global pooling, or not followed, as through attention.",
        "GMAC: 10^9 multiply-adds of convolutions and matrix products, for one image.",
        f"MiB: what autograd keeps of a training forward for the backward pass, batch {batch}, {precision}, without "
        "losses; memory that several parts keep counts at the first.",
    ]
    if idle := [part.name for part in summary.parts if part.gmac is None]:
        notes.append(f"Not run in this forward pass, so not in its GMAC and MiB: {', '.join(idle)}.")
    return notes
