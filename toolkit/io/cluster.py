"""Work on the machines of a Ray cluster."""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from toolkit.io.files import sha256_of
from toolkit.io.names import first_line
from toolkit.io.packages import load_package
from toolkit.io.pool import Item, Result, WorkerDied, preloaded

logger = logging.getLogger(__name__)

_PATIENCE = 5.0  # seconds for an address to answer
_AHEAD = 2  # items for each that the cluster has room for
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # of gRPC
_SETTINGS = 4  # type of the frame that answers


@dataclass(frozen=True)
class Task:
    """What one item takes of a machine."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory: float = 0.0  # GiB; 0: any

    def __str__(self) -> str:
        memory = f" and {self.memory:g} GB" if self.memory else ""
        return f"a task of {self.cpus:g} CPUs, {self.gpus:g} GPUs{memory}"

    def options(self) -> dict[str, Any]:
        """Return the arguments of Ray."""
        memory = {"memory": int(self.memory * 2**30)} if self.memory else {}
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, **memory}

    def fits(self, resources: dict[str, float]) -> int:
        """Return how many tasks fit into resources as Ray describes them, at most 1000."""
        needs = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory * 2**30}
        return int(
            min([1000.0, *(resources.get(name, 0) / need for name, need in needs.items() if need)])
        )


@dataclass(frozen=True)
class RayExecutor:
    """Does each item as a task of Ray, again elsewhere if its machine or process dies.

    `connect` makes one.
    """

    ray: Any = field(repr=False)  # the package
    task: Task = Task()
    remote: ClassVar[bool] = True

    def run(
        self, work: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[int, Result]]:
        """Yield the index and the result of every item as they arrive.

        Raises:
            WorkerDied: After the results of all others, if an item ended its process each time.
        """
        ray, died = self.ray, None
        do = ray.remote(_do).options(max_retries=3, **self.task.options())
        settings, shared = _Settings.here(), ray.put(ray.cloudpickle.dumps(work))
        numbered, running = enumerate(items), {}
        try:
            while True:
                free = _AHEAD * max(1, self.task.fits(ray.cluster_resources())) - len(running)
                new = islice(numbered, max(0, free))
                running |= {do.remote(settings, shared, item): index for index, item in new}
                if not running:
                    break
                done, _ = ray.wait(list(running))
                index = running.pop(done[0])
                try:
                    result = ray.get(done[0])
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from None
                except ray.exceptions.RayError as error:
                    died = error
                    continue
                yield index, result
        finally:
            for reference in running:
                ray.cancel(reference, force=True)
        if died is not None:
            raise WorkerDied(f"tasks died on every machine: {first_line(died)}") from died


@contextmanager
def connect(address: str = "auto", task: Task | None = None) -> Iterator[RayExecutor]:
    """Connect to a cluster for the time of the block; its tasks end with the block.

    Args:
        address: ``HOST:PORT`` of the head, ``ray://HOST:PORT`` of a Ray client server, or ``auto``:
            the cluster of this machine or of the variable ``RAY_ADDRESS``.
        task: What each item takes.

    Raises:
        ConnectionError: If no cluster answers.
        ValueError: If that is no address, or the package ``ray`` is missing.
    """
    ray = load_package("ray", "ray", "--executor ray needs")
    task = task or Task()
    known = os.environ.get("RAY_ADDRESS", "") if address == "auto" else address
    if known not in ("", "auto"):
        _check_answer(known)
    try:
        ray.init(address=address, logging_level=logging.CRITICAL, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConnectionError(f"no Ray cluster at {address}: {first_line(error)}") from error
    try:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(map(task.fits, nodes)):
            logger.warning("no machine of the cluster has room for %s; waiting for one", task)
        yield RayExecutor(ray, task)
    finally:
        ray.shutdown()


def _check_answer(address: str) -> None:
    """Raise ConnectionError unless a gRPC server answers; Ray would try for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"--address {address}: expected HOST:PORT, ray://HOST:PORT or auto")
    try:
        with closing(socket.create_connection((host.strip("[]"), int(port)), _PATIENCE)) as server:
            server.settimeout(_PATIENCE)
            server.sendall(_PREFACE)
            answer = server.recv(9)
    except (OSError, OverflowError) as error:
        raise ConnectionError(f"no Ray cluster answers at {address}: {error}") from error
    if len(answer) < 4 or answer[3] != _SETTINGS:
        raise ConnectionError(f"what answers at {address} is no Ray cluster")


# ---------------------------------------------------------------------- on the other machines


@dataclass(frozen=True)
class _Settings:
    """What a process needs to do the same as this one."""

    folder: str  # the current one, by which paths may be relative
    path: tuple[str, ...]  # where modules are found
    modules: tuple[tuple[str, str], ...]  # names and digests of those to import first
    code: str  # digest of these packages

    @classmethod
    def here(cls) -> _Settings:
        modules = tuple((name, _digest(name)) for name in preloaded)
        return cls(os.getcwd(), tuple(filter(None, sys.path)), modules, _code())


@cache
def _code() -> str:
    """Return the digest of the code of ``toolkit`` and ``pysot``."""
    root, digest = Path(__file__).parents[2], hashlib.sha256()
    for path in sorted(
        path for name in ("toolkit", "pysot") for path in root.glob(f"{name}/**/*.py")
    ):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _digest(module: str) -> str:
    """Return the digest of a module's file, if it has one."""
    file = getattr(import_module(module), "__file__", None)
    return sha256_of(file) if file else ""


def _do(settings: _Settings, work: bytes, item: Any) -> Any:
    _prepare(settings)
    return pickle.loads(work)(item)  # which may need the modules that it imports


@cache
def _prepare(settings: _Settings) -> None:
    """Make this process like the one that sends the work; ValueError if it cannot be."""
    host = socket.gethostname()
    if _code() != settings.code:
        raise ValueError(f"pysot on {host} is of another version; install the same everywhere")
    if Path(settings.folder).is_dir():
        os.chdir(settings.folder)
    sys.path += [folder for folder in settings.path if folder not in sys.path]
    for name, digest in settings.modules:
        try:
            found = _digest(name)
        except (ImportError, OSError) as error:
            raise ValueError(f"plug-in {name} on {host}: {error}") from error
        if found != digest:
            raise ValueError(f"plug-in {name} is another one on {host}")
