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
    if _on_cpu(x, kernel) and (len(kernel) > 1 or len(filters) == 1):
        with torch.autocast("cpu", enabled=False):
            return _sum_of_products(x, kernel)
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
    if kernel.requires_grad and _on_cpu(x, kernel):
        with torch.autocast("cpu", enabled=False):
            return _Depthwise.apply(x, kernel)
    return _each_channel(x, kernel)


def _on_cpu(x: Tensor, kernel: Tensor) -> bool:
    """Return whether the quicker ways serve, which have full precision."""
    return x.device.type == "cpu" and x.dtype == kernel.dtype == torch.float32


def _sum_of_products(x: Tensor, kernel: Tensor) -> Tensor:
    """Correlate over all channels by products of all cells of template and search maps.

    Those of one sum lie in different matrices, shifted as the cells of the template are; their sums
    are the transpose of a convolution's windows. 10 to 20 times as fast as grouped convolutions,
    forward and backward, and for one filter in tracking, too (AVX-512, one thread).
    """
    channels, height, width = x.shape[1:]
    rows, columns = sides = kernel.shape[2:]
    filters = kernel.reshape(len(kernel), -1, channels, rows * columns).flip(3)
    products = filters.transpose(2, 3).reshape(len(kernel), -1, channels) @ x.flatten(2)
    size = (height - rows + 1, width - columns + 1)
    return F.fold(products, size, sides, padding=(rows - 1, columns - 1))


def _each_channel(x: Tensor, kernel: Tensor, padding: tuple[int, int] = (0, 0)) -> Tensor:
    """Correlate each channel of each sample, (B, C, H, W), with its own kernel (B, C, h, w)."""
    groups = kernel.shape[0] * kernel.shape[1]
    flat = x.reshape(1, groups, *x.shape[2:])
    filters = kernel.reshape(groups, 1, *kernel.shape[2:])
    out = F.conv2d(flat, filters, padding=padding, groups=groups)
    return out.reshape(*kernel.shape[:2], *out.shape[2:])


class _Depthwise(torch.autograd.Function):
    """A correlation per channel whose gradients are such correlations, too.

    That of the kernels is torch's slowest pass on a CPU: 325 ms become 45 for 32 samples of 232
    channels, 7 x 7 on 31 x 31.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor) -> Tensor:
        ctx.save_for_backward(x, kernel)
        return _each_channel(x, kernel)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor]:
        x, kernel = ctx.saved_tensors
        rows, columns = kernel.shape[2:]
        around = (rows - 1, columns - 1)
        of_x = _each_channel(grad, kernel.flip(2, 3), around) if ctx.needs_input_grad[0] else None
        return of_x, _each_channel(x, grad)


def xcorr_cells(x: Tensor, kernel: Tensor) -> Tensor:
    """Multiply each cell of x (B, C, H, W) with each of a kernel: (B, Hz * Hz, H, W).

    ``kernel`` is (B, C, Hz, Hz), or (1, C, Hz, Hz) for all samples.
    """
    products = kernel.flatten(2).transpose(1, 2) @ x.flatten(2)
    return products.unflatten(2, x.shape[2:])


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
