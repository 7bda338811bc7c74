"""MobileNetV2 with dilation in place of its last strides, total stride 8 (SiamRPN++, section 4).

127 -> 15 x 15, 255 -> 31 x 31. Names of children are those of published weights.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from pysot.core.registry import BACKBONES
from pysot.models.wiring import checked_layers, numbered_maps, scaled_widths

_STEM_WIDTH = 32
# expansion, channels, blocks, stride, dilation
_STAGES = (
    (1, 16, 1, 1, 1),
    (6, 24, 2, 2, 1),
    (6, 32, 3, 2, 1),
    (6, 64, 4, 1, 2),
    (6, 96, 3, 1, 2),
    (6, 160, 3, 1, 4),
    (6, 320, 1, 1, 4),
)
_MAP_STRIDES = (2, 2, 4, 8, 8, 8, 8, 8)


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depth-wise and 1x1 projection (Sandler et al., 2018, section 3.3).

    The expansion is a convolution even where its factor is 1.
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int, expansion: int, dilation: int
    ) -> None:
        super().__init__()
        hidden = inputs * expansion
        padding = 2 - stride if dilation == 1 else dilation
        self.has_shortcut = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, hidden, 3, stride, padding, dilation, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Compute (B, inputs, H, W) -> (B, outputs, H', W')."""
        return x + self.conv(x) if self.has_shortcut else self.conv(x)


@BACKBONES.register("mobilenetv2")
class MobileNetV2(nn.Module):
    """Stem ``layer0`` and seven stages ``layer1`` to ``layer7``.

    ``used_layers`` numbers the maps to return, in its order; ``width_mult`` is a factor on every
    layer's channels, truncated to an integer. ``out_channels`` and ``strides`` (in pixels) have
    one number per map; ``stride`` is that of the deepest.

    Raises:
        ValueError: If a number is unknown, or a layer has no channels left.
    """

    channels_last = True

    def __init__(self, width_mult: float = 1.0, used_layers: Sequence[int] = (3, 5, 7)) -> None:
        super().__init__()
        self.used_layers = checked_layers(used_layers, len(_MAP_STRIDES))
        widths = scaled_widths([_STEM_WIDTH, *(stage[1] for stage in _STAGES)], width_mult)
        self.layer0 = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, stride=2, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU6(inplace=True),
        )
        previous = 1
        for number, (expansion, _, depth, stride, dilation) in enumerate(_STAGES, start=1):
            # a new dilation is reached in two steps: the first block has half of it
            first = dilation if dilation == previous else max(dilation // 2, 1)
            inputs, outputs = widths[number - 1], widths[number]
            blocks = [InvertedResidual(inputs, outputs, stride, expansion, first)]
            blocks += [
                InvertedResidual(outputs, outputs, 1, expansion, dilation) for _ in range(depth - 1)
            ]
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
            previous = dilation
        self.out_channels = [widths[number] for number in self.used_layers]
        self.strides = [_MAP_STRIDES[number] for number in self.used_layers]
        self.stride = _MAP_STRIDES[max(self.used_layers)]

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Compute the map of images (B, 3, H, W), BGR in 0..255, or a list of several."""
        return numbered_maps(self, x, self.used_layers)
