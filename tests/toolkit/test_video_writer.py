import numpy as np
import pytest

from toolkit.io import video_writer
from toolkit.io.packages import PackageMissing
from toolkit.io.video import open_source
from toolkit.io.video_writer import VideoSink, open_video_writer


@pytest.fixture
def without_av(monkeypatch):
    def missing(*names):
        raise PackageMissing("H.264 needs av: pip install av")

    monkeypatch.setattr(video_writer, "load_package", missing)
    clear()
    yield
    clear()


def clear():
    video_writer._load_av.cache_clear()
    video_writer.h264_available.cache_clear()


def frames(count, size):
    width, height = size
    row = np.linspace(0, 200, width, dtype=np.uint8)
    image = np.dstack([np.tile(row, (height, 1))] * 3)
    return [np.roll(image, 2 * i, axis=1) for i in range(count)]


def test_without_pyav_a_video_is_mpeg4_with_one_line_of_advice(tmp_path, without_av, caplog):
    for name in ("a.mp4", "b.mp4", "c.avi"):
        with open_video_writer(tmp_path / name, (32, 24), 10) as sink:
            sink.write(frames(1, (32, 24))[0])
    assert b"mp4v" in (tmp_path / "a.mp4").read_bytes()
    assert caplog.messages == [
        "videos are MPEG-4, which no browser plays; for H.264: pip install av"
    ]


@pytest.mark.parametrize("size", [(31, 24), (32, 23), (31, 23), (1, 1)])
def test_odd_sides_lose_no_pixel(tmp_path, size):
    with VideoSink(tmp_path / "a.avi") as sink:
        sink.write(np.full((size[1], size[0], 3), 120, np.uint8))
    (frame,) = open_source(tmp_path / "a.avi")
    assert frame.image.shape == (size[1] + size[1] % 2, size[0] + size[0] % 2, 3)
    assert np.abs(frame.image.astype(int) - 120).max() < 10


def test_a_frame_of_another_size_than_stated_is_refused(tmp_path):
    with (
        pytest.raises(ValueError, match=r"a\.avi: a frame of 32 x 24 .* of 40 x 24"),
        open_video_writer(tmp_path / "a.avi", (40, 24)) as sink,
    ):
        sink.write(frames(1, (32, 24))[0])
    assert list(tmp_path.iterdir()) == []


def h264(path, **options):
    pytest.importorskip("av")
    return VideoSink(path, h264=True, **options)


@pytest.mark.parametrize("size", [(64, 48), (63, 47), (17, 1), (3, 200)])
def test_h264_plays_in_browsers(tmp_path, size):
    images = frames(12, size)
    with h264(tmp_path / "a.mp4", fps=12) as sink:
        for image in images:
            sink.write(image)
    data = (tmp_path / "a.mp4").read_bytes()
    assert b"avc1" in data and data.index(b"moov") < data.index(b"mdat")
    source = open_source(tmp_path / "a.mp4")
    found = [frame.image[: size[1], : size[0]].astype(int) for frame in source]
    assert (len(found), round(source.fps, 3)) == (12, 12)
    assert max(np.abs(a - b).mean() for a, b in zip(found, images, strict=True)) < 8
    import av

    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"


def test_h264_frames_keep_their_times(tmp_path):
    times = [7.0, 7.1, 7.5, 7.5, 6.0, float("nan"), 6.5, 1e12, 1e12 + 1]
    with h264(tmp_path / "a.mp4", fps=10) as sink:
        for image, time in zip(frames(9, (32, 24)), times, strict=True):
            sink.write(image, time)
    found = [frame.time for frame in open_source(tmp_path / "a.mp4")]
    steps = np.diff(found)
    np.testing.assert_allclose(steps[:6], [0.1, 0.4, 0.1, 0.1, 0.1, 0.1], atol=1e-3)
    assert len(found) == 9


def test_a_failed_h264_video_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), h264(tmp_path / "a.mp4") as sink:
        sink.write(frames(1, (32, 24))[0])
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
