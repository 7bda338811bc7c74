"""What every wrong input is held to: no traceback, no hang, no file elsewhere, bounded memory."""

import io
import os
import random
import resource
import signal
import traceback
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from pysot.cli import run

SMALL = 300  # inputs of each kind in the usual run
BUDGET = int(os.environ.get("PYSOT_ABUSE", SMALL))
ONE = os.environ.get("PYSOT_ABUSE_ONE")  # number of a single input, to repeat it
SECONDS = 5
MEMORY = 2 << 30  # bytes that one input may take
LONGEST = 2100  # characters of a message


class Hang(BaseException):
    """Not an Exception: nothing that catches those may hide it."""


def generators(kind, share=1):
    """Number and generator of each input of a kind; ``share`` for kinds of several tests."""
    count = -(-BUDGET // share)
    for number in [int(ONE)] if ONE else range(count):
        yield number, random.Random(f"{kind}-{number}")


def snapshot(folder, but):
    """Size and time of everything below a folder, except what is below some others."""
    found = {}
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if os.path.join(root, name) not in but]
        for name in (*files, *folders):
            path = os.path.join(root, name)
            status = os.lstat(path)
            found[path] = (status.st_size, status.st_mtime_ns) if name in files else None
    return found


def _alarm(*signal_and_frame):
    raise Hang


@contextmanager
def limits(memory=MEMORY):
    """Raise `Hang` after some seconds, and let no more than some bytes be allocated.

    Seconds of this process count, as others may hold the cores, or many more on the clock.
    """
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    timers = ((signal.SIGPROF, signal.ITIMER_PROF, 1), (signal.SIGALRM, signal.ITIMER_REAL, 12))
    before = [(number, signal.signal(number, _alarm)) for number, _, _ in timers]
    resource.setrlimit(resource.RLIMIT_AS, (used + memory, hard))
    for _, timer, factor in timers:
        signal.setitimer(timer, SECONDS * factor)
    try:
        yield
    finally:
        for _, timer, _ in timers:
            signal.setitimer(timer, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        for number, handler in before:
            signal.signal(number, handler)


class Trial:
    """Calls doors of the product with inputs of a kind, below a folder of its own.

    The block ends with a failure that names every fault once, and an input that shows it.
    """

    def __init__(self, kind, folder, outputs=()):
        self.kind, self.folder = kind, Path(folder)
        self.outputs = {str(self.folder / name) for name in outputs}
        self.accepted = self.refused = 0
        self.faults = {}  # what is wrong -> the first input that shows it, and how many do

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if self.faults and error is None:
            found = [f"{n} inputs, as {where}: {text}" for text, (where, n) in self.faults.items()]
            pytest.fail(f"{self.kind}: {len(found)} faults\n" + "\n".join(found), pytrace=False)

    def fault(self, number, text, detail=""):
        where, count = self.faults.get(text, (f"PYSOT_ABUSE_ONE={number}: {detail[-1500:]}", 0))
        self.faults[text] = (where, count + 1)

    def run(self, number, door):
        """Call a door as a command is called; returns what it returns, None if it refuses."""
        before, found = snapshot(self.folder, self.outputs), []
        errors = io.StringIO()
        try:
            with limits(), redirect_stderr(errors), redirect_stdout(io.StringIO()):
                run(lambda: found.append(door()))
            self.accepted += 1
        except SystemExit as error:
            self.refused += 1
            wrong = "exit code" if error.code not in (1, 2) else message_fault(errors.getvalue())
            if wrong:
                self.fault(number, wrong, errors.getvalue())
        except Hang as error:
            self.fault(number, f"more than {SECONDS} s in {place_of(error)}")
        except Exception as error:
            self.fault(number, f"{type(error).__name__} in {place_of(error)}", str(error))
        after = snapshot(self.folder, self.outputs)
        changed = {p for p in before.keys() | after.keys() if before.get(p, 0) != after.get(p, 0)}
        if changed:
            self.fault(number, "writes outside its output", str(sorted(changed)[:3]))
        return found[0] if found else None


def place_of(error):
    """The last lines of the product that an exception came through."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/tests/" not in f.filename]
    own = [
        f for f in frames if "site-packages" not in f.filename and "/lib/python" not in f.filename
    ]
    return " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in own[:-4:-1])


def message_fault(text):
    """What is wrong with the error output of a command, if anything."""
    *before, last = text.rstrip("\n").split("\n")
    if "Traceback" in text:
        return "a traceback is printed"
    if "error: " not in last:
        return "no error in the last line"
    if not last.isprintable() or len(last) > LONGEST:
        return "a message that is no line"
    if any(line.startswith("error: ") for line in before) and "failed" not in last:
        return "several errors"
    return None
