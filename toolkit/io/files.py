"""Files that appear whole or not at all, and locks between processes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def atomic_path(path: str | os.PathLike, sync: bool = False) -> Iterator[Path]:
    """Lend a temporary path in the folder of ``path``, renamed to it when the block succeeds.

    The folder is made if needed. If the block fails, ``path`` is as it was before and the
    temporary file is gone, so an interrupted run never leaves half a file behind. A link stays one:
    what it points to is written. A device or pipe (``/dev/stdout``) is lent itself, as renaming
    would put a file in its place.

    Args:
        path: The file to write; its suffix is kept, as writers choose a format by it. What a kill
            leaves behind is named ``.<stem>.<process>.part<suffix>``.
        sync: Wait until the content is on the disk, so that it survives a loss of power.

    Raises:
        OSError: If the folder or the file cannot be written, naming the file.
    """
    path = Path(path)
    try:
        if _is_device(path):
            yield path
        else:
            target = Path(os.path.realpath(path)) if path.is_symlink() else path
            yield from _renamed(target, sync)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}") from error


def _is_device(path: Path) -> bool:
    return path.exists() and not (path.is_file() or path.is_dir())


def _renamed(path: Path, sync: bool) -> Iterator[Path]:
    """Yield a temporary path and rename it to ``path`` if all goes well."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if sync:
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def atomic_write(path: str | os.PathLike, mode: str = "w", sync: bool = False) -> Iterator[IO]:
    r"""Open a file for writing that takes its name when the block succeeds; see `atomic_path`.

    Args:
        path: The file to write.
        mode: ``"w"`` for UTF-8 text with ``\n`` line ends, ``"wb"`` for bytes.
        sync: See `atomic_path`.
    """
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    with atomic_path(path, sync) as temporary, open(temporary, mode, **text) as file:
        yield file


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Write a whole file at once; see `atomic_path`."""
    with atomic_write(path, "wb") as file:
        file.write(data)


@contextmanager
def acquire(path: str | os.PathLike) -> Iterator[bool]:
    """Lock a file for the time of the block, unless another process has locked it.

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
