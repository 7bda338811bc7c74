"""Mask heads of SiamMask: a coarse mask per cell, and its refinement with low-level features.

B batch, C channels, Hz and Hx sides of template and search maps, R response side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pysot.core.registry import MASK_HEADS, REFINE_HEADS
from pysot.models.head.rpn import DepthwiseXCorr

Position = Sequence[int] | Sequence[Sequence[int]]
"""Row and column of a response cell: one pair for all samples, or one pair per sample."""


@MASK_HEADS.register("MaskCorr")
class MaskCorr(DepthwiseXCorr):
    """Predicts the pixels of a mask for every cell, by depth-wise correlation.

    Args:
        in_channels: C of both feature maps.
        hidden: Channels of the correlation.
        out_channels: Pixels of a mask, 63 * 63 in published weights.
        kernel_size: Side of the convolutions before the correlation.
        hidden_kernel_size: Without effect; configurations written for PySOT may name it.
    """

    def __init__(
        self,
        in_channels: int,
        hidden: int,
        out_channels: int,
        kernel_size: int = 3,
        hidden_kernel_size: int = 5,
    ) -> None:
        super().__init__(in_channels, hidden, out_channels, kernel_size)
        self.in_channels, self.hidden = in_channels, hidden

    def correlate(self, kernel: Tensor, xf: Tensor) -> Tensor:
        """Correlate kernels with search features (B, C, Hx, Hx): (B, hidden, R, R)."""
        return self.correlation(kernel, xf)

    def masks(self, correlation: Tensor) -> Tensor:
        """Predict mask logits of all cells, (B, out_channels, R, R), from the correlation."""
        return self.head(correlation)

    def forward(self, zf: Tensor, xf: Tensor) -> tuple[Tensor, Tensor]:
        """Compare template and search features.

        Returns:
            Masks (B, out_channels, R, R) and correlation (B, hidden, R, R).
        """
        correlation = self.correlate(self.encode(zf), xf)
        return self.masks(correlation), correlation


@REFINE_HEADS.register("Refine")
class Refine(nn.Module):
    """Refines the mask of one cell to 127 x 127 pixels with three maps of ResNet-50.

    Every level brings its map and the mask so far to the same channels (``v`` and ``h``), adds
    them, and enlarges (``post``). Level 2 is the coarsest.
    """

    low_channels = [64, 256, 512]
    in_channels = 256

    def __init__(self) -> None:
        super().__init__()
        self.v0 = _two_convolutions(64, 16, 4)
        self.v1 = _two_convolutions(256, 64, 16)
        self.v2 = _two_convolutions(512, 128, 32)
        self.h2 = _two_convolutions(32, 32, 32)
        self.h1 = _two_convolutions(16, 16, 16)
        self.h0 = _two_convolutions(4, 4, 4)
        self.deconv = nn.ConvTranspose2d(256, 32, kernel_size=15, stride=15)
        self.post0 = nn.Conv2d(32, 16, kernel_size=3, padding=1)
        self.post1 = nn.Conv2d(16, 4, kernel_size=3, padding=1)
        self.post2 = nn.Conv2d(4, 1, kernel_size=3, padding=1)

    def forward(self, low: Sequence[Tensor], correlation: Tensor, position: Position) -> Tensor:
        """Refine the mask at a response cell.

        Args:
            low: Search features of stem, ``layer1`` and ``layer2``.
            correlation: The mask head's, (B, 256, R, R).
            position: One cell for all samples, or one per sample.

        Returns:
            Mask logits, (B, 127 * 127), rows first.

        Raises:
            ValueError: If a position is not in the response.
        """
        cells = torch.as_tensor(position).reshape(-1, 2).expand(len(correlation), 2).tolist()
        side = correlation.shape[-1]
        if not all(0 <= index < side for cell in cells for index in cell):
            raise ValueError(f"position {position} is outside of the {side} x {side} response")
        # a cell's window in each map: side, padding that the border cells need, map cells per step
        p0 = _patches(low[0], cells, side=61, padding=16, step=4)
        p1 = _patches(low[1], cells, side=31, padding=8, step=2)
        p2 = _patches(low[2], cells, side=15, padding=4, step=1)
        out = self.deconv(_patches(correlation, cells, side=1, padding=0, step=1))
        out = self.post0(F.interpolate(self.h2(out) + self.v2(p2), size=31))
        out = self.post1(F.interpolate(self.h1(out) + self.v1(p1), size=61))
        out = self.post2(F.interpolate(self.h0(out) + self.v0(p0), size=127))
        return out.flatten(1)


def _two_convolutions(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, hidden, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, outputs, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
    )


def _patches(
    features: Tensor, cells: list[list[int]], side: int, padding: int, step: int
) -> Tensor:
    """Cut each sample's window, (B, C, side, side), zeros outside the map.

    It is the window, not the whole map, that is padded.
    """
    windows = []
    for sample, (row, column) in zip(features, cells, strict=True):
        top, left = step * row - padding, step * column - padding
        bottom, right = top + side, left + side
        height, width = sample.shape[1:]
        inside = sample[:, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        border = (max(-left, 0), max(right - width, 0), max(-top, 0), max(bottom - height, 0))
        windows.append(F.pad(inside, border) if any(border) else inside)
    return torch.stack(windows)
