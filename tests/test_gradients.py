"""In one training step of every shipped config, every weight gets a gradient, down to the single tap of a kernel.

A tap that only ever reads padding keeps its random start, and acts as soon as a larger image is predicted. Sizes,
strides and atrous rates are the config's own; trunks and pyramids are narrow where a config can say so, since width
does not move a tap.
"""

import pytest
import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

import xseg
from xseg.cli import main
from xseg.config import fill_context, load_config, shipped_configs, training_crop
from xseg.run.load import without_downloads
from xseg.weights import read_weights

TINY = [
    "--cfg-options",
    "train_cfg.max_iters=2",
    "train_cfg.val_interval=2",
    "default_hooks.checkpoint.interval=2",
    "train_dataloader.batch_size=2",
    "train_dataloader.num_workers=0",
    "train_dataloader.persistent_workers=False",
    "val_dataloader.num_workers=0",
    "val_dataloader.persistent_workers=False",
    "model.backbone.width=0.125",
    *(f"{loader}_dataloader.dataset.num_images={{'train': 6, 'val': 2}}" for loader in ("train", "val")),
]
LARGE = 400  # pixels of the shorter edge, from which a step takes seconds
DRAWN_HW = {"Shapes": (128, 128), "ShapesDetection": (128, 128), "ShapesPanoptic": (128, 128)}


def size_in_training(cfg) -> tuple[int, int]:
    """The smallest (height, width) that a step sees."""
    if crop := training_crop(cfg):
        return crop
    for transform in cfg.train_dataloader.dataset.get("transforms", ()):
        if edges := transform.get("shortest"):
            return min(edges), min(edges)
    return DRAWN_HW[cfg.train_dataloader.dataset.type.__name__]


def build(cfg) -> nn.Module:
    """The config's model, from random weights; narrow where that leaves the geometry as it is."""
    fill_context(cfg)
    model = cfg.model.to_dict()
    without_downloads(model)
    if "Xception" in str(model["backbone"]["type"]):
        model["backbone"]["width"] = 0.1875
    for key in ("frozen_stages", "frozen_bn"):
        model["backbone"].pop(key, None)
    for key in ("head", "aux_head", "detection_head"):
        if key in model:
            model[key].setdefault("num_classes", 5)
            if "ClassificationHead" not in str(model[key]["type"]):
                model[key]["channels"] = 32
    if "detection_head" in model:
        model.update(things=[0, 1, 2], detection_head={**model["detection_head"], "num_classes": 3})
    for loss in model.get("losses", ()):
        loss.pop("class_weights", None)
    if model.get("class_weights") == "balanced":
        model["class_weights"] = None
    torch.manual_seed(0)
    return MODELS.build(model)


def samples_of(model: nn.Module, size_hw: tuple[int, int], count: int) -> list[dict]:
    """Random labels of every kind: stripes of all classes, and objects from 12 pixels to nearly the whole image."""
    height, width = size_hw
    classes = model.num_classes
    mask = torch.arange(height).mul(2 * classes).div(height, rounding_mode="floor").remainder(classes)
    edges = torch.tensor([0.09, 0.2, 0.3, 0.5, 0.9]) * min(size_hw)
    labels = torch.arange(len(edges)) % getattr(getattr(model, "detection_head", model), "num_classes", classes)
    boxes = edges[:, None] * torch.tensor([0.05, 0.04, 1, 1])
    masks = torch.zeros(len(edges), height, width, dtype=torch.bool)
    for own, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist(), strict=True):
        own[y0 : (y0 + y1) // 2 + 1, x0 : x1 + 1] = True
    label = torch.eye(classes)[0] if getattr(model, "multi_label", False) else 0
    sample = dict(mask=mask[:, None].expand(size_hw).byte(), label=label, boxes_xyxy=boxes, labels=labels, masks=masks)
    return [dict(sample, input_hw=size_hw, iscrowd=torch.zeros(len(edges))) for _ in range(count)]


def without_gradient(model: nn.Module, images: Tensor, samples: list[dict]) -> list[str]:
    """Parameters, or taps of their kernels, that one step leaves without a gradient."""
    losses = model.train()(images, samples, mode="loss")
    sum(value.sum() for name, value in losses.items() if "loss" in name).backward()
    missing = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.grad is None or not parameter.grad.any():
            missing.append(name)
        elif parameter.ndim == 4 and not (taps := parameter.grad.flatten(0, 1).any(0)).all():
            missing.append(f"{name}: {int((~taps).sum())} of {taps.numel()} taps")
    return missing


def trained_configs() -> list:
    """Names of the configs that train, one for each network and training size; large ones as slow tests."""
    names = {}
    for name in shipped_configs():
        cfg = load_config(name)
        if cfg.get("train_cfg"):
            names.setdefault((str(cfg.model.to_dict()), size_in_training(cfg)), name)
    marks = {True: [pytest.mark.slow], False: []}
    return [pytest.param(name, marks=marks[min(size) >= LARGE]) for (_, size), name in names.items()]


@pytest.mark.parametrize("name", trained_configs())
def test_every_tap_learns_in_one_step(name):
    cfg = load_config(name)
    model, size_hw = build(cfg), size_in_training(cfg)
    samples = samples_of(model, size_hw, 2)
    images = torch.randn(2, 3, *size_hw)
    assert without_gradient(model, images, samples) == []


@pytest.mark.parametrize("load_from", [None, "published"])
def test_training_with_too_large_rates_says_so_and_mutes_the_taps(tmp_path, load_from):
    """Rate 18 on maps of 7 x 7. In weights that were trained elsewhere the taps stay."""
    root, head = ["--data-root", f"{tmp_path}/shapes"], "model.head.rates=(6, 12, 18)"
    source = []
    if load_from:
        torch.manual_seed(1)
        cfg = load_config("quickstart", {"model.head.num_classes": 5, "model.backbone.width": 0.125})
        torch.save(MODELS.build(cfg.model).state_dict(), tmp_path / "w.pth")
        source = ["--load-from", f"{tmp_path}/w.pth"]
    assert main(["train", "quickstart", *root, "--work-dir", f"{tmp_path}/run", *source, *TINY, head]) == 0
    weight = read_weights(tmp_path / "run" / "iter_2.pth").state["head.aspp.3.depthwise.weight"]
    centre = torch.zeros(3, 3, dtype=torch.bool)
    centre[1, 1] = True
    log = next((tmp_path / "run").glob("*/*.log")).read_text()
    said = "head.aspp.3.depthwise at atrous rate 18: 8 of 9" in log
    assert weight[..., centre].all()
    assert (said, bool(weight[..., ~centre].any())) == ((False, True) if load_from else (True, False))


def test_a_trained_model_keeps_its_rates(tmp_path):
    root = ["--data-root", f"{tmp_path}/shapes"]
    crop = "train_dataloader.dataset.transforms.0.size_hw=(129, 129)"
    assert main(["train", "quickstart", *root, "--work-dir", f"{tmp_path}/run", *TINY, crop]) == 0
    assert (
        "For crops of 129 x 129: atrous rates (2, 3, 4); image pooling in prediction over (129, 129)"
        in next((tmp_path / "run").glob("*/*.log")).read_text()
    )
    assert xseg.load(tmp_path / "run").head.rates == (2, 3, 4)
    assert xseg.load("quickstart", data_root=tmp_path / "shapes").head.rates == (1, 2, 3)
