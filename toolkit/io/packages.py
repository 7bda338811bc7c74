"""Optional packages, imported where they are used."""

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
