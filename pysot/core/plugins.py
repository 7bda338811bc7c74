"""Plug-ins: modules outside of the package that register parts of their own when imported.

A plug-in is named by ``PLUGINS`` of a configuration, by ``--plugin`` of a command, or by an entry
point of the group ``pysot.plugins`` of an installed distribution.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points
from inspect import signature
from pathlib import Path
from typing import Any

import toolkit
from toolkit.io.files import sha256_of
from toolkit.io.pool import preloaded

logger = logging.getLogger(__name__)

GROUP = "pysot.plugins"

#: What code from outside may raise; ``sys.exit`` in it must not end a command without a word.
ANYTHING = (Exception, SystemExit)

_digests: dict[str, str] = {}  # of the plug-ins in use
_installed: set[str] = set()  # those of them that nobody named


def load_plugins(names: Iterable[str], folder: str | Path = ".") -> list[str]:
    """Import plug-ins, each once; worker processes that start later import them, too.

    Args:
        names: Names of modules, or paths of files that end in ``.py``.
        folder: Where relative paths and modules are looked for, besides the current directory.

    Returns:
        The names, paths made absolute.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a plug-in cannot be imported; the message has its line and the reason.
    """
    return [_load(name, Path(folder)) for name in names]


def digests(parts: Iterable[Any] | None = None) -> dict[str, str]:
    """Return the SHA-256 of the source of each plug-in in use, by the name of its module.

    Of installed ones, where ``parts`` (classes, functions) are given, only those that one of these
    comes from: results must not depend on what else is installed.
    """
    used = None if parts is None else {_package(getattr(p, "__module__", "")) for p in parts}
    unused = {name for name in _installed if used is not None and _package(name) not in used}
    return {name: digest for name, digest in _digests.items() if name not in unused}


def _package(module: str) -> str:
    return module.partition(".")[0]


class PluginRecord:
    """What a checkpoint holds of the plug-ins in use: :func:`digests`."""

    def state_dict(self) -> dict[str, str]:
        """Return the digests of those in use."""
        return digests()

    def load_state_dict(self, saved: dict[str, str]) -> None:
        """Warn of plug-ins that were in use before and are not, or have changed since."""
        for name, digest in saved.items():
            if name not in _digests:
                logger.warning("plug-in %s, in use when this was made, is not named now", name)
            elif _digests[name] != digest:
                logger.warning("plug-in %s has changed since the checkpoint was written", name)


def accepts(function: Any, count: int) -> bool:
    """Return whether something can be called with so many arguments, as far as Python can tell."""
    try:
        signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # it is written in C
        return True
    return True


@cache
def load_installed() -> None:
    """Import the plug-ins of installed distributions; a warning names one that fails."""
    for entry in entry_points(group=GROUP):
        known = entry.module in _digests
        try:
            _import(entry.module, f"{entry.name} ({entry.value})")
            _installed.update(() if known else (entry.module,))
        except ValueError as error:
            logger.warning("%s", error)


def _load(name: str, folder: Path) -> str:
    if not name.endswith(".py"):
        _make_importable(folder.resolve())
        _make_importable(Path.cwd())
        _import(name, name)
        _installed.discard(name)
        return name
    path = next((p.resolve() for p in (folder / name, Path(name)) if p.is_file()), None)
    if path is None:
        raise FileNotFoundError(f"plug-in not found: {name}")
    if "." in path.stem:
        raise ValueError(f"plug-in {name}: no name of a module may have a dot; rename the file")
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


def _import(module: str, name: str) -> Any:
    try:
        found = importlib.import_module(module)
    except ANYTHING as error:
        raise ValueError(f"plug-in {name}: {_place(error)}{_reason(error)}") from error
    if module not in preloaded:
        preloaded.append(module)
    if source := getattr(found, "__file__", None):
        _digests.setdefault(module, sha256_of(source))
    return found


def _place(error: BaseException) -> str:
    """Return the file and line of the plug-in where it failed, if it was found at all."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f"{error.filename}:{error.lineno}: "
    packages = Path(__file__).parents[1], Path(toolkit.__file__).parent
    ours = tuple(f"{package}{os.sep}" for package in packages)
    steps = traceback.extract_tb(error.__traceback__)
    own = [step for step in steps if not step.filename.startswith(ours)]
    modules = [step.filename for step in own if step.name == "<module>"]  # being imported
    lines = [f"{step.filename}:{step.lineno}: " for step in own if step.filename in modules[-1:]]
    return lines[-1] if lines else ""


def _reason(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"
