"""ResNet-18, -34 and -50 with dilation in place of the last two strides (SiamRPN++, section 3.2).

All stages from the second on stay at stride 8: 127 -> 15 x 15, 255 -> 31 x 31. Names of children
are those of published weights.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from pysot.core.registry import BACKBONES
from pysot.models.wiring import checked_layers, scaled_widths, selected

_PLANES = (64, 128, 256, 512)
_STRIDES = (1, 2, 1, 1)
_DILATIONS = (1, 1, 2, 4)
_MAP_STRIDES = (2, 4, 8, 8, 8)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, **geometry: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, bias=False, **geometry)


def _spatial_geometry(stride: int, dilation: int, downsamples: bool) -> dict[str, int]:
    """Padding and dilation of a block's first 3x3 convolution.

    A stage reaches its dilation in two steps: the block that changes the channels has half of it.
    A convolution with stride 2 is not padded: a feature's position is independent of the border.
    """
    if dilation == 1:
        return {"padding": 2 - stride, "dilation": 1}
    dilation = dilation // 2 if downsamples else dilation
    return {"padding": dilation, "dilation": dilation}


def _downsample(inputs: int, outputs: int, stride: int, dilation: int) -> nn.Sequential | None:
    """Bring a block's input to the shape of its output, where that differs."""
    if stride == 1 and inputs == outputs:
        return None
    if stride == 1 and dilation == 1:
        conv = _conv(inputs, outputs, 1)
    elif dilation > 1:
        conv = _conv(inputs, outputs, 3, stride, padding=dilation // 2, dilation=dilation // 2)
    else:
        conv = _conv(inputs, outputs, 3, stride)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, the first with the stride, and a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, planes: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        downsample = _downsample(inputs, planes, stride, dilation)
        first = _spatial_geometry(stride, dilation, downsample is not None)
        self.conv1 = _conv(inputs, planes, 3, stride, **first)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = _conv(planes, planes, 3, padding=dilation, dilation=dilation)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Compute (B, inputs, H, W) -> (B, planes, H', W')."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class Bottleneck(nn.Module):
    """1x1, 3x3 (of ``planes`` channels, with the stride) and 1x1 convolutions and a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, planes: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        outputs = planes * self.expansion
        downsample = _downsample(inputs, outputs, stride, dilation)
        spatial = _spatial_geometry(stride, dilation, downsample is not None)
        self.conv1 = _conv(inputs, planes, 1)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = _conv(planes, planes, 3, stride, **spatial)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = _conv(planes, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Compute (B, inputs, H, W) -> (B, 4 * planes, H', W')."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class ResNet(nn.Module):
    """Stem and up to four stages.

    Args:
        block: Class of the residual blocks.
        depths: Blocks of each of the four stages.
        used_layers: Maps to return, in this order: 0 the stem, 1 to 4 the stages ``layer1`` to
            ``layer4``. The last two stages exist only where they are named; without 3, ``layer4``
            follows on ``layer2``, as in PySOT.
        width_mult: Factor on every layer's channels, truncated to an integer.

    Attributes:
        out_channels: One number per map.
        strides: Pixels between two cells of each map; ``stride`` is that of the deepest.

    Raises:
        ValueError: If a number is unknown, or a layer has no channels left.
    """

    channels_last = True

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: Sequence[int],
        used_layers: Sequence[int],
        width_mult: float = 1.0,
    ) -> None:
        super().__init__()
        self.used_layers = checked_layers(used_layers, len(_MAP_STRIDES))
        planes = scaled_widths(_PLANES, width_mult)
        self.conv1 = _conv(3, planes[0], 7, stride=2)
        self.bn1 = nn.BatchNorm2d(planes[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        channels, inputs = {0: planes[0]}, planes[0]
        self.stages = [1, 2, *(number for number in (3, 4) if number in self.used_layers)]
        for number in self.stages:
            stage = _stage(block, inputs, planes[number - 1], number, depths[number - 1])
            self.add_module(f"layer{number}", stage)
            channels[number] = inputs = planes[number - 1] * block.expansion
        self.out_channels = [channels[number] for number in self.used_layers]
        self.strides = [_MAP_STRIDES[number] for number in self.used_layers]
        self.stride = _MAP_STRIDES[max(self.used_layers)]
        _initialize(self)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Compute the map of images (B, 3, H, W), BGR in 0..255, or a list of several."""
        maps = {0: self.relu(self.bn1(self.conv1(x)))}
        x = self.maxpool(maps[0])
        for number in self.stages:
            if number <= max(self.used_layers):
                x = maps[number] = self.get_submodule(f"layer{number}")(x)
        return selected(maps, self.used_layers)


def _stage(
    block: type[BasicBlock] | type[Bottleneck], inputs: int, planes: int, number: int, depth: int
) -> nn.Sequential:
    width, dilation = planes * block.expansion, _DILATIONS[number - 1]
    blocks = [block(inputs, planes, _STRIDES[number - 1], dilation)]
    blocks += [block(width, planes, dilation=dilation) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)


def _initialize(network: nn.Module) -> None:
    """Draw convolutions normally, scaled to their fan-out (He et al., 2015, section 2.2)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
            nn.init.normal_(module.weight, 0.0, (2.0 / fan_out) ** 0.5)


@BACKBONES.register("resnet18")
def resnet18(used_layers: Sequence[int], width_mult: float = 1.0) -> ResNet:
    """Build ResNet-18."""
    return ResNet(BasicBlock, (2, 2, 2, 2), used_layers, width_mult)


@BACKBONES.register("resnet34")
def resnet34(used_layers: Sequence[int], width_mult: float = 1.0) -> ResNet:
    """Build ResNet-34."""
    return ResNet(BasicBlock, (3, 4, 6, 3), used_layers, width_mult)


@BACKBONES.register("resnet50")
def resnet50(used_layers: Sequence[int], width_mult: float = 1.0) -> ResNet:
    """Build ResNet-50."""
    return ResNet(Bottleneck, (3, 4, 6, 3), used_layers, width_mult)
