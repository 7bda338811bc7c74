"""Cross-correlation of search features with template features.

B batch, C channels, Hz and Hx sides of template and search maps, R = Hx - Hz + 1.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def xcorr_fast(x: Tensor, kernel: Tensor) -> Tensor:
    """Correlate x (B, C, Hx, Hx) over all channels, to (B, O, R, R) (SiamRPN, section 3.2).

    ``kernel``, (B, O * C, Hz, Hz), has O filters per sample; (1, O * C, Hz, Hz) serves all samples.
    """
    batch, channels = x.shape[:2]
    filters = kernel.reshape(-1, channels, *kernel.shape[2:])  # (B * O, C, Hz, Hz)
    if len(kernel) == 1:
        return F.conv2d(x, filters)
    out = F.conv2d(x.reshape(1, batch * channels, *x.shape[2:]), filters, groups=batch)
    return out.reshape(batch, -1, *out.shape[2:])


def xcorr_depthwise(x: Tensor, kernel: Tensor) -> Tensor:
    """Correlate x (B, C, Hx, Hx) per channel, to (B, C, R, R) (SiamRPN++, section 3.3).

    ``kernel`` is (B, C, Hz, Hz), or (1, C, Hz, Hz) for all samples.
    """
    batch, channels = kernel.shape[:2]
    if batch == 1:
        return F.conv2d(x, kernel.reshape(channels, 1, *kernel.shape[2:]), groups=channels)
    filters = kernel.reshape(batch * channels, 1, *kernel.shape[2:])
    flat = x.reshape(1, batch * channels, *x.shape[2:])
    out = F.conv2d(flat, filters, groups=batch * channels)
    return out.reshape(batch, channels, *out.shape[2:])
