"""The command line: ``pysot COMMAND ...``, or a file in ``tools`` for each command.

A command is a module with ``parse_args(argv)`` and ``main(argv)``, which are called with the
arguments that follow its name, or None for those of the process.
"""

from __future__ import annotations

import argparse
import errno
import math
import os
import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from pysot.core import RunFailed, StopRequest
from pysot.core.plugins import load_installed, load_plugins
from toolkit.datasets import find_root
from toolkit.io.names import printable
from toolkit.io.packages import explain_opencv
from toolkit.io.pool import Executor, LocalExecutor, WorkerDied

TRACEBACK_VARIABLE = "PYSOT_TRACEBACK"
_LONGEST = 2000  # characters of an error's line

EXECUTORS = ("local", "ray")

_TOGETHER = 1.0  # seconds within which a launcher and the terminal send the same Ctrl-C

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
    "vot": "serve a tracker to the VOT toolkit",
    "visualize": "draw training pairs",
    "models": "list published weights, download them",
    "export": "write a tracker as ONNX, to run without PyTorch",
    "convert": "write weights alone, as safetensors or for PySOT",
    "doctor": "find out what works on this machine",
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
    run(lambda: _main_of(name)())


def _main_of(name: str) -> Callable[[], None]:
    """Return a command's function; plug-ins come first, as they add to what options may name."""
    load_installed()
    named = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    _add_plugins(named)
    with suppress(argparse.ArgumentError):  # which the command's own parser will report
        named.parse_known_args()
    return import_module(f"pysot.cli.{name}").main


def run(main: Callable[[], None]) -> None:
    """Run a tool and turn expected failures into one line and an exit code.

    Exit code 2 stands for wrong input (``ValueError``, ``OSError``), 1 for a run that failed
    (``RunFailed``, ``WorkerDied``, ``MemoryError``), 130 for Ctrl-C. With the environment variable
    ``PYSOT_TRACEBACK=1`` the exception passes through.
    """
    try:
        with explain_opencv():
            main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except (ValueError, OSError, RunFailed, WorkerDied, MemoryError) as error:
        if os.environ.get(TRACEBACK_VARIABLE) == "1":
            raise
        print(f"error: {message_of(error)}", file=sys.stderr)
        sys.exit(1 if isinstance(error, (RuntimeError, MemoryError)) else 2)


def message_of(error: BaseException) -> str:
    """Describe an error in one line that a terminal shows as it is."""
    text = str(error) or {MemoryError: "out of memory"}.get(type(error), type(error).__name__)
    if isinstance(error, OSError) and error.strerror:
        printing = error.errno in (errno.EPIPE, errno.ENOSPC)  # files are always named
        place = error.filename or ("standard output" if printing else "")
        text = f"{place}: {error.strerror}" if place else error.strerror
    line = printable(" ".join(text.splitlines()))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} ... {line[-100:]}"


def progress_bar(title: str, items: Iterable[Any] | None = None, **options: Any) -> Any:
    """Show on a terminal, as wide as that is, how many ``items`` or frames are done."""
    from tqdm import tqdm  # takes as long as the whole of some commands

    options = {"unit": "frame", "dynamic_ncols": True, "leave": False, "disable": None, **options}
    return tqdm(items, title, **options)


@contextmanager
def stop_requests(hangup: bool = False) -> Iterator[StopRequest]:
    """Note SIGTERM, which job schedulers send, and Ctrl-C, instead of ending.

    With ``hangup`` also the end of the terminal, unless nohup ignores it. A second Ctrl-C ends the
    program at once, unless it comes with the first one: a launcher passes on what the terminal sent
    to all.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request  # only the main thread may listen
        return
    since = time.monotonic()

    def note(number: int, frame: Any) -> None:
        nonlocal since
        if not request:
            request.signal, since = number, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - since > _TOGETHER:
            raise KeyboardInterrupt

    signals = [signal.SIGTERM, signal.SIGINT]
    if hangup and hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signals.append(signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in signals}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


#: Files of a clone that have other names than their commands.
_FILES = {"check": "make_dataset_json", "submit": "make_submission"}


def command_line(command: str, *words: object, root: Path | None = None) -> str:
    """Return what to type to run another command, as this one was started.

    ``root`` is the folder of the data set, if it was named.
    """
    words = (*words, "--dataset-root", root) if root else words
    words = [shlex.quote(str(word)) for word in words]
    script = Path(sys.argv[0])
    if script.suffix == ".py" and script.parent.name == "tools":
        start = f"python {script.with_name(_FILES.get(command, command))}.py"
    else:
        start = f"pysot {command}"
    return " ".join([start, *words])


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = "".join(f"    {name:{width}}  {text}\n" for name, text in COMMANDS.items())
    return f"usage: pysot COMMAND ...\n\n{lines}\npysot COMMAND --help shows options and examples."


# -------------------------------------------------------------------- arguments of several commands


class _LoadPlugin(argparse.Action):
    """Imports a plug-in when its name is read, and keeps the name."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        namespace.plugin = [*namespace.plugin, *load_plugins([values])]


def _add_plugins(parser: argparse.ArgumentParser) -> None:
    text = "module or file.py that registers parts of its own; may be repeated"
    parser.add_argument("--plugin", action=_LoadPlugin, metavar="NAME", default=[], help=text)


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of a docstring, and adds to the help of an option the default it has."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text, default = action.help or "", action.default
        silent = default == argparse.SUPPRESS or not (default or type(default) is int)
        if silent or "default" in text:
            return text
        return f"{text} (default: %(default)s)".lstrip()


class Parser(argparse.ArgumentParser):
    """A parser that shows the docstring of a command and adds the arguments that commands share.

    The docstring ends with ``Examples:`` and lines of commands, which the help shows last.
    """

    def __init__(self, description: str, **options: Any) -> None:
        options.setdefault("formatter_class", HelpFormatter)
        text, _, examples = description.partition("\nExamples:\n")
        super().__init__(description=text, **options)
        self.epilog = f"examples:\n{examples.rstrip()}" if examples else None
        # by itself argparse takes -5,-5,10,10 and -1e-3 for options
        self._negative_number_matcher = re.compile(r"-\.?\d")
        _add_plugins(self)

    def add_config(self, default: str | None = None, required: bool = True) -> None:
        """Add ``--config``, in PySOT also ``--cfg``; with a default it is not required."""
        text = "configuration" if default else "configuration of the tracker"
        required = required and default is None
        self.add_argument("--config", "--cfg", default=default, required=required, help=text)

    def add_tracker(self) -> None:
        """Add ``--config``, ``--snapshot`` and ``--model``, for `find_tracker`."""
        self.add_config(required=False)
        self.add_argument("--snapshot", type=Path, help="its weights")
        text = "published weights, downloaded if needed, instead; `pysot models` lists their names"
        self.add_argument("--model", metavar="NAME", help=text)

    def add_overrides(self) -> None:
        """Add ``KEY VALUE`` pairs; they need ``parse_intermixed_args``."""
        self.add_argument("opts", nargs="*", metavar="KEY VALUE", help="override the configuration")

    def add_workers(self, *short: str, default: int = 1) -> None:
        """Add ``--workers``, in PySOT also ``--num``."""
        text = "processes; the results are the same"
        names = ("--workers", "--num", *short)
        self.add_argument(*names, type=positive, default=default, metavar="N", help=text)

    def add_executor(self) -> None:
        """Add ``--workers`` and what says where work is done; see `build_executor`."""
        self.add_workers()
        add = self.add_argument
        add("--executor", choices=EXECUTORS, default="local", help="processes here, or Ray's tasks")
        add("--address", default="auto", help="ray: HOST:PORT of the cluster (default: this one's)")
        add("--cpus-per-task", type=amount, default=1, metavar="N", help="ray")
        add("--gpus-per-task", type=amount, default=0, metavar="N", help="ray; 0.25 too")
        add("--memory-per-task", type=amount, default=0, metavar="GB", help="ray; default: any")

    def add_dataset_root(self, *old: str, text: str = "", **options: Any) -> None:
        """Add ``--dataset-root``; see `find_dataset_root`."""
        text = text or "folder of the data set (default: testing_dataset/DATASET)"
        names = ("--dataset-root", *old)
        self.add_argument(*names, type=Path, metavar="DIR", help=text, **options)

    def add_output(self, *old: str, text: str, **options: Any) -> None:
        """Add ``--output``, where the command writes."""
        self.add_argument("--output", *old, type=Path, help=text, **options)


def positive(text: str) -> int:
    """Read a whole number from 1, as a ``type`` of argparse."""
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number, at least 1")
    return int(text)


def amount(text: str) -> float:
    """Read a number from 0, as a ``type`` of argparse."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: must be a number, at least 0")
    return value


@contextmanager
def build_executor(args: argparse.Namespace) -> Iterator[Executor]:
    """Make, for the time of the block, what the options of ``add_executor`` ask for."""
    if args.executor == "local":
        yield LocalExecutor(args.workers)
        return
    from toolkit.io.cluster import Task, connect  # which few commands want

    task = Task(args.cpus_per_task, args.gpus_per_task, args.memory_per_task)
    with connect(args.address, task) as executor:
        yield executor


def find_tracker(
    args: argparse.Namespace, default: str | None = None, model: str | None = None
) -> tuple[Path | None, Path]:
    """Return the configuration and the weights that the arguments of `add_tracker` name.

    Without ``--config`` it is that of the model, the card of safetensors weights, ``default``, or
    None for a folder. Where no tracker is named, it is ``model``, if that is given.

    Raises:
        ValueError: If something is missing, or there is too much; or as `weights_of` does.
    """
    from pysot.core.config import find_config  # slow to import, as is pysot.zoo

    config, snapshot = args.config and find_config(args.config), args.snapshot
    name = args.model or (None if config or snapshot else model)
    if name:
        from pysot.zoo import find_model, weights_of

        if snapshot:
            raise ValueError("--model stands for weights; leave out --snapshot")
        known = find_model(name)
        return config or known.config_path, weights_of(known)
    if snapshot and snapshot.suffix == ".safetensors":
        config = config or snapshot
    exported = snapshot and snapshot.is_dir()  # it has a configuration of its own
    if default and not exported:
        config = config or Path(default)
    if not snapshot or not (config or exported):
        raise ValueError("a tracker needs --config and --snapshot, or --model")
    return config, snapshot


def find_dataset_root(name: str, root: Path | None) -> Path:
    """Folder of a data set: ``--dataset-root``, or below ``testing_dataset``, see `data_folder`."""
    return root or find_root(name, data_folder("testing_dataset"))


def data_folder(name: str) -> Path:
    """Return a folder of data sets: in the repository or, for an installed package, here."""
    checkout = Path(__file__).resolve().parents[2] / name
    return checkout if checkout.is_dir() else Path(name)
