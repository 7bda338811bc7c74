import errno
import os

import pytest

from pysot.cli import TRACEBACK_VARIABLE, run
from pysot.core import RunFailed
from toolkit.io.pool import WorkerDied


def failing(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ValueError("TRACK.LR: expected float"), 2, "error: TRACK.LR: expected float"),
        (FileNotFoundError("checkpoint not found: a.pth"), 2, "error: checkpoint not found: a.pth"),
        (OSError(errno.ENOSPC, "No space left on device", "a.pth"), 2, "error: a.pth: No space"),
        (OSError("cannot write a.mp4: full"), 2, "error: cannot write a.mp4: full"),
        (RunFailed("2 of 3 videos failed"), 1, "error: 2 of 3 videos failed"),
        (WorkerDied("a worker process died"), 1, "error: a worker process died"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_expected_failures_are_one_line_and_an_exit_code(error, code, message, capsys):
    with pytest.raises(SystemExit) as stop:
        run(failing(error))
    assert stop.value.code == code
    printed = capsys.readouterr().err
    assert printed.startswith(message)
    assert printed.count("\n") == 1


def test_faults_of_our_own_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        run(failing(ZeroDivisionError()))


def test_the_traceback_can_be_asked_for(monkeypatch):
    monkeypatch.setitem(os.environ, TRACEBACK_VARIABLE, "1")
    with pytest.raises(ValueError, match="why"):
        run(failing(ValueError("why")))
