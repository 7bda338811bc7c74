import numpy as np
import torch

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
