"""The command line: ``pysot COMMAND ...``, or a file in ``tools`` for each command.

A command is a module with ``parse_args(argv)`` and ``main(argv)``, which are called with the
arguments that follow its name, or None for those of the process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from pysot.core import RunFailed
from toolkit.io.pool import WorkerDied

TRACEBACK_VARIABLE = "PYSOT_TRACEBACK"

#: What each command does; the module has its name.
COMMANDS = {
    "train": "train a tracker",
    "test": "run a tracker over a benchmark",
    "eval": "score the results of trackers",
    "demo": "track an object through a video",
    "tune": "search for the best settings of a tracker",
    "prepare": "prepare a data set for training: check, crops, annotations",
    "check": "check a data set, and write its JSON file",
    "submit": "pack results for the server of a benchmark",
    "visualize": "draw training pairs",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; its errors become one line and an exit code, see `run`."""
    name, *rest = (sys.argv[1:] if argv is None else argv) or [""]
    if name in ("-h", "--help"):
        print(_usage())
    elif name == "--version":
        print(import_module("pysot").__version__)
    elif name not in COMMANDS:
        print(_usage(), file=sys.stderr)
        print(f"error: unknown command {name!r}" if name else "error: no command", file=sys.stderr)
        sys.exit(2)
    else:
        sys.argv = [f"pysot {name}", *rest]  # what the help calls the program
        run_command(name)


def run_command(name: str) -> None:
    """Run a command with the arguments of the process; only its own module is imported."""
    if name == "train":
        # torch reads this once, when it is loaded: waiting threads that spin instead of sleeping
        # take the cores from the workers that read data.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    run(lambda: import_module(f"pysot.cli.{name}").main())


def run(main: Callable[[], None]) -> None:
    """Run a tool and turn expected failures into one line and an exit code.

    Exit code 2 stands for wrong input (``ValueError``, ``OSError``), 1 for a run that failed
    (``RunFailed``, ``WorkerDied``), 130 for Ctrl-C. With the environment variable
    ``PYSOT_TRACEBACK=1`` the exception passes through.
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


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = "".join(f"    {name:{width}}  {text}\n" for name, text in COMMANDS.items())
    return f"usage: pysot COMMAND ...\n\n{lines}\npysot COMMAND --help shows its options."
