"""What pyproject.toml cannot declare: compiled parts of toolkit, configurations in the package."""

import logging
import os
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

MODULES = ("toolkit.io._numbers", "toolkit.utils._region")


def extensions() -> list[Extension]:
    """List the Cython extensions; nothing without Cython, or where ``PYSOT_EXTENSIONS`` is 0.

    ``optional`` turns a missing or failing compiler into a warning: the package then works with
    its NumPy version of the same functions.
    """
    if os.environ.get("PYSOT_EXTENSIONS") == "0":
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        logging.warning("Cython is not installed: toolkit will run in NumPy, more slowly")
        return []
    # A fused multiply-add would move a pixel here and there, so results would differ by machine.
    flags = [] if sys.platform == "win32" else ["-O3", "-ffp-contract=off", "-g0"]
    strip = ["-Wl,-s"] if sys.platform == "linux" else []
    sources = [
        Extension(
            module,
            [f"{module.replace('.', '/')}.pyx"],
            extra_compile_args=flags,
            extra_link_args=strip,
        )
        for module in MODULES
    ]
    modules = cythonize(sources, build_dir="build/cython", language_level=3)
    for module in modules:
        module.optional = True  # set here because cythonize does not pass it on
    return modules


class BuildPython(build_py):
    """Puts the configurations of ``experiments`` into the package, where a wheel has them."""

    def run(self) -> None:
        """Copy the modules, then the configurations; an editable install reads the checkout's."""
        super().run()
        for path in () if self.editable_mode else Path("experiments").glob("*/config.yaml"):
            target = Path(self.build_lib, "pysot", path)
            self.mkpath(str(target.parent))
            self.copy_file(str(path), str(target))


setup(ext_modules=extensions(), cmdclass={"build_py": BuildPython})
