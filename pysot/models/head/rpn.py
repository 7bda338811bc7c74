"""Region proposal heads: compare template features with search features.

B batch, A anchors, C channels, Hz and Hx sides of template and search maps, R response side.
zf, xf template and search features. Every head splits its work in two: ``encode`` is all that
depends on the template alone and runs once per target; ``correlate`` runs once per frame.

Outputs: class logits (B, 2A, R, R), viewed as (B, 2, A, R, R) with background before target; box
deltas (B, 4A, R, R), viewed as (B, 4, A, R, R): dx, dy, dw, dh.
"""

from __future__ import annotations

from torch import Tensor, nn

from pysot.core.registry import RPN_HEADS
from pysot.core.xcorr import xcorr_depthwise, xcorr_fast

Kernels = tuple[Tensor, Tensor]


@RPN_HEADS.register("UPChannelRPN")
class UPChannelRPN(nn.Module):
    """Raises the template's channels to one kernel per output (SiamRPN, section 3.2).

    Args:
        anchor_num: A.
        feature_in: C, channels of both feature maps.
    """

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

    def forward(self, zf: Tensor, xf: Tensor) -> tuple[Tensor, Tensor]:
        """Compare template and search features; see the module for the outputs."""
        return self.correlate(self.encode(zf), xf)


class DepthwiseXCorr(nn.Module):
    """One branch of the depth-wise head: correlation per channel, then two 1x1 convolutions.

    Args:
        in_channels: C of both feature maps.
        hidden: Channels of the correlation.
        out_channels: Channels of the output.
        kernel_size: Side of the convolutions before the correlation.
    """

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

    def correlate(self, kernel: Tensor, xf: Tensor) -> Tensor:
        """Compare kernels with search features (B, C, Hx, Hx): (B, out_channels, R, R)."""
        return self.head(xcorr_depthwise(self.conv_search(xf), kernel))

    def forward(self, zf: Tensor, xf: Tensor) -> Tensor:
        """Compare template and search features: (B, out_channels, R, R)."""
        return self.correlate(self.encode(zf), xf)


def _conv_bn_relu(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


@RPN_HEADS.register("DepthwiseRPN")
class DepthwiseRPN(nn.Module):
    """Scores and refines A anchors per cell by depth-wise cross-correlation (SiamRPN++).

    Args:
        anchor_num: A.
        in_channels: C, channels of both feature maps.
        out_channels: Channels of the correlation.
    """

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

    def forward(self, zf: Tensor, xf: Tensor) -> tuple[Tensor, Tensor]:
        """Compare template and search features; see the module for the outputs."""
        return self.correlate(self.encode(zf), xf)
