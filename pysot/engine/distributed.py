"""The processes that train one model together: who is who, and what they agree on.

A launcher (``torchrun``) tells every process its place in environment variables. Without one there
is one process, and everything here is free.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pysot.core.errors import RunFailed

_FAREWELL = 0.2  # seconds
_GLANCE = 0.02  # seconds
_PATIENCE = 600.0  # seconds that the processes may be apart when they start


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together. All of them must make the same calls.

    Attributes:
        rank: Its number, from 0.
        ranks: How many there are.
        local_rank: Its number on this machine.
    """

    rank: int = 0
    ranks: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def total(self, values: Sequence[float]) -> list[float]:
        """Add up numbers over all processes, one by one."""
        if self.ranks == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64)
        with peers():
            dist.all_reduce(sums)
        return sums.tolist()

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """Tell for each flag whether it is set in any process."""
        return [count > 0 for count in self.total([float(flag) for flag in flags])]

    def gather(self, value: Any) -> list[Any]:
        """Collect one object of each process, in their order; everyone gets the list."""
        if self.ranks == 1:
            return [value]
        values = [None] * self.ranks
        with peers():
            dist.all_gather_object(values, value)
        return values

    def share(self, value: Any) -> Any:
        """Give the first process's object to all."""
        if self.ranks == 1:
            return value
        values = [value]
        with peers():
            dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return values[0]


@contextlib.contextmanager
def peers() -> Iterator[None]:
    """Tell in one line when a process does not find another.

    Raises:
        RunFailed: For errors of gloo, nccl and torch's stores; others pass.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error).lower():
            raise
        reason = str(error).split("\n", maxsplit=1)[0]
        raise RunFailed(f"another process of this run is gone ({reason})") from error


def find_rank(local_rank: int = 0) -> Ranks:
    """Read this process's place from the environment that a launcher sets.

    Args:
        local_rank: What the command line says, where the environment does not.

    Raises:
        ValueError: If the environment is incomplete or no numbers.
    """
    number = _number("WORLD_SIZE", 1)
    if number == 1:
        return Ranks()
    needed = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    missing = [name for name in needed if not os.environ.get(name)]
    if missing:
        raise ValueError(
            f"WORLD_SIZE is {number}, but {', '.join(missing)} is not set; start several processes "
            "with torchrun, or unset WORLD_SIZE"
        )
    rank = _number("RANK", 0)
    if rank >= number:
        raise ValueError(f"RANK is {rank}, but WORLD_SIZE is {number}; expected a smaller one")
    _number("MASTER_PORT", 0)
    return Ranks(rank, number, _number("LOCAL_RANK", local_rank))


def _number(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdecimal():
        raise ValueError(f"{name} is {text!r} in the environment; expected a number")
    return int(text)


def device_of(ranks: Ranks, device: torch.device) -> torch.device:
    """Give every process a device of its own.

    Args:
        ranks: The processes.
        device: The one that the configuration chooses.

    Raises:
        ValueError: If there are not enough.
    """
    if ranks.ranks == 1 or device.type == "cpu":
        return device
    if device.type != "cuda" or device.index is not None:
        raise ValueError(
            f"DEVICE: {str(device)!r} cannot serve {ranks.ranks} processes; use cuda or cpu"
        )
    if ranks.local_rank >= torch.cuda.device_count():
        raise ValueError(
            f"process {ranks.local_rank} of this machine has no GPU of its own: there are "
            f"{torch.cuda.device_count()}; lower --nproc-per-node of torchrun"
        )
    return torch.device("cuda", ranks.local_rank)


@contextlib.contextmanager
def joined(ranks: Ranks, device: torch.device) -> Iterator[None]:
    """Connect the processes: gloo for the CPU, and nccl for what lies on GPUs.

    After an exception nothing is said to the others, who may wait for this process in vain: they
    notice that it is gone.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if ranks.ranks == 1:
        yield
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    with peers():
        launched = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        store = _launchers_store(ranks) if launched else None  # else torch makes one
        dist.init_process_group(backend, store=store, rank=ranks.rank, world_size=ranks.ranks)
    yield
    with peers():
        dist.barrier()
    # A thread of gloo may still want the interpreter to let go of the last tensors. Whoever holds
    # the interpreter while he destroys the group waits for that thread, for ever.
    time.sleep(_FAREWELL)
    dist.destroy_process_group()


def _launchers_store(ranks: Ranks) -> dist.Store:
    """Open the store of torchrun, under a name that no processes had before these.

    torchrun keeps its store when it starts the processes again, and what they left there: the
    addresses of dead ones, where the new ones would look for each other.
    """
    store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
    name = _welcome(store, ranks.ranks) if ranks.is_first else _greet(store, ranks.rank)
    return dist.PrefixStore(name, store)


def _welcome(store: dist.Store, ranks: int) -> str:
    """Give all others the name that the first process has chosen, once they live.

    A greeting may be that of a dead process. Only the living answer to the name.
    """
    name, since = uuid.uuid4().hex, time.monotonic()
    missing = set(range(1, ranks))
    while missing:
        for rank in missing:
            if store.check([f"greeting/{rank}"]):
                store.set(f"name/{store.get(f'greeting/{rank}').decode()}", name)
        missing = {rank for rank in missing if not store.check([f"{name}/{rank}"])}
        if time.monotonic() - since > _PATIENCE:
            raise RunFailed(f"processes {sorted(missing)} of this run did not start")
        time.sleep(_GLANCE)
    return name


def _greet(store: dist.Store, rank: int) -> str:
    """Ask the first process for the name."""
    greeting = uuid.uuid4().hex
    store.set(f"greeting/{rank}", greeting)
    store.wait([f"name/{greeting}"], timedelta(seconds=_PATIENCE))
    name = store.get(f"name/{greeting}").decode()
    store.set(f"{name}/{rank}", "here")
    return name


class GroupBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the batches of all processes, on CPUs; torch's own needs GPUs."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise a (B, C, H, W) batch; all processes must have the same B, H and W."""
        if not self.training:
            return super().forward(x)
        count = x.numel() // x.shape[1] * dist.get_world_size()
        mean = _AllReduce.apply(x.sum(dim=(0, 2, 3))) / count
        centred = x - mean[:, None, None]
        variance = _AllReduce.apply(centred.square().sum(dim=(0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / max(count - 1, 1)), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return centred * scale[:, None, None] + self.bias[:, None, None]


class _AllReduce(torch.autograd.Function):
    """Sum over all processes; every process's loss depends on every process's input."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


def share_batch_norm(model: nn.Module, device: torch.device) -> nn.Module:
    """Let batch norm use the statistics of all processes' batches (``TRAIN.SYNC_BN``).

    Names and values of parameters stay.
    """
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = GroupBatchNorm2d  # all it has stays, under the names it has
    return model
