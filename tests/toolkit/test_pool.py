import itertools
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import cv2
import pytest

from toolkit.io.pool import WorkerDied, run_parallel

ROOT = Path(__file__).parents[2]


def nap(seconds):
    time.sleep(seconds)
    return seconds


def refuse(item):
    if item == 2:
        raise ValueError("item 2 is of no use")
    return item


def die(item):
    os._exit(9)


class Counted:
    """Counts on which worker it arrives, and how often."""

    arrivals = 0

    def __getstate__(self):
        return "not empty"

    def __setstate__(self, state):
        Counted.arrivals += 1

    def work(self, item):
        return Counted.arrivals, cv2.getNumThreads()


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(workers):
    assert list(run_parallel(abs, [], workers)) == []
    assert list(run_parallel(abs, (i for i in (3, -1, -2)), workers)) == [3, 1, 2]
    assert list(run_parallel(nap, [0.3, 0, 0.1, 0], workers)) == [0.3, 0, 0.1, 0]


def test_items_are_taken_as_they_are_needed():
    endless = itertools.count()
    results = run_parallel(abs, endless, workers=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    results.close()
    assert next(endless) < 30


def test_work_is_sent_to_a_worker_once_and_begun_with():
    found = list(run_parallel(Counted().work, range(6), 2, partial(cv2.setNumThreads, 1)))
    assert found == [(1, 1)] * 6


@pytest.mark.parametrize("workers", [1, 2])
def test_what_the_work_raises_is_raised(workers):
    results = run_parallel(refuse, range(9), workers)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="item 2"):
        next(results)


def test_a_dead_worker_is_reported():
    with pytest.raises(WorkerDied, match=r"a worker process died.*fewer --workers"):
        list(run_parallel(die, [1], workers=2))


ORPHANS = """
import os, sys, time
from toolkit.io.pool import run_parallel

def work(path):
    try:
        open(path, "w").write(str(os.getpid()))
        time.sleep(600)
    finally:
        open(path + ".end", "w").close()

if __name__ == "__main__":
    list(run_parallel(work, sys.argv[1:], workers=2))
"""


@pytest.fixture
def busy(tmp_path):
    """A process with two workers in the middle of their work: process, worker ids, their files."""
    script = tmp_path / "script.py"
    script.write_text(ORPHANS)
    notes = [tmp_path / "1", tmp_path / "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, script, *notes, tmp_path / "3", tmp_path / "4"],
        env=environment,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert wait_for(lambda: all(note.is_file() and note.read_text() for note in notes))
    return process, [int(note.read_text()) for note in notes], notes


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_workers_end_when_their_parent_is_killed(busy):
    process, pids, _ = busy
    process.kill()
    process.communicate()
    assert wait_for(lambda: not any(map(is_alive, pids)))


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_ctrl_c_lets_the_work_tidy_up_and_ends_all(busy):
    process, pids, notes = busy
    os.killpg(process.pid, signal.SIGINT)
    errors = process.communicate(timeout=60)[1].decode()
    assert process.returncode != 0
    assert "Process Spawn" not in errors  # the traceback is that of this process
    assert errors.endswith("KeyboardInterrupt\n")
    assert all(note.with_name(f"{note.name}.end").exists() for note in notes)
    assert not notes[0].with_name("3").exists()  # what waited is not begun
    assert wait_for(lambda: not any(map(is_alive, pids)))


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")  # an ended process may wait for its parent
    return not state.is_file() or state.read_text().rpartition(")")[2].split()[0] != "Z"
