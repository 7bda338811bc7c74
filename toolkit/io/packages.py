"""Optional packages, imported where they are used."""

from importlib import import_module
from types import ModuleType


def load_package(module: str, package: str, purpose: str) -> ModuleType:
    """Import a module of a package that an installation may lack.

    Args:
        module: For example ``"matplotlib.figure"``.
        package: Name to install it by.
        purpose: What needs it, for example ``"plots need"``.

    Raises:
        ModuleNotFoundError: If it is not installed.
        ImportError: If it is installed, but broken.
    """
    name = module.split(".")[0]
    try:
        import_module(name)  # whose absence is that of the package
        return import_module(module)
    except Exception as error:  # a package built for another version fails in any way
        needed = f"{purpose} {package}"
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            raise ModuleNotFoundError(f"{needed}: pip install {package}", name=name) from error
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ImportError(
            f"{needed}, which is installed but broken ({reason}); install it again", name=name
        ) from error
