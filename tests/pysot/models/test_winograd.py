import pytest
import torch
from torch import nn

from pysot.inference import WinogradConv2d, _transforms


@pytest.mark.parametrize(("padding", "dilation"), [(0, 1), (1, 1), (2, 2), (4, 4), (1, 2), (0, 3)])
@pytest.mark.parametrize("shape", [(1, 5, 22, 22), (2, 5, 9, 31), (9, 5, 8, 12)])
@torch.inference_mode()
def test_it_is_the_convolution(padding, dilation, shape):
    generator = torch.Generator().manual_seed(0)
    conv = nn.Conv2d(5, 7, 3, padding=padding, dilation=dilation, bias=dilation != 2)
    for parameter in conv.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
    x = torch.randn(shape, generator=generator)
    ours, expected = WinogradConv2d(conv)(x), conv.double()(x.double())
    assert ours.dtype == torch.float32 and ours.shape == expected.shape
    torch.testing.assert_close(ours.double(), expected, rtol=0, atol=1e-4)


def amplification():
    """Factor by which the transforms enlarge the rounding of the products, from their matrices.

    With independent data of equal variance: the deviation of what is added up to an output, without
    cancellation, over the deviation of the output; the mean square over a tile's outputs.
    """
    output, kernel, data = (matrix**2 for matrix in _transforms())
    return float((output @ (kernel.sum(1) * data.sum(1))).mean() / 3)


def test_points_keep_the_amplification_of_rounding_low():
    assert amplification() == pytest.approx(6.94, abs=0.01)  # 10.8 with points -2 and 2


@torch.inference_mode()
def test_rounding_is_that_of_a_sum_over_the_channels():
    # adding C numbers of either sign one by one is off by about eps * sqrt(C) / 7 of the result's
    # deviation; a processor that adds in blocks is closer, so none exceeds this by much
    torch.manual_seed(0)
    conv, x = nn.Conv2d(256, 16, 3), torch.randn(1, 256, 14, 14)
    ours, exact = WinogradConv2d(conv)(x), conv.double()(x.double())
    limit = torch.finfo(torch.float32).eps * 256**0.5 / 4 * amplification() * exact.std()
    assert (ours - exact).std() < limit
    assert (ours - exact).abs().max() < 8 * limit


@pytest.mark.parametrize(
    "changed",
    [
        {"kernel_size": 5},
        {"stride": 2},
        {"groups": 2},
        {"padding": (1, 0)},
        {"dilation": (2, 1)},
        {"padding": "same"},
        {"padding": 1, "padding_mode": "reflect"},
    ],
    ids=str,
)
def test_other_convolutions_are_refused(changed):
    conv = nn.Conv2d(**{"in_channels": 4, "out_channels": 4, "kernel_size": 3} | changed)
    assert not WinogradConv2d.fits(conv)
    with pytest.raises(ValueError, match="stride 1"):
        WinogradConv2d(conv)
