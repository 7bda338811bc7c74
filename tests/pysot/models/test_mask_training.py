"""Learning of masks: which window a cell stands for, the loss, and what gets a gradient."""

import math

import numpy as np
import pytest
import torch

from pysot.core.config import default_config
from pysot.core.settings import TrackParams
from pysot.models.loss import (
    mask_dice_loss,
    mask_logistic_loss,
    mask_overlaps,
    mask_windows,
)
from pysot.models.model_builder import ModelBuilder, build_model
from pysot.tracker.siammask_tracker import SiamMaskTracker

# --- windows


@pytest.mark.parametrize(
    ("size", "side", "cell", "corner"),
    [
        (255, 25, (12, 12), (64, 64)),  # the middle: 64 + 63 = 127 = 255 // 2
        (255, 25, (4, 20), (0, 128)),  # flush with the border
        (143, 3, (0, 2), (0, 16)),
        (143, 3, (1, 1), (8, 8)),
        (223, 21, (10, 10), (48, 48)),
    ],
)
def test_windows_inside_the_image(size, side, cell, corner):
    label = torch.arange(size * size).reshape(1, size, size)
    (window,) = mask_windows(label, torch.tensor([[0, *cell]]), side, 127)
    top, left = corner
    assert torch.equal(window, label[0, top : top + 127, left : left + 127])


def test_windows_beyond_the_image_are_unknown_there():
    label = torch.stack([torch.full((255, 255), -1), torch.ones(255, 255)]).to(torch.int8)
    (window,) = mask_windows(label, torch.tensor([[1, 0, 24]]), 25, 127)
    # rows from -32, columns from 8 * 24 - 32 = 160
    assert (window[:32] == 0).all() and (window[:, 255 - 160 :] == 0).all()
    assert (window[32:, : 255 - 160] == 1).all()


def paste_of(cell, instance_size, base_size):
    """Pixels of a search image, at a zoom of 1, that the tracker pastes a mask over."""
    params = TrackParams(instance_size=instance_size, base_size=base_size)
    tracker = SiamMaskTracker(model=None, params=params)
    center, frame = (500.0, 400.0), (900, 1000)
    x, y, w, h = tracker._frame_in_mask(cell, center, instance_size, frame)
    assert (w, h) == (1000, 900)  # one pixel of the mask per pixel of the frame
    return -y - (400 - instance_size / 2), -x - (500 - instance_size / 2)


@pytest.mark.parametrize(("size", "base"), [(255, 8), (143, 0)])
def test_windows_are_where_the_tracker_pastes_masks(size, base):
    side = (size - 127) // 8 + 1 + base
    rows = torch.arange(size).reshape(1, size, 1).expand(1, size, size)
    for cell in [(0, 0), (side // 2, side - 1), (1, 2)]:
        window = mask_windows(rows + 1, torch.tensor([[0, *cell]]), side, 127)[0]
        known = window[:, 63].nonzero()[0].item()  # first row inside the image
        top, left = paste_of(cell, size, base)
        assert window[known, 63].item() - 1 - known == top
        columns = mask_windows(rows.mT + 1, torch.tensor([[0, *cell]]), side, 127)[0]
        known = columns[63].nonzero()[0].item()
        assert columns[63, known].item() - 1 - known == left


# --- loss and overlap


def test_loss_by_hand():
    logits = torch.tensor([[[2.0, -1.0], [0.0, 5.0]]], requires_grad=True)
    windows = torch.tensor([[[1, -1], [1, 0]]], dtype=torch.int8)
    # ln(1 + e^-2), ln(1 + e^-1), ln 2, and nothing for the unknown pixel; over four pixels
    expected = (0.1269280 + 0.3132617 + math.log(2)) / 4
    loss = mask_logistic_loss(logits, windows)
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    loss.backward()
    assert logits.grad[0, 1, 1] == 0


def test_parts_of_a_step_add_up():
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 5, 5, generator=rng)
    windows = torch.randint(-1, 2, (6, 5, 5), generator=rng)
    whole = mask_logistic_loss(logits, windows)
    mean = torch.tensor(3.0)  # windows per part
    parts = [mask_logistic_loss(logits[s], windows[s], mean) for s in (slice(1), slice(1, 6))]
    assert sum(parts).item() / 2 == pytest.approx(whole.item(), rel=1e-6)
    one, none = logits[:1], logits[:0]  # a single window in two parts
    parts = [mask_logistic_loss(p, windows[: len(p)], torch.tensor(0.5)) for p in (one, none)]
    alone = mask_logistic_loss(one, windows[:1]).item()
    assert sum(parts).item() / 2 == pytest.approx(alone, rel=1e-6)


def test_dice_loss_by_hand():
    sure = 100.0
    logits = torch.tensor([[[sure, sure], [-sure, sure]]])
    windows = torch.tensor([[[1, -1], [1, 0]]])  # one of two is found, one too many, one unknown
    assert mask_dice_loss(logits, windows).item() == pytest.approx(1 - 3 / 5)
    assert mask_dice_loss(logits, windows, torch.tensor(2)).item() == pytest.approx(0.2)
    assert mask_dice_loss(logits[:0], windows[:0]).item() == 0


def test_no_window_has_no_loss_and_no_overlap():
    logits = torch.zeros(0, 4, 4, requires_grad=True)
    windows = torch.zeros(0, 4, 4, dtype=torch.int8)
    mask_logistic_loss(logits, windows).backward()
    assert set(mask_overlaps(logits, windows)) == {"mask_iou", "mask_iou_50", "mask_iou_70"}
    assert all(value == 0 for value in mask_overlaps(logits, windows).values())


def test_overlaps_by_hand():
    windows = torch.tensor([[[1, 1], [-1, 0]], [[1, 1], [1, 1]], [[-1, -1], [-1, -1]]])
    logits = torch.tensor([[[9.0, -9], [-9, 9]], [[1, 1], [1, -1]], [[-1, -1], [-1, -1]]])
    # 1 of 2 (the unknown pixel does not count), 3 of 4, and nothing where there is nothing
    found = {name: value.item() for name, value in mask_overlaps(logits, windows).items()}
    assert found == pytest.approx(
        {"mask_iou": (0.5 + 0.75 + 1) / 3, "mask_iou_50": 2 / 3, "mask_iou_70": 2 / 3}
    )


# --- the network

NETWORK = {
    "BACKBONE.TYPE": "resnet18",
    "BACKBONE.KWARGS": {"used_layers": [0, 1, 2, 3], "width_mult": 0.125},
    "ADJUST.KWARGS": {"in_channels": [32], "out_channels": [12]},
    "RPN.TYPE": "DepthwiseRPN",
    "RPN.KWARGS": {"anchor_num": 5, "in_channels": 12, "out_channels": 8},
    "MASK.MASK": True,
    "MASK.KWARGS": {"in_channels": 12, "hidden": 10, "out_channels": 63 * 63},
    "TRAIN.MASK_WEIGHT": 36,
}
REFINE = {"REFINE.REFINE": True, "TRAIN.BASE_SIZE": 0}
REFINE |= {"TRAIN.CLS_WEIGHT": 0.0, "TRAIN.LOC_WEIGHT": 0.0}


def configured(**overrides):
    cfg = default_config()
    for key, value in {**NETWORK, **overrides}.items():
        cfg.merge_from_list([key, value])
    return cfg


def batch(size, side):
    middle = side // 2
    cells = [(0, middle, middle), (1, middle + 1, middle - 1), (1, middle, middle + 1)]
    rng = torch.Generator().manual_seed(0)
    label = torch.full((2, 5, side, side), -1)
    label[:, :, 0] = 0
    for sample, row, column in cells:
        label[sample, 2, row, column] = 1
    return {
        "template": 255 * torch.rand(2, 3, 127, 127, generator=rng),
        "search": 255 * torch.rand(2, 3, size, size, generator=rng),
        "label_cls": label,
        "label_loc": torch.randn(2, 4, 5, side, side, generator=rng),
        "label_loc_weight": (label == 1).float(),
        "label_mask": torch.where(torch.rand(2, size, size, generator=rng) > 0.5, 1, -1),
        "label_mask_weight": (label == 1).any(dim=1).float(),
    }


def test_first_stage_teaches_every_parameter():
    torch.manual_seed(0)
    model = ModelBuilder(configured())
    losses = model(batch(255, 25))
    expected = losses["cls_loss"] + 1.2 * losses["loc_loss"] + 36 * losses["mask_loss"]
    assert losses["total_loss"].item() == pytest.approx(expected.item())
    assert losses["mask_loss"].item() == pytest.approx(math.log(2), abs=0.2)  # undecided
    losses["total_loss"].backward()
    dead = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


def test_chosen_cells_have_the_masks_of_the_whole_map():
    torch.manual_seed(0)
    model = ModelBuilder(configured())
    head, data = model.mask_head, batch(255, 25)
    correlation = torch.randn(2, 10, 25, 25)
    cells = data["label_mask_weight"].nonzero()
    whole = head.masks(correlation)
    for mask, (sample, row, column) in zip(
        head.masks_at(correlation, cells), cells.tolist(), strict=True
    ):
        torch.testing.assert_close(mask, whole[sample, :, row, column], rtol=1e-4, atol=1e-5)


def test_coarse_masks_are_enlarged_corner_to_corner():
    model = build_model(configured())
    corners = torch.zeros(63, 63)
    corners[0, 0], corners[-1, -1] = 1, 2
    model.mask_head.masks_at = lambda *_: corners.reshape(1, -1)
    (mask,) = model._masks_at((), torch.zeros(1, 10, 25, 25), torch.zeros(1, 3, dtype=torch.long))
    assert mask.shape == (1, 127, 127)
    assert (mask[0, 0, 0], mask[0, -1, -1]) == (1, 2)


def second_stage():
    torch.manual_seed(0)
    model = ModelBuilder(configured(**REFINE))
    for part in (model.backbone, model.neck, model.rpn_head, model.mask_head):
        part.eval().requires_grad_(False)
    model.backbone.conv1.weight.mul_(0.01)  # as if the batch norm after it knew the images
    return model


def test_second_stage_teaches_the_refinement_alone():
    model = second_stage()
    losses = model(batch(143, 3))
    assert losses.keys() == {"total_loss", "mask_loss", "mask_iou", "mask_iou_50", "mask_iou_70"}
    assert losses["total_loss"].item() == pytest.approx(36 * losses["mask_loss"].item())
    losses["total_loss"].backward()
    learning = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert learning == {n for n, _ in model.named_parameters() if n.startswith("refine_head.")}


def test_second_stage_learns_a_batch_by_heart():
    model, data = second_stage(), batch(143, 3)
    model.mask_head.conv_search[0].weight.mul_(3)  # a correlation that says something
    data["label_mask"] = torch.full((2, 143, 143), -1)
    data["label_mask"][:, 40:100, 50:90] = 1
    optimizer = torch.optim.SGD(model.refine_head.parameters(), lr=0.003, momentum=0.9)
    losses = []
    for _ in range(30):
        found = model(data)
        optimizer.zero_grad()
        found["total_loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10)
        optimizer.step()
        losses.append(found["mask_loss"].item())
    assert losses[0] > 0.55
    assert losses[-1] < 0.3  # "background everywhere" has 0.42


@torch.no_grad()
def test_a_narrow_search_image_has_the_features_of_a_wide_one():
    """The middle 143 of 255 pixels: its cells see what the wide image's middle cells see."""
    model = build_model(configured(**REFINE))
    rng = torch.Generator().manual_seed(1)
    z, wide = (255 * torch.rand(1, 3, s, s, generator=rng) for s in (127, 255))
    # zero padding in the backbone reaches far into a map of 17 cells: without it they are equal
    for module in model.backbone.modules():
        if isinstance(module, torch.nn.Conv2d) and module.kernel_size[0] == 3:
            module.weight[:, :, [0, 0, 0, 1, 1, 2, 2, 2], [0, 1, 2, 0, 2, 0, 1, 2]] = 0
    kernels = model.encode_template(z)
    found = []
    for image, extra in ((wide, None), (wide[:, :, 56:-56, 56:-56], 2)):
        low, xf = model.features(image, extra)
        correlation = model.mask_head.correlate(kernels.mask, xf)
        middle = correlation.shape[-1] // 2
        mask = model.refine_head(low, correlation, (middle, middle))
        found.append((correlation[0, :, middle, middle], mask))
    assert xf.shape[-1] == 9 and correlation.shape[-1] == 3
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("refine", [False, True])
def test_a_batch_without_masks_still_has_gradients(refine):
    model = second_stage() if refine else ModelBuilder(configured())
    size, side = (143, 3) if refine else (255, 25)
    data = batch(size, side) | {"label_mask_weight": torch.zeros(2, side, side)}
    losses = model(data)
    assert losses["mask_loss"].item() == 0
    losses["total_loss"].backward()
    learns = model.refine_head if refine else model
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learns.parameters())


def test_both_masks_are_learnt_where_nothing_is_frozen():
    torch.manual_seed(0)
    model = ModelBuilder(configured(**{"REFINE.REFINE": True}))
    losses = model(batch(255, 25))
    losses["total_loss"].backward()
    assert losses["mask_loss"].item() == pytest.approx(2 * math.log(2), abs=0.4)
    dead = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


def test_dice_loss_is_computed_where_it_is_named():
    torch.manual_seed(0)
    named = {"TRAIN.LOSS_WEIGHTS": {"dice_loss": 0.5}, "TRAIN.MASK_WEIGHT": 2}
    losses = ModelBuilder(configured(**REFINE, **named))(batch(255, 25))
    assert losses.keys() >= {"mask_loss", "dice_loss"} and "cls_loss" not in losses
    expected = 2 * losses["mask_loss"] + 0.5 * losses["dice_loss"]
    assert losses["total_loss"].item() == pytest.approx(expected.item())


def test_counts_of_a_batch():
    model = ModelBuilder(configured())
    data = batch(255, 25)
    counts = model.label_counts(data)
    assert counts.tolist() == [3, 2 * 5 * 25, 3]
    twice = model.eval()(data | {"label_counts": 2.0 * counts})
    once = model(data)
    for name in ("cls_loss", "mask_loss"):
        assert 2 * twice[name].item() == pytest.approx(once[name].item(), rel=1e-5)


@pytest.mark.parametrize("width", [0.25, 0.5, 1.0])
def test_refinement_takes_the_widths_of_its_backbone(width):
    kwargs = {"used_layers": [0, 1, 2, 3], "width_mult": width}
    neck = {"in_channels": [int(256 * width)], "out_channels": [12]}
    with torch.device("meta"):
        model = ModelBuilder(
            configured(**REFINE, **{"BACKBONE.KWARGS": kwargs, "ADJUST.KWARGS": neck})
        )
    shapes = {name: tuple(value.shape[:2]) for name, value in model.state_dict().items()}
    widths = [int(c * width) for c in (64, 64, 128)]
    assert [shapes[f"refine_head.v{n}.0.weight"] for n in range(3)] == [
        (channels // 4, channels) for channels in widths
    ]
    assert shapes["refine_head.deconv.weight"] == (10, 32)
    assert np.prod(shapes["refine_head.v2.2.weight"]) == 32 * (widths[2] // 4)
