"""The door of every command line tool: one clear message instead of a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from toolkit.io.pool import WorkerDied

TRACEBACK_VARIABLE = "PYSOT_TRACEBACK"


class RunFailed(RuntimeError):
    """A run could not go on although its input was accepted; its message is for the user."""


def run(main: Callable[[], None]) -> None:
    """Run a tool and turn expected failures into one line and an exit code.

    Exit code 2 stands for wrong input (``ValueError``, ``OSError``), 1 for a run that failed
    (``RunFailed``, ``WorkerDied``), 130 for Ctrl-C. With the environment variable
    ``PYSOT_TRACEBACK=1`` the exception passes through, for those who look for the place in the
    code.
    """
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except (ValueError, OSError, RunFailed, WorkerDied) as error:
        if os.environ.get(TRACEBACK_VARIABLE) == "1":
            raise
        print(f"error: {_message(error)}", file=sys.stderr)
        sys.exit(1 if isinstance(error, RuntimeError) else 2)


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__
