"""Work on other machines: what needs no cluster, and (marked) a Ray cluster on this machine."""

import pickle
import socket
import threading
import time
from contextlib import closing
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from toolkit.datasets import Video
from toolkit.io import cluster
from toolkit.io.cluster import Task
from toolkit.io.pool import LocalExecutor
from toolkit.protocols.one_pass import StaticTracker
from toolkit.protocols.runner import Job, run_elsewhere, run_video
from toolkit.results.store import ResultStore


class Drawn(Video):
    """Four gray frames of 30 x 20 pixels."""

    def __init__(self, name):
        super().__init__(name, "", [f"{i}.png" for i in range(4)], [[4, 4, 8, 8]] * 4)

    def __getitem__(self, index):
        return np.full((20, 30, 3), index, np.uint8), self.gt_traj[index]


class Elsewhere:
    """An executor that sends everything by pickle and does the last item first."""

    remote = True

    def run(self, work, items):
        for index, item in reversed(list(enumerate(items))):
            yield index, pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(work))(item)))


class Restless(StaticTracker):
    """Drifts by how often one was made in this process, and fails the fifth time."""

    deterministic = False
    made = 0

    def __init__(self):
        super().__init__()
        Restless.made += 1
        self.x = Restless.made

    def track(self, image):
        if self.x == 5:
            raise ValueError("out of luck\nin detail")
        return {"bbox": [self.x, 1 / 3, 8, 8], "best_score": 0.5}


@pytest.fixture(autouse=True)
def fresh():
    Restless.made = 0


def job(folder, build=StaticTracker, protocol="one_pass", layout="flat", **options):
    return Job(build, protocol, ResultStore(folder, layout), **options)


def contents(folder, times=True):
    files = sorted(path for path in folder.rglob("*.txt") if times or "time" not in path.name)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_what_comes_back_is_written_as_one_process_writes_it(tmp_path):
    videos = [Drawn("a"), Drawn("b"), Drawn("c")]
    for video in videos:
        run_video(job(tmp_path / "here"), video)
    run_video(job(tmp_path / "there"), videos[1])
    found = list(run_elsewhere(job(tmp_path / "there"), videos, Elsewhere()))
    assert [index for index, _ in found] == [1, 2, 0]
    assert [result.skipped for _, result in found] == [True, False, False]
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_what_was_done_before_an_error_is_kept_and_not_done_again(tmp_path):
    runs = partial(job, tmp_path, Restless, "reset", "vot")
    ((_, result),) = run_elsewhere(runs(repetitions=6), [Drawn("a")], Elsewhere())
    assert (result.error, len(result.lines)) == ("out of luck", 4)
    before = contents(tmp_path, times=False)
    assert len(before) == 4
    ((_, result),) = run_elsewhere(runs(repetitions=6), [Drawn("a")], Elsewhere())
    assert (result.error, len(result.lines)) == ("", 2)
    after = contents(tmp_path, times=False)
    assert len(after) == 6 and before.items() <= after.items()
    ((_, result),) = run_elsewhere(runs(repetitions=6, overwrite=True), [Drawn("a")], Elsewhere())
    assert len(result.lines) == 6
    assert contents(tmp_path, times=False) != after


def test_local_work_gives_results_by_index():
    assert list(LocalExecutor(2).run(abs, (-3, 2))) == [(0, 3), (1, 2)]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("head", r"--address head: expected HOST:PORT, ray://HOST:PORT or auto"),
        ("127.0.0.1:x", "expected HOST:PORT"),
        ("127.0.0.1:9", r"no Ray cluster answers at 127\.0\.0\.1:9: .*refused"),
        ("ray://127.0.0.1:9", "no Ray cluster answers at ray://127"),
        ("127.0.0.1:99999", "no Ray cluster answers at 127.0.0.1:99999"),
        ("no-such-host.invalid:6379", "no Ray cluster answers at no-such-host"),
    ],
)
def test_an_address_that_does_not_answer_is_one_line(address, message):
    with pytest.raises((ConnectionError, ValueError), match=message):
        cluster._check_answer(address)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n", None])
def test_another_server_is_no_cluster(answer, monkeypatch):
    monkeypatch.setattr(cluster, "_PATIENCE", 0.1)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve():
            with closing(server.accept()[0]) as client:
                client.recv(99)
                time.sleep(0.3) if answer is None else client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:\d+"):
            cluster._check_answer(f"127.0.0.1:{server.getsockname()[1]}")
        thread.join()


def test_tasks_that_fit_into_a_machine():
    assert Task(2, 0.5, 4).options() == {"num_cpus": 2, "num_gpus": 0.5, "memory": 4 * 2**30}
    machine = {"CPU": 8.0, "GPU": 1.0, "memory": 15 * 2.0**30}
    assert [Task(n).fits(machine) for n in (2, 8, 9)] == [4, 1, 0]
    assert Task(1, 0.5).fits(machine) == 2
    assert Task(1, 0, 4).fits(machine) == 3
    assert Task(1, 1).fits({"CPU": 8.0}) == 0


def test_another_process_does_the_same(tmp_path, monkeypatch):
    (tmp_path / "my_part.py").write_text("NAME = 1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path, str(tmp_path)])
    monkeypatch.setattr(cluster, "preloaded", ["my_part"])
    settings = cluster._Settings.here()
    assert settings.folder == str(tmp_path) and str(tmp_path) in settings.path
    assert cluster._do(settings, pickle.dumps(abs), -2) == 2
    (tmp_path / "my_part.py").write_text("NAME = 2")
    cluster._prepare.cache_clear()
    with pytest.raises(ValueError, match=r"plug-in my_part is another one on "):
        cluster._do(settings, pickle.dumps(abs), -2)
    with pytest.raises(ValueError, match=r"pysot on .* is of another version; install the same"):
        cluster._do(replace(settings, code="other"), pickle.dumps(abs), -2)
