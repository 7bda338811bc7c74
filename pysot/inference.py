"""Networks made ready for tracking, the same answers sooner; and their outputs as probabilities.

A anchors, B batch, C channels, R response side, T tiles, 36 the points of a tile; channels come
last inside.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pysot.core.settings import PRECISIONS
from pysot.models.wiring import lay_out

# convolutions of fewer channels are as fast without transforms (measured with AVX2, batch 1)
_WIDE = 128
# run once per target, so that their speed is not worth four times the memory
_TEMPLATE_ONLY = re.compile(r"conv_kernel|template_")

_OUT, _KERNEL = 4, 3
_TILE = _OUT + _KERNEL - 1
# where the polynomials are evaluated, besides infinity: with these the largest error of unit data
# is 2e-5, as with a direct convolution; with -2 and 2 in place of -2 and 1/2 it is 6e-5
_POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)
# images in one pass: the intermediate results are 2.25 times as large as input and output
_CHUNK = 4


def prepare_for_tracking(
    model: nn.Module, precision: str = "fp32", compile: bool = False, winograd: bool = True
) -> nn.Module:
    """Return a faster copy of a network for tracking, without gradients.

    Batch norms are folded into convolutions and weights stored channels-last.

    Args:
        model: On the device where it shall run, in evaluation mode; it is not changed.
        precision: ``fp32``: outputs are those of the model to 1e-4 of their range. ``bf16`` or
            ``fp16``: two or three digits, and half the memory.
        compile: Whether backbone and neck are compiled in their first frames; on a CUDA device
            into a CUDA graph per shape.
        winograd: Whether wide 3x3 convolutions are computed by Winograd's algorithm, on a CPU in
            fp32, where it is faster: they take four times the memory of their weights.

    Raises:
        ValueError: If the precision is unknown, or the model is in training mode.
    """
    if precision not in PRECISIONS:
        raise ValueError(
            f"TRACK.PRECISION: unknown precision {precision!r}; known: {', '.join(PRECISIONS)}"
        )
    dtype = getattr(torch, PRECISIONS[precision])
    network = fuse_batch_norm(model).to(dtype=dtype)
    lay_out(network)
    device = next(network.parameters()).device
    if winograd and dtype == torch.float32 and device.type == "cpu":
        _use_winograd(network)

    known = getattr(network.backbone, "channels_last", False)
    layout = torch.channels_last if known else torch.contiguous_format

    def take_image(backbone: nn.Module, images: tuple[Tensor]) -> Tensor:
        return images[0].to(dtype=dtype, memory_format=layout)

    network.backbone.register_forward_pre_hook(take_image)
    if compile:
        # one graph of both: what it returns is overwritten by its next run, and used up before
        mode = "reduce-overhead" if device.type == "cuda" else "default"
        network.features = torch.compile(network.features, mode=mode)
    return network


def fuse_batch_norm(model: nn.Module) -> nn.Module:
    """Return a copy of a network, without gradients, with its batch norms folded into convolutions.

    Folded are a convolution and the batch norm right after it in an ``nn.Sequential``, and
    children ``conv<name>`` and ``bn<name>`` of the package's own modules. Parameters have other
    names.

    Raises:
        ValueError: If a part of the model is in training mode.
    """
    if any(module.training for module in model.modules()):
        raise ValueError("batch norm can be folded in evaluation mode only; call model.eval()")
    fused = copy.deepcopy(model).requires_grad_(False)
    _fold(fused)
    return fused


def fold_frozen_backbone(model: nn.Module) -> None:
    """Let a network learn with the batch norms of its backbone folded, where those are frozen.

    ``model.frozen_backbone`` gets a copy of the backbone, without gradients, that shares the parts
    that learn, which are in training mode. Names and values of the network stay as they are. Call
    it again when other parts learn or weights were loaded.
    """
    backbone = model.backbone
    learning = {id(module): module for module in backbone.modules() if module.training}
    model.frozen_backbone = []
    if id(backbone) not in learning:
        folded = copy.deepcopy(backbone, learning)
        _fold(folded)
        model.frozen_backbone.append(folded)


def _fold(network: nn.Module) -> None:
    """Fold what is in evaluation mode, in place."""
    for module in list(network.modules()):
        for conv, norm in list(_foldable(module)):
            parts = module.get_submodule(conv), module.get_submodule(norm)
            if any(part.training for part in parts):
                continue
            setattr(module, conv, fuse_conv_bn_eval(*parts))
            setattr(module, norm, nn.Identity())


def _foldable(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield names of children that are a convolution and the batch norm that follows it."""
    children = dict(module.named_children())
    if isinstance(module, nn.Sequential):
        candidates = pairwise(children)
    elif not type(module).__module__.startswith("pysot."):
        return  # their order is not known
    else:
        names = [name for name in children if re.fullmatch(r"conv\w*", name)]
        candidates = ((name, f"bn{name.removeprefix('conv')}") for name in names)
    for conv, norm in candidates:
        kinds = type(children[conv]), type(children.get(norm))  # a derived class may do more
        if kinds == (nn.Conv2d, nn.BatchNorm2d):
            yield conv, norm


def _use_winograd(network: nn.Module) -> None:
    for path, module in list(network.named_modules()):
        for name, conv in list(module.named_children()):
            if type(conv) is not nn.Conv2d or _TEMPLATE_ONLY.search(f"{path}.{name}"):
                continue
            wide = min(conv.in_channels, conv.out_channels) >= _WIDE
            if wide and WinogradConv2d.fits(conv):
                setattr(module, name, WinogradConv2d(conv))


class WinogradConv2d(nn.Module):
    """Computes what a 3x3 convolution of stride 1 does, but for rounding.

    Winograd's minimal filtering F(4x4, 3x3) (Lavin & Gray, 2016, section 4.1): tiles of 6 x 6
    inputs and the kernel are transformed, multiplied point by point, as 36 matrix products over
    the channels, and transformed back to 4 x 4 outputs, with a quarter of the multiplications. A
    dilated convolution is taken apart into undilated ones, of every second row and column for
    dilation 2.

    Raises:
        ValueError: If the convolution is of another kind.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        if not self.fits(conv):
            raise ValueError(f"expected a 3x3 convolution of stride 1 in one group, found {conv}")
        self.padding, self.dilation = conv.padding[0], conv.dilation[0]
        output, kernel, data = (torch.from_numpy(np.kron(m, m)) for m in _transforms())
        weight = conv.weight.detach()
        flat = kernel.to(weight.device) @ weight.double().flatten(2).flatten(0, 1).T  # (36, O * C)
        weight = flat.reshape(_TILE**2, *weight.shape[:2]).transpose(1, 2).to(weight.dtype)
        self.register_buffer("weight", weight.contiguous())  # (36, C, O)
        self.register_buffer("bias", None if conv.bias is None else conv.bias.detach().clone())
        self.register_buffer("data_transform", data.to(self.weight))
        self.register_buffer("output_transform", output.to(self.weight))

    @staticmethod
    def fits(conv: nn.Conv2d) -> bool:
        """Return whether a convolution can be computed in this way."""
        square = (conv.padding, conv.dilation) in [
            ((p, p), (d, d)) for p in conv.padding[:1] for d in conv.dilation[:1]
        ]
        kind = conv.kernel_size, conv.stride, conv.groups, conv.padding_mode
        return square and kind == ((_KERNEL, _KERNEL), (1, 1), 1, "zeros")

    def forward(self, x: Tensor) -> Tensor:
        """Compute (B, C, H, W) -> (B, O, H', W'), channels-last."""
        if len(x) > _CHUNK:
            return torch.cat([self(part) for part in x.split(_CHUNK)])
        grown = 2 * self.padding - self.dilation * (_KERNEL - 1)
        height, width = x.shape[2] + grown, x.shape[3] + grown
        points, tiling = self._tiles(x, height, width)
        channels = points.shape[-1]
        points = self.data_transform @ points.reshape(_TILE**2, -1)
        products = torch.bmm(points.view(_TILE**2, -1, channels), self.weight)  # (36, T, O)
        out = self.output_transform @ products.view(_TILE**2, -1)  # (16, T * O)
        # (4, 4, B, rows, d, columns, d, O): a cell of the output is tile, cell of the tile, phase
        batch, rows, d, columns, _ = tiling
        out = out.view(_OUT, _OUT, *tiling, -1).permute(2, 3, 0, 4, 5, 1, 6, 7)
        out = out.reshape(batch, rows * _OUT * d, columns * _OUT * d, -1)[:, :height, :width]
        if self.bias is not None:
            out = out + self.bias
        return out.permute(0, 3, 1, 2)

    def _tiles(self, x: Tensor, height: int, width: int) -> tuple[Tensor, tuple[int, ...]]:
        """Cut a map into overlapping tiles, (6, 6, B, rows, d, columns, d, C).

        The dimensions from B to the second d are returned, too.
        """
        d, before, step = self.dilation, self.padding, self.dilation * _OUT
        rows, columns = -(-height // step), -(-width // step)
        overlap = _TILE - _OUT
        tall, wide = rows * _OUT + overlap, columns * _OUT + overlap
        after = d * wide - x.shape[3] - before, d * tall - x.shape[2] - before
        x = F.pad(x.permute(0, 2, 3, 1), (0, 0, before, after[0], before, after[1]))
        x = x.view(len(x), tall, d, wide, d, -1).unfold(1, _TILE, _OUT).unfold(3, _TILE, _OUT)
        return x.permute(6, 7, 0, 1, 2, 3, 4, 5), (len(x), rows, d, columns, d)


def _transforms() -> tuple[NDArray, NDArray, NDArray]:
    """Matrices (4, 6) of the output, (6, 3) of the kernel and (6, 6) of the data, in one dimension.

    Toom-Cook: evaluate two polynomials, multiply, interpolate; transposed, this is a filter.
    """
    points = np.array(_POINTS)
    distance = points[:, None] - points
    np.fill_diagonal(distance, 1)
    scale = np.append(distance.prod(axis=1), 1)[:, None]  # keeps the data's matrix simple numbers

    def values(degree: int) -> NDArray:
        leading = np.eye(degree)[-1:]  # the value at infinity
        return np.concatenate([points[:, None] ** np.arange(degree), leading])

    data = np.linalg.inv(values(_TILE)).T * scale
    return values(_OUT).T, values(_KERNEL) / scale, data


def probabilities(cls: Tensor, loc: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Turn class logits (B, 2A, R, R) into probabilities of the target, (B, A, R, R) float32.

    Box deltas become float32. A head without boxes keeps its logits, which trackers compare.
    """
    if loc is None:
        return cls.float(), None
    scores = torch.softmax(cls.float().reshape(cls.shape[0], 2, -1), dim=1)[:, 1]
    return scores.reshape(cls.shape[0], -1, *cls.shape[2:]), loc.float()
