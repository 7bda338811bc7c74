import errno
import os
import sys
import threading

import pytest
from filelock import FileLock

from toolkit.io.files import acquire, atomic_path, atomic_write, write_bytes


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
    with pytest.raises(ValueError, match=r"pysot\[search\]"), acquire(tmp_path / "a"):
        pass
