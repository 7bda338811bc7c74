"""Files, images, boxes and videos on disk, each read and written in one place."""

import logging
from functools import cache
from importlib import import_module
from types import ModuleType


@cache
def compiled_or_not(compiled: str, plain: str) -> ModuleType:
    """Import a compiled module or, with one warning, the slower one that does the same."""
    try:
        return import_module(compiled)
    except ImportError:
        _warn()
        return import_module(plain)


@cache
def _warn() -> None:
    logging.getLogger(__name__).warning(
        "the compiled parts of toolkit are not built, using NumPy (slower, same results); "
        "build them with: python setup.py build_ext --inplace"
    )
