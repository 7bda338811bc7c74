"""Masks by pixel-wise correlation: geometry, the same result by all paths, and learning."""

import numpy as np
import pytest
import torch

from pysot.models.head.mask import cut_windows
from pysot.models.head.pixel_mask import (
    PixelMaskCorr,
    WindowRefine,
    _box_maps,
    _moved,
    _similarities,
    cell_boxes,
)
from pysot.utils.anchor import decode_boxes


def features(batch=2, seed=0):
    """Maps of 255 pixels at strides 2, 4 and 8, and a template."""
    rng = torch.Generator().manual_seed(seed)
    shapes = ((16, 127), (24, 63), (12, 31), (12, 7))
    low0, low1, xf, zf = (torch.randn(batch, c, n, n, generator=rng) for c, n in shapes)
    return (low0, low1), xf, zf


def with_boxes(correlation):
    """Give every cell the same box."""
    boxes = torch.tensor([3.0, -5.0, 60.0, 40.0])[None, :, None, None]
    return torch.cat([correlation, boxes.expand(len(correlation), -1, 25, 25)], dim=1)


def heads():
    torch.manual_seed(0)
    return PixelMaskCorr(12, hidden=8), WindowRefine(in_channels=8)


def test_similarities_by_hand():
    kernel = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).reshape(1, 2, 1, 2)  # cells (1, 0) and (0, 1)
    x = torch.tensor([3.0, 5.0]).reshape(1, 2, 1, 1)
    assert _similarities(kernel, x).flatten().tolist() == [3, 5, 5, 4]


def test_one_template_serves_several_search_images():
    _, xf, zf = features()
    head = heads()[0].eval()
    expected = head.correlate(zf[:1].expand(2, -1, -1, -1), xf)
    torch.testing.assert_close(head.correlate(zf[:1], xf), expected)
    assert expected.shape == (2, 8, 25, 25)


@torch.no_grad()
def test_windows_are_centered_on_their_cell():
    """In efficientnet_lite0, cell i of a map at stride s is centered on pixel s * i + s - 1."""
    pixels = [torch.arange(s - 1, 255, s, dtype=torch.float32) for s in (2, 4, 8)]
    pixels[2] = pixels[2][3:-3]  # a response begins in the middle of a template
    maps = [torch.stack(torch.meshgrid(line, line, indexing="ij"))[None] for line in pixels]
    assert maps[2].shape[-1] == 25
    windows = []

    def cut(*layout):
        windows.append(cut_windows(layout[0], [(0, 11, 13)], *layout[1:])[0])
        return torch.zeros(1, (16, 24, 12)[len(windows) - 1], *windows[-1].shape[1:])

    heads()[1].eval()._decoded(maps[:2], maps[2], cut)
    middle = [8 * 11 + 31, 8 * 13 + 31]
    for window, stride, reach in zip(windows, (2, 4, 8), (62, 60, 56), strict=True):
        assert window[:, window.shape[-1] // 2, window.shape[-1] // 2].tolist() == middle
        assert window[:, 0, 0].tolist() == [pixel - reach for pixel in middle], stride


@torch.no_grad()
def test_all_paths_give_the_same_masks():
    low, xf, zf = features()
    head, refine = (part.eval() for part in heads())
    masks, correlation = head(zf, xf)
    correlation = with_boxes(correlation)
    assert masks.shape == (2, 17 * 17, 25, 25)
    some = torch.tensor([[1, 0, 24], [0, 11, 13]])
    for mask, (n, row, column) in zip(head.masks_at(correlation, some), some, strict=True):
        torch.testing.assert_close(mask, masks[n, :, row, column])
    for cell in ((11, 13), (0, 24)):  # the last one's windows exceed the maps
        fine = refine(low, correlation, cell)
        assert fine.shape == (2, 127 * 127)
        torch.testing.assert_close(
            refine.masks_in_all(low, correlation, torch.tensor(cell)), fine, rtol=1e-4, atol=1e-5
        )
    torch.testing.assert_close(refine(low, correlation, [(3, 4), cell])[1], fine[1])


def test_boxes_of_cells_are_those_of_the_likeliest_anchor():
    rng = torch.Generator().manual_seed(0)
    cls, loc = (torch.randn(2, c, 3, 3, generator=rng) for c in (4, 8))
    shapes = torch.tensor([[40.0, 20.0], [24.0, 32.0]])
    found = cell_boxes(cls, loc, shapes)
    for n, row, column in ((0, 0, 0), (0, 1, 2), (1, 2, 1)):
        scores, deltas = cls[n, :, row, column].reshape(2, 2), loc[n, :, row, column].reshape(4, 2)
        best = int((scores[1] - scores[0]).argmax())
        expected = decode_boxes(
            deltas[:, best : best + 1].numpy(), np.array([[0, 0, *shapes[best].tolist()]])
        )
        np.testing.assert_allclose(found[n, :, row, column], expected[0], rtol=1e-5)


def test_box_maps_by_hand():
    """Pixels inside of the left, right, upper and lower side, and of all, in halves of 32."""
    maps = _box_maps(torch.tensor([[10.0, 0.0, 40.0, 16.0]]), side=15, stride=8)[0] * 16
    assert maps[:, 7, 7].tolist() == [10, 30, 8, 8, 8]
    assert maps[:, 8, 9].tolist() == [26, 14, 16, 0, 0]
    assert maps[:, 0, 0].tolist() == [-32, 32, -32, 32, -32]


def test_boxes_move_in_training_alone():
    torch.manual_seed(0)
    boxes = torch.tensor([[2.0, 3.0, 40.0, 20.0]]).repeat(4000, 1)
    moved = _moved(boxes, 0.1)
    torch.testing.assert_close(moved[:, :2].std(0), torch.tensor([4.0, 2.0]), rtol=0.1, atol=0)
    torch.testing.assert_close(
        moved[:, 2:].log().std(0), torch.tensor([0.1, 0.1]), rtol=0.1, atol=0
    )
    assert torch.equal(_moved(boxes, 0.0), boxes)


def test_boxes_change_masks():
    low, xf, zf = features(1)
    head, refine = (part.eval() for part in heads())
    correlation = head.correlate(zf, xf)
    boxes = torch.zeros(1, 4, 25, 25)
    without = refine(low, torch.cat([correlation, boxes], dim=1), (11, 13))
    boxes[0, :, 11, 13] = torch.tensor([0.0, 0.0, 64.0, 64.0])
    assert not torch.equal(refine(low, torch.cat([correlation, boxes], dim=1), (11, 13)), without)


def test_a_cell_outside_of_the_response_is_refused():
    low, *_ = features()
    with pytest.raises(ValueError, match=r"\(25, 0\) is outside of the 25 x 25 response"):
        heads()[1](low, torch.zeros(2, 8, 25, 25), (25, 0))


def test_both_heads_learn_with_every_parameter():
    low, xf, zf = features()
    head, refine = heads()
    correlation = head.correlate(zf, xf)
    cells = torch.tensor([[0, 12, 12], [1, 10, 14]])
    coarse, fine = (
        head.masks_at(correlation, cells),
        refine.masks_at(low, with_boxes(correlation), cells.tolist()),
    )
    (coarse.square().sum() + fine.square().sum()).backward()
    parameters = [*head.named_parameters(), *refine.named_parameters()]
    dead = [name for name, p in parameters if p.grad is None or not p.grad.any()]
    assert dead == []
