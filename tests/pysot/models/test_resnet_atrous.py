import pytest
import torch

from pysot.core.registry import BACKBONES

CHANNELS = {
    "resnet18": [64, 64, 128, 256, 512],
    "resnet34": [64, 64, 128, 256, 512],
    "resnet50": [64, 256, 512, 1024, 2048],
}
# sides of stem and layers for image sides 127 and 255
SIDES = {127: [61, 31, 15, 15, 15], 255: [125, 63, 31, 31, 31]}
STRIDES = [2, 4, 8, 8, 8]


def build(name, used_layers):
    with torch.device("meta"):
        return BACKBONES.build(name, used_layers=used_layers)


@pytest.mark.parametrize("name", CHANNELS)
@pytest.mark.parametrize("used", [[0], [3], [4, 0, 3], [2, 3, 4, 1, 0]])
def test_maps_are_the_used_layers_in_their_order(name, used):
    backbone = build(name, used)
    assert backbone.out_channels == [CHANNELS[name][n] for n in used]
    assert backbone.stride == STRIDES[max(used)]
    for side, sides in SIDES.items():
        maps = backbone(torch.zeros(1, 3, side, side, device="meta"))
        assert isinstance(maps, list) == (len(used) > 1)
        shapes = [tuple(m.shape) for m in (maps if isinstance(maps, list) else [maps])]
        assert shapes == [(1, CHANNELS[name][n], sides[n], sides[n]) for n in used]


@pytest.mark.parametrize(
    ("used", "layers"),
    [
        ([0], {"layer1", "layer2"}),
        ([2], {"layer1", "layer2"}),
        ([0, 1, 2, 3], {"layer1", "layer2", "layer3"}),
        ([3, 4], {"layer1", "layer2", "layer3", "layer4"}),
    ],
)
def test_the_last_two_stages_exist_only_where_they_are_used(used, layers):
    children = dict(build("resnet18", used).named_children())
    assert {name for name in children if name.startswith("layer")} == layers


@pytest.mark.parametrize("used", [[4], [2, 4], [4, 0]])
def test_the_last_stage_needs_the_one_before(used):
    with pytest.raises(ValueError, match=r"BACKBONE\.KWARGS\.used_layers: .* has 4 but not 3"):
        build("resnet50", used)


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2"])
@pytest.mark.parametrize("used", [[], [9], [-1], 3, ["layer3"], None])
def test_unknown_layers_are_refused(name, used):
    with pytest.raises(ValueError, match=r"BACKBONE\.KWARGS\.used_layers: expected a list"):
        build(name, used)


def test_used_layers_are_needed():
    with pytest.raises(ValueError, match=r"BACKBONE\.KWARGS do not fit backbone 'resnet50'"):
        BACKBONES.build("resnet50")


def test_stages_dilate_in_two_steps():
    backbone = build("resnet50", [3, 4])
    for layer, dilation in ((backbone.layer3, 2), (backbone.layer4, 4)):
        found = [block.conv2.dilation[0] for block in layer]
        assert found == [dilation // 2] + [dilation] * (len(layer) - 1)
        assert layer[0].downsample[0].dilation[0] == dilation // 2
    basic = build("resnet18", [3, 4])
    assert [block.conv2.dilation[0] for block in basic.layer4] == [4, 4]


def test_convolutions_start_with_their_fan_out():
    torch.manual_seed(0)
    weight = BACKBONES.build("resnet18", used_layers=[2]).layer2[0].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)


def test_every_used_parameter_learns():
    torch.manual_seed(0)
    backbone = BACKBONES.build("resnet18", used_layers=[0, 3, 4])
    maps = backbone(torch.rand(2, 3, 63, 63) * 255)
    sum(m.square().mean() for m in maps).backward()
    dead = [n for n, p in backbone.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []
