"""3x3 convolutions with a quarter of the multiplications, for tracking on a CPU.

Winograd's minimal filtering F(4x4, 3x3) (Lavin & Gray, 2016, section 4.1): a tile of 6 x 6 inputs
and a kernel are transformed, multiplied point by point, and transformed back to 4 x 4 outputs. Over
the channels the products are 36 matrix products, which is where the time goes.

B batch, C channels, T tiles, 36 the points of a tile; channels come last inside.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

_OUT, _KERNEL = 4, 3
_TILE = _OUT + _KERNEL - 1
# where the polynomials are evaluated, besides infinity: with these the largest error of unit data
# is 2e-5, as with a direct convolution; with -2 and 2 in place of -2 and 1/2 it is 6e-5
_POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)
# images in one pass: the intermediate results are 2.25 times as large as input and output
_CHUNK = 4


class WinogradConv2d(nn.Module):
    """Computes what a 3x3 convolution of stride 1 does, but for rounding.

    Its transformed weights take four times the memory of the convolution's. A dilated convolution
    is taken apart into undilated ones, of every second row and column for dilation 2.

    Args:
        conv: See :meth:`fits`; it is not changed.

    Raises:
        ValueError: If the convolution is of another kind.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        if not self.fits(conv):
            raise ValueError(f"expected a 3x3 convolution of stride 1 in one group, found {conv}")
        self.padding, self.dilation = conv.padding[0], conv.dilation[0]
        output, kernel, data = (torch.from_numpy(np.kron(m, m)) for m in _transforms())
        weight = conv.weight.detach()
        flat = kernel.to(weight.device) @ weight.double().flatten(2).flatten(0, 1).T  # (36, O * C)
        weight = flat.reshape(_TILE**2, *weight.shape[:2]).transpose(1, 2).to(weight.dtype)
        self.register_buffer("weight", weight.contiguous())  # (36, C, O)
        self.register_buffer("bias", None if conv.bias is None else conv.bias.detach().clone())
        self.register_buffer("data_transform", data.to(self.weight))
        self.register_buffer("output_transform", output.to(self.weight))

    @staticmethod
    def fits(conv: nn.Conv2d) -> bool:
        """Whether a convolution can be computed in this way."""
        square = (conv.padding, conv.dilation) in [
            ((p, p), (d, d)) for p in conv.padding[:1] for d in conv.dilation[:1]
        ]
        kind = conv.kernel_size, conv.stride, conv.groups, conv.padding_mode
        return square and kind == ((_KERNEL, _KERNEL), (1, 1), 1, "zeros")

    def forward(self, x: Tensor) -> Tensor:
        """Compute (B, C, H, W) -> (B, O, H', W'), channels-last."""
        if len(x) > _CHUNK:
            return torch.cat([self(part) for part in x.split(_CHUNK)])
        grown = 2 * self.padding - self.dilation * (_KERNEL - 1)
        height, width = x.shape[2] + grown, x.shape[3] + grown
        points, tiling = self._tiles(x, height, width)
        channels = points.shape[-1]
        points = self.data_transform @ points.reshape(_TILE**2, -1)
        products = torch.bmm(points.view(_TILE**2, -1, channels), self.weight)  # (36, T, O)
        out = self.output_transform @ products.view(_TILE**2, -1)  # (16, T * O)
        # (4, 4, B, rows, d, columns, d, O): a cell of the output is tile, cell of the tile, phase
        batch, rows, d, columns, _ = tiling
        out = out.view(_OUT, _OUT, *tiling, -1).permute(2, 3, 0, 4, 5, 1, 6, 7)
        out = out.reshape(batch, rows * _OUT * d, columns * _OUT * d, -1)[:, :height, :width]
        if self.bias is not None:
            out = out + self.bias
        return out.permute(0, 3, 1, 2)

    def _tiles(self, x: Tensor, height: int, width: int) -> tuple[Tensor, tuple[int, ...]]:
        """Cut a map into overlapping tiles.

        Returns:
            (6, 6, B, rows, d, columns, d, C) and its dimensions from B to the second d.
        """
        d, before, step = self.dilation, self.padding, self.dilation * _OUT
        rows, columns = -(-height // step), -(-width // step)
        overlap = _TILE - _OUT
        tall, wide = rows * _OUT + overlap, columns * _OUT + overlap
        after = d * wide - x.shape[3] - before, d * tall - x.shape[2] - before
        x = F.pad(x.permute(0, 2, 3, 1), (0, 0, before, after[0], before, after[1]))
        x = x.view(len(x), tall, d, wide, d, -1).unfold(1, _TILE, _OUT).unfold(3, _TILE, _OUT)
        return x.permute(6, 7, 0, 1, 2, 3, 4, 5), (len(x), rows, d, columns, d)


def _transforms() -> tuple[NDArray, NDArray, NDArray]:
    """Matrices (4, 6) of the output, (6, 3) of the kernel and (6, 6) of the data, in one dimension.

    Toom-Cook: evaluate two polynomials, multiply the values, interpolate; transposed, which turns
    the product of polynomials into a filter.
    """
    points = np.array(_POINTS)
    distance = points[:, None] - points
    np.fill_diagonal(distance, 1)
    scale = np.append(distance.prod(axis=1), 1)[:, None]  # keeps the data's matrix simple numbers

    def values(degree: int) -> NDArray:
        leading = np.eye(degree)[-1:]  # the value at infinity
        return np.concatenate([points[:, None] ** np.arange(degree), leading])

    data = np.linalg.inv(values(_TILE)).T * scale
    return values(_OUT).T, values(_KERNEL) / scale, data
