import pytest
import torch
from torch import nn

from pysot.core.registry import RPN_HEADS
from pysot.models.head.mask import MaskCorr, Refine, cut_windows
from pysot.models.head.rpn import FC
from pysot.models.loss import balanced_logistic_loss


def multi(weighted):
    torch.manual_seed(0)
    return RPN_HEADS.build("MultiRPN", anchor_num=2, in_channels=[4, 6], weighted=weighted).eval()


def levels(side):
    return [torch.rand(1, channels, side, side) for channels in (4, 6)]


@torch.inference_mode()
@pytest.mark.parametrize("weighted", [False, True])
def test_levels_are_averaged_or_weighted(weighted):
    head, zf, xf = multi(weighted), levels(7), levels(12)
    cls_share = loc_share = torch.tensor([0.5, 0.5])
    if weighted:
        head.cls_weight.copy_(torch.tensor([0.0, 2.0]))
        head.loc_weight.copy_(torch.tensor([1.0, -1.0]))
        cls_share, loc_share = head.cls_weight.softmax(0), head.loc_weight.softmax(0)
    outputs = [head.rpn2(zf[0], xf[0]), head.rpn3(zf[1], xf[1])]
    cls, loc = head(zf, xf)
    assert cls.shape == (1, 4, 6, 6)
    expected = [
        sum(share * out[kind] for share, out in zip(shares, outputs, strict=True))
        for kind, shares in enumerate((cls_share, loc_share))
    ]
    torch.testing.assert_close([cls, loc], expected)


@torch.inference_mode()
def test_a_single_level_needs_no_list():
    head = RPN_HEADS.build("MultiRPN", anchor_num=2, in_channels=[4]).eval()
    zf, xf = torch.rand(1, 4, 7, 7), torch.rand(1, 4, 12, 12)
    torch.testing.assert_close(head(zf, xf), head.rpn2(zf, xf))


def test_levels_of_another_number_are_refused():
    with pytest.raises(ValueError, match="zip"):
        multi(False).encode(levels(7)[:1])


@torch.inference_mode()
def test_similarity_is_the_scaled_and_shifted_inner_product():
    head = FC()
    head.adjust.weight.fill_(2.0)
    head.adjust.bias.fill_(-1.0)
    zf, xf = torch.randn(2, 3, 6, 6), torch.randn(2, 3, 9, 9)
    response, loc = head(zf, xf)
    assert loc is None
    assert response.shape == (2, 1, 4, 4)
    inner = (zf[1] * xf[1, :, 2:8, 3:9]).sum()
    assert response[1, 0, 2, 3].item() == pytest.approx(2e-3 * inner.item() - 1, abs=1e-5)


@torch.inference_mode()
def test_masks_are_made_from_the_correlation():
    head = MaskCorr(in_channels=4, hidden=5, out_channels=9, hidden_kernel_size=3).eval()
    zf, xf = torch.rand(2, 4, 7, 7), torch.rand(2, 4, 12, 12)
    masks, correlation = head(zf, xf)
    assert masks.shape == (2, 9, 6, 6)
    assert correlation.shape == (2, 5, 6, 6)
    assert torch.equal(correlation, head.correlate(head.encode(zf), xf))
    torch.testing.assert_close(masks, nn.Sequential(*head.head)(correlation))


@pytest.mark.parametrize("cell", [(0, 0), (0, 24), (24, 24), (12, 3)])
@pytest.mark.parametrize(
    ("map_side", "side", "padding", "step"), [(125, 61, 16, 4), (31, 15, 4, 1)]
)
def testcut_windows_are_windows_of_the_padded_map(cell, map_side, side, padding, step):
    features = torch.rand(2, 3, map_side, map_side)
    padded = nn.functional.pad(features, [padding] * 4)
    top, left = cell[0] * step, cell[1] * step
    expected = padded[:, :, top : top + side, left : left + side]
    cells = [(sample, *cell) for sample in range(2)]
    assert torch.equal(cut_windows(features, cells, side, padding, step), expected)


@pytest.fixture(scope="module")
def refined():
    torch.manual_seed(0)
    sides = ((64, 125), (256, 63), (512, 31))
    low = [torch.rand(2, channels, side, side) for channels, side in sides]
    return Refine(), low, torch.rand(2, 256, 25, 25)


@torch.inference_mode()
def test_every_sample_may_have_a_cell_of_its_own(refined):
    head, low, correlation = refined
    together = head(low, correlation, [(3, 19), (24, 0)])
    assert together.shape == (2, 127 * 127)
    for sample, cell in enumerate([(3, 19), (24, 0)]):
        alone = head([m[sample : sample + 1] for m in low], correlation[sample : sample + 1], cell)
        torch.testing.assert_close(together[sample], alone[0], rtol=1e-4, atol=1e-6)
    assert torch.equal(head(low, correlation, (3, 19))[0], together[0])


@pytest.mark.parametrize("cell", [(25, 0), (0, -1)])
def test_cells_outside_of_the_response_are_refused(refined, cell):
    head, low, correlation = refined
    with pytest.raises(ValueError, match="outside of the 25 x 25 response"):
        head(low, correlation, cell)


def test_every_parameter_of_refine_learns(refined):
    head, low, correlation = refined
    head(low, correlation, (12, 12)).square().mean().backward()
    dead = [n for n, p in head.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


@pytest.mark.parametrize(
    ("response", "label", "expected"),
    [
        ([], [], 0.0),
        ([3.0], [-1], 0.0),  # ignored
        ([0.0], [1], 0.5 * 0.6931472),  # half of ln 2: no negatives
        ([0.0, 0.0, 0.0, 0.0], [1, 0, 0, 0], 0.6931472),  # one half each, whatever their number
        ([2.0, -1.0, 9.0], [1, 0, -1], 0.5 * (0.1269280 + 0.3132617)),  # ln(1+e^-2), ln(1+e^-1)
        ([100.0], [0], 50.0),  # no overflow
    ],
)
def test_balanced_logistic_loss(response, label, expected):
    logits = torch.tensor(response, requires_grad=True)
    loss = balanced_logistic_loss(logits, torch.tensor(label, dtype=torch.int64))
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    loss.backward()
    assert logits.grad is not None
