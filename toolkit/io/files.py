"""Files that appear whole or not at all, and locks between processes."""

import errno
import hashlib
import logging
import os
import platform
import re
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO

from toolkit.io.packages import load_package

logger = logging.getLogger(__name__)

_TEMPORARY = re.compile(r"\..*\.([0-9a-f]{8})-(\d{1,9})\.part(\.[^.]*)?", re.DOTALL)
_LONGEST = 255  # bytes of a file's name
_BLOCK = 1 << 16  # bytes read at a time
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # some shared file systems
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)  # reading never fails so


@contextmanager
def atomic_path(path: str | os.PathLike, sync: bool = False) -> Iterator[Path]:
    """Lend a temporary path in the folder of ``path``, renamed to it when the block succeeds.

    The folder is made if needed. If the block fails, ``path`` stays as it was and the temporary
    file is deleted; that of a killed process is deleted by the next one that writes to the folder.
    A link stays one: the file that it points to is written. A device or pipe (``/dev/stdout``) is
    lent itself, as renaming would put a file in its place. With ``sync`` the content survives a
    loss of power.

    Raises:
        OSError: If the folder or the file cannot be written, naming the file. Errors of other files
            in the block stay as they are.
    """
    path = Path(path)
    with naming(path):
        if path.exists() and not (path.is_file() or path.is_dir()):
            yield path
        else:
            yield from _renamed(path, sync)


def _renamed(path: Path, sync: bool) -> Iterator[Path]:
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    temporary = temporary_path(target)
    try:
        with naming(path, temporary):
            yield temporary
            if sync:
                with open(temporary, "rb+") as file:
                    os.fsync(file.fileno())
            os.replace(temporary, target)
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Lend a temporary folder that takes the place of ``path`` when the block succeeds.

    If the block fails, ``path`` stays as it was.

    Raises:
        OSError: If the folder cannot be written, naming it.
    """
    path = Path(path)
    target = Path(os.path.realpath(path))  # a link stays one
    temporary = temporary_path(target)
    before = temporary_path(target.with_name(f"{target.name}.old"))
    try:
        with naming(path, temporary):
            temporary.mkdir()
            yield temporary
            if target.exists():
                os.replace(target, before)
            os.replace(temporary, target)
            shutil.rmtree(before, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Let the system's errors in the block say that ``path`` cannot be written.

    Errors that name a file which is neither that nor the temporary one stay as they are.
    """
    try:
        yield
    except OSError as error:
        own = (None, *map(str, (path, temporary, *path.parents)))
        named = error.filename and str(error.filename)
        if error.errno is None or (named not in own and error.errno not in _FULL):
            raise
        raise OSError(f"cannot write {path}: {error.strerror}") from error


def temporary_path(path: Path) -> Path:
    """Make the folder of a file and return a hidden name in it to write to before renaming.

    It has the suffix of ``path``, by which writers choose a format. Files and folders of such names
    that killed processes of this machine left in the folder are removed.

    Raises:
        OSError: If the folder cannot be made, naming the file.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent.absolute())
    end = f".{machine_id()}-{os.getpid()}.part{path.suffix}"
    excess = len(os.fsencode(path.stem)) + len(os.fsencode(end)) + 1 - _LONGEST
    short = excess > 0 >= len(os.fsencode(path.name)) - _LONGEST
    stem = os.fsencode(path.stem)[:-excess].decode(errors="ignore") if short else path.stem
    return path.with_name(f".{stem}{end}")


@cache
def machine_id() -> str:
    """Return digits of this machine and, in a container, of its own process numbers."""
    try:
        numbers = os.readlink("/proc/self/ns/pid")
    except OSError:
        numbers = ""
    return f"{zlib.crc32(f'{platform.node()} {numbers}'.encode()):08x}"


@cache
def remove_leftovers(folder: Path) -> None:
    """Remove what dead processes of this machine left in a folder; once is enough."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            found = _TEMPORARY.fullmatch(entry.name)
            if found and found[1] == machine_id() and not is_running(int(found[2])):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)


def is_running(process: int) -> bool:
    """Return whether a process of this machine has not ended; true if that is not known."""
    if os.name != "posix":  # elsewhere asking for a process may end it
        return True
    try:
        os.kill(process, 0)
        # one that has ended may wait for its parent to notice
        return b") Z" not in Path(f"/proc/{process}/stat").read_bytes()
    except ProcessLookupError:
        return False
    except OSError:
        return True


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


@cache
def _warn_of(folder: Path, reason: str) -> None:
    logger.warning("%s: %s; see that no other process writes there", folder, reason)


@contextmanager
def acquire(path: str | os.PathLike, wait: bool = False) -> Iterator[bool]:
    """Lock a file for the time of the block, unless another process has locked it.

    The operating system releases the lock when the process ends, even by a crash. The folder is
    made if needed, and the file deleted in the end, unless others ``wait`` for it. On a file system
    without locks every lock is free, with a warning.

    Yields:
        Whether the lock was free. Look again, under the lock, whether there is work left.
    """
    locks = load_package("filelock", "filelock", "this needs")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = locks.FileLock(path)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except locks.Timeout:
        yield False
        return
    except (OSError, NotImplementedError) as error:  # the latter of older versions of filelock
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        _warn_of(path.parent, str(error))
    try:
        yield True
    finally:
        # A process that has the file open may lock it now, and another one a new file of its name:
        # both will see that the work is done, or, if it failed, do it twice.
        with suppress(OSError):
            if not wait:
                path.unlink()
        lock.release()


def sha256_of(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
