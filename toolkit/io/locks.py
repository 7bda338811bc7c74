"""Work that several processes share out among themselves by files in a common folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def claim(path: str | os.PathLike) -> Iterator[bool]:
    """Lock a file for the time of the block, unless another process has it.

    The operating system gives the lock back when the process ends, in whatever way, so that what a
    crash leaves behind blocks nobody. The file is deleted in the end.

    Args:
        path: The file; its folder is made if needed.

    Yields:
        Whether the lock was free. Look again, under the lock, whether there is work left.

    Raises:
        OSError: If the folder cannot be written, or its file system knows no locks.
        ValueError: If the package filelock is not installed.
    """
    try:
        from filelock import FileLock, Timeout
    except ImportError:
        raise ValueError("this needs filelock: pip install 'pysot[search]'") from None
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        # Who holds the file open still may lock it now, and another process a new one of its name:
        # both will see that the work is done, or, if it failed, do it twice.
        with suppress(OSError):
            path.unlink()
        lock.release()
