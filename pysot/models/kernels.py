"""Arithmetic on what a network computes: tensors in nested tuples.

The first dimension of every tensor is the number in the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def map_kernels(function: Callable[..., Tensor], *kernels: Any) -> Any:
    """Apply a function to the tensors at the same place of structures that are alike.

    Args:
        function: Takes as many tensors as there are structures.
        kernels: Tensors, or (named) tuples of such; None, for what there is not, stays.

    Returns:
        The same structure, of the function's results.
    """
    first = kernels[0]
    if first is None:
        return None
    if isinstance(first, Tensor):
        return function(*kernels)
    parts = [map_kernels(function, *items) for items in zip(*kernels, strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)


def select(kernels: Any, number: int) -> Any:
    """Take one sample out of a batch; it keeps a first dimension of 1."""
    return map_kernels(lambda tensor: tensor[number : number + 1], kernels)


def join(kernels: list[Any], repeats: int = 1) -> Any:
    """Make one batch of several; each is repeated so many times in a row."""
    if len(kernels) == 1:
        return kernels[0]  # the network broadcasts a single template
    batch = map_kernels(lambda *tensors: torch.cat(tensors), *kernels)
    if repeats == 1:
        return batch
    return map_kernels(lambda tensor: tensor.repeat_interleave(repeats, dim=0), batch)


def mixed(old: Any, new: Any, rate: float) -> Any:
    """Go a share ``rate`` of the way from ``old`` to ``new``: a step of a running average."""
    return map_kernels(lambda a, b: torch.lerp(a, b, rate), old, new)
