"""CUDA graphs without a GPU: a tape of PyTorch's operations takes the place of the graph. Shapes for TensorRT."""

from contextlib import contextmanager, nullcontext

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from xseg.deploy.runtimes import CudaGraphs, profile_of


class Tape(TorchDispatchMode):
    """Runs operations and notes them; `replay` runs them again on the same tensors, into the same results."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, result))
        return result

    def replay(self):
        for func, args, kwargs, result in self.calls:
            for old, new in zip(tree_leaves(result), tree_leaves(func(*args, **kwargs)), strict=True):
                old.copy_(new)


class Stream:
    def __init__(self, device=None):
        pass

    def wait_stream(self, other):
        pass


class Net(nn.Module):
    """Counts the times that its Python code runs."""

    def __init__(self):
        super().__init__()
        self.conv, self.runs = nn.Conv2d(3, 4, 3), 0

    def forward(self, images):
        self.runs += 1
        y = self.conv(images.relu())
        return [y, y.mean((2, 3))]


@pytest.fixture
def graphs(monkeypatch):
    @contextmanager
    def captured(graph, pool, capture_error_mode):
        with graph:
            yield

    replaced = dict(
        CUDAGraph=Tape, graph=captured, graph_pool_handle=lambda: 0, Stream=Stream, stream=lambda _: nullcontext()
    )
    for name, value in replaced.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    torch.manual_seed(0)
    return CudaGraphs(Net())


def test_outputs_are_the_networks_and_outlive_the_next_image(graphs):
    images = [torch.randn(1, 3, 8, 9) for _ in range(3)]
    found = [graphs(x) for x in images]
    for x, outputs in zip(images, found, strict=True):
        torch.testing.assert_close(list(outputs), graphs.net(x))


def test_a_shape_is_captured_once_and_the_least_used_forgotten(graphs):
    passes = graphs.WARMING + 1

    def runs_of(edge):
        before = graphs.net.runs
        graphs(torch.randn(1, 3, edge, 9))
        return graphs.net.runs - before

    assert [runs_of(edge) for edge in (8, 8, 9, 8)] == [passes, 0, passes, 0]
    assert [runs_of(edge) for edge in range(10, 10 + graphs.MOST - 2)] == [passes] * (graphs.MOST - 2)
    assert runs_of(8) == 0, "all are kept so far"
    assert runs_of(99) == passes
    assert runs_of(8) == 0
    assert runs_of(9) == passes, "it was the least used"
    assert len(graphs.graphs) == graphs.MOST


def test_images_of_inference_mode_and_of_none_take_turns(graphs):
    """`predict` runs in inference mode, whose tensors cannot be written to outside of it."""
    with torch.inference_mode():
        first = graphs(torch.zeros(1, 3, 8, 9))
    second = graphs(torch.ones(1, 3, 8, 9))
    with torch.inference_mode():
        third = graphs(torch.zeros(1, 3, 8, 9))
    torch.testing.assert_close(first, third)
    assert not torch.equal(first[0], second[0])


@pytest.mark.parametrize(
    ("shape", "index"), [((1, 3, 32, 32), 0), ((4, 3, 1025, 2049), 0), ((5, 3, 513, 513), 1), ((32, 3, 544, 33), 1)]
)
def test_tensorrts_profile_is_the_first_that_holds_the_images(shape, index):
    assert profile_of(shape) == index


@pytest.mark.parametrize("shape", [(5, 3, 600, 600), (1, 3, 2081, 64), (1, 3, 31, 64), (33, 3, 64, 64)])
def test_tensorrt_says_what_it_takes(shape):
    with pytest.raises(ValueError, match=r"from \(1, 3, 32, 32\) to .*, got \(\d+, 3, .*: predict in windows"):
        profile_of(shape)
