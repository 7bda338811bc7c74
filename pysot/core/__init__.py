"""Configuration, registries, and correlation."""

from pathlib import Path

#: Folder of the checkout, where relative paths of a configuration are looked for last.
REPOSITORY = Path(__file__).resolve().parents[2]

_PACKAGED = Path(__file__).resolve().parents[1] / "experiments"
#: Folder of the configurations that come with the package: within it, or in a checkout beside it.
EXPERIMENTS = _PACKAGED if _PACKAGED.is_dir() else REPOSITORY / "experiments"


class RunFailed(RuntimeError):
    """A run could not go on although its input was accepted; its message is for the user."""


class StopRequest:
    """Whether a signal asked the run to stop, and its number."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None
