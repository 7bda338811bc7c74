"""Builds the optional compiled region overlap; everything else is declared in pyproject.toml."""

import logging
import sys

from setuptools import Extension, setup


def extensions() -> list[Extension]:
    """List the Cython extension, or nothing where Cython is not installed.

    ``optional`` turns a missing or failing compiler into a warning: the package then works with
    its NumPy version of the same functions.
    """
    try:
        from Cython.Build import cythonize
    except ImportError:
        logging.warning("Cython is not installed: the region overlap will run in NumPy")
        return []
    # A fused multiply-add would move a pixel here and there, so results would differ by machine.
    flags = [] if sys.platform == "win32" else ["-O3", "-ffp-contract=off"]
    region = Extension(
        "toolkit.utils._region",
        ["toolkit/utils/_region.pyx"],
        extra_compile_args=flags,
    )
    modules = cythonize([region], build_dir="build/cython", language_level=3)
    for module in modules:
        module.optional = True  # set here because cythonize does not pass it on
    return modules


setup(ext_modules=extensions())
