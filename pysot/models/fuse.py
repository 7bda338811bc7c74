"""Folding of batch norm into the convolutions before it, for tracking."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fuse_batch_norm(model: nn.Module) -> nn.Module:
    """Return a copy of a network with its batch norms folded into convolutions.

    Folded are a convolution and the batch norm right after it in an ``nn.Sequential``, and
    children ``conv<name>`` and ``bn<name>`` of any other module; an ``nn.Identity`` takes the
    norm's place. Outputs are the same but for rounding.

    Args:
        model: In evaluation mode; it is not changed.

    Returns:
        A network for tracking: without gradients, and with other parameter names.

    Raises:
        ValueError: If a part of the model is in training mode, where a batch norm depends on the
            batch.
    """
    if any(module.training for module in model.modules()):
        raise ValueError("batch norm can be folded in evaluation mode only; call model.eval()")
    fused = copy.deepcopy(model).requires_grad_(False)
    for module in list(fused.modules()):
        for conv, norm in list(_foldable(module)):
            folded = fuse_conv_bn_eval(module.get_submodule(conv), module.get_submodule(norm))
            setattr(module, conv, folded)
            setattr(module, norm, nn.Identity())
    return fused


def _foldable(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield names of children that are a convolution and the batch norm that follows it."""
    children = dict(module.named_children())
    if isinstance(module, nn.Sequential):
        candidates = pairwise(children)
    else:
        names = [name for name in children if re.fullmatch(r"conv\w*", name)]
        candidates = ((name, f"bn{name.removeprefix('conv')}") for name in names)
    for conv, norm in candidates:
        if isinstance(children[conv], nn.Conv2d) and isinstance(children.get(norm), nn.BatchNorm2d):
            yield conv, norm
