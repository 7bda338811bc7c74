import pytest
import torch

from pysot.core.registry import BACKBONES

WIDTHS = [32, 16, 24, 32, 64, 96, 160, 320]
SIDES = {127: [63, 63, 31, 15, 15, 15, 15, 15], 255: [127, 127, 63, 31, 31, 31, 31, 31]}


def build(**kwargs):
    with torch.device("meta"):
        return BACKBONES.build("mobilenetv2", **kwargs)


@pytest.mark.parametrize("width", [0.35, 1.4])
@pytest.mark.parametrize("used", [[0], [7, 5, 3], [0, 1, 2, 3, 4, 5, 6, 7]])
def test_maps_are_the_used_layers_in_their_order(width, used):
    backbone = build(width_mult=width, used_layers=used)
    channels = [int(WIDTHS[n] * width) for n in used]
    assert backbone.out_channels == channels
    for side, sides in SIDES.items():
        maps = backbone(torch.zeros(1, 3, side, side, device="meta"))
        assert isinstance(maps, list) == (len(used) > 1)
        shapes = [tuple(m.shape) for m in (maps if isinstance(maps, list) else [maps])]
        assert shapes == [(1, c, sides[n], sides[n]) for c, n in zip(channels, used, strict=True)]


def test_defaults_are_the_three_maps_at_stride_8():
    backbone = build()
    assert backbone.out_channels == [32, 96, 320]
    assert backbone.stride == 8
    assert build(used_layers=[0, 2]).stride == 4


def test_layers_after_the_last_used_one_exist_for_published_weights():
    names = {name for name, _ in build(used_layers=[3]).named_children()}
    assert names == {f"layer{n}" for n in range(8)}


def test_a_stage_with_a_new_dilation_begins_with_half_of_it():
    backbone = build()
    found = {
        name: [block.conv[3].dilation[0] for block in layer]
        for name, layer in backbone.named_children()
        if name in ("layer4", "layer5", "layer6", "layer7")
    }
    assert found == {
        "layer4": [1, 2, 2, 2],
        "layer5": [2, 2, 2],
        "layer6": [2, 4, 4],
        "layer7": [4],
    }


def test_a_width_that_leaves_no_channels_is_refused():
    with pytest.raises(ValueError, match=r"BACKBONE\.KWARGS\.width_mult: 0 leaves a layer of 16"):
        build(width_mult=0)


def test_every_parameter_learns():
    torch.manual_seed(0)
    backbone = BACKBONES.build("mobilenetv2", width_mult=0.25, used_layers=[3, 7])
    sum(m.square().mean() for m in backbone(torch.rand(2, 3, 63, 63) * 255)).backward()
    dead = [n for n, p in backbone.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []
