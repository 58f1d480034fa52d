"""Mixed precision on CPU, and the law of the parameter groups."""

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn
from toy import ToyModel

from xseg.engine import AmpOptimWrapper, ParamGroups

SGD = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.1, weight_decay=0.01))


def test_groups_hold_every_trained_parameter_once():
    model = ToyModel()
    model.backbone.norm.bias.requires_grad_(False)
    model.extra = model.classifier  # shared
    wrapper = ParamGroups(SGD, dict(backbone_lr_mult=0.1))(model)
    assert type(wrapper) is OptimWrapper
    found = {g["name"]: g for g in wrapper.optimizer.param_groups}
    held = [id(p) for g in found.values() for p in g["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert {name: (len(g["params"]), g["lr"], g["weight_decay"]) for name, g in found.items()} == {
        "backbone": (1, 0.1 * 0.1, 0.01),  # pointwise kernel
        "backbone, no decay": (4, 0.1 * 0.1, 0.0),  # depthwise kernel, two biases, norm weight
        "head": (1, 0.1, 0.01),
        "head, no decay": (1, 0.1, 0.0),
    }


def test_decay_everywhere_gives_one_group_per_part():
    options = dict(decay_depthwise=True, decay_norm=True, decay_bias=True)
    groups = ParamGroups(SGD, options).groups(ToyModel())
    assert {g["name"]: len(g["params"]) for g in groups} == dict(backbone=6, head=2)


def test_one_channel_is_not_depthwise():
    groups = ParamGroups(SGD).groups(nn.Conv2d(1, 1, 3, bias=False))
    assert [g["name"] for g in groups] == ["head"]


@pytest.mark.parametrize(
    ("optimizer", "fused"),
    [
        (dict(type="SGD"), True),
        (dict(type="AdamW"), True),
        (dict(type="SGD", fused=False), False),
        (dict(type="SGD", foreach=True), None),
        (dict(type="Adagrad"), None),
    ],
)
def test_weights_are_updated_in_one_pass_unless_told_otherwise(optimizer, fused):
    wrapper = ParamGroups(dict(type="OptimWrapper", optimizer=dict(optimizer, lr=0.1)))(ToyModel())
    assert wrapper.optimizer.defaults.get("fused") is fused


def test_misspelt_option_and_frozen_model_are_refused():
    with pytest.raises(ValueError, match="backbone_lr"):
        ParamGroups(SGD, dict(backbone_lr=0.1))
    with pytest.raises(ValueError, match="all are frozen"):
        ParamGroups(SGD)(ToyModel().requires_grad_(False))


def test_bf16_trains_on_cpu_and_resumes():
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    wrapper = AmpOptimWrapper(dtype="bf16", optimizer=torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    x, losses = torch.rand(8, 4), []
    for _ in range(10):
        with wrapper.optim_context(model):
            y = model(x)
            assert y.dtype is torch.bfloat16
            loss = (y.float() - 1).square().mean()
        wrapper.update_params(loss)
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0] and model.weight.dtype is torch.float32
    wrapper.load_state_dict(wrapper.state_dict())


def test_fp16_on_cpu_and_unknown_dtype_are_refused():
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    with pytest.raises(ValueError, match="bf16 on CPU, got fp16"):
        AmpOptimWrapper(dtype="fp16", optimizer=optimizer)
    with pytest.raises(ValueError, match="dtype must be one of"):
        AmpOptimWrapper(dtype="float8", optimizer=optimizer)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="loss scaling needs a GPU")
def test_fp16_scales_and_resumes_its_scale():
    model = nn.Linear(4, 1).cuda()
    wrapper = AmpOptimWrapper(dtype="fp16", optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    for factor in (1.0, float("inf")):  # the second step overflows and is skipped
        with wrapper.optim_context(model):
            loss = model(torch.rand(8, 4, device="cuda")).float().mean() * factor
        wrapper.update_params(loss)
    assert wrapper.loss_scaler.get_scale() == 2.0**15 and torch.isfinite(model.weight).all()
    other = AmpOptimWrapper(dtype="fp16", optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    other.load_state_dict(wrapper.state_dict())
    assert other.loss_scaler.state_dict()["scale"] == 2.0**15
