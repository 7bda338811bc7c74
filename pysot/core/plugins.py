"""Plug-ins: modules outside of the package that register parts of their own when imported.

A plug-in is named by ``PLUGINS`` of a configuration, by ``--plugin`` of a command, or by an entry
point of the group ``pysot.plugins`` of an installed distribution.
"""

from __future__ import annotations

import importlib
import logging
import sys
import traceback
from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from toolkit.io.pool import preloaded

logger = logging.getLogger(__name__)

GROUP = "pysot.plugins"


def load_plugins(names: Iterable[str], folder: str | Path = ".") -> list[str]:
    """Import plug-ins, each once; worker processes that start later import them, too.

    Args:
        names: Names of modules, or paths of files that end in ``.py``.
        folder: Where a relative path is looked for first, before the current directory.

    Returns:
        The names, paths made absolute.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a plug-in cannot be imported; the message has its line and the reason.
    """
    return [_load(name, Path(folder)) for name in names]


@cache
def load_installed() -> None:
    """Import the plug-ins of installed distributions; a warning names one that fails."""
    for entry in entry_points(group=GROUP):
        try:
            _import(entry.module, f"{entry.name} ({entry.value})")
        except ValueError as error:
            logger.warning("%s", error)


def _load(name: str, folder: Path) -> str:
    if not name.endswith(".py"):
        _make_importable(Path.cwd())
        _import(name, name)
        return name
    path = next((p.resolve() for p in (folder / name, Path(name)) if p.is_file()), None)
    if path is None:
        raise FileNotFoundError(f"plug-in not found: {name}")
    _make_importable(path.parent)
    module = _import(path.stem, name)
    if Path(module.__file__ or "").resolve() != path:
        raise ValueError(
            f"plug-in {name}: {path.stem!r} is the name of another module "
            f"({module.__file__ or 'built in'}); rename the file"
        )
    return str(path)


def _make_importable(folder: Path) -> None:
    """Let Python find modules of a folder, here and in processes that this one spawns."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _import(module: str, name: str) -> object:
    try:
        found = importlib.import_module(module)
    except Exception as error:  # a plug-in may raise anything
        raise ValueError(f"plug-in {name}: {_place(error)}{_reason(error)}") from error
    if module not in preloaded:
        preloaded.append(module)
    return found


def _place(error: Exception) -> str:
    """Return the file and line of the plug-in where it failed, if it was found at all."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: "
    ours = ("<frozen", importlib.__file__, str(Path(__file__).parent))
    steps = traceback.extract_tb(error.__traceback__)
    own = [step for step in steps if not step.filename.startswith(ours)]
    return f"{own[-1].filename}:{own[-1].lineno}: " if own else ""


def _reason(error: Exception) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"
