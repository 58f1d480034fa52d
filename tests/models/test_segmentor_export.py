"""`torch.export` of a segmentor gives a program for any number and size of images."""

import pytest
import torch
from peers import shake

from backbones import AlignedXception
from heads import DeepLabV3Plus
from xseg.models import Segmentor

FREE = {axis: torch.export.Dim.DYNAMIC for axis in (0, 2, 3)}


@pytest.mark.parametrize(
    "example_hw",
    [pytest.param((160, 224), id="padded"), pytest.param((129, 193), id="not padded", marks=pytest.mark.slow)],
)
def test_a_program_takes_sizes_with_other_padding_than_its_example(example_hw):
    torch.manual_seed(0)
    head = {"type": DeepLabV3Plus, "num_classes": 4, "channels": 16}
    model = shake(Segmentor(AlignedXception(41, output_stride=16, width=0.125), head)).float().eval()
    program = torch.export.export(model, (torch.rand(2, 3, *example_hw),), dynamic_shapes={"images": FREE}).module()
    for shape in ((1, 161, 225), (2, 128, 192), (3, 129, 193), (2, 97, 150)):
        images = torch.rand(shape[0], 3, *shape[1:])
        with torch.inference_mode():
            expected = model(images)
            error = (program(images) - expected).abs().max() / expected.abs().max()
        assert error <= 1e-4, shape
