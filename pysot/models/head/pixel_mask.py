"""Mask heads for untouched backbone features: pixel-wise correlation, and refinement of windows.

B batch, C channels, Hz and Hx sides of template and search maps, R response side, N cells. A cell's
window is the 127 pixels around its center. Cells of maps at strides 2, 4 and 8 lie on those of the
next finer one, as in ``efficientnet_lite0``: cell i of one is cell 2i + 1 of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pysot.core.registry import MASK_HEADS, REFINE_HEADS
from pysot.core.xcorr import xcorr_cells
from pysot.models.head.mask import RefineHead, cut_window, cut_windows

_COARSE_SIDE = 17  # cells of a coarse mask; the outermost lie on the border of the window
_SIDES = (63, 31, 15)  # cells of a window at strides 2, 4 and 8
_STEPS = (4, 2, 1)  # cells there from the window of one response cell to the next


@MASK_HEADS.register("PixelMaskCorr")
class PixelMaskCorr(nn.Module):
    """Compares every search cell with every template cell (Alpha-Refine's pixel-wise correlation).

    The similarities and the features at the cells of the response make ``hidden`` channels; a
    learned prior of the target's place in a window turns those around a cell into 17 x 17 pixels.
    ``template_side`` is Hz.
    """

    channels_last = True

    def __init__(self, in_channels: int, hidden: int = 64, template_side: int = 7) -> None:
        super().__init__()
        self.in_channels, self.hidden = in_channels, hidden
        cells = template_side**2 + 2
        self.search = nn.Sequential(_conv(in_channels, hidden, 1), nn.BatchNorm2d(hidden))
        self.similarity = nn.Sequential(nn.BatchNorm2d(cells), _conv(cells, hidden, 1))
        self.tower = nn.Sequential(nn.ReLU(inplace=True), *_layer(hidden, hidden, 3))
        self.place = nn.Parameter(torch.zeros(1, hidden, _COARSE_SIDE, _COARSE_SIDE))
        self.coarse = nn.Conv2d(hidden, 1, kernel_size=1)

    def encode(self, zf: Tensor) -> Tensor:
        """Return template features (B, C, Hz, Hz) as the kernels."""
        return zf

    def correlate(self, kernel: Tensor, xf: Tensor) -> Tensor:
        """Compare kernels with search features (B, C, Hx, Hx): (B, hidden, R, R)."""
        border = (kernel.shape[-1] - 1) // 2
        x = xf[:, :, border : xf.shape[2] - border, border : xf.shape[3] - border]
        return self.tower(self.search(x) + self.similarity(_similarities(kernel, x)))

    def masks(self, correlation: Tensor) -> Tensor:
        """Predict mask logits of all cells, (B, 289, R, R), from the correlation."""
        batch, _, rows, columns = correlation.shape
        cells = torch.ones(batch, rows, columns).nonzero()
        masks = self.masks_at(correlation, cells).reshape(batch, rows, columns, -1)
        return masks.permute(0, 3, 1, 2)

    def masks_at(self, correlation: Tensor, cells: Tensor) -> Tensor:
        """Predict the mask logits of cells (N, 3), sample, row and column: (N, 289)."""
        padding = _COARSE_SIDE // 2
        windows = cut_windows(correlation, cells.tolist(), _COARSE_SIDE, padding, step=1)
        return self.coarse(F.relu(windows + self.place)).flatten(1)

    def forward(self, zf: Tensor, xf: Tensor) -> tuple[Tensor, Tensor]:
        """Return masks (B, 289, R, R) and correlation (B, hidden, R, R)."""
        correlation = self.correlate(self.encode(zf), xf)
        return self.masks(correlation), correlation


@REFINE_HEADS.register("WindowRefine")
class WindowRefine(RefineHead):
    """Decodes the window of a cell, from stride 8 to 127 x 127 pixels, with finer maps.

    ``low_channels`` are those of maps at strides 2 and 4, ``in_channels`` those of the mask head's
    correlation.
    """

    channels_last = True
    strides = (2, 4)

    def __init__(self, low_channels: Sequence[int] = (16, 24), in_channels: int = 64) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1, in_channels, _SIDES[2], _SIDES[2]))
        first, second = low_channels
        self.tower = nn.Sequential(
            nn.ReLU(), *_layer(in_channels, in_channels, 3), *_layer(in_channels, in_channels, 3)
        )
        self.enlarge1 = nn.ConvTranspose2d(in_channels, 24, kernel_size=3, stride=2)
        self.low1 = nn.Sequential(*_layer(second, 24, 1))
        self.join1 = nn.Sequential(nn.ReLU(), *_layer(24, 24, 3), *_layer(24, 24, 3))
        self.enlarge0 = nn.ConvTranspose2d(24, 8, kernel_size=3, stride=2)
        self.low0 = nn.Sequential(*_layer(first, 8, 1))
        self.join0 = nn.Sequential(nn.ReLU(), *_layer(8, 8, 3), nn.Conv2d(8, 1, 3, padding=1))

    def masks_at(
        self, low: Sequence[Tensor], correlation: Tensor, cells: Sequence[Sequence[int]]
    ) -> Tensor:
        """Refine the masks of N > 0 ``cells`` (sample, row and column); see :meth:`forward`."""
        return self._decoded(low, correlation, lambda *cut: cut_windows(cut[0], cells, *cut[1:]))

    def masks_in_all(self, low: Sequence[Tensor], correlation: Tensor, cell: Tensor) -> Tensor:
        """Refine the masks of a cell, row and column (2,), in all samples, (B, 127 * 127).

        The cell is data, so that one graph serves all cells; see :meth:`forward` for the others.
        """

        def window(features: Tensor, side: int, padding: int, step: int) -> Tensor:
            return cut_window(F.pad(features, [padding] * 4), step * cell, side)

        return self._decoded(low, correlation, window)

    def _decoded(
        self, low: Sequence[Tensor], correlation: Tensor, cut: Callable[..., Tensor]
    ) -> Tensor:
        windows = []
        for features, side, step in zip((*low, correlation), _SIDES, _STEPS, strict=True):
            # cells by which the windows of all response cells exceed a map, on each side
            padding = (step * (correlation.shape[-1] - 1) + side - features.shape[-1]) // 2
            windows.append(cut(features, side, padding, step))
        out = self.tower(windows[2] + self.place)
        out = self.join1(self.enlarge1(out) + self.low1(windows[1]))
        out = self.join0(self.enlarge0(out) + self.low0(windows[0]))
        out = F.interpolate(out, size=(125, 125), mode="bilinear", align_corners=True)
        return F.pad(out, [1] * 4, mode="replicate").flatten(1)


def _similarities(kernel: Tensor, x: Tensor) -> Tensor:
    """Return inner products with all K kernel cells, their maximum and mean, (B, K + 2, R, R)."""
    products = xcorr_cells(x, kernel)
    best, mean = products.amax(dim=1, keepdim=True), products.mean(dim=1, keepdim=True)
    return torch.cat([products, best, mean], dim=1)


def _conv(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)


def _layer(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    return [_conv(inputs, outputs, kernel), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
