"""NanoTrackV3 as a plug-in: a network of half a million weights, and its tracker.

Written from the papers that it builds on, and fitted to the published weights: MobileNetV3 (Howard
et al., 2019), pixel-wise correlation (Alpha-Refine, Yan et al., 2021), boxes as distances from
points (SiamBAN, Chen et al., 2020; LightTrack, Yan et al., 2021).

z template, x search image, zf and xf their features; B batch, C channels, R response side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pysot.core.registry import BACKBONES, NECKS, RPN_HEADS, TRACKERS
from pysot.core.settings import TrackParams, own
from pysot.core.xcorr import xcorr_depthwise, xcorr_fast
from pysot.tracker.siamrpn_tracker import SiamRPNTracker

# inputs, kernel, expansion, outputs, squeezed channels (0: no squeeze), hard swish, stride
_BLOCKS = (
    (16, 3, 16, 16, 8, False, 2),
    (16, 3, 72, 24, 0, False, 2),
    (24, 3, 88, 24, 0, False, 1),
    (24, 5, 96, 40, 24, True, 2),
    (40, 5, 240, 40, 64, True, 1),
    (40, 5, 240, 40, 64, True, 1),
    (40, 5, 120, 48, 32, True, 1),
    (48, 5, 144, 48, 40, True, 1),
    (48, 5, 288, 96, 72, True, 1),
)
_CHANNELS = 96  # of the backbone's map
_CELLS = 64  # of a template's map, 8 x 8
_CORE = 4  # side of its middle, which the depth-wise correlation seeks


class SqueezeExcite(nn.Module):
    """Weighs each channel by all channels' means (MobileNetV3, section 5.3)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        layers = nn.Linear(channels, squeezed), nn.Linear(squeezed, channels)
        self.fc = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.Hardsigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Return x, (B, C, H, W), weighed."""
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


class Block(nn.Module):
    """An inverted residual block of MobileNetV3 (figure 4); the numbers are those of a row."""

    def __init__(
        self, i: int, kernel: int, wide: int, o: int, squeezed: int, swish: bool, stride: int
    ) -> None:
        super().__init__()
        activation = nn.Hardswish if swish else nn.ReLU
        weigh = SqueezeExcite(wide, squeezed) if squeezed else nn.Identity()
        conv = nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False)
        depthwise = conv, nn.BatchNorm2d(wide)
        middle = [*depthwise, activation(), weigh]  # where there is nothing to widen
        if i != wide:
            widen = _pointwise(i, wide), nn.BatchNorm2d(wide), activation()
            middle = [*widen, *depthwise, weigh, activation()]
        self.conv = nn.Sequential(*middle, _pointwise(wide, o), nn.BatchNorm2d(o))
        self.residual = i == o and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, H / stride, W / stride)."""
        return x + self.conv(x) if self.residual else self.conv(x)


def _pointwise(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, bias=False)


@BACKBONES.register("nanotrack_mobilenetv3")
class NanoBackbone(nn.Module):
    """MobileNetV3-Small up to its ninth block, whose stride is 1: one map at stride 16."""

    stride = 16
    out_channels = (_CHANNELS,)

    def __init__(self) -> None:
        super().__init__()
        stem = nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish()
        self.features = nn.Sequential(nn.Sequential(*stem), *(Block(*row) for row in _BLOCKS))

    def forward(self, x: Tensor) -> Tensor:
        """Turn BGR images in 0..255, (B, 3, H, W), into (B, 96, H / 16, W / 16), rounded up."""
        return self.features(x)


@NECKS.register("nanotrack_neck")
class NanoNeck(nn.Module):
    """Nothing, as the backbone gives the head's number of channels; the file has its weights."""

    channels_last = True
    in_channels = out_channels = [_CHANNELS]

    def __init__(self) -> None:
        super().__init__()
        layers = _pointwise(_CHANNELS, _CHANNELS), nn.BatchNorm2d(_CHANNELS)
        self.downsample = nn.Sequential(*layers).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Return x, (B, 96, H, W)."""
        return x


def _embedding() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(_CHANNELS, _CHANNELS, 1), nn.BatchNorm2d(_CHANNELS))


class ChannelAttention(nn.Module):
    """Weighs each channel by all channels' means (Alpha-Refine, section 3.2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels, 1)
        self.fc2 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return x, (B, C, H, W), weighed."""
        means = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.fc2(torch.relu(self.fc1(means))))


class PixelwiseCorrelation(nn.Module):
    """Compares each cell of the template with each of the search map (Alpha-Refine, 3.2)."""

    def __init__(self) -> None:
        super().__init__()
        self.CA_layer = ChannelAttention(_CELLS)
        self.conv_kernel, self.conv_search = _embedding(), _embedding()
        self.conv = nn.Sequential(
            nn.Conv2d(_CELLS, _CELLS, 2, groups=_CELLS, bias=False),
            nn.BatchNorm2d(_CELLS),
            nn.ReLU(),
            nn.Conv2d(_CELLS, _CELLS, 1),
            nn.BatchNorm2d(_CELLS),
        )

    def encode(self, zf: Tensor) -> Tensor:
        """Turn zf, (B, 96, 8, 8), into 64 filters each, (B, 64 * 96, 1, 1)."""
        if zf.shape[2] * zf.shape[3] != _CELLS:
            raise ValueError(
                "TRACK.EXEMPLAR_SIZE: NanoTrackV3 takes templates of 113 to 128 pixels"
            )
        return self.conv_kernel(zf).flatten(2).transpose(1, 2).flatten(1)[:, :, None, None]

    def correlate(self, kernel: Tensor, xf: Tensor) -> Tensor:
        """Compare with xf, (B, 96, R + 1, R + 1), to (B, 64, R, R)."""
        return self.conv(self.CA_layer(xcorr_fast(self.conv_search(xf), kernel)))


class DepthwiseCorrelation(nn.Module):
    """Seeks the middle of the template in the search map, channel by channel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_kernel, self.conv_search = _embedding(), _embedding()

    def encode(self, zf: Tensor) -> Tensor:
        """Turn zf, (B, 96, 8, 8), into (B, 96, 4, 4)."""
        edge = (zf.shape[2] - _CORE) // 2
        core = slice(edge, edge + _CORE)
        return self.conv_kernel(zf[:, :, core, core])

    def correlate(self, kernel: Tensor, xf: Tensor) -> Tensor:
        """Compare with xf, (B, 96, R + 1, R + 1), to (B, 96, R, R)."""
        return xcorr_depthwise(F.pad(self.conv_search(xf), (1, 1, 1, 1)), kernel)


def _tower(layers: int = 6) -> nn.Sequential:
    """Return depth-wise separable convolutions."""
    modules: list[nn.Module] = []
    for _ in range(layers):
        depthwise = nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1, groups=_CHANNELS, bias=False)
        modules += [depthwise, nn.BatchNorm2d(_CHANNELS), nn.ReLU()]
        modules += [_pointwise(_CHANNELS, _CHANNELS), nn.BatchNorm2d(_CHANNELS)]
    return nn.Sequential(*modules)


class Kernels(NamedTuple):
    """What the head computes from templates."""

    cls_cells: Tensor  # (B, 64 * 96, 1, 1)
    cls_core: Tensor  # (B, 96, 4, 4)
    loc_cells: Tensor
    loc_core: Tensor


@RPN_HEADS.register("NanoTrackHead")
class NanoHead(nn.Module):
    """Scores a point per cell, and finds its distances from the box around it.

    Both branches compare template and search map in two ways, and join the results.
    """

    in_channels = _CHANNELS
    anchor_num = None

    def __init__(self) -> None:
        super().__init__()
        for branch, tower, last, outputs in (
            ("cls", "cls_tower", "cls_logits", 2),
            ("reg", "bbox_tower", "bbox_pred", 4),
        ):
            self.add_module(f"corr_pw_{branch}", PixelwiseCorrelation())
            self.add_module(f"corr_dw_{branch}", DepthwiseCorrelation())
            joined = nn.Conv2d(_CELLS + _CHANNELS, _CHANNELS, 1)
            self.add_module(f"down_{branch}", nn.Sequential(joined))
            self.add_module(tower, _tower())
            self.add_module(last, nn.Sequential(nn.Conv2d(_CHANNELS, outputs, 1)))

    def encode(self, zf: Tensor) -> Kernels:
        """Compute all that depends on the template, zf (B, 96, 8, 8)."""
        parts = self.corr_pw_cls, self.corr_dw_cls, self.corr_pw_reg, self.corr_dw_reg
        return Kernels(*(part.encode(zf) for part in parts))

    def correlate(self, kernels: Kernels, xf: Tensor) -> tuple[Tensor, Tensor]:
        """Compare with xf, (B, 96, R + 1, R + 1).

        Returns:
            Class logits (B, 2, R, R), background first, and logarithms (B, 4, R, R) of the
            distances to the left, upper, right and lower side, in pixels.
        """
        cells = self.corr_pw_cls.correlate(kernels.cls_cells, xf)
        core = self.corr_dw_cls.correlate(kernels.cls_core, xf)
        cls = self.cls_logits(self.cls_tower(self.down_cls(torch.cat([cells, core], 1))))
        cells = self.corr_pw_reg.correlate(kernels.loc_cells, xf)
        core = self.corr_dw_reg.correlate(kernels.loc_core, xf)
        loc = self.bbox_pred(self.bbox_tower(self.down_reg(torch.cat([cells, core], 1))))
        return cls, loc


@dataclass(frozen=True)
class NanoParams(TrackParams):
    """A tracker's parameters and its own key, ``TRACK.POINT_STRIDE``."""

    point_stride: int = own(16, "pixels of the search image from point to point", ge=1, le=1024)


@TRACKERS.register("NanoTracker")
class NanoTracker(SiamRPNTracker):
    """Follows one target by the best of one box per point."""

    params_type = NanoParams
    anchor_num = 1

    def boxes(self, deltas: NDArray, side: int) -> NDArray:
        """Turn logarithms of distances, (4, R * R), into (R * R, 4).

        The boxes are cx, cy, w, h in pixels of the search image, from its center.
        """
        row = (np.arange(side, dtype=np.float32) - (side - 1) / 2) * self.params.point_stride
        x, y = (grid.ravel() for grid in np.meshgrid(row, row))
        left, top, right, bottom = np.exp(deltas)
        size = left + right, top + bottom
        return np.stack([x + (right - left) / 2, y + (bottom - top) / 2, *size], axis=1)
