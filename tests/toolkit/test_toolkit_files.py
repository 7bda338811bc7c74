import errno
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from filelock import FileLock

from toolkit.io import files
from toolkit.io.files import acquire, atomic_path, atomic_write, write_bytes
from toolkit.io.images import write_labels
from toolkit.visualization.plots import new_figure, save_figure


def test_a_file_appears_when_its_block_succeeds(tmp_path):
    path = tmp_path / "new" / "scores.txt"
    with atomic_write(path) as file:
        file.write("a\n")
        assert not path.exists()
    assert path.read_bytes() == b"a\n"


def test_a_failed_block_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "scores.txt"
    path.write_text("old")
    with pytest.raises(KeyError), atomic_write(path, "wb") as file:
        file.write(b"half")
        raise KeyError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["scores.txt"]


def test_the_temporary_name_keeps_the_suffix_and_the_folder(tmp_path):
    with atomic_path(tmp_path / "clip.mp4") as temporary:
        assert (temporary.suffix, temporary.parent) == (".mp4", tmp_path)
        temporary.write_bytes(b"x")
    assert os.listdir(tmp_path) == ["clip.mp4"]


def test_an_unwritable_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    wanted = pytest.raises(OSError, match=r"cannot write .*file/scores\.txt")
    with wanted, atomic_write(tmp_path / "file" / "scores.txt"):
        pass


def test_a_full_disk_is_named(tmp_path):
    wanted = pytest.raises(OSError, match=r"cannot write .*scores\.txt: No space left")
    with wanted, atomic_path(tmp_path / "scores.txt"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert os.listdir(tmp_path) == []


def test_a_pipe_is_written_to_and_stays(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()), daemon=True)
    reader.start()
    with atomic_write(pipe) as file:
        file.write("scores\n")
    reader.join(10)
    assert pipe.is_fifo()
    assert received == ["scores\n"]
    assert os.listdir(tmp_path) == ["pipe"]


def test_what_a_link_points_to_is_written(tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "scores.txt"
    link.symlink_to(tmp_path / "disk" / "real.txt")
    with atomic_write(link) as file:
        file.write("a")
    assert link.is_symlink()
    assert (tmp_path / "disk" / "real.txt").read_text() == "a"
    assert os.listdir(tmp_path / "disk") == ["real.txt"]


def test_bytes_are_written_whole_and_on_demand_to_the_disk(tmp_path, monkeypatch):
    write_bytes(tmp_path / "new" / "a.bin", b"\r\n")
    assert (tmp_path / "new" / "a.bin").read_bytes() == b"\r\n"
    synced = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_size))
    with atomic_write(tmp_path / "a.txt", sync=True) as file:
        file.write("four")
    assert synced == [4]


def test_a_lock_is_free_again_after_the_block(tmp_path):
    path = tmp_path / "new" / "a.lock"
    with acquire(path) as first, acquire(path) as second:
        assert (first, second) == (True, False)
    assert not path.exists()
    path.write_text("")  # what a killed process leaves
    with acquire(path) as mine:
        assert mine
    with FileLock(path), acquire(path) as mine:
        assert not mine


def test_without_filelock_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "filelock", None)
    with pytest.raises(ValueError, match=r"pip install filelock"), acquire(tmp_path / "a"):
        pass


def leave(folder, name="o.mp4", pid=None, machine=None):
    """Make what a process killed while it wrote ``name`` leaves."""
    if pid is None:
        killed = subprocess.Popen([sys.executable, "-c", ""])
        killed.wait()
        pid = killed.pid
    stem, suffix = os.path.splitext(name)
    path = folder / f".{stem}.{machine or files.machine_id()}-{pid}.part{suffix}"
    path.write_text("half")
    return path


def test_what_killed_processes_left_is_removed_by_the_next_that_writes(tmp_path):
    dead = leave(tmp_path)
    (tmp_path / dead.name.replace("o.", "masks.").removesuffix(".mp4")).mkdir()
    write_bytes(tmp_path / "other.txt", b"x")
    assert os.listdir(tmp_path) == ["other.txt"]


@pytest.mark.parametrize("name", [".o.part.mp4", ".o.123.part.mp4", "o.0123abcd-1.part.mp4", ".a"])
def test_hidden_files_of_users_stay(tmp_path, name):
    (tmp_path / name).write_text("mine")
    write_bytes(tmp_path / "x", b"x")
    assert sorted(os.listdir(tmp_path)) == sorted([name, "x"])


def test_files_of_live_processes_and_of_other_machines_stay(tmp_path):
    pid = int(leave(tmp_path).name.split("-")[1].split(".")[0])
    os.remove(tmp_path / f".o.{files.machine_id()}-{pid}.part.mp4")
    kept = {leave(tmp_path, pid=os.getppid()), leave(tmp_path, pid=pid, machine="00000000")}
    write_bytes(tmp_path / "x", b"x")
    assert {path for path in tmp_path.iterdir() if path.name != "x"} == kept


def test_a_process_that_ended_but_was_not_waited_for_counts_as_dead(tmp_path):
    zombie = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    zombie.stdout.read()  # until its end
    deadline = time.monotonic() + 5
    while files.is_running(zombie.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not files.is_running(zombie.pid)
    zombie.wait()


@pytest.mark.parametrize("name", ["a" * 251 + ".txt", "目" * 83 + ".json"])
def test_the_longest_names_can_be_written(tmp_path, name):
    with atomic_write(tmp_path / name) as file:
        file.write("x")
    assert os.listdir(tmp_path) == [name]


def test_too_long_a_name_is_named_before_the_work(tmp_path):
    wanted = pytest.raises(OSError, match=r"cannot write .*aaa\.txt: File name too long")
    with wanted, atomic_write(tmp_path / ("a" * 252 + ".txt")):
        pytest.fail("the block was entered")


def test_errors_of_files_that_are_read_stay_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError) as error, atomic_path(tmp_path / "scores.txt"):
        (tmp_path / "input.txt").read_text()
    assert error.value.filename == str(tmp_path / "input.txt")
    with pytest.raises(OSError, match=r"^a\.jpg cannot be read$"), atomic_path(tmp_path / "b"):
        raise OSError("a.jpg cannot be read")


@contextmanager
def room_for(size):
    """Let no file of this process become larger, as if the disk were full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def write_copy(path):
    with atomic_path(path) as temporary:
        shutil.copyfile(sys.executable, temporary)


def write_plot(path):
    pytest.importorskip("matplotlib")
    save_figure(new_figure(False), path)


WRITERS = {
    "text.txt": lambda path: write_bytes(path, b"x" * 9999),
    "copy.pth": write_copy,
    "plot.png": write_plot,
    "plot.pdf": write_plot,
    "plot.jpg": write_plot,
    "labels.png": lambda path: write_labels(
        path, np.random.default_rng(0).integers(0, 255, (99, 99))
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_writer_names_its_file_on_a_full_disk(tmp_path, name):
    wanted = pytest.raises(OSError, match=rf"^cannot write {tmp_path}/{name}: File too large")
    with wanted, room_for(512):
        WRITERS[name](tmp_path / name)
    assert os.listdir(tmp_path) == []
