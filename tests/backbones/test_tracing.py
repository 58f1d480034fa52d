"""FX and TorchScript record every trunk; the record holds for other sizes and memory formats than it was made with."""

import pytest
import torch

from backbones import AlignedXception, InceptionTowers, PreactXception, Xception

ALL = ("c1", "c2", "c3", "c4", "c5")
TRUNKS = {
    "xception41": lambda: AlignedXception(41, 16, ALL, width=0.125),
    "xception65": lambda: AlignedXception(65, 8, ("c2", "c4"), width=0.125, frozen_stages=2),
    "xception71": lambda: AlignedXception(71, 32, width=0.125, taps="after_relu"),
    "preact": lambda: PreactXception(41, 16, ALL, width=0.125),
    "xception": lambda: Xception(16, ALL, width=0.125),
    "xception-keras": lambda: Xception(32, ALL, width=0.125, pool_padding="tensorflow", stem="valid"),
    "pointwise-first": lambda: Xception(width=0.125, order="pointwise_first", activation="relu", inner_bn=True),
}
RECORDERS = {
    "fx": lambda net, x: torch.fx.symbolic_trace(net),
    "trace": lambda net, x: torch.jit.trace(net, x),
    "script": lambda net, x: torch.jit.script(net),
}


def image(height: int, width: int) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("recorder", RECORDERS)
@pytest.mark.parametrize("trunk", TRUNKS)
def test_recorded_trunks_give_the_same_maps(trunk, recorder):
    torch.manual_seed(0)
    net = TRUNKS[trunk]().eval()
    recorded = RECORDERS[recorder](net, image(64, 96))
    other_size = image(48, 80).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        for x in (image(64, 96), other_size):
            torch.testing.assert_close(list(recorded(x)), net(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("recorder", RECORDERS)
def test_recorded_trunks_can_be_trained(recorder):
    net = TRUNKS["xception41"]().train()
    x = image(64, 96).expand(2, -1, -1, -1)
    recorded = RECORDERS[recorder](net, x) if recorder != "trace" else torch.jit.trace(net, x, check_trace=False)
    recorded(x)[-1].square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in recorded.parameters())


def test_recorded_programs_hold_plain_convolutions():
    """No kernel for one device and no autograd function of ours, so that it can be saved and run anywhere."""
    net = TRUNKS["xception41"]()
    graph = torch.fx.symbolic_trace(net).graph
    functions = {node.target for node in graph.nodes if node.op == "call_function"}
    assert torch.nn.functional.conv2d in functions or torch.conv2d in functions
    x = image(64, 96).contiguous(memory_format=torch.channels_last)
    kinds = {node.kind() for node in torch.jit.trace(net, x, check_trace=False).inlined_graph.nodes()}
    assert "prim::PythonOp" not in kinds


@pytest.mark.parametrize("recorder", RECORDERS)
def test_inception_towers(recorder):
    net, x = InceptionTowers(3, 9).eval(), image(9, 11)
    torch.testing.assert_close(RECORDERS[recorder](net, x)(x), net(x))
