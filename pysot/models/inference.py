"""Networks made ready for tracking: the same answers, sooner."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from pysot.models.fuse import fuse_batch_norm
from pysot.models.replay import CudaGraphs, Record, Replayed
from pysot.models.winograd import WinogradConv2d

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Names of ``TRACK.PRECISION``."""

# convolutions of fewer channels are as fast without transforms (measured with AVX2, batch 1)
_WIDE = 128
# run once per target, so that their speed is not worth four times the memory
_TEMPLATE_ONLY = re.compile(r"conv_kernel|template_")


def prepare_for_tracking(
    model: nn.Module,
    precision: str = "fp32",
    compile: bool = False,
    winograd: bool = True,
    cuda_graphs: bool = True,
) -> nn.Module:
    """Return a faster copy of a network for tracking; trackers may share it as any other.

    Batch norms are folded into convolutions and weights stored channels-last.

    Args:
        model: On the device where it shall run, in evaluation mode; it is not changed.
        precision: ``fp32``: outputs are those of the model to 1e-4 of their range. ``bf16`` or
            ``fp16``: two or three digits, and half the memory.
        compile: Whether ``torch.compile`` shall compile backbone and neck, in their first frames.
        winograd: Whether wide 3x3 convolutions shall be computed by Winograd's algorithm, on a CPU
            in fp32, where it is faster: they take four times the memory of their weights.
        cuda_graphs: Whether ``predict`` and ``predict_with_mask`` shall be recorded as CUDA graphs
            on a CUDA device, for each shape of their inputs; not together with ``compile``.

    Returns:
        A network of the same methods (``encode_template``, ``predict``, ...), without gradients.

    Raises:
        ValueError: If the precision is unknown, or the model is in training mode.
    """
    if precision not in PRECISIONS:
        raise ValueError(
            f"TRACK.PRECISION: unknown precision {precision!r}; known: {', '.join(PRECISIONS)}"
        )
    dtype = PRECISIONS[precision]
    network = fuse_batch_norm(model).to(dtype=dtype, memory_format=torch.channels_last)
    device = next(network.parameters()).device
    if winograd and dtype == torch.float32 and device.type == "cpu":
        _use_winograd(network)

    def take_image(backbone: nn.Module, images: tuple[Tensor]) -> Tensor:
        return images[0].to(dtype=dtype, memory_format=torch.channels_last)

    network.backbone.register_forward_pre_hook(take_image)
    if compile:
        for part in ("backbone", "neck"):
            if hasattr(network, part):
                getattr(network, part).compile()
    elif cuda_graphs and device.type == "cuda":
        _replay(network, CudaGraphs(device))
    return network


def _replay(network: nn.Module, record: Record) -> None:
    """Let recordings answer for the methods that run once per frame."""
    for name in ("predict", "predict_with_mask"):
        setattr(network, name, Replayed(getattr(network, name), record))


def _use_winograd(network: nn.Module) -> None:
    """Replace the convolutions that gain from it."""
    for path, module in list(network.named_modules()):
        for name, conv in list(module.named_children()):
            if not isinstance(conv, nn.Conv2d) or _TEMPLATE_ONLY.search(f"{path}.{name}"):
                continue
            wide = min(conv.in_channels, conv.out_channels) >= _WIDE
            if wide and WinogradConv2d.fits(conv):
                setattr(module, name, WinogradConv2d(conv))
