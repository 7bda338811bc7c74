"""Masks by pixel-wise correlation: geometry, the same result by all paths, and learning."""

import pytest
import torch

from pysot.models.head.mask import cut_windows
from pysot.models.head.pixel_mask import PixelMaskCorr, WindowRefine, _similarities


def features(batch=2, seed=0):
    """Maps of 255 pixels at strides 2, 4 and 8, and a template."""
    rng = torch.Generator().manual_seed(seed)
    shapes = ((16, 127), (24, 63), (12, 31), (12, 7))
    low0, low1, xf, zf = (torch.randn(batch, c, n, n, generator=rng) for c, n in shapes)
    return (low0, low1), xf, zf


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
        return torch.zeros(1, (16, 24, 8)[len(windows) - 1], *windows[-1].shape[1:])

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
        refine.masks_at(low, correlation, cells.tolist()),
    )
    (coarse.square().sum() + fine.square().sum()).backward()
    parameters = [*head.named_parameters(), *refine.named_parameters()]
    dead = [name for name, p in parameters if p.grad is None or not p.grad.any()]
    assert dead == []
