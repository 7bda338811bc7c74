import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from toolkit.datasets import Video
from toolkit.io.locks import claim
from toolkit.protocols import StaticTracker
from toolkit.protocols.running import (
    Plan,
    Timing,
    allowed_repetitions,
    run_all,
    run_together,
    run_video,
)

ROOT = Path(__file__).parents[2]


class Drawn(Video):
    """Four grey frames of 30 x 20 pixels."""

    def __init__(self, name="v", length=4):
        super().__init__(name, "", [f"{i}.png" for i in range(length)], [[4, 4, 8, 8]] * length)
        self.reads = 0

    def __getitem__(self, index):
        self.reads += 1
        return np.full((20, 30, 3), index, np.uint8), self.gt_traj[index]


class Failing(StaticTracker):
    def track(self, image):
        raise ValueError("out of luck\nin detail")


def plan(folder, name="a", build=StaticTracker, **fields):
    fields = {"protocol": "one_pass", "layout": "flat", **fields}
    return Plan(build, folder=folder / "results" / "Set" / name, **fields)


def test_lines_are_those_of_pysot():
    assert Timing(12.34, 8.123).line("Tennis") == "Video: Tennis       Time:  12.3s Speed: 8.1fps"
    line = "Video: a_long_video_name Time:  2.9s Speed: 3.8fps Lost: 1"
    assert Timing(2.9, 3.8, 1).line("a_long_video_name") == line


@pytest.mark.parametrize(
    ("deterministic", "asked", "most", "expected"),
    [(True, None, 15, 1), (True, 3, 3, 1), (False, None, 15, 15), (False, 2, 3, 2)],
)
def test_only_trackers_that_vary_are_repeated(deterministic, asked, most, expected):
    tracker = StaticTracker()
    assert allowed_repetitions(tracker, 1, 1) == 1  # without the attribute it is deterministic
    tracker.deterministic = deterministic
    assert allowed_repetitions(tracker, asked, most) == expected


def test_a_failure_is_an_outcome(tmp_path):
    outcome = run_video(plan(tmp_path, build=Failing), Drawn())
    assert outcome.error == "out of luck"
    assert not (tmp_path / "results").exists()


def test_several_trackers_share_the_frames(tmp_path):
    video = Drawn()
    plans = [plan(tmp_path, "a"), plan(tmp_path, "b", Failing), plan(tmp_path, "c")]
    first, second, third = run_together(plans, video)
    assert video.reads == 4
    assert len(first.runs) == len(third.runs) == 1
    assert second.error == "out of luck"
    assert plans[0].is_finished(video) and not plans[1].is_finished(video)
    again = run_together(plans[::2], video)
    assert [outcome.skipped for outcome in again] == [True, True]
    assert video.reads == 4
    assert not list((tmp_path / "results" / ".locks").rglob("*.lock"))


def test_what_is_locked_is_left_alone(tmp_path):
    video, plans = Drawn(), [plan(tmp_path, "a"), plan(tmp_path, "b")]
    with claim(plans[0].lock("v")) as mine:
        assert mine
        outcomes = run_together(plans, video)
    assert [outcome.taken for outcome in outcomes] == [True, False]
    assert [outcome.taken for outcome in run_together(plans, video)] == [False, False]


def test_a_video_that_cannot_be_read_fails_for_all(tmp_path):
    video = Video("v", tmp_path, ["0.png"], [[4, 4, 8, 8]])
    outcomes = run_together([plan(tmp_path, "a"), plan(tmp_path, "b")], video)
    assert all("0.png" in outcome.error for outcome in outcomes)


def test_a_lock_is_free_again_after_the_block(tmp_path):
    path = tmp_path / "new" / "a.lock"
    with claim(path) as first, claim(path) as second:
        assert (first, second) == (True, False)
    assert not path.exists()
    path.write_text("")  # what a killed process leaves
    with claim(path) as mine:
        assert mine
    with FileLock(path), claim(path) as mine:
        assert not mine


def test_without_filelock_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "filelock", None)
    with pytest.raises(ValueError, match=r"pysot\[search\]"), claim(tmp_path / "a"):
        pass


def test_results_come_in_order():
    assert list(run_all(abs, [3, -1, -2], workers=1)) == [3, 1, 2]
    assert list(run_all(abs, [3, -1, -2], workers=2)) == [3, 1, 2]


ORPHANS = """
import os, sys, time
from toolkit.protocols.running import run_all

def work(path):
    open(path, "w").write(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    list(run_all(work, sys.argv[1:], workers=2))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(ORPHANS)
    notes = [tmp_path / "1", tmp_path / "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, script, *notes], env=environment)
    assert wait_for(lambda: all(note.is_file() and note.read_text() for note in notes))
    process.kill()
    process.wait()
    pids = [int(note.read_text()) for note in notes]
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
