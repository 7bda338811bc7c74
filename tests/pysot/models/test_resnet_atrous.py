import pytest
import torch

from pysot.core.config import default_config
from pysot.core.registry import BACKBONES
from pysot.models.model_builder import build_model

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


@pytest.mark.parametrize(("used", "layers"), [([4], "124"), ([2, 4], "124"), ([4, 0], "124")])
@pytest.mark.parametrize("name", CHANNELS)
def test_the_last_stage_follows_on_the_second_without_the_third(name, used, layers):
    backbone = build(name, used)
    assert [child[5:] for child, _ in backbone.named_children() if child[:5] == "layer"] == [
        *layers
    ]
    block = backbone.layer4[0]
    assert block.conv1.in_channels == CHANNELS[name][2]
    maps = backbone(torch.zeros(1, 3, 127, 127, device="meta"))
    shapes = [tuple(m.shape) for m in (maps if isinstance(maps, list) else [maps])]
    assert shapes == [(1, CHANNELS[name][n], SIDES[127][n], SIDES[127][n]) for n in used]


NETWORKS = [
    ("resnet18", [4], [512]),
    ("resnet18", [2, 4], [128, 512]),
    ("resnet50", [4], [2048]),
    ("resnet50", [2, 4], [512, 2048]),
    ("resnet50", [2, 3], [512, 1024]),
    ("resnet34", [3, 4], [256, 512]),
    ("mobilenetv2", [7], [320]),
    ("mobilenetv2", [4], [64]),
    ("mobilenetv2", [3, 7], [32, 320]),
]


@pytest.mark.parametrize(("name", "used", "channels"), NETWORKS)
def test_networks_of_any_stages_find_a_template(name, used, channels):
    cfg = default_config()
    single = len(used) == 1
    head = {"in_channels": 256, "out_channels": 256} if single else {"in_channels": [256] * 2}
    cfg.merge_from_list(
        [
            *("BACKBONE.TYPE", name, "BACKBONE.KWARGS", {"used_layers": used}),
            *("ADJUST.KWARGS", {"in_channels": channels, "out_channels": [256] * len(used)}),
            *("RPN.TYPE", "DepthwiseRPN" if single else "MultiRPN"),
            *("RPN.KWARGS", {"anchor_num": 5, **head}),
        ]
    )
    with torch.device("meta"):
        model = build_model(cfg)
        kernels = model.encode_template(torch.zeros(1, 3, 127, 127))
        cls, loc = model.predict(kernels, torch.zeros(1, 3, 255, 255))
    assert (tuple(cls.shape), tuple(loc.shape)) == ((1, 10, 25, 25), (1, 20, 25, 25))


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
