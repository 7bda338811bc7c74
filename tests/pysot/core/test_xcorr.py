import numpy as np
import pytest
import torch
import torch.nn.functional as F

from golden import fill
from pysot.core.xcorr import xcorr_depthwise, xcorr_fast


def uniform(seed, shape):
    values = 2 * fill.uniform(seed, int(np.prod(shape))) - 1
    return torch.from_numpy(values.reshape(shape).astype(np.float32))


def test_correlations_equal_recorded_ones(geometry):
    cases, arrays = geometry
    for case in cases["xcorr"]:
        x = uniform(case["seeds"][0], case["x"])
        kernel = uniform(case["seeds"][1], case["kernel_depthwise_and_slow"])
        filters = uniform(case["seeds"][2], case["kernel_fast"])
        index = case["i"]
        np.testing.assert_allclose(
            xcorr_depthwise(x, kernel), arrays[f"xcorr_dw_{index}"], atol=1e-5
        )
        np.testing.assert_allclose(xcorr_fast(x, filters), arrays[f"xcorr_fast_{index}"], atol=1e-5)


def test_correlations_equal_their_definition():
    x, kernel = uniform(1, (2, 3, 6, 6)), uniform(2, (2, 3, 4, 4))
    windows = x.unfold(2, 4, 1).unfold(3, 4, 1)  # (B, C, R, R, 4, 4)
    by_channel = (windows * kernel[:, :, None, None]).sum(dim=(4, 5))
    torch.testing.assert_close(xcorr_depthwise(x, kernel), by_channel)
    torch.testing.assert_close(xcorr_fast(x, kernel), by_channel.sum(dim=1, keepdim=True))


def test_one_kernel_serves_all_samples():
    x, kernel = uniform(1, (3, 2, 6, 6)), uniform(2, (1, 4, 4, 4))
    torch.testing.assert_close(xcorr_fast(x, kernel), xcorr_fast(x, kernel.expand(3, 4, 4, 4)))
    kernel = kernel[:, :2]
    by_sample = xcorr_depthwise(x, kernel.expand(3, 2, 4, 4))
    torch.testing.assert_close(xcorr_depthwise(x, kernel), by_sample)


def gradients(out, *inputs):
    return torch.autograd.grad(out, inputs, uniform(5, out.shape), retain_graph=True)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_training_takes_the_gradients_of_the_definition(outputs, layout):
    x = uniform(1, (2, 4, 9, 8)).to(memory_format=layout).requires_grad_()
    kernel = uniform(2, (2, outputs * 4, 3, 2)).requires_grad_()
    one_by_one = [
        F.conv2d(sample[None], filters.reshape(outputs, 4, 3, 2))
        for sample, filters in zip(x, kernel, strict=True)
    ]
    expected, found = torch.cat(one_by_one), xcorr_fast(x, kernel)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradients(found, x, kernel), gradients(expected, x, kernel))


def test_the_gradients_of_a_correlation_per_channel_are_its_own():
    x, kernel = (uniform(n, (2, 4, side, side)).requires_grad_() for n, side in ((1, 8), (2, 3)))
    windows = x.unfold(2, 3, 1).unfold(3, 3, 1)
    expected, found = (
        (windows * kernel[:, :, None, None]).sum(dim=(4, 5)),
        xcorr_depthwise(x, kernel),
    )
    torch.testing.assert_close(gradients(found, x, kernel), gradients(expected, x, kernel))
    fixed = xcorr_depthwise(x.detach(), kernel)
    torch.testing.assert_close(gradients(fixed, kernel), gradients(expected, kernel))


@pytest.mark.parametrize("correlation", [xcorr_fast, xcorr_depthwise])
def test_mixed_precision_learns(correlation):
    x, kernel = (uniform(n, (2, 4, side, side)).requires_grad_() for n, side in ((1, 8), (2, 3)))
    expected = gradients(correlation(x, kernel), x, kernel)
    with torch.autocast("cpu", torch.bfloat16):
        found = gradients(correlation(x, kernel).float(), x, kernel)
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)
