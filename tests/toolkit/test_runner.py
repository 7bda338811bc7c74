import numpy as np
import pytest

from toolkit.datasets import Video
from toolkit.io.files import acquire
from toolkit.protocols.one_pass import StaticTracker
from toolkit.protocols.runner import (
    Job,
    JobResult,
    allowed_repetitions,
    run_together,
    run_video,
    timing_line,
)
from toolkit.results.store import ResultStore
from toolkit.results.trajectory import Code, Trajectory


class Drawn(Video):
    """Four gray frames of 30 x 20 pixels."""

    def __init__(self, name="v", length=4):
        super().__init__(name, "", [f"{i}.png" for i in range(length)], [[4, 4, 8, 8]] * length)
        self.reads = 0

    def __getitem__(self, index):
        self.reads += 1
        return np.full((20, 30, 3), index, np.uint8), self.gt_traj[index]


class Failing(StaticTracker):
    def track(self, image):
        raise ValueError("out of luck\nin detail")


def job(folder, name="a", build=StaticTracker):
    store = ResultStore(folder / "results" / "Set" / name, "flat")
    return Job(build, "one_pass", store)


def test_lines_are_those_of_pysot():
    run = Trajectory([Code.STARTED, Code.LOST], seconds=[12.34 / 101] * 101)
    line = "Video: Tennis       Time:  12.3s Speed: 8.1fps"
    assert timing_line("Tennis", run, restarts=False) == line
    run.seconds = [2.9 / 12] * 12
    line = "Video: a_long_video_name Time:  2.9s Speed: 3.8fps Lost: 1"
    assert timing_line("a_long_video_name", run, restarts=True) == line


@pytest.mark.parametrize(
    ("deterministic", "asked", "most", "expected"),
    [(True, None, 15, 1), (True, 3, 3, 1), (False, None, 15, 15), (False, 2, 3, 2)],
)
def test_only_trackers_that_vary_are_repeated(deterministic, asked, most, expected):
    tracker = StaticTracker()
    assert allowed_repetitions(tracker, 1, 1) == 1  # without the attribute it is deterministic
    tracker.deterministic = deterministic
    assert allowed_repetitions(tracker, asked, most) == expected


def test_a_failure_is_a_result(tmp_path):
    result = run_video(job(tmp_path, build=Failing), Drawn())
    assert result.error == "out of luck"
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


@pytest.mark.parametrize(("message", "line"), [("\n a\nb", "a"), ("", "RuntimeError")])
def test_no_failure_is_without_words(tmp_path, message, line):
    def fail():
        raise RuntimeError(message)

    assert run_video(job(tmp_path, build=fail), Drawn()).error == line  # "" would be a success


def test_a_video_of_another_process_is_left_to_it(tmp_path):
    video, mine = Drawn(), job(tmp_path)
    with acquire(mine.store.lock("v")) as free:
        assert free
        assert run_video(mine, video) == JobResult("v", locked=True)
        assert video.reads == 0
    assert not run_video(mine, video).locked
    assert [path.name for path in mine.store.folder.iterdir()] == ["v.txt"]
    with acquire(mine.store.lock("v")):  # what is finished needs no lock
        assert run_video(mine, video).skipped


def test_several_trackers_share_the_frames(tmp_path):
    video = Drawn()
    jobs = [job(tmp_path, "a"), job(tmp_path, "b", Failing), job(tmp_path, "c")]
    first, second, third = run_together([of.session() for of in jobs], video)
    assert video.reads == 4
    assert len(first) == len(third) == 4
    assert second == "out of luck"


def test_a_video_that_cannot_be_read_fails_for_all(tmp_path):
    video = Video("v", tmp_path, ["0.png"], [[4, 4, 8, 8]])
    results = run_together([job(tmp_path, "a").session(), job(tmp_path, "b").session()], video)
    assert all("0.png" in result for result in results)
