"""What a model asks of its backbone, checked at once."""

import pytest
from torch import nn

from backbones import AlignedXception, PreactXception, Xception
from backbones.contract import check_backbone


@pytest.mark.parametrize("trunk", [AlignedXception, PreactXception, Xception])
def test_ours_keep_the_contract(trunk):
    net = trunk(width=0.125) if trunk is Xception else trunk(41, width=0.125)
    assert check_backbone(net) is net


def test_one_error_lists_all_that_is_missing():
    class Half(nn.Module):
        channels = (8,)

        def forward(self, images): ...

    with pytest.raises(TypeError, match=r"Half cannot serve as Backbone") as error:
        check_backbone(Half())
    names = [line.strip().split(":")[0] for line in str(error.value).splitlines()[1:]]
    assert names == ["strides", "output_stride", "set_output_stride(output_stride)"]


def test_what_is_no_module_is_refused_with_all_the_rest():
    with pytest.raises(TypeError, match=r"int cannot serve as Backbone") as error:
        check_backbone(3)
    assert len(str(error.value).splitlines()) == 7 and "torch.nn.Module" in str(error.value)


def test_each_map_has_one_channel_count_and_one_stride():
    class Wrong(nn.Module):
        channels, strides, output_stride = (8, 16), (4,), 4

        def set_output_stride(self, output_stride): ...

        def forward(self, images): ...

    with pytest.raises(ValueError, match=r"Wrong .* one stride per map, got channels \(8, 16\) and strides \(4,\)"):
        check_backbone(Wrong())
