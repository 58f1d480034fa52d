"""Fixtures that several test folders use."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode


@pytest.fixture
def count_gmac():
    """Multiply-adds of one forward pass, in 10^9, counted without computing."""

    def count(model: torch.nn.Module, shape: tuple[int, ...]) -> float:
        with torch.device("meta"):
            x = torch.empty(shape)
        counter = FlopCounterMode(display=False)
        with counter, torch.inference_mode():
            model.to("meta").eval()(x)
        return counter.get_total_flops() / 2e9

    return count
