"""Work in several processes, whose workers end with the process that started them.

`toolkit.io.cluster` does the same on a Ray cluster.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from typing import Any, ClassVar, Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Modules that every worker process imports first, because they registered something here.
preloaded: list[str] = []

_AHEAD = 4  # items per worker that are taken before a result is there

# of a worker process
_work: Callable[[Any], Any]
_interrupted = False


class WorkerDied(RuntimeError):
    """A worker process ended without a word, as the lack of memory makes it."""


class Executor(Protocol):
    """Does work on items, in this process or in others, on this machine or on others."""

    #: Whether the work runs on other machines, which may share no files with this one.
    remote: ClassVar[bool]

    def run(
        self, work: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[int, Result]]:
        """Yield the index and the result of every item, in any order.

        ``work`` and items are pickled; items are taken as they are needed, a few in advance. What
        the work raises is raised here; `WorkerDied` if what does the work ended.
        """
        ...


@dataclass(frozen=True)
class LocalExecutor:
    """Does work in processes of this machine, in the order of the items."""

    workers: int = 1  # processes; 1 means this one
    remote: ClassVar[bool] = False

    def run(
        self, work: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[int, Result]]:
        """Yield the index and the result of every item; see `run_parallel`."""
        return enumerate(run_parallel(work, items, self.workers))


def run_parallel(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    begin: Callable[[], object] | None = None,
) -> Iterator[Result]:
    """Do some work on every item and yield the results in the order of the items.

    Processes are spawned: forking one that has threads may hang, and CUDA does not survive it.
    Ctrl-C raises ``KeyboardInterrupt`` here and in the work of all workers, which begin no other
    item; they also end when this process is killed. A worker that dies raises `WorkerDied`.

    Args:
        work: Pickled once for each worker. What it raises is raised here.
        items: Taken as they are needed, a few per worker in advance.
        workers: Number of processes; 1 means this one.
        begin: Called once in each worker process before its first item.
    """
    if workers == 1:
        yield from map(work, items)
        return
    from concurrent.futures import ProcessPoolExecutor  # takes long, is often not wanted
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    arguments = (tuple(preloaded), work, begin)
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _begin_worker, arguments)
    try:
        yield from _results(pool, iter(items), _AHEAD * workers)
    except BrokenProcessPool as error:
        raise WorkerDied(
            "a worker process died, perhaps for lack of memory; start again with fewer --workers, "
            "what is finished is kept"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _results(pool: Any, items: Iterator[Any], ahead: int) -> Iterator[Any]:
    """Yield results in order, with ``ahead`` items in work or waiting for a worker."""
    from concurrent.futures import FIRST_COMPLETED, Future, wait

    ordered: deque[Future] = deque()
    running: set[Future] = set()
    while True:
        new = [pool.submit(_do, item) for item in islice(items, ahead - len(running))]
        ordered += new
        if not ordered:
            return
        running = wait(running.union(new), return_when=FIRST_COMPLETED).not_done
        while ordered and ordered[0].done():
            yield ordered.popleft().result()


def _begin_worker(
    modules: Sequence[str], work: Callable[[Any], Any], begin: Callable[[], object] | None
) -> None:
    global _work
    signal.signal(signal.SIGINT, _note_interrupt)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for module in modules:
        import_module(module)
    _work = work
    if begin:
        begin()


def _end_with_parent() -> None:
    """End this worker when its parent is gone; it would wait for work for ever."""
    from multiprocessing import parent_process
    from multiprocessing.connection import wait

    wait([parent_process().sentinel])
    os._exit(1)


def _note_interrupt(*signal_and_frame: object) -> None:
    """Take Ctrl-C between two items: if the worker died of it, the pool would kill the others."""
    global _interrupted
    _interrupted = True


def _do(item: Any) -> Any:
    if _interrupted:  # the item was in the queue already
        raise KeyboardInterrupt
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # time to remove temporary files
        return _work(item)
    except KeyboardInterrupt:
        _note_interrupt()
        raise
    finally:
        signal.signal(signal.SIGINT, _note_interrupt)
