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
_BOX = 4  # channels of :func:`cell_boxes`
_FAR = 32.0  # pixels from a box's side beyond which all is one
_MOST = 3.0  # largest change of a side, as a logarithm, so that boxes are numbers in fp16, too


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
        padding, own = _COARSE_SIDE // 2, correlation[:, : self.hidden]  # not the boxes
        windows = cut_windows(own, cells.tolist(), _COARSE_SIDE, padding, step=1)
        return self.coarse(F.relu(windows + self.place)).flatten(1)

    def forward(self, zf: Tensor, xf: Tensor) -> tuple[Tensor, Tensor]:
        """Return masks (B, 289, R, R) and correlation (B, hidden, R, R)."""
        correlation = self.correlate(self.encode(zf), xf)
        return self.masks(correlation), correlation


@REFINE_HEADS.register("WindowRefine")
class WindowRefine(RefineHead):
    """Decodes the window of a cell, from stride 8 to 127 x 127 pixels, with finer maps.

    It also sees where the cell's box is: its correlation has the ``in_channels`` of the mask head
    and the four of :func:`cell_boxes`. ``low_channels`` are those of maps at strides 2 and 4.

    In training, boxes move and change by ``box_noise`` of their sides (standard deviation), as
    those of unseen videos are worse than those of training images.
    """

    channels_last = True
    strides = (2, 4)
    takes_boxes = True

    def __init__(
        self,
        low_channels: Sequence[int] = (16, 24),
        in_channels: int = 64,
        box_noise: float = 0.12,
    ) -> None:
        super().__init__()
        self.box_noise = box_noise
        self.place = nn.Parameter(torch.zeros(1, in_channels, _SIDES[2], _SIDES[2]))
        first, second = low_channels
        self.tower = nn.Sequential(
            nn.ReLU(), *_layer(in_channels, in_channels, 3), *_layer(in_channels, in_channels, 3)
        )
        self.box2 = nn.Conv2d(_BOX + 1, in_channels, kernel_size=1)
        self.box1 = nn.Conv2d(_BOX + 1, 24, kernel_size=1)
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
        middle = _SIDES[2] // 2
        features, boxes = windows[2][:, :-_BOX], windows[2][:, -_BOX:, middle, middle]
        if self.training:
            boxes = _moved(boxes, self.box_noise)
        out = self.tower(features + self.place + self.box2(_box_maps(boxes, _SIDES[2], stride=8)))
        low1 = self.low1(windows[1]) + self.box1(_box_maps(boxes, _SIDES[1], stride=4))
        out = self.join1(self.enlarge1(out) + low1)
        out = self.join0(self.enlarge0(out) + self.low0(windows[0]))
        out = F.interpolate(out, size=(125, 125), mode="bilinear", align_corners=True)
        return F.pad(out, [1] * 4, mode="replicate").flatten(1)


def cell_boxes(cls: Tensor, loc: Tensor, shapes: Tensor) -> Tensor:
    """Return the box of every cell's likeliest anchor, (B, 4, R, R): cx, cy, w, h.

    Args:
        cls: Class logits, (B, 2A, R, R).
        loc: Box deltas, (B, 4A, R, R) (SiamRPN, equation 12).
        shapes: Width and height of the anchors in pixels, (A, 2).

    Returns:
        Pixels from the center of the cell.
    """
    anchors = len(shapes)
    cls, loc = (maps.unflatten(1, (-1, anchors)) for maps in (cls, loc))
    best = (cls[:, 1] - cls[:, 0]).argmax(dim=1, keepdim=True)
    deltas = loc.gather(2, best[:, None].expand(-1, _BOX, -1, -1, -1))[:, :, 0]
    sides = shapes[best[:, 0]].permute(0, 3, 1, 2)
    return torch.cat([deltas[:, :2] * sides, deltas[:, 2:].clamp(-_MOST, _MOST).exp() * sides], 1)


def _moved(boxes: Tensor, noise: float) -> Tensor:
    """Move and scale boxes (N, 4), cx, cy, w, h, at random."""
    center, sides = boxes.split(2, dim=1)
    shift, change = (noise * torch.randn_like(boxes)).split(2, dim=1)
    return torch.cat([center + shift * sides, sides * change.exp()], dim=1)


def _box_maps(boxes: Tensor, side: int, stride: int) -> Tensor:
    """Draw boxes (N, 4), cx, cy, w, h in pixels from the middle of a window, into its cells.

    Returns how far a cell lies inside of each side, and of all of them, (N, 5, side, side), in
    units of half of ``_FAR``. ``stride`` is in pixels.
    """
    line = torch.arange(side, dtype=boxes.dtype, device=boxes.device)
    line = (line - side // 2) * stride
    center, half = boxes[:, :2, None], boxes[:, 2:, None] / 2
    after, before = line - (center - half), center + half - line  # (N, 2, side), x and y
    sides = [after[:, :1, None], before[:, :1, None], after[:, 1:, :, None], before[:, 1:, :, None]]
    maps = torch.cat([part.expand(-1, -1, side, side) for part in sides], dim=1)
    maps = torch.cat([maps, maps.amin(dim=1, keepdim=True)], dim=1)
    return maps.clamp(-_FAR, _FAR) / (_FAR / 2)


def _similarities(kernel: Tensor, x: Tensor) -> Tensor:
    """Return inner products with all K kernel cells, their maximum and mean, (B, K + 2, R, R)."""
    products = xcorr_cells(x, kernel)
    best, mean = products.amax(dim=1, keepdim=True), products.mean(dim=1, keepdim=True)
    return torch.cat([products, best, mean], dim=1)


def _conv(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)


def _layer(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    return [_conv(inputs, outputs, kernel), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
