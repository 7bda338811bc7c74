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


# a cell's window in each map that refines: its side, and map cells per step to the next window
_WINDOWS = ((61, 4), (31, 2), (15, 1))


@MASK_HEADS.register("MaskCorr")
class MaskCorr(DepthwiseXCorr):
    """Predicts the pixels of a mask for every cell, by depth-wise correlation.

    ``hidden`` counts the channels of the correlation, ``out_channels`` the pixels of a mask (63 x
    63 in published weights). ``hidden_kernel_size`` has no effect; PySOT's files may name it.
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

    def masks_at(self, correlation: Tensor, cells: Tensor) -> Tensor:
        """Predict the mask logits of some cells alone, (N, out_channels), in training too.

        Batch norm sees all cells, as in :meth:`masks`; only the last convolution, nearly all of the
        work, leaves the others out. ``cells`` are (N, 3) integers: sample, row and column.
        """
        sample, row, column = cells.unbind(dim=1)
        chosen = self.head[:-1](correlation)[sample, :, row, column]
        return self.head[-1](chosen[:, :, None, None]).flatten(1)

    def forward(self, zf: Tensor, xf: Tensor) -> tuple[Tensor, Tensor]:
        """Return masks (B, out_channels, R, R) and correlation (B, hidden, R, R)."""
        correlation = self.correlate(self.encode(zf), xf)
        return self.masks(correlation), correlation


class RefineHead(nn.Module):
    """Refines the masks of chosen cells: subclasses define ``masks_at`` and ``strides``."""

    def forward(self, low: Sequence[Tensor], correlation: Tensor, position: Position) -> Tensor:
        """Compute the mask logits, (B, 127 * 127), rows first, at a response cell.

        Args:
            low: Search features at the head's ``strides``.
            correlation: The mask head's, (B, C, R, R).
            position: One cell for all samples, or one per sample.

        Raises:
            ValueError: If a position is not in the response.
        """
        return self.masks_at(low, correlation, checked_cells(correlation, position))


@REFINE_HEADS.register("Refine")
class Refine(RefineHead):
    """Refines the mask of one cell to 127 x 127 pixels with the backbone's first three maps.

    Every level brings its map and the mask so far to the same channels (``v`` and ``h``), adds
    them, and enlarges (``post``). Level 2 is the coarsest. ``low_channels`` are those of the maps
    at strides 2, 4 and 8, ``in_channels`` those of the mask head's correlation.
    """

    channels_last = True
    strides = (2, 4, 8)

    def __init__(
        self, low_channels: Sequence[int] = (64, 256, 512), in_channels: int = 256
    ) -> None:
        super().__init__()
        first, second, third = low_channels
        self.v0 = _two_convolutions(first, first // 4, 4)
        self.v1 = _two_convolutions(second, second // 4, 16)
        self.v2 = _two_convolutions(third, third // 4, 32)
        self.h2 = _two_convolutions(32, 32, 32)
        self.h1 = _two_convolutions(16, 16, 16)
        self.h0 = _two_convolutions(4, 4, 4)
        self.deconv = nn.ConvTranspose2d(in_channels, 32, kernel_size=15, stride=15)
        self.post0 = nn.Conv2d(32, 16, kernel_size=3, padding=1)
        self.post1 = nn.Conv2d(16, 4, kernel_size=3, padding=1)
        self.post2 = nn.Conv2d(4, 1, kernel_size=3, padding=1)
        # torch's own initial weights shrink a signal by sqrt(3) per layer; after ten layers the
        # correlation would say nothing, and the first steps settle on "background everywhere"
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_uniform_(module.weight, a=1)

    def masks_at(
        self, low: Sequence[Tensor], correlation: Tensor, cells: Sequence[Sequence[int]]
    ) -> Tensor:
        """Refine the masks of N > 0 ``cells`` (sample, row and column); see :meth:`forward`."""
        border = _border(correlation.shape[-1], low[2].shape[-1])
        windows = [
            cut_windows(features, cells, side, padding=step * border, step=step)
            for features, (side, step) in zip(low, _WINDOWS, strict=True)
        ]
        return self._refined(windows, cut_windows(correlation, cells, side=1, padding=0, step=1))

    def masks_in_all(self, low: Sequence[Tensor], correlation: Tensor, cell: Tensor) -> Tensor:
        """Refine the masks of a cell, row and column (2,), in all samples, (B, 127 * 127).

        The cell is data, so that one graph serves all cells; see :meth:`forward` for the others.
        """
        border = _border(correlation.shape[-1], low[2].shape[-1])
        windows = [
            cut_window(F.pad(features, [step * border, step * (border + 1)] * 2), step * cell, side)
            for features, (side, step) in zip(low, _WINDOWS, strict=True)
        ]
        return self._refined(windows, cut_window(correlation, cell, side=1))

    def _refined(self, windows: Sequence[Tensor], correlation: Tensor) -> Tensor:
        p0, p1, p2 = windows
        out = self.deconv(correlation)
        out = self.post0(F.interpolate(self.h2(out) + self.v2(p2), size=31))
        out = self.post1(F.interpolate(self.h1(out) + self.v1(p1), size=61))
        out = self.post2(F.interpolate(self.h0(out) + self.v0(p0), size=127))
        return out.flatten(1)


def checked_cells(correlation: Tensor, position: Position) -> list[tuple[int, int, int]]:
    """Return sample, row and column of a position in each sample of a correlation (B, C, R, R).

    Raises:
        ValueError: If a position is not in the response.
    """
    cells = torch.as_tensor(position).reshape(-1, 2).expand(len(correlation), 2).tolist()
    side = correlation.shape[-1]
    if not all(0 <= index < side for cell in cells for index in cell):
        raise ValueError(f"position {position} is outside of the {side} x {side} response")
    return [(n, row, column) for n, (row, column) in enumerate(cells)]


def _border(response_side: int, map_side: int) -> int:
    """Cells by which the windows of all response cells together exceed a map, on each side.

    A window has 15 cells, the next one begins one cell later: 4 for a 25 x 25 response over 31
    cells; 0 for a 3 x 3 response over 17, where the neck has cut the border of the search map.
    """
    return (response_side + 14 - map_side) // 2


def _two_convolutions(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, hidden, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, outputs, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
    )


def cut_windows(
    features: Tensor, cells: Sequence[Sequence[int]], side: int, padding: int, step: int
) -> Tensor:
    """Cut windows of the cells (sample, row, column), (N, C, side, side), zeros outside the map."""
    height, width = features.shape[2:]
    windows = []
    for sample, row, column in cells:
        top, left = step * row - padding, step * column - padding
        bottom, right = top + side, left + side
        inside = features[sample, :, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        border = (max(-left, 0), max(right - width, 0), max(-top, 0), max(bottom - height, 0))
        windows.append(F.pad(inside, border) if any(border) else inside)
    return torch.stack(windows)


def cut_window(features: Tensor, corner: Tensor, side: int) -> Tensor:
    """Cut the window whose first row and column are numbers in a tensor: (B, C, side, side)."""
    rows, columns = (corner[:, None] + torch.arange(side, device=corner.device)).unbind()
    return features.index_select(2, rows).index_select(3, columns)
