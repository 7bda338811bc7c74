"""Heads for features of unit length, as ``UnitFusion`` gives them: they keep the similarity.

That is the mean over a template's cells of their inner products with those of the search map: 1
where the two are the same. B batch, A anchors, C channels, Hz and Hx sides of template and search
maps, R response side; outputs are those of ``pysot.models.head.rpn``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pysot.core.registry import RPN_HEADS
from pysot.core.xcorr import xcorr_depthwise, xcorr_fast
from pysot.models.head.rpn import Kernels, SiameseHead

# logits of the similarity at the start of training: gain * (similarity - offset)
_GAIN, _OFFSET = 10.0, 0.5


@RPN_HEADS.register("CorrRPN")
class CorrRPN(SiameseHead):
    """Scores and refines A anchors by a tower on the depth-wise correlation of untouched features.

    The class logits get the similarity, too, with a learned gain and offset. ``hidden`` counts the
    channels of the tower, a 1x1 and ``depth - 1`` 3x3 convolutions.
    """

    channels_last = True

    def __init__(
        self, anchor_num: int = 5, in_channels: int = 232, hidden: int = 64, depth: int = 2
    ) -> None:
        super().__init__()
        self.in_channels, self.anchor_num = in_channels, anchor_num
        layers = [nn.BatchNorm2d(in_channels)]
        for number in range(depth):
            inputs, kernel = (in_channels, 1) if number == 0 else (hidden, 3)
            conv = nn.Conv2d(inputs, hidden, kernel, padding=kernel // 2, bias=False)
            layers += [conv, nn.BatchNorm2d(hidden), nn.ReLU(inplace=True)]
        self.tower = nn.Sequential(*layers)
        self.cls = nn.Conv2d(hidden, 2 * anchor_num, kernel_size=1)
        self.loc = nn.Conv2d(hidden, 4 * anchor_num, kernel_size=1)
        for conv in (self.cls, self.loc):
            nn.init.normal_(conv.weight, std=0.01)
        self.gain = nn.Parameter(torch.tensor(_GAIN))
        self.offset = nn.Parameter(torch.tensor(_OFFSET))
        sides = torch.tensor([-0.5, 0.5]).repeat_interleave(anchor_num)  # background, target
        self.register_buffer("sides", sides.reshape(1, -1, 1, 1), persistent=False)

    def encode(self, zf: Tensor) -> Kernels:
        """Return template features (B, C, Hz, Hz) as kernels of the similarity and of the tower."""
        return zf, zf

    def correlate(self, kernels: Kernels, xf: Tensor) -> tuple[Tensor, Tensor]:
        """Compare kernels with search features (B, C, Hx, Hx)."""
        plain, kernel = kernels
        correlation = xcorr_depthwise(xf, kernel)
        same = plain is kernel  # unless stored, or changed by a tracker
        total = correlation.sum(dim=1, keepdim=True) if same else xcorr_fast(xf, plain)
        similarity = total / (plain.shape[2] * plain.shape[3])
        features = self.tower(correlation)
        logit = self.gain * (similarity - self.offset)
        return self.cls(features) + logit * self.sides, self.loc(features)


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
            raise ValueError(f"RPN.KWARGS.in_channels: UnitFC of rank {rank} must be told it")
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
