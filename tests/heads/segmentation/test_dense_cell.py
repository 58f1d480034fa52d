import pytest
import torch

from heads import DeepLabV3PlusDPC


@pytest.mark.parametrize(
    ("stride", "rates"),
    [
        (8, [(2, 12), (36, 30), (12, 6), (2, 2), (12, 42)]),
        (16, [(1, 6), (18, 15), (6, 3), (1, 1), (6, 21)]),
        (32, [(1, 3), (9, 7), (3, 1), (1, 1), (3, 10)]),
    ],
)
def test_rates_follow_the_stride(stride, rates):
    head = DeepLabV3PlusDPC(3, (8, 16), (4, stride), channels=8)
    assert [conv.depthwise.dilation for conv in head.branches] == rates
    assert [conv.depthwise.padding for conv in head.branches] == rates


def test_branches_read_each_other_as_in_the_paper():
    """Cutting branch 0 silences all but C5's own path; cutting branch 1 changes branch 2 alone."""
    head = DeepLabV3PlusDPC(3, (8, 16), (4, 16), channels=8).double().eval()
    maps = {}
    for index, branch in enumerate(head.branches):
        branch.register_forward_hook(lambda _, __, out, index=index: maps.__setitem__(index, out.clone()))
    features = [torch.rand(1, 8, 33, 33, dtype=torch.float64), torch.rand(1, 16, 9, 9, dtype=torch.float64)]
    head(features)
    before = dict(maps)
    torch.nn.init.normal_(head.branches[1].pointwise.weight)
    head(features)
    assert [index for index in range(5) if not torch.equal(before[index], maps[index])] == [1, 2]


def test_trains_on_one_image_of_odd_size():
    head = DeepLabV3PlusDPC(3, (8, 16), (4, 16), channels=8).train()
    logits = head([torch.rand(1, 8, 33, 17), torch.rand(1, 16, 9, 5)])
    assert logits.shape == (1, 3, 33, 17)
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
