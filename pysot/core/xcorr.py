"""Cross-correlation of search features with template features.

B batch, C channels, Hz and Hx sides of template and search maps, R = Hx - Hz + 1; O outputs, T
templates.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_ANY_BATCH = ContextVar("any_batch", default=False)


@contextmanager
def any_batch() -> Iterator[None]:
    """Let correlations in the block be traced to graphs that are right for any B and T in {1, B}.

    Samples usually become groups of one convolution, whose number a graph must know. Here it has
    the filters of all templates, and each sample's own are chosen after it: as fast for T = 1.
    """
    token = _ANY_BATCH.set(True)
    try:
        yield
    finally:
        _ANY_BATCH.reset(token)


def xcorr_fast(x: Tensor, kernel: Tensor) -> Tensor:
    """Correlate x (B, C, Hx, Hx) over all channels, to (B, O, R, R) (SiamRPN, section 3.2).

    ``kernel``, (B, O * C, Hz, Hz), has O filters per sample; (1, O * C, Hz, Hz) serves all samples.
    """
    batch, channels = x.shape[:2]
    if _ANY_BATCH.get():
        filters = kernel.reshape(kernel.shape[0], -1, int(channels), *kernel.shape[2:])
        return _chosen(x, filters.transpose(0, 1), groups=1)
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
    if _ANY_BATCH.get():
        return _chosen(x, kernel.transpose(0, 1)[:, :, None], groups=int(channels))
    if batch == 1:
        return F.conv2d(x, kernel.reshape(channels, 1, *kernel.shape[2:]), groups=channels)
    filters = kernel.reshape(batch * channels, 1, *kernel.shape[2:])
    flat = x.reshape(1, batch * channels, *x.shape[2:])
    out = F.conv2d(flat, filters, groups=batch * channels)
    return out.reshape(batch, channels, *out.shape[2:])


def _chosen(x: Tensor, filters: Tensor, groups: int) -> Tensor:
    """Convolve x with all filters (O, T, C / groups, Hz, Hz), and take each sample's own."""
    outputs, templates = int(filters.shape[0]), filters.shape[1]
    sizes = [int(size) for size in filters.shape[2:]]
    out = _Convolution.apply(x, filters.reshape(-1, *sizes), groups, sizes[1:])
    size = out.shape[2:]
    out = out.reshape(-1, outputs, templates, size[0] * size[1])
    index = torch.arange(x.shape[0], device=x.device)[:, None] % templates
    own = (index == torch.arange(templates, device=x.device)).to(x.dtype)  # (B, T)
    return (own[:, None, None] @ out).reshape(-1, outputs, *size)


class _Convolution(torch.autograd.Function):
    """A convolution that ONNX gets as one although the number of its filters is not known."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, filters: Tensor, groups: int, sides: list[int]) -> Tensor:
        return F.conv2d(x, filters, groups=groups)

    @staticmethod
    def symbolic(g: Any, x: Any, filters: Any, groups: int, sides: list[int]) -> Any:
        return g.op("Conv", x, filters, group_i=groups, kernel_shape_i=sides)
