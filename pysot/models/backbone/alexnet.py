"""AlexNet without padding, total stride 8 (SiamFC, table 1; batch norm after every convolution)."""

from __future__ import annotations

from torch import Tensor, nn

from pysot.core.registry import BACKBONES
from pysot.models.wiring import scaled_widths

_WIDTHS = (96, 256, 384, 384, 256)
_KERNELS = (11, 5, 3, 3, 3)


def _layers(width_mult: float) -> list[list[nn.Module]]:
    """Modules of the five layers: convolution, batch norm, pooling, ReLU."""
    widths = [3, *scaled_widths(_WIDTHS, width_mult)]
    layers = []
    for index, kernel in enumerate(_KERNELS):
        stride = 2 if index == 0 else 1
        layer: list[nn.Module] = [
            nn.Conv2d(widths[index], widths[index + 1], kernel, stride=stride),
            nn.BatchNorm2d(widths[index + 1]),
        ]
        if index < 2:
            layer.append(nn.MaxPool2d(kernel_size=3, stride=2))
        if index < 4:
            layer.append(nn.ReLU(inplace=True))
        layers.append(layer)
    return layers


class _AlexNetBase(nn.Module):
    """127 -> 6 x 6, 255 -> 22 x 22, 287 -> 26 x 26 cells.

    Args:
        width_mult: Factor on every layer's channels, truncated to an integer.
    """

    stride = 8

    def __init__(self, width_mult: float = 1) -> None:
        super().__init__()
        self.out_channels = [int(_WIDTHS[-1] * width_mult)]

    def forward(self, x: Tensor) -> Tensor:
        """Compute (B, 3, H, W), BGR in 0..255 -> (B, 256 * width_mult, H', W')."""
        for layer in self.children():
            x = layer(x)
        return x


@BACKBONES.register("alexnet")
class AlexNet(_AlexNetBase):
    """Five layers as children ``layer1`` to ``layer5``."""

    def __init__(self, width_mult: float = 1) -> None:
        super().__init__(width_mult)
        for number, modules in enumerate(_layers(width_mult), start=1):
            self.add_module(f"layer{number}", nn.Sequential(*modules))


@BACKBONES.register("alexnetlegacy")
class AlexNetLegacy(_AlexNetBase):
    """The same network as one child ``features``, as the first published weights name it."""

    def __init__(self, width_mult: float = 1) -> None:
        super().__init__(width_mult)
        modules = [module for layer in _layers(width_mult) for module in layer]
        self.features = nn.Sequential(*modules)
