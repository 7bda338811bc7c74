"""Heads that find the template in search features: of region proposal networks, and SiamFC's.

B batch, A anchors, C channels, Hz and Hx sides of template and search maps, R response side, L
levels. zf, xf template and search features.

Outputs: class logits (B, 2A, R, R), viewed as (B, 2, A, R, R) with background before target; box
deltas (B, 4A, R, R), viewed as (B, 4, A, R, R): dx, dy, dw, dh.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pysot.core.registry import RPN_HEADS
from pysot.core.xcorr import xcorr_depthwise, xcorr_fast

Kernels = tuple[Tensor, Tensor]

# A response sums thousands of products. Learned in these units, its scale is of the size of 1 and
# moves as slowly as other weights do; released models multiply by this number alone.
_UNIT = 1e-3


class SiameseHead(nn.Module):
    """Splits its work in two: ``encode``, once per target, and ``correlate``, once per frame."""

    def forward(self, zf: Any, xf: Any) -> Any:
        """Compare template and search features; see ``correlate``."""
        return self.correlate(self.encode(zf), xf)


@RPN_HEADS.register("UPChannelRPN")
class UPChannelRPN(SiameseHead):
    """Raises the C = ``feature_in`` channels to one kernel per output (SiamRPN, section 3.2)."""

    channels_last = True

    def __init__(self, anchor_num: int = 5, feature_in: int = 256) -> None:
        super().__init__()
        self.in_channels = feature_in
        self.anchor_num = anchor_num
        self.template_cls_conv = nn.Conv2d(feature_in, feature_in * 2 * anchor_num, kernel_size=3)
        self.template_loc_conv = nn.Conv2d(feature_in, feature_in * 4 * anchor_num, kernel_size=3)
        self.search_cls_conv = nn.Conv2d(feature_in, feature_in, kernel_size=3)
        self.search_loc_conv = nn.Conv2d(feature_in, feature_in, kernel_size=3)
        self.loc_adjust = nn.Conv2d(4 * anchor_num, 4 * anchor_num, kernel_size=1)

    def encode(self, zf: Tensor) -> Kernels:
        """Turn template features (B, C, Hz, Hz) into class and box kernels."""
        return self.template_cls_conv(zf), self.template_loc_conv(zf)

    def correlate(self, kernels: Kernels, xf: Tensor) -> tuple[Tensor, Tensor]:
        """Compare kernels with search features (B, C, Hx, Hx); see the module for the outputs."""
        cls_kernel, loc_kernel = kernels
        cls = xcorr_fast(self.search_cls_conv(xf), cls_kernel)
        loc = self.loc_adjust(xcorr_fast(self.search_loc_conv(xf), loc_kernel))
        return cls, loc


class DepthwiseXCorr(SiameseHead):
    """One branch of the depth-wise head: correlation per channel, then two 1x1 convolutions.

    ``hidden`` counts the channels of the correlation; ``kernel_size`` is that of the convolutions
    before it.
    """

    channels_last = True

    def __init__(
        self, in_channels: int, hidden: int, out_channels: int, kernel_size: int = 3
    ) -> None:
        super().__init__()
        self.conv_kernel = _conv_bn_relu(in_channels, hidden, kernel_size)
        self.conv_search = _conv_bn_relu(in_channels, hidden, kernel_size)
        self.head = nn.Sequential(
            *_conv_bn_relu(hidden, hidden, 1), nn.Conv2d(hidden, out_channels, kernel_size=1)
        )

    def encode(self, zf: Tensor) -> Tensor:
        """Turn template features (B, C, Hz, Hz) into kernels (B, hidden, Hz - 2, Hz - 2)."""
        return self.conv_kernel(zf)

    def correlation(self, kernel: Tensor, xf: Tensor) -> Tensor:
        """Correlate kernels with search features (B, C, Hx, Hx): (B, hidden, R, R)."""
        return xcorr_depthwise(self.conv_search(xf), kernel)

    def correlate(self, kernel: Tensor, xf: Tensor) -> Tensor:
        """Compare kernels with search features (B, C, Hx, Hx): (B, out_channels, R, R)."""
        return self.head(self.correlation(kernel, xf))


def _conv_bn_relu(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


@RPN_HEADS.register("DepthwiseRPN")
class DepthwiseRPN(SiameseHead):
    """Scores and refines A anchors per cell by depth-wise cross-correlation (SiamRPN++).

    ``out_channels`` counts the channels of the correlation.
    """

    channels_last = True

    def __init__(
        self, anchor_num: int = 5, in_channels: int = 256, out_channels: int = 256
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.anchor_num = anchor_num
        self.cls = DepthwiseXCorr(in_channels, out_channels, 2 * anchor_num)
        self.loc = DepthwiseXCorr(in_channels, out_channels, 4 * anchor_num)

    def encode(self, zf: Tensor) -> Kernels:
        """Turn template features (B, C, Hz, Hz) into class and box kernels."""
        return self.cls.encode(zf), self.loc.encode(zf)

    def correlate(self, kernels: Kernels, xf: Tensor) -> tuple[Tensor, Tensor]:
        """Compare kernels with search features (B, C, Hx, Hx); see the module for the outputs."""
        return self.cls.correlate(kernels[0], xf), self.loc.correlate(kernels[1], xf)


@RPN_HEADS.register("MultiRPN")
class MultiRPN(SiameseHead):
    """One :class:`DepthwiseRPN` per level, ``rpn2``, ``rpn3``, ..., whose outputs are averaged.

    With ``weighted`` they are summed with learned weights instead, those of classes and of boxes
    apart, each positive and of sum 1 (SiamRPN++, equation 3).

    Raises:
        ValueError: If ``in_channels`` is no list.
    """

    channels_last = True

    def __init__(self, anchor_num: int, in_channels: Sequence[int], weighted: bool = False) -> None:
        super().__init__()
        if not isinstance(in_channels, (list, tuple)) or not in_channels:
            raise ValueError(
                f"RPN.KWARGS.in_channels: MultiRPN takes a list, found {in_channels!r}; "
                "DepthwiseRPN takes one number"
            )
        self.in_channels = list(in_channels)
        self.anchor_num = anchor_num
        for number, channels in enumerate(in_channels):
            self.add_module(f"rpn{number + 2}", DepthwiseRPN(anchor_num, channels, channels))
        self.weighted = weighted
        if weighted:
            self.cls_weight = nn.Parameter(torch.ones(len(in_channels)))
            self.loc_weight = nn.Parameter(torch.ones(len(in_channels)))

    def encode(self, zf: Tensor | Sequence[Tensor]) -> tuple[Kernels, ...]:
        """Turn L template maps (B, C, Hz, Hz) into class and box kernels of each level."""
        levels = zip(self.children(), _levels(zf), strict=True)
        return tuple(head.encode(level) for head, level in levels)

    def correlate(
        self, kernels: Sequence[Kernels], xf: Tensor | Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Compare kernels with L search maps (B, C, Hx, Hx); see the module for the outputs."""
        levels = zip(self.children(), kernels, _levels(xf), strict=True)
        outputs = [head.correlate(kernel, level) for head, kernel, level in levels]
        cls, loc = zip(*outputs, strict=True)
        if not self.weighted:
            return sum(cls) / len(cls), sum(loc) / len(loc)
        return _weighted_sum(cls, self.cls_weight), _weighted_sum(loc, self.loc_weight)


def _levels(features: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    """A backbone or neck returns a single level without a list."""
    return [features] if isinstance(features, Tensor) else features


def _weighted_sum(outputs: Iterable[Tensor], weight: Tensor) -> Tensor:
    shares = torch.softmax(weight, dim=0)
    return sum(share * output for share, output in zip(shares, outputs, strict=True))


@RPN_HEADS.register("FC")
class FC(SiameseHead):
    """Correlates over all channels (Bertinetto et al., 2016, equation 1), then scales and shifts.

    The response is ``weight * 0.001 * correlation + bias`` with two learned numbers, which start at
    1 and 0.
    """

    channels_last = True
    in_channels = None  # any
    anchor_num = None
    labels = loss = "centers"

    def __init__(self) -> None:
        super().__init__()
        self.adjust = nn.Conv2d(1, 1, kernel_size=1)
        nn.init.ones_(self.adjust.weight)
        nn.init.zeros_(self.adjust.bias)

    def encode(self, zf: Tensor) -> Tensor:
        """Turn template features into kernels, both (B, C, Hz, Hz)."""
        return zf * _UNIT

    def correlate(self, kernels: Tensor, xf: Tensor) -> tuple[Tensor, None]:
        """Return logits (B, 1, R, R) of "the target is here", and None in the place of boxes."""
        return self.adjust(xcorr_fast(xf, kernels)), None
