"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Lend a temporary path in the folder of ``path``, renamed to it when the block succeeds.

    The folder is made if needed. If the block fails, ``path`` is as it was before and the
    temporary file is gone, so an interrupted run never leaves half a file behind. A link stays one:
    what it points to is written. A device or pipe (``/dev/stdout``) is lent itself, as renaming
    would put a file in its place.

    Args:
        path: The file to write; its suffix is kept, as writers choose a format by it.

    Raises:
        OSError: If the folder or the file cannot be written, naming the file.
    """
    path = Path(path)
    try:
        if _is_device(path):
            yield path
        else:
            yield from _renamed(Path(os.path.realpath(path)) if path.is_symlink() else path)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}") from error


def _is_device(path: Path) -> bool:
    return path.exists() and not (path.is_file() or path.is_dir())


def _renamed(path: Path) -> Iterator[Path]:
    """Yield a temporary path and rename it to ``path`` if all goes well."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def atomic_write(path: str | os.PathLike, mode: str = "w") -> Iterator[IO]:
    r"""Open a file for writing that takes its name when the block succeeds; see `atomic_path`.

    Args:
        path: The file to write.
        mode: ``"w"`` for UTF-8 text with ``\n`` line ends, ``"wb"`` for bytes.
    """
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    with atomic_path(path) as temporary, open(temporary, mode, **text) as file:
        yield file
