"""Files that appear whole or not at all, and locks between processes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def atomic_path(path: str | os.PathLike, sync: bool = False) -> Iterator[Path]:
    """Lend a temporary path in the folder of ``path``, renamed to it when the block succeeds.

    The folder is made if needed. If the block fails, ``path`` stays as it was and the temporary
    file is deleted. A link stays one: the file that it points to is written. A device or pipe
    (``/dev/stdout``) is lent itself, as renaming would put a file in its place. With ``sync`` the
    content survives a loss of power.

    Raises:
        OSError: If the folder or the file cannot be written, naming the file.
    """
    path = Path(path)
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            yield path
        else:
            yield from _renamed(Path(os.path.realpath(path)) if path.is_symlink() else path, sync)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}") from error


def temporary_name(path: Path) -> Path:
    """Hidden name beside ``path`` with its suffix, by which writers choose a format."""
    return path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")


def _renamed(path: Path, sync: bool) -> Iterator[Path]:
    temporary = temporary_name(path)
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
    r"""Open a file by `atomic_path`: mode "w" for UTF-8 with ``\n`` line ends, "wb" for bytes."""
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    with atomic_path(path, sync) as temporary, open(temporary, mode, **text) as file:
        yield file


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Write a whole file by `atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def acquire(path: str | os.PathLike) -> Iterator[bool]:
    """Lock a file for the time of the block, unless another process has locked it.

    The operating system releases the lock when the process ends, even by a crash. The folder is
    made if needed, and the file deleted in the end.

    Yields:
        Whether the lock was free. Look again, under the lock, whether there is work left.
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
        # A process that has the file open may lock it now, and another one a new file of its name:
        # both will see that the work is done, or, if it failed, do it twice.
        with suppress(OSError):
            path.unlink()
        lock.release()
