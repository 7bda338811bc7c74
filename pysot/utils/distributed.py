"""PySOT's helpers for several processes, for scripts written against it; nothing inside uses them.

A script started without a launcher is one process, and all of them do nothing.
"""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed as dist
from torch import nn


def dist_init() -> tuple[int, int]:
    """Join the processes that a launcher such as torchrun started; returns rank and their number.

    Raises:
        ValueError: If its environment variables are incomplete.
    """
    if "RANK" in os.environ and not dist.is_initialized():
        gpu = torch.cuda.is_available()
        if gpu:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
        dist.init_process_group("nccl" if gpu else "gloo")
    return get_rank(), get_world_size()


def get_rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def get_world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def average_reduce(v: Any) -> Any:
    """Return the mean of a number or tensor over all processes."""
    if get_world_size() == 1:
        return v
    device = "cuda" if dist.get_backend() == "nccl" else None  # NCCL takes no tensors of a CPU
    total = torch.as_tensor(v, device=device).detach().clone()
    dist.all_reduce(total)
    return total / get_world_size()


def reduce_gradients(model: nn.Module, _type: str = "sum") -> None:
    """Add up a model's gradients over all processes, or average them (``avg``).

    Raises:
        ValueError: If ``_type`` is neither.
    """
    if _type not in ("sum", "avg"):
        raise ValueError(f"unknown way {_type!r} to reduce gradients; known: sum, avg")
    if get_world_size() == 1:
        return
    for parameter in model.parameters():
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= get_world_size() if _type == "avg" else 1


def broadcast_params(model: nn.Module) -> None:
    """Give all processes the parameters and buffers of the first one."""
    for value in model.state_dict().values() if get_world_size() > 1 else ():
        dist.broadcast(value, 0)


class DistModule(nn.Module):
    """Wraps a model as ``module``, whose weights are those of the first process everywhere."""

    def __init__(self, module: nn.Module, bn_method: int = 0) -> None:
        super().__init__()
        self.module, self.bn_method = module, bn_method
        broadcast_params(module)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model."""
        return self.module(*args, **kwargs)
