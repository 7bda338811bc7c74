"""Builds the optional compiled parts of toolkit; everything else is declared in pyproject.toml."""

import logging
import sys

from setuptools import Extension, setup

MODULES = ("toolkit.io._numbers", "toolkit.utils._region")


def extensions() -> list[Extension]:
    """List the Cython extensions, or nothing where Cython is not installed.

    ``optional`` turns a missing or failing compiler into a warning: the package then works with
    its NumPy version of the same functions.
    """
    try:
        from Cython.Build import cythonize
    except ImportError:
        logging.warning("Cython is not installed: toolkit will run in NumPy, more slowly")
        return []
    # A fused multiply-add would move a pixel here and there, so results would differ by machine.
    flags = [] if sys.platform == "win32" else ["-O3", "-ffp-contract=off"]
    sources = [
        Extension(module, [f"{module.replace('.', '/')}.pyx"], extra_compile_args=flags)
        for module in MODULES
    ]
    modules = cythonize(sources, build_dir="build/cython", language_level=3)
    for module in modules:
        module.optional = True  # set here because cythonize does not pass it on
    return modules


setup(ext_modules=extensions())
