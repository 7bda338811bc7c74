"""Networks on features of unit length: the neck that joins maps, its heads, and what it cuts."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pysot.core.config import default_config
from pysot.core.registry import NECKS, RPN_HEADS
from pysot.core.xcorr import xcorr_cells
from pysot.engine.build import response_grid
from pysot.inference import prepare_for_tracking
from pysot.models.model_builder import build_model
from pysot.tracker.api import MultiTracker, Tracker
from pysot.tracker.tracker_builder import build_tracker
from pysot.utils.model_load import load_weights

LITE = {
    "BACKBONE.TYPE": "efficientnet_lite0",
    "BACKBONE.KWARGS": {"used_layers": [3, 4, 5]},
    "ADJUST.TYPE": "UnitFusion",
    "ADJUST.KWARGS": {"in_channels": [40, 80, 112]},
    "RPN.TYPE": "CorrRPN",
    "RPN.KWARGS": {"anchor_num": 5, "in_channels": 232, "hidden": 8, "dilations": [2]},
}


def configured(**overrides):
    cfg = default_config()
    for key, value in {**LITE, **overrides}.items():
        cfg.merge_from_list([key, value])
    return cfg


def images(side, batch=1, seed=0):
    rng = torch.Generator().manual_seed(seed)
    coarse = 255 * torch.rand(batch, 3, 12, 12, generator=rng)
    return F.interpolate(coarse, size=(side, side), mode="bilinear")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model(configured())


# --- the neck


@pytest.fixture
def fusion():
    return NECKS.build("UnitFusion", in_channels=[3, 4], center_size=3)


def test_every_map_of_a_cell_has_the_same_length(fusion):
    fused = fusion([torch.randn(2, 3, 11, 9), 1000 * torch.randn(2, 4, 5, 4)], None)
    assert fused.shape == (2, 7, 11, 9) and fusion.out_channels == [7]
    for part in fused.split([3, 4], dim=1):
        torch.testing.assert_close(part.square().sum(dim=1), torch.full((2, 11, 9), 0.5))


@pytest.mark.parametrize("side", [7, 8])
def test_cells_of_a_map_of_twice_the_stride_lie_on_every_second_cell(fusion, side):
    ramp = torch.tensor([1.0, 3, 5])  # the position of its cells in the first map
    level = torch.stack([ramp.expand(3, 3), torch.ones(3, 3), *torch.zeros(2, 3, 3)])[None]
    fused = fusion([torch.ones(1, 3, side, side), level], None)
    found = fused[0, 3] / fused[0, 4]
    expected = torch.arange(side).clamp(1, 5).float()  # beyond the border: the value there
    torch.testing.assert_close(found, expected.expand(side, side))


def test_blank_maps_stay_finite(fusion):
    fused = fusion([torch.zeros(1, 3, 7, 7), torch.zeros(1, 4, 3, 3)], None)
    assert torch.equal(fused, torch.zeros(1, 7, 7, 7))


def test_long_cells_of_16_bits_do_not_overflow(fusion):
    maps = [torch.full((1, channels, 7, 7), 300.0).half() for channels in (3, 4)]
    fused = fusion(maps, None)
    assert fused.dtype == torch.float16 and fused.isfinite().all()


@pytest.mark.parametrize(("extra", "side", "start"), [(None, 15, 0), (0, 3, 6), (2, 5, 5)])
def test_what_is_cut_is_said_and_not_guessed(fusion, extra, side, start):
    maps = [torch.randn(1, 3, 15, 15), torch.randn(1, 4, 7, 7)]
    stop = start + side
    whole = fusion(maps, None)
    torch.testing.assert_close(fusion(maps, extra), whole[:, :, start:stop, start:stop])


@pytest.mark.parametrize(
    ("kwargs", "sides", "words"),
    [
        ({"in_channels": 40}, (), "UnitFusion takes a list of one number per map, found 40"),
        ({"in_channels": []}, (), "UnitFusion takes a list"),
        ({}, (7, 4), "cannot bring a map of 4 x 4 cells to 7 x 7"),
        ({}, (7, 2), "cannot bring a map of 2 x 2 cells to 7 x 7"),
        ({"center_size": 9}, (7, 3), r"center_size: a map of 7 cells has no center of 9"),
    ],
)
def test_what_does_not_fit_is_refused(kwargs, sides, words):
    with pytest.raises(ValueError, match=words):
        neck = NECKS.build("UnitFusion", **{"in_channels": [1, 1], **kwargs})
        neck([torch.zeros(1, 1, n, n) for n in sides], 0)


# --- the heads


def unit(*shape):
    return F.normalize(torch.randn(shape), dim=1)


@torch.inference_mode()
def test_class_logits_hold_the_similarity():
    head = RPN_HEADS.build("CorrRPN", anchor_num=2, in_channels=6, hidden=4, template_size=3).eval()
    xf = unit(2, 6, 9, 9)
    zf = xf[:, :, 1:4, 5:8]
    plain, loc = head(zf, xf)
    assert plain.shape == (2, 4, 7, 7) and loc.shape == (2, 8, 7, 7)
    head.gain.fill_(30)
    louder = head(zf, xf)[0]
    background, target = ((louder - plain)[:, side] for side in (slice(0, 2), slice(2, 4)))
    torch.testing.assert_close(target, -background)
    similarity = (zf[1] * xf[1, :, 4:7, 2:5]).sum() / 9
    torch.testing.assert_close(target[1, :, 4, 2], (10 * (similarity - 0.5)).expand(2))
    assert (target[:, :, 1, 5] - 5).abs().max() < 1e-4  # the same features: similarity 1


@torch.inference_mode()
def test_the_similarity_has_a_kernel_of_its_own():
    head = RPN_HEADS.build("CorrRPN", anchor_num=2, in_channels=6, hidden=4, template_size=3).eval()
    zf, xf, other = unit(2, 6, 3, 3), unit(2, 6, 9, 9), unit(2, 6, 3, 3)
    same, copied = head(zf, xf), head.correlate((zf.clone(), zf), xf)
    torch.testing.assert_close(copied, same)
    turned = head.correlate((other, zf), xf)
    assert torch.equal(turned[1], same[1]) and not torch.allclose(turned[0], same[0])


@torch.inference_mode()
def test_every_cell_is_compared_with_every_cell():
    x, kernel = unit(2, 6, 5, 4), unit(2, 6, 3, 3)
    found = xcorr_cells(x, kernel)
    assert found.shape == (2, 9, 5, 4)
    torch.testing.assert_close(found[1, 5, 4, 2], (kernel[1, :, 1, 2] * x[1, :, 4, 2]).sum())
    torch.testing.assert_close(xcorr_cells(x, kernel[1:])[1], found[1])


def test_a_template_of_another_size_names_the_key():
    head = RPN_HEADS.build("CorrRPN", anchor_num=1, in_channels=6, template_size=5)
    with pytest.raises(ValueError, match=r"template_size is 5, but the template's map has 7 x 7"):
        head.encode(unit(1, 6, 7, 7))


@torch.inference_mode()
def test_the_response_of_siamfc_is_the_similarity_with_gain_and_offset():
    head = RPN_HEADS.build("UnitFC")
    xf = unit(2, 6, 9, 9)
    response, loc = head(xf[:, :, 2:6, 3:7], xf)
    assert loc is None and response.shape == (2, 1, 6, 6)
    torch.testing.assert_close(response[:, 0, 2, 3], torch.full((2,), 5.0))
    assert (response <= 5 + 1e-5).all()


def test_the_learned_part_of_the_similarity_begins_as_nothing():
    torch.manual_seed(0)
    plain = RPN_HEADS.build("UnitFC")
    head = RPN_HEADS.build("UnitFC", in_channels=6, rank=2)
    zf, xf = unit(2, 6, 4, 4), unit(2, 6, 9, 9)
    torch.testing.assert_close(head(zf, xf)[0], plain(zf, xf)[0])
    optimizer = torch.optim.SGD(head.parameters(), lr=1)
    for _ in range(2):
        optimizer.zero_grad()
        (head(zf, xf)[0] * torch.randn(2, 1, 6, 6)).sum().backward()
        optimizer.step()
    assert all(p.grad is not None and p.grad.any() for p in head.parameters())
    assert not torch.allclose(head(zf, xf)[0], plain(zf, xf)[0])
    with pytest.raises(ValueError, match=r"in_channels: UnitFC of rank 2 needs it"):
        RPN_HEADS.build("UnitFC", rank=2)


# --- networks


def parts_of(layers, neck, head, center_size):
    """A configuration of a neck and head on maps of EfficientNet-Lite0."""
    widths = [{3: 40, 4: 80, 5: 112}[layer] for layer in layers]
    unit = neck == "UnitFusion"
    cut = {"in_channels": widths, "center_size": center_size}
    head_kwargs = {"in_channels": sum(widths), "template_size": center_size}
    return {
        "BACKBONE.KWARGS": {"used_layers": layers},
        "ADJUST.TYPE": neck,
        "ADJUST.KWARGS": cut if unit else {**cut, "out_channels": [8] * len(layers)},
        "RPN.TYPE": head,
        "RPN.KWARGS": {
            "anchor_num": 5,
            **(head_kwargs if unit else {"in_channels": [8] * len(layers)}),
        },
    }


@torch.inference_mode()
@pytest.mark.parametrize(
    ("parts", "side", "stride"),
    [
        (parts_of([3, 4, 5], "UnitFusion", "CorrRPN", 7), 25, 8),
        (parts_of([4, 5], "UnitFusion", "CorrRPN", 5), 11, 16),
        (parts_of([4, 5], "AdjustAllLayer", "MultiRPN", 7), 9, 16),
        (parts_of([4], "AdjustAllLayer", "MultiRPN", 5), 11, 16),
    ],
)
def test_the_response_in_training_is_that_in_tracking(parts, side, stride):
    model = build_model(configured(**parts))
    grid = model.grid(127, 255)
    assert (grid.size, grid.stride) == (side, stride)
    z, x = images(127), images(255)
    tracked = model.predict(model.encode_template(z), x)
    assert [part.shape for part in tracked] == [(1, 10, side, side), (1, 20, side, side)]
    torch.testing.assert_close(trained_response(model, {"template": z, "search": x}), tracked[0])


def trained_response(model, data):
    found = []
    model._losses = lambda cls, *_: found.append(cls) or {}
    model({**data, "label_cls": None})
    del model._losses
    return found[0]


@torch.inference_mode()
def test_backbone_maps_take_the_place_of_images(model):
    z, x = images(127, 2, seed=1), images(255, 2, seed=2)
    expected = trained_response(model, {"template": z, "search": x})
    maps = {"template_maps": model.backbone_maps(z), "search_maps": model.backbone_maps(x)}
    assert [tuple(level.shape[1:]) for level in maps["search_maps"]] == [
        (40, 31, 31), (80, 15, 15), (112, 15, 15),
    ]  # fmt: skip
    assert torch.equal(trained_response(model, maps), expected)


def test_cells_of_a_mixed_network_are_those_of_its_first_map(model):
    cfg = configured()
    assert response_grid(cfg, model).size == 25  # ANCHOR.STRIDE is 8, the backbone's stride 16


def test_heads_learn_and_a_batch_is_learned_by_heart():
    torch.manual_seed(0)
    model = build_model(configured())
    model.backbone.requires_grad_(False)
    model.rpn_head.train()
    maps = {"template_maps": model.backbone_maps(images(127, 2, seed=1))}
    maps["search_maps"] = model.backbone_maps(images(255, 2, seed=2))
    label = torch.zeros(2, 5, 25, 25, dtype=torch.int64)
    label[:, 2, 12, 12] = 1
    data = {**maps, "label_cls": label, "label_loc": torch.full((2, 4, 5, 25, 25), 0.1)}
    data["label_loc_weight"] = label / label.sum()
    optimizer = torch.optim.AdamW(model.rpn_head.parameters(), lr=0.02)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        found = model(data)["total_loss"]
        found.backward()
        if not losses:
            names = model.rpn_head.named_parameters()
            assert [n for n, p in names if p.grad is None or not p.grad.any()] == []
        optimizer.step()
        losses.append(found.item())
    assert losses[-1] < 0.3 * losses[0]


@pytest.fixture(scope="module")
def trained():
    """A network whose batch norms know its features, as after training."""
    torch.manual_seed(0)
    model = build_model(configured()).train()
    with torch.no_grad():
        for seed in range(3):
            model.predict(model.encode_template(images(127, 2, seed)), images(255, 2, seed + 9))
    return model.eval()


@torch.inference_mode()
@pytest.mark.parametrize(("precision", "error"), [("fp32", 1e-4), ("bf16", 0.1), ("fp16", 0.02)])
def test_a_prepared_network_answers_as_the_one_it_is_made_of(trained, precision, error):
    z, x = images(127, seed=1), images(255, seed=2)
    expected = trained.predict(trained.encode_template(z), x)
    fast = prepare_for_tracking(trained, precision)
    kernels = fast.encode_template(z)
    for found, truth in zip(fast.predict(kernels, x), expected, strict=True):
        assert truth.std() > 1e-4
        assert (found.float() - truth).abs().max() < error * truth.abs().max()
    norms = {n for n, m in fast.named_modules() if isinstance(m, torch.nn.BatchNorm2d)}
    assert norms == {"rpn_head.channel_norm", "rpn_head.cell_norm"}  # no convolution before them
    assert fast.features(x)[1].is_contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def test_one_template_is_sought_in_many_images(trained):
    kernels, x = trained.encode_template(images(127)), images(255, 3)
    together = trained.predict(kernels, x)
    alone = [trained.predict(kernels, image[None]) for image in x]
    for found, parts in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(found, torch.cat(parts), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["SiamRPNTracker", "SiamFCTracker"])
def test_several_targets_are_found_as_each_alone(trained, kind):
    cfg, model = configured(**{"TRACK.TYPE": kind}), trained
    if kind == "SiamFCTracker":
        cfg = configured(**{"RPN.TYPE": "UnitFC", "RPN.KWARGS": {}, "TRACK.TYPE": kind})
        model = build_model(cfg)
        model.backbone.load_state_dict(trained.backbone.state_dict())
    frames = np.random.default_rng(0).integers(0, 255, (2, 24, 32, 3), np.uint8)
    frames = [cv2.resize(frame, (320, 240)) for frame in frames]
    boxes = [(20, 30, 40, 50), (200, 100, 60, 30)]
    several = MultiTracker(lambda: build_tracker(model, cfg))
    for box in boxes:
        several.add(frames[0], box)
    for number, result in several.track(frames[1]).items():
        alone = Tracker(build_tracker(model, cfg))
        alone.init(frames[0], boxes[number])
        np.testing.assert_allclose(result.bbox, alone.track(frames[1]).bbox, atol=1e-2)


@torch.inference_mode()
def test_a_checkpoint_holds_the_network(trained, tmp_path):
    torch.save(trained.state_dict(), tmp_path / "model.pth")
    copy = load_weights(build_model(configured()), tmp_path / "model.pth")
    assert "rpn_head.sides" not in copy.state_dict()
    z, x = images(127), images(255)
    found, truth = (m.predict(m.encode_template(z), x) for m in (copy, trained))
    assert all(torch.equal(a, b) for a, b in zip(found, truth, strict=True))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            {"RPN.KWARGS": {"anchor_num": 5, "in_channels": 96}},
            r"RPN\.KWARGS\.in_channels .*: the head takes 96 channels, the neck gives 232; change",
        ),
        (
            {"ADJUST.KWARGS": {"in_channels": [40, 80]}},
            r"ADJUST\.KWARGS\.in_channels: the neck takes \[40, 80\] .* gives \[40, 80, 112\]",
        ),
    ],
)
def test_other_channels_name_the_key(overrides, words):
    with pytest.raises(ValueError, match=words):
        build_model(configured(**overrides))
