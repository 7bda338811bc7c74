"""AlexNet without padding, total stride 8 (SiamFC, table 1; batch norm after every convolution)."""

from __future__ import annotations

from torch import Tensor, nn

from pysot.core.registry import BACKBONES
from pysot.models.wiring import scaled_widths

_WIDTHS = (96, 256, 384, 384, 256)
_KERNELS = (11, 5, 3, 3, 3)


@BACKBONES.register("alexnet")
class AlexNet(nn.Module):
    """Layers ``layer1`` to ``layer5``; 127 -> 6 x 6, 255 -> 22 x 22, 287 -> 26 x 26 cells.

    ``width_mult`` is a factor on every layer's channels, truncated to an integer.
    """

    channels_last = True
    stride = 8

    def __init__(self, width_mult: float = 1) -> None:
        super().__init__()
        widths = [3, *scaled_widths(_WIDTHS, width_mult)]
        self.out_channels = widths[-1:]
        self._add([_layer(index, *widths[index : index + 2]) for index in range(len(_WIDTHS))])

    def _add(self, layers: list[list[nn.Module]]) -> None:
        for number, modules in enumerate(layers, start=1):
            self.add_module(f"layer{number}", nn.Sequential(*modules))

    def forward(self, x: Tensor) -> Tensor:
        """Compute (B, 3, H, W), BGR in 0..255 -> (B, 256 * width_mult, H', W')."""
        for layer in self.children():
            x = layer(x)
        return x


@BACKBONES.register("alexnetlegacy")
class AlexNetLegacy(AlexNet):
    """The same network as one child ``features``, as the first published weights name it."""

    def _add(self, layers: list[list[nn.Module]]) -> None:
        self.features = nn.Sequential(*(module for modules in layers for module in modules))


def _layer(index: int, inputs: int, outputs: int) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, _KERNELS[index], stride=2 if index == 0 else 1)
    layer = [conv, nn.BatchNorm2d(outputs)]
    if index < 2:
        layer.append(nn.MaxPool2d(kernel_size=3, stride=2))
    return layer if index == 4 else [*layer, nn.ReLU(inplace=True)]
