"""Heads for features of unit length, as ``UnitFusion`` gives them: they keep the similarity.

That is the mean over a template's cells of their inner products with those of the search map: 1
where the two are the same. B batch, A anchors, C channels, Hz and Hx sides of template and search
maps, R response side; outputs are those of ``pysot.models.head.rpn``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pysot.core.registry import RPN_HEADS
from pysot.core.xcorr import xcorr_cells, xcorr_depthwise, xcorr_fast
from pysot.models.head.rpn import Kernels, SiameseHead

# logits of the similarity at the start of training: gain * (similarity - offset)
_GAIN, _OFFSET = 10.0, 0.5
# brings the values of a cell of unit length and some 200 channels to the size of 1
_TO_ONE = 15


@RPN_HEADS.register("CorrRPN")
class CorrRPN(SiameseHead):
    """Scores and refines A anchors by a tower on correlations of untouched features.

    The tower gets the depth-wise correlation; that of every cell of the search map with every cell
    of the template, which shows scale and shape; and ``search_width`` learned channels of the
    search map itself. After a 1x1 convolution to ``hidden`` channels come residual 3x3 ones, one
    per number of ``dilations``. The class logits get the similarity, too, with a learned gain and
    offset. ``template_size`` is the side of a template's map in cells.
    """

    channels_last = True

    def __init__(
        self,
        anchor_num: int = 5,
        in_channels: int = 232,
        hidden: int = 64,
        template_size: int = 7,
        search_width: int = 32,
        dilations: Sequence[int] = (1, 2, 3),
    ) -> None:
        super().__init__()
        self.in_channels, self.anchor_num = in_channels, anchor_num
        self.template_size = template_size
        self.channel_norm = nn.BatchNorm2d(in_channels)
        self.cell_norm = nn.BatchNorm2d(template_size**2)
        self.search = _conv_bn_relu(in_channels, search_width, 1)
        inputs = in_channels + template_size**2 + search_width
        blocks = [_Residual(hidden, dilation) for dilation in dilations]
        self.tower = nn.Sequential(*_conv_bn_relu(inputs, hidden, 1), *blocks)
        self.cls = nn.Conv2d(hidden, 2 * anchor_num, kernel_size=1)
        self.loc = nn.Conv2d(hidden, 4 * anchor_num, kernel_size=1)
        for conv in (self.cls, self.loc):
            nn.init.normal_(conv.weight, std=0.01)
        self.gain = nn.Parameter(torch.tensor(_GAIN))
        self.offset = nn.Parameter(torch.tensor(_OFFSET))
        sides = torch.tensor([-0.5, 0.5]).repeat_interleave(anchor_num)  # background, target
        self.register_buffer("sides", sides.reshape(1, -1, 1, 1), persistent=False)

    def encode(self, zf: Tensor) -> Kernels:
        """Return template features (B, C, Hz, Hz) as kernels of the similarity and of the tower.

        Raises:
            ValueError: If Hz is not ``template_size``.
        """
        if zf.shape[2] != self.template_size:
            raise ValueError(
                f"RPN.KWARGS.template_size is {self.template_size}, but the template's map has "
                f"{int(zf.shape[2])} x {int(zf.shape[3])} cells; see ADJUST.KWARGS.center_size"
            )
        return zf, zf

    def correlate(self, kernels: Kernels, xf: Tensor) -> tuple[Tensor, Tensor]:
        """Compare kernels with search features (B, C, Hx, Hx)."""
        plain, kernel = kernels
        channels = xcorr_depthwise(xf, kernel)
        same = plain is kernel  # unless stored, or changed by a tracker
        total = channels.sum(dim=1, keepdim=True) if same else xcorr_fast(xf, plain)
        logit = self.gain * (total / self.template_size**2 - self.offset)
        cut = self.template_size - 1  # cells of the map that no template is centered on
        first, last = cut // 2, cut // 2 - cut
        centers = xf[:, :, first : last or None, first : last or None]
        parts = [
            self.channel_norm(channels),
            self.cell_norm(xcorr_cells(centers, kernel)),
            self.search(centers * _TO_ONE),
        ]
        features = self.tower(torch.cat(parts, dim=1))
        return self.cls(features) + logit * self.sides, self.loc(features)


class _Residual(nn.Module):
    """Adds a 3x3 convolution of a dilation to its input."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.conv = _conv_bn_relu(channels, channels, 3, dilation)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


def _conv_bn_relu(inputs: int, outputs: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    padding = kernel // 2 * dilation
    conv = nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


@RPN_HEADS.register("UnitFC")
class UnitFC(SiameseHead):
    """The similarity as SiamFC's response, with a learned gain and offset: ``FC`` for unit length.

    With a ``rank``, template features first get a learned linear map of that rank of themselves
    added, which begins as 0 and costs nothing in tracking; it needs ``in_channels``.

    Raises:
        ValueError: If there is a rank without ``in_channels``.
    """

    channels_last = True
    anchor_num = None
    labels = loss = "centers"

    def __init__(self, in_channels: int | None = None, rank: int = 0) -> None:
        super().__init__()
        if rank and in_channels is None:
            raise ValueError(f"RPN.KWARGS.in_channels: UnitFC of rank {rank} needs it")
        self.in_channels = in_channels
        self.gain = nn.Parameter(torch.tensor(_GAIN))
        self.offset = nn.Parameter(torch.tensor(_OFFSET))
        if rank:
            down = nn.Conv2d(in_channels, rank, kernel_size=1, bias=False)
            up = nn.Conv2d(rank, in_channels, kernel_size=1, bias=False)
            self.residual = nn.Sequential(down, up)
            nn.init.zeros_(up.weight)

    def encode(self, zf: Tensor) -> Tensor:
        """Turn template features into kernels, both (B, C, Hz, Hz)."""
        zf = zf + self.residual(zf) if hasattr(self, "residual") else zf
        return zf / (zf.shape[2] * zf.shape[3])

    def correlate(self, kernels: Tensor, xf: Tensor) -> tuple[Tensor, None]:
        """Return logits (B, 1, R, R) of "the target is here", and None in the place of boxes."""
        return self.gain * (xcorr_fast(xf, kernels) - self.offset), None
