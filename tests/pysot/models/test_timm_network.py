"""Networks of timm as backbones: a stand-in for the package, and in a marked test the real one."""

import contextlib
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from pysot import MultiTracker
from pysot.core.config import default_config
from pysot.engine.optim import freeze_backbone
from pysot.models.model_builder import build_model, load_pretrained
from pysot.tracker.tracker_builder import build_tracker, prepare_model


class Info:
    def __init__(self, out_indices, channels, reductions):
        self.out_indices = out_indices
        self._rows = [(channels[n], reductions[n]) for n in out_indices]

    def channels(self):
        return [channels for channels, _ in self._rows]

    def reduction(self):
        return [reduction for _, reduction in self._rows]


class Pyramid(nn.Module):
    """Maps at strides 2 to 32, or to ``output_stride``, of 4 to 8 channels; padded as timm's."""

    def __init__(self, out_indices, output_stride, last):
        super().__init__()
        strides = [min(2**n, output_stride) for n in range(6)]
        for n in range(1, max(out_indices) + 2):
            step = strides[n] // strides[n - 1]
            inputs = 3 if n == 1 else n + 2
            setattr(self, f"layer{n}", nn.Conv2d(inputs, n + 3, 3, step, 1))
        self.feature_info = Info(out_indices, range(4, 9), strides[1:])
        self.pretrained_cfg = {"mean": (0.5, 0.25, 0.75), "std": (0.5, 0.25, 0.125)}
        self.output_fmt = "Format.NHWC" if last else "Format.NCHW"
        self.last = last
        self.seen = []

    def forward(self, x):
        self.seen.append(x)
        maps = []
        for n in range(1, max(self.feature_info.out_indices) + 2):
            x = getattr(self, f"layer{n}")(x)
            maps.append(x.permute(0, 2, 3, 1) if self.last else x)
        return [maps[n] for n in self.feature_info.out_indices]


def create_model(
    name, pretrained=False, features_only=False, out_indices=(0, 1, 2, 3, 4), **kwargs
):
    assert features_only
    if name == "rigid" and kwargs:
        raise TypeError("Rigid.__init__() got an unexpected keyword argument 'output_stride'")
    network = Pyramid(out_indices, kwargs.get("output_stride", 32), last=name == "rigid")
    if pretrained and name == "rigid":
        raise RuntimeError("No pretrained weights exist for rigid")
    if pretrained:
        for parameter in network.parameters():
            nn.init.constant_(parameter, 0.5)
    return network


@pytest.fixture
def timm(monkeypatch):
    package = types.ModuleType("timm")
    package.__version__ = "9.9"
    package.is_model = lambda name: name in ("dilated", "rigid")
    package.create_model = create_model
    monkeypatch.setitem(sys.modules, "timm", package)
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))


def config(name, *opts, channels=8, stride=8):
    cfg = default_config()
    neck = ["ADJUST.TYPE", "AdjustLayer", "ADJUST.KWARGS.in_channels", str(channels)]
    head = ["RPN.TYPE", "DepthwiseRPN", "RPN.KWARGS", "{in_channels: 8, out_channels: 8}"]
    both = [*neck, "ADJUST.KWARGS.out_channels", "8", *head, "ANCHOR.STRIDE", str(stride)]
    layers = ["BACKBONE.TRAIN_LAYERS", "[network.layer3]"]
    cfg.merge_from_list(["BACKBONE.TYPE", f"timm:{name}", *both, *layers, *opts])
    return cfg


@pytest.mark.parametrize(
    ("name", "opts", "channels", "stride"),
    [
        ("dilated", [], [8], 8),
        ("dilated", ["BACKBONE.KWARGS.stride", "16"], [8], 16),
        ("rigid", [], [6], 8),
        ("rigid", ["BACKBONE.KWARGS.stride", "16"], [7], 16),
    ],
)
def test_a_network_gives_its_deepest_map_at_the_stride(timm, name, opts, channels, stride):
    model = build_model(config(name, *opts, channels=channels[0], stride=stride))
    backbone = model.backbone
    assert (backbone.out_channels, backbone.stride) == (channels, stride)
    side = 256 // stride
    assert backbone(torch.zeros(2, 3, 255, 255)).shape == (2, *channels, side, side)
    assert model.grid(127, 255).stride == stride


def test_several_maps_at_one_stride(timm):
    parts = ["ADJUST.TYPE", "AdjustAllLayer", "ADJUST.KWARGS.in_channels", "[6, 7]"]
    parts += ["ADJUST.KWARGS.out_channels", "[8, 8]", "RPN.TYPE", "MultiRPN"]
    parts += ["RPN.KWARGS", "{anchor_num: 5, in_channels: [8, 8]}"]
    opts = ["BACKBONE.KWARGS.used_layers", "[2, 3]"]
    model = build_model(config("dilated", *parts, *opts))
    assert model.backbone.out_channels == [6, 7]
    assert not hasattr(model.backbone.network, "layer5")  # it would be computed for nothing
    z, x = (torch.zeros(1, 3, side, side) for side in (127, 255))
    cls, _ = model.predict(model.encode_template(z), x)
    assert cls.shape[1] == 10


def test_it_sees_what_timm_s_weights_expect(timm):
    backbone = build_model(config("dilated")).backbone
    bgr = torch.tensor([51.0, 102, 255]).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    backbone(bgr)
    # red 1.0, green 0.4, blue 0.2, minus the mean, over the deviation
    expected = [(1 - 0.5) / 0.5, (0.4 - 0.25) / 0.25, (0.2 - 0.75) / 0.125]
    torch.testing.assert_close(backbone.network.seen[-1][0, :, 3, 4], torch.tensor(expected))


def test_a_part_of_it_learns_and_a_prepared_one_follows_several_targets(timm):
    cfg = config("dilated")
    model = build_model(cfg)
    freeze_backbone(model, cfg.BACKBONE.TRAIN_LAYERS)
    learns = [n for n, p in model.backbone.named_parameters() if p.requires_grad]
    assert learns == ["network.layer3.weight", "network.layer3.bias"]
    with pytest.raises(ValueError, match=r"no layer 'network\.layer9'; it has: network"):
        freeze_backbone(model, ["network.layer9"])
    fast = prepare_model(model.eval(), cfg)
    targets = MultiTracker(lambda: build_tracker(fast, cfg))
    frame = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    for box in ((20, 30, 40, 50), (90, 60, 30, 20)):
        targets.add(frame, box)
    assert len(targets.track(frame)) == 2


def test_published_weights_are_loaded_for_training_alone(timm):
    cfg = config("dilated", "BACKBONE.PRETRAINED", "timm://")
    model = build_model(cfg)
    assert not (model.backbone.network.layer1.weight == 0.5).all()
    load_pretrained(model, cfg)
    assert (model.backbone.network.layer1.weight == 0.5).all()
    cfg = config("rigid", "BACKBONE.PRETRAINED", "timm://", channels=6)
    with pytest.raises(OSError, match=r"PRETRAINED: timm:// No pretrained weights exist for rigid"):
        load_pretrained(build_model(cfg), cfg)
    plain = config(
        "dilated", "BACKBONE.TYPE", "alexnet", "BACKBONE.PRETRAINED", "timm://", channels=256
    )
    with pytest.raises(ValueError, match=r"timm:// is for BACKBONE\.TYPE timm:NAME"):
        load_pretrained(build_model(plain), plain)


@pytest.mark.parametrize(
    ("name", "opts", "text"),
    [
        ("other", [], "BACKBONE.TYPE: timm 9.9 has no network 'other'"),
        ("", [], "do not fit backbone 'timm:': .* 'name'"),
        ("rigid", ["BACKBONE.KWARGS.stride", "6"], "KWARGS.stride: no map at stride 6"),
        (
            "rigid",
            ["BACKBONE.KWARGS.used_layers", "[1, 2]"],
            r"used_layers: maps \[1, 2\] of rigid are at strides \[4, 8\]; expected 8",
        ),
        ("dilated", ["BACKBONE.KWARGS.used_layers", "[7]"], "BACKBONE.KWARGS do not fit backbone"),
    ],
)
def test_wrong_networks_are_one_line(timm, name, opts, text):
    with pytest.raises(ValueError, match=text):
        build_model(config(name, *opts))


def test_what_is_missing_is_named(timm, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match="timm:dilated needs timm: pip install timm"):
        build_model(config("dilated"))
    monkeypatch.delitem(sys.modules, "torchvision")
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(ValueError, match=r"needs torchvision, .* broken \(operator .* not exist\)"):
        build_model(config("dilated"))


class Broken:
    """Finds a torchvision that was built for another PyTorch."""

    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")


@pytest.mark.extras
@pytest.mark.parametrize(
    ("name", "channels", "stride"),
    [("resnet18", 512, 8), ("mobilenetv3_small_050", 288, 16), ("swin_s3_tiny_224", 192, 8)],
)
def test_networks_of_the_real_package(name, channels, stride):
    """``pip install timm``; a torchvision for another PyTorch is made to import."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        with contextlib.suppress(RuntimeError):  # it is there already
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou) -> Tensor")
    pytest.importorskip("timm", exc_type=ImportError)
    kwargs = f"{{stride: {stride}}}"
    if name.startswith("swin"):
        kwargs = "{img_size: 128, strict_img_size: false}"
    model = build_model(
        cfg := config(name, "BACKBONE.KWARGS", kwargs, channels=channels, stride=stride)
    )
    assert (model.backbone.out_channels, model.backbone.stride) == ([channels], stride)
    assert model.grid(128, 256).stride == stride
    z, x = (torch.rand(1, 3, side, side) * 255 for side in (128, 256))
    fast = prepare_model(model, cfg)
    with torch.inference_mode():
        found = fast.predict(fast.encode_template(z), x)
        expected = model.predict(model.encode_template(z), x)
    for ours, truth in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, truth, rtol=1e-3, atol=1e-4)
