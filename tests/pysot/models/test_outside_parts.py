"""Parts written as for PySOT: they state little, and ``view`` maps, which must be contiguous."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pysot import MultiTracker, Tracker
from pysot.core import config as configuration
from pysot.core import registry
from pysot.core.config import default_config
from pysot.inference import prepare_for_tracking
from pysot.models.model_builder import build_model
from pysot.models.wiring import lay_out
from pysot.tracker.base_tracker import SiameseTracker
from pysot.tracker.tracker_builder import TrackerSpec, build_tracker, prepare_model
from pysot.utils.anchor import Grid


class Backbone(nn.Module):
    """Maps at strides 2, 4, 8 and 8, the last of a layer whose batch norm precedes its convolution.

    127 -> 15 x 15, 255 -> 31 x 31 cells.
    """

    def __init__(self, maps=1):
        super().__init__()
        self.maps = maps
        self.layer1 = nn.Conv2d(3, 4, 3, stride=2)
        self.layer2 = nn.Conv2d(4, 6, 3, stride=2)
        self.layer3 = nn.Conv2d(6, 8, 3, stride=2)
        self.layer4 = Preactivation(8)

    def forward(self, x):
        x = x.view(len(x), 3, -1).view(x.shape) / 255
        first = self.layer1(x)
        second = self.layer2(first.relu())
        third = self.layer3(second.relu())
        found = (first, second, third, self.layer4(third.relu()))[-self.maps :]
        return found[0] if self.maps == 1 else found


class Preactivation(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.uniform_(self.bn1.running_mean, 0.5, 1)

    def forward(self, x):
        return self.conv1(self.bn1(x).relu())


class Neck(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, features):
        return self.mix(features).view(features.shape)


class Head(nn.Module):
    """Depth-wise correlation by ``view``; ``zoom`` is how many cells it makes of one."""

    def __init__(self, zoom=1, anchors=1):
        super().__init__()
        self.z, self.x = nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)
        self.cls, self.loc = nn.Conv2d(8, 2 * anchors, 1), nn.Conv2d(8, 4 * anchors, 1)
        self.zoom = zoom

    def forward(self, zf, xf):
        kernel, search = self.z(zf), self.x(xf)
        batch = len(kernel)
        kernel = kernel.view(-1, 1, *kernel.shape[2:])
        search = search.view(1, -1, *search.shape[2:])
        found = F.conv2d(search, kernel, groups=len(kernel))
        found = found.view(batch, -1, *found.shape[2:])
        if self.zoom > 1:
            found = F.interpolate(found, scale_factor=self.zoom)
        elif self.zoom < 1:
            found = found[:, :, :: round(1 / self.zoom), :: round(1 / self.zoom)]
        return self.cls(found), self.loc(found)


class MaskHead(nn.Module):
    in_channels = hidden = 8

    def __init__(self):
        super().__init__()
        self.x, self.out = nn.Conv2d(8, 8, 3), nn.Conv2d(8, 25, 1)

    def encode(self, zf):
        return zf.view(len(zf), -1)[:, :8].view(-1, 8, 1, 1)

    def correlate(self, kernel, xf):
        found = self.x(xf) * kernel
        return found.view(found.shape)[:, :, :17, :17]

    def masks(self, correlation):
        return self.out(correlation)


class RefineHead(nn.Module):
    def __init__(self, low_channels, in_channels):
        super().__init__()
        self.low = nn.Conv2d(low_channels[0], 1, 1)
        self.high = nn.Conv2d(in_channels, 1, 1)

    def forward(self, low, correlation, position):
        assert all(level.is_contiguous() for level in (*low, correlation))
        row, column = position
        cut = self.low(low[0])[:, :, :127, :127]
        return (cut + self.high(correlation)[:, :, row, column, None, None]).view(len(cut), -1)


class Follower(SiameseTracker):
    """Takes the model alone, lets it remember the target, and reads the module's configuration."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def init(self, image, bbox):
        self.box = np.asarray(bbox, float)
        self.model.template(self.crop(image, configuration.cfg.TRACK.EXEMPLAR_SIZE))

    def track(self, image):
        found = self.model.track(self.crop(image, configuration.cfg.TRACK.INSTANCE_SIZE))
        return {"bbox": self.box, "best_score": found["cls"].max().item()}

    def crop(self, image, side):
        middle = self.box[:2] + self.box[2:] / 2
        return self.get_subwindow(image, middle, side, side, image.mean(axis=(0, 1)))


@pytest.fixture(autouse=True)
def outside(plugin, monkeypatch):
    """Enter the parts in the tables; the fixture ``plugin`` takes them out again."""
    monkeypatch.setattr(configuration, "cfg", default_config())
    registry.TRACKERS["outside"] = Follower
    registry.BACKBONES["outside"] = Backbone
    registry.NECKS["outside"] = Neck
    registry.RPN_HEADS["outside"] = Head
    registry.MASK_HEADS["outside"] = MaskHead
    registry.REFINE_HEADS["outside"] = RefineHead
    torch.manual_seed(0)


def config(*opts):
    cfg = default_config()
    parts = "BACKBONE.TYPE outside ADJUST.TYPE outside RPN.TYPE outside TRAIN.OUTPUT_SIZE 17"
    anchors = ["ANCHOR.RATIOS", "[1]", "ANCHOR.ANCHOR_NUM", "1", "TRACK.BASE_SIZE", "0"]
    cfg.merge_from_list([*parts.split(), *anchors, *opts])
    return cfg


MASKS = ["BACKBONE.KWARGS.maps", "4", "MASK.MASK", "true", "MASK.TYPE", "outside"]
MASKS += ["REFINE.REFINE", "true", "REFINE.TYPE", "outside"]


def as_trained(cfg):
    """Return a network as training and as tracking see it: channels come last where they may."""
    model = build_model(cfg)
    lay_out(model)
    return model


def labels(side=17):
    boxes = {"label_loc": torch.rand(2, 4, 1, side, side)}
    cls = torch.randint(0, 2, (2, 1, side, side))
    return {"label_cls": cls, **boxes, "label_loc_weight": torch.rand(2, 1, side, side)}


def images(side, batch=2):
    pixels = torch.rand(batch, 3, side, side) * 255
    return pixels.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("neck", [True, False])
def test_every_parameter_learns(neck):
    model = as_trained(config("ADJUST.ADJUST", str(neck))).train()
    losses = model({"template": images(127), "search": images(255), **labels()})
    losses["total_loss"].backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_other_losses_learn_where_those_of_classes_and_boxes_have_no_weight():
    registry.LOSSES["outside"] = lambda cls, loc, data, counts: {"iou_loss": cls.sum()}
    none = ["TRAIN.CLS_WEIGHT", "0", "TRAIN.LOC_WEIGHT", "0", "RPN.LOSS", "outside"]
    model = as_trained(config(*none, "TRAIN.LOSS_WEIGHTS", "{'iou_loss': 2}"))
    losses = model({"template": images(127), "search": images(255), **labels()})
    assert losses["total_loss"].item() == pytest.approx(2 * losses["iou_loss"].item()) != 0


def test_masks_of_outside_heads_learn_at_some_cells_and_are_refined():
    model = as_trained(config(*MASKS)).train()
    weight = torch.zeros(2, 17, 17)
    weight[0, 3, 4] = weight[1, 16, 0] = 1
    masks = {"label_mask": torch.ones(2, 255, 255), "label_mask_weight": weight}
    batch = {"template": images(127), "search": images(255), **labels(), **masks}
    losses = model(batch)
    losses["mask_loss"].backward()
    for part in (model.mask_head.out, model.refine_head):
        assert all(p.grad is not None and p.grad.any() for p in part.parameters())
    model.eval()
    kernels = model.encode_template(images(127))
    found = model.predict_with_mask(kernels, images(255))
    assert model.refine(found, (3, 4)).shape == (2, 127 * 127)


@pytest.mark.parametrize("opts", [[], ["ADJUST.ADJUST", "false"], ["TRACK.TYPE", "outside"]])
def test_several_targets_are_found_as_each_alone(opts):
    cfg = config(*opts)
    model = prepare_model(build_model(cfg), cfg)
    frames = np.random.default_rng(0).integers(0, 255, (2, 240, 320, 3), np.uint8)
    boxes = [(20, 30, 40, 50), (200, 100, 60, 30), (120, 90, 30, 30)]
    several = MultiTracker(lambda: build_tracker(model, cfg))
    for box in boxes:
        several.add(frames[0], box)
    for number, result in several.track(frames[1]).items():
        alone = Tracker(build_tracker(model, cfg))
        alone.init(frames[0], boxes[number])
        expected = alone.track(frames[1])
        np.testing.assert_allclose(result.bbox, expected.bbox, atol=1e-2)
        assert result.score == pytest.approx(expected.score, rel=1e-3)


def test_a_tracker_of_the_model_alone_reads_the_configuration_that_it_is_built_from():
    cfg = config("TRACK.TYPE", "outside", "TRACK.INSTANCE_SIZE", "271")
    build_tracker(build_model(cfg), cfg)
    assert configuration.cfg.TRACK.INSTANCE_SIZE == 271
    model = build_model(configuration.cfg)
    assert build_tracker(model).model is model
    with pytest.raises(ValueError, match="outside takes no parameters"):
        TrackerSpec(cfg, Path(), "").with_settings("TRACK.LR", "0.3")


def test_channels_of_one_map_may_be_a_number(monkeypatch):
    monkeypatch.setattr(Neck, "out_channels", 8, raising=False)
    for channels in (8, [8], (8,)):
        monkeypatch.setattr(Neck, "in_channels", channels, raising=False)
        monkeypatch.setattr(Head, "in_channels", channels, raising=False)
        build_model(config())
    with pytest.raises(ValueError, match="the head takes 9 channels, the neck gives 8"):
        monkeypatch.setattr(Head, "in_channels", (9,))
        build_model(config())
    with pytest.raises(ValueError, match="the neck takes 9 channels, the backbone gives 8"):
        monkeypatch.setattr(Neck, "in_channels", 9)
        build_model(config())


@torch.inference_mode()
def test_a_prepared_network_answers_as_the_one_it_is_made_of():
    model = build_model(config())
    z, x = images(127, 1).contiguous(), images(255, 1).contiguous()
    expected = model.predict(model.encode_template(z), x)
    fast = prepare_for_tracking(model)
    for found, truth in zip(fast.predict(fast.encode_template(z), x), expected, strict=True):
        torch.testing.assert_close(found, truth, rtol=1e-4, atol=1e-5)


def test_what_a_backbone_does_not_state_is_measured():
    backbone = build_model(
        config("BACKBONE.KWARGS.maps", "4", "MASK.MASK", "true", *MASKS)
    ).backbone
    assert backbone.out_channels == [4, 6, 8, 8]
    assert (backbone.strides, backbone.stride) == ([2, 4, 8, 8], 8)
    registry.BACKBONES["fixed"] = lambda: nn.AdaptiveAvgPool2d(4)
    with pytest.raises(ValueError, match="do not grow with the image; it must state out_channels"):
        build_model(config("BACKBONE.TYPE", "fixed"))


@pytest.mark.parametrize(("zoom", "side", "stride"), [(1, 17, 8), (2, 34, 4), (0.5, 9, 16)])
def test_labels_are_those_of_the_response(zoom, side, stride):
    model = build_model(config("RPN.KWARGS.zoom", str(zoom)))
    assert model.grid(127, 255) == Grid(side, stride, 255)


def test_a_mask_head_need_not_state_its_channels_unless_masks_are_refined(monkeypatch):
    monkeypatch.delattr(MaskHead, "hidden")
    with pytest.raises(ValueError, match=r"MASK\.TYPE: MaskHead must state hidden"):
        build_model(config(*MASKS))
    monkeypatch.delattr(MaskHead, "in_channels")
    assert build_model(config(*MASKS, "REFINE.REFINE", "false")).has_masks


def test_a_head_without_methods_is_refused():
    registry.RPN_HEADS["half"] = type("Half", (nn.Module,), {"encode": lambda self, zf: zf})
    with pytest.raises(ValueError, match="head Half has neither forward nor encode and correlate"):
        build_model(config("RPN.TYPE", "half"))
