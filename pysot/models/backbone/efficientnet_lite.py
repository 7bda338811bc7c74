"""EfficientNet-Lite0 (Tan and Le, 2019, without squeeze-excitation and with ReLU6).

Strides beyond ``max_stride`` become dilation. Padding is that of the published weights, which were
trained with TensorFlow's "SAME" on maps of even sides: 3x3 of stride 2 do not pad, 5x5 of stride 2
pad one cell. So cell i of a map of stride s is centered on pixel s * i + c for one c per map:
127 -> 63, 31, 15 and 7 cells, 255 -> 127, 63, 31 and 15.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from pysot.core.registry import BACKBONES
from pysot.models.wiring import checked_layers, numbered_maps

_STEM_WIDTH = 32
_EPS = 1e-3  # of the batch norms that the weights were trained with


class Stage(NamedTuple):
    """A row of the paper's table 1."""

    kernel: int
    expansion: int
    width: int
    depth: int
    stride: int


STAGES = (
    Stage(3, 1, 16, 1, 1),
    Stage(3, 6, 24, 2, 2),
    Stage(5, 6, 40, 2, 2),
    Stage(3, 6, 80, 3, 2),
    Stage(5, 6, 112, 3, 1),
    Stage(5, 6, 192, 4, 2),
    Stage(3, 6, 320, 1, 1),
)


class MBConv(nn.Module):
    """1x1 expansion, depth-wise and 1x1 projection; the expansion is left out where it is 1."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, expansion: int, stride: int, dilation: int
    ) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.has_shortcut = stride == 1 and inputs == outputs
        padding = (kernel - 1) // 2 * dilation if stride == 1 else (kernel - 2) // 2
        layers = _conv(inputs, hidden, 1, 1, 0, 1, 1) if expansion > 1 else []
        layers += _conv(hidden, hidden, kernel, stride, padding, dilation, hidden)
        layers += _conv(hidden, outputs, 1, 1, 0, 1, 1)[:2]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Compute (B, inputs, H, W) -> (B, outputs, H', W')."""
        return x + self.conv(x) if self.has_shortcut else self.conv(x)


def _conv(
    inputs: int, outputs: int, kernel: int, stride: int, padding: int, dilation: int, groups: int
) -> list[nn.Module]:
    """Make a convolution with batch norm and ReLU6."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs, eps=_EPS), nn.ReLU6(inplace=True)]


@BACKBONES.register("efficientnet_lite0")
class EfficientNetLite0(nn.Module):
    """Stem ``layer0`` and seven stages ``layer1`` to ``layer7``.

    ``used_layers`` numbers the maps to return, in its order; those after the deepest are not built.
    ``max_stride`` is 8 or 16. ``out_channels`` and ``strides`` (in pixels) have one number per map;
    ``stride`` is that of the deepest.

    Raises:
        ValueError: If a number is unknown.
    """

    channels_last = True

    def __init__(self, used_layers: Sequence[int] = (3, 4, 5), max_stride: int = 16) -> None:
        super().__init__()
        self.used_layers = checked_layers(used_layers, len(STAGES) + 1)
        if max_stride not in (8, 16):
            raise ValueError(f"BACKBONE.KWARGS.max_stride: expected 8 or 16, found {max_stride!r}")
        self.layer0 = nn.Sequential(*_conv(3, _STEM_WIDTH, 3, 2, 0, 1, 1))
        widths, strides, dilation = [_STEM_WIDTH], [2], 1
        for number, (kernel, expansion, width, depth, stride) in enumerate(STAGES, start=1):
            first = dilation  # its inputs are not yet denser than those it was trained on
            if strides[-1] * stride > max_stride:
                stride, dilation = 1, dilation * stride
            if number <= max(self.used_layers):
                blocks = [MBConv(widths[-1], width, kernel, expansion, stride, first)]
                blocks += [
                    MBConv(width, width, kernel, expansion, 1, dilation) for _ in range(depth - 1)
                ]
                self.add_module(f"layer{number}", nn.Sequential(*blocks))
            widths.append(width)
            strides.append(strides[-1] * stride)
        self.out_channels = [widths[number] for number in self.used_layers]
        self.strides = [strides[number] for number in self.used_layers]
        self.stride = strides[max(self.used_layers)]

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Compute the map of images (B, 3, H, W), BGR in 0..255, or a list of several."""
        return numbered_maps(self, x, self.used_layers)
