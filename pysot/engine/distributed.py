"""The processes that train one model together, in the words of ``torch.distributed``.

A launcher (``torchrun``) describes every process in environment variables. Without one there is
one process, and all calls return at once.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from pysot.core import RunFailed, StopRequest

_FAREWELL = 0.2  # seconds
_POLL_SECONDS = 0.5  # between two looks at whether the run is to stop


class ProcessLost(RunFailed):
    """Another process of the run is gone; no collective call can succeed any more."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those that train together; all of them must make the same calls."""

    rank: int = 0  # number of this process
    world_size: int = 1  # number of processes
    local_rank: int = 0  # number of this process on its machine

    @property
    def is_main_process(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def all_reduce(self, values: Sequence[float]) -> list[float]:
        """Return the sums of numbers over all processes, one by one."""
        if self.world_size == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64)
        with detect_lost_processes():
            dist.all_reduce(sums)
        return sums.tolist()

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """Return for each flag whether it is set in any process."""
        return [count > 0 for count in self.all_reduce([float(flag) for flag in flags])]

    def all_gather(self, value: Any) -> list[Any]:
        """Return the objects of all processes, by rank."""
        if self.world_size == 1:
            return [value]
        values = [None] * self.world_size
        with detect_lost_processes():
            dist.all_gather_object(values, value)
        return values

    def broadcast(self, value: Any) -> Any:
        """Return the main process's object."""
        if self.world_size == 1:
            return value
        values = [value]
        with detect_lost_processes():
            dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return values[0]


class Stopped(BaseException):
    """The run ends, and the piece of work at hand is not to blame."""


class Poll:
    """Keeps the processes together while the main one works alone: a stop request ends its work.

    The main process calls it between short pieces of its work, then :meth:`finish`; the others
    :meth:`wait`.
    """

    def __init__(self, group: ProcessGroup, stop: StopRequest) -> None:
        self._group, self._stop = group, stop
        self._last, self._lost, self._ended = 0.0, None, False

    def __call__(self) -> None:
        """Raise Stopped if the run is to stop, in all processes; looks only now and then."""
        if time.monotonic() - self._last < _POLL_SECONDS:
            return
        self._last = time.monotonic()
        try:
            self._ended = self._group.any([bool(self._stop)])[0]
        except ProcessLost as error:  # errors of the work may only be counted, not so this one
            self._lost, self._ended = error, True
        if self._ended:
            raise Stopped

    def finish(self) -> None:
        """Let the others go on."""
        if self._lost is not None:
            raise self._lost
        if not self._ended:
            self._group.any([True])

    def wait(self) -> None:
        """Return when the main process has finished, or the run is to stop."""
        while not self._group.any([bool(self._stop)])[0]:
            pass


@contextlib.contextmanager
def detect_lost_processes() -> Iterator[None]:
    """Raise ProcessLost in place of the errors of gloo, nccl and torch's stores; others pass."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error).lower():
            raise
        reason = str(error).split("\n", maxsplit=1)[0]
        raise ProcessLost(f"another process of this run is gone ({reason})") from error


def find_process_group(local_rank: int = 0) -> ProcessGroup:
    """Read this process's place from the environment that a launcher sets.

    ``local_rank`` is for launchers that pass it on the command line.

    Raises:
        ValueError: If variables are missing or wrong.
    """
    world_size = _number("WORLD_SIZE", 1)
    if world_size == 1:
        return ProcessGroup()
    needed = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    missing = [name for name in needed if not os.environ.get(name)]
    if missing:
        raise ValueError(
            f"WORLD_SIZE is {world_size}, but {', '.join(missing)} is not set; start several "
            "processes with torchrun, or unset WORLD_SIZE"
        )
    rank = _number("RANK", 0)
    if rank >= world_size:
        raise ValueError(f"RANK is {rank}, but WORLD_SIZE is {world_size}; expected a smaller one")
    _number("MASTER_PORT", 0)
    return ProcessGroup(rank, world_size, _number("LOCAL_RANK", local_rank))


def _number(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdecimal():
        raise ValueError(f"{name} is {text!r} in the environment; expected a number")
    return int(text)


def device_of(group: ProcessGroup, device: torch.device) -> torch.device:
    """Return this process's own device, of the configured kind; ValueError if there are too few."""
    if group.world_size == 1 or device.type == "cpu":
        return device
    if device.type != "cuda" or device.index is not None:
        raise ValueError(
            f"DEVICE: {str(device)!r} cannot serve {group.world_size} processes; use cuda or cpu"
        )
    if group.local_rank >= torch.cuda.device_count():
        raise ValueError(
            f"process {group.local_rank} of this machine has no GPU of its own: there are "
            f"{torch.cuda.device_count()}; lower --nproc-per-node of torchrun"
        )
    return torch.device("cuda", group.local_rank)


@contextlib.contextmanager
def init_process_group(group: ProcessGroup, device: torch.device) -> Iterator[None]:
    """Connect the processes: gloo for the CPU, and nccl for tensors on GPUs.

    After an exception this process leaves without a barrier, at which the others might wait in
    vain: they notice that it is gone.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if group.world_size == 1:
        yield
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        with detect_lost_processes():
            store = _store_of_torchrun()
            dist.init_process_group(
                backend, store=store, rank=group.rank, world_size=group.world_size
            )
    except ProcessLost as error:
        if "EADDRINUSE" not in str(error):
            raise
        raise RunFailed(
            f"port {os.environ['MASTER_PORT']} (MASTER_PORT) is in use by another program or "
            "training; choose another one (torchrun: --master-port, or --standalone)"
        ) from error
    yield
    with detect_lost_processes():
        dist.barrier()
    # A thread of gloo may still need the interpreter lock to release the last tensors, and
    # destroying the group waits for that thread while it holds the lock.
    time.sleep(_FAREWELL)
    dist.destroy_process_group()


def _store_of_torchrun() -> dist.Store | None:
    """Return a store with a prefix per restart; None where torch opens one by itself.

    torchrun keeps its store when it restarts the processes. Without a prefix the new ones would
    find the addresses of the dead ones in it.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
    return dist.PrefixStore(f"restart_{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)


def sync_batch_norm(model: nn.Module, device: torch.device) -> nn.Module:
    """Let batch norm use all processes' batches (``TRAIN.SYNC_BN``); ValueError on a CPU."""
    if device.type != "cuda":
        raise ValueError(f"TRAIN.SYNC_BN needs CUDA devices, not {device.type}; set it to false")
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)
