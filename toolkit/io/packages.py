"""Packages that may be missing or broken: optional ones, imported where they are used; OpenCV."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType


class PackageMissing(ModuleNotFoundError, ValueError):
    """An optional package is not installed; the message says how to install it."""


class PackageBroken(ImportError, ValueError):
    """An optional package does not import, although it is installed."""


def load_package(module: str, package: str, purpose: str) -> ModuleType:
    """Import a module of a package that an installation may lack.

    Args:
        module: For example ``"matplotlib.figure"``.
        package: Name to install it by.
        purpose: What needs it, for example ``"plots need"``.

    Raises:
        PackageMissing: If it is not installed.
        PackageBroken: If it is installed, but does not import.
    """
    name = module.split(".")[0]
    try:
        import_module(name)  # whose absence is that of the package
        return import_module(module)
    except Exception as error:  # a package built for another version fails in any way
        needed = f"{purpose} {package}"
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            raise PackageMissing(f"{needed}: pip install {package}", name=name) from error
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise PackageBroken(
            f"{needed}, which is installed but broken ({reason}); install it again", name=name
        ) from error


@contextmanager
def explain_opencv() -> Iterator[None]:
    """Say what to install where OpenCV does not load in the block.

    The package ``opencv-python`` needs libraries of a desktop, which servers and containers lack.

    Raises:
        PackageBroken: In place of the ``ImportError`` of ``cv2``.
    """
    try:
        yield
    except ImportError as error:
        if error.name != "cv2" or isinstance(error, PackageBroken):
            raise
        advice = "pip install --force-reinstall opencv-python"
        if isinstance(error, ModuleNotFoundError):
            advice = "pip install opencv-python"
        elif ".so" in str(error):
            advice = (
                "apt-get install libgl1 libglib2.0-0; or, where no window is needed: "
                "pip uninstall opencv-python, then pip install opencv-python-headless"
            )
        reason = next(iter(str(error).splitlines()), "cv2")
        raise PackageBroken(f"OpenCV does not load ({reason}): {advice}", name="cv2") from error
