"""Video files that appear whole: H.264 by PyAV where that is installed, else OpenCV's codecs."""

from __future__ import annotations

import errno
import logging
import math
import os
import shutil
import struct
from contextlib import suppress
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import cv2
from numpy.typing import NDArray

from toolkit.io.files import naming, temporary_path
from toolkit.io.packages import PackageMissing, load_package
from toolkit.io.video import DEFAULT_FPS, container_boxes, quiet_opencv

logger = logging.getLogger(__name__)

#: FourCC by suffix: both come with every OpenCV build that has FFmpeg, unlike H.264.
CODECS = {".mp4": "mp4v", ".avi": "MJPG"}

_SPARE = 1 << 20  # bytes of a disk that are left for the end of a video
_TICKS = 90_000  # units of time in a second of an H.264 video, as is usual
_LONGEST_STEP = 3600 * _TICKS  # of one frame; FFmpeg's MP4 files hold no more than some hours
_H264 = {"preset": "veryfast", "crf": "20"}
_BT601, _LIMITED = 6, 1  # FFmpeg's numbers of the colors that OpenCV and browsers expect
#: Fields of an MP4 file to change if it lasts longer: box, place after its name, power of the
#: factor, and whether it counts units of the track, whose number per second is the fourth field.
_DURATIONS = (
    *((b"mvhd", 20, 1, 0), (b"tkhd", 24, 1, 0), (b"elst", 12, 1, 0)),
    *((b"mdhd", 16, -1, 1), (b"mdhd", 20, 0, 1), (b"stts", 16, 0, 1)),
)


class _Encoder(Protocol):
    """Writes frames of even sides to a file."""

    def write(self, image: NDArray, time: float | None) -> None:
        """Append a frame, at a time in seconds if it has one."""

    def close(self, whole: bool) -> None:
        """Finish the file; what is not ``whole`` will be deleted."""


class _OpenCVEncoder:
    """MPEG-4 or motion JPEG at a constant rate, which is corrected in the end."""

    def __init__(self, path: Path, target: Path, size: tuple[int, int], fps: float) -> None:
        # MPEG-4 has no fraction above 65535, and OpenCV makes one of 1000 at most
        self.fps = round(fps, 3 if fps < 65 else 2 if fps < 655 else 1)
        self._path = path
        self._times: list[float] = []
        codec = CODECS[path.suffix]
        with quiet_opencv():
            fourcc = cv2.VideoWriter_fourcc(*codec)
            self._writer = cv2.VideoWriter(str(path), fourcc, float(self.fps), size)
        if not self._writer.isOpened():
            raise OSError(
                f"cannot write {target}: this OpenCV build has no encoder {codec!r} for frames "
                f"of {size[0]} x {size[1]} pixels at {self.fps:g} per second"
            )

    def write(self, image: NDArray, time: float | None) -> None:
        self._writer.write(image)
        self._times += [] if time is None else [time]

    def close(self, whole: bool) -> None:
        self._writer.release()
        if whole:
            _correct_rate(self._path, self.fps, self._times)


class _H264Encoder:
    """H.264 in the pixel format that every browser plays, each frame at its own time."""

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        self._av = _load_av()
        self._step = max(1, round(_TICKS / fps))
        self._ticks, self._last, self._time = -self._step, self._step, math.nan
        self._container = self._av.open(str(path), "w", options={"movflags": "faststart"})
        rate = Fraction(fps).limit_denominator(1001)
        stream = self._container.add_stream("libx264", rate=rate, options=_H264)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = Fraction(1, _TICKS)
        context.colorspace = context.color_primaries = context.color_trc = _BT601
        context.color_range = _LIMITED
        self._stream = stream

    def write(self, image: NDArray, time: float | None) -> None:
        self._last = self._duration(math.nan if time is None else time)
        self._ticks += self._last
        frame = self._av.VideoFrame.from_ndarray(image, format="bgr24")
        frame.pts, frame.time_base = self._ticks, Fraction(1, _TICKS)
        self._container.mux(self._stream.encode(frame))

    def _duration(self, time: float) -> int:
        """Return how long the frame before lasted; a clock that is no clock does not count."""
        seconds, self._time = time - self._time, time
        if not 0 < seconds < math.inf:
            return self._step
        return min(max(1, round(_TICKS * seconds)), _LONGEST_STEP)

    def close(self, whole: bool) -> None:
        with self._container:
            packets = self._stream.encode(None) if whole else []
            if packets:  # nobody knows how long the last frame lasts: as long as the one before
                packets[-1].duration = self._last
            self._container.mux(packets)


@cache
def _load_av() -> Any:
    """Import PyAV, and see that it can write H.264.

    Raises:
        PackageMissing: If it is not installed.
        ValueError: If it has no encoder.
    """
    av = load_package("av", "av", "H.264 needs")
    try:
        av.codec.Codec("libx264", "w")
    except ValueError as error:
        raise ValueError("H.264 needs a build of av with libx264; pip's has it") from error
    return av


@cache
def h264_available() -> bool:
    """Return whether videos can be H.264; the first time, say why if not."""
    try:
        _load_av()
    except PackageMissing:
        logger.warning("videos are MPEG-4, which no browser plays; for H.264: pip install av")
    except ValueError as error:
        logger.warning("videos are MPEG-4, which no browser plays; %s", error)
    else:
        return True
    return False


class VideoSink:
    """Writes an .mp4 (H.264 or MPEG-4) or .avi (motion JPEG) that appears when the block ends.

    If the block fails, or writes no frame, nothing changes on disk. A video whose frames come with
    their times lasts as long as they do. These codecs hold even sides only: the last row or column
    of an odd side is written twice.

    Args:
        path: Name that ends in .mp4 or .avi.
        fps: Frames per second, of frames that come without times.
        h264: Whether an .mp4 is H.264, which needs PyAV.
        size: (w, h) of the frames; by default that of the first one.

    Raises:
        ValueError: If the suffix is another one, or there is a folder of that name.
        OSError: If the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        fps: float = DEFAULT_FPS,
        h264: bool = False,
        size: tuple[int, int] | None = None,
    ) -> None:
        self.path = Path(path)
        self.fps = fps
        self.h264 = h264
        self.num_frames = 0
        self._size = size
        self._encoder: _Encoder | None = None
        suffix = self.path.suffix.lower()
        if suffix not in CODECS:
            known = " or ".join(CODECS)
            raise ValueError(f"{self.path}: a video's name must end in {known}")
        if self.path.is_dir():
            raise ValueError(f"{self.path} is a folder, not a video file")
        self._temporary = temporary_path(self.path.with_suffix(suffix))
        with naming(self.path, self._temporary):
            self._temporary.touch()
            self._temporary.unlink()

    def __enter__(self) -> VideoSink:
        return self

    def write(self, image: NDArray, time: float | None = None) -> None:
        """Append a frame, BGR uint8 (H, W, 3), of the size of the first one, at a time."""
        height, width = image.shape[:2]
        with naming(self.path):
            # encoders would not say so, and lose all if there is no room for the end
            if shutil.disk_usage(self.path.parent).free < image.nbytes + _SPARE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size = self._size or (width, height)
        if (width, height) != self._size:
            raise ValueError(
                f"{self.path}: a frame of {width} x {height} pixels in a video of "
                f"{self._size[0]} x {self._size[1]}"
            )
        if width % 2 or height % 2:
            image = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        with naming(self.path, self._temporary):
            if self._encoder is None:
                self._encoder = self._open((image.shape[1], image.shape[0]))
            self._encoder.write(image, time)
        self.num_frames += 1

    def _open(self, size: tuple[int, int]) -> _Encoder:
        if self.h264 and self._temporary.suffix == ".mp4":
            return _H264Encoder(self._temporary, size, self.fps)
        return _OpenCVEncoder(self._temporary, self.path, size, self.fps)

    def __exit__(self, kind: type | None, *error: object) -> None:
        try:
            if self._encoder is not None:
                with naming(self.path, self._temporary):
                    self._encoder.close(whole=kind is None)
            if self._encoder is not None and kind is None:
                self._check()
                with naming(self.path, self._temporary):
                    os.replace(self._temporary, self.path)
        finally:
            with suppress(OSError):
                self._temporary.unlink()

    def _check(self) -> None:
        """Count the frames in the file: OpenCV does not say when a write fails."""
        with quiet_opencv():
            capture = cv2.VideoCapture(str(self._temporary))
        found = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
        capture.release()
        if found < self.num_frames:
            raise OSError(
                f"cannot write {self.path}: only {found} of {self.num_frames} frames arrived; "
                "is the disk full?"
            )


def open_video_writer(
    path: str | os.PathLike, size: tuple[int, int] | None = None, fps: float = DEFAULT_FPS
) -> VideoSink:
    """Return a `VideoSink` that writes H.264 where PyAV (extra ``video``) is installed.

    Else an .mp4 is MPEG-4, with one line that says what to install.

    Args:
        path: Name that ends in .mp4 or .avi.
        size: (w, h) of the frames; by default that of the first one.
        fps: Frames per second, of frames that come without times.

    Raises:
        ValueError: If the suffix is another one, or there is a folder of that name.
        OSError: If the file cannot be written.
    """
    h264 = Path(path).suffix.lower() == ".mp4" and h264_available()
    return VideoSink(path, fps, h264, size)


def _correct_rate(path: Path, fps: float, times: list[float]) -> None:
    """Let a video written at ``fps`` last as long as ``times`` say, if they differ by a frame."""
    steps = [b - a for a, b in pairwise(times) if 0 <= b - a < math.inf]
    seconds, stated = sum(steps), len(steps) / fps
    if not seconds or abs(seconds - stated) <= max(1 / fps, 0.02 * stated):
        return
    slower, step = seconds / stated, _whole(1e6 * seconds / len(steps))
    with open(path, "r+b") as file:
        begin, end = 0, 512
        if path.suffix != ".avi":
            begin, end = next(
                (box[1:] for box in container_boxes(file) if box[0] == b"moov"), (0, 0)
            )
        file.seek(begin)
        data = bytearray(file.read(end - begin))
        if path.suffix == ".avi":
            struct.pack_into("<I", data, 32, step)  # of the main header
            struct.pack_into("<II", data, data.find(b"strh") + 28, step, 1_000_000)
        units = max(1, int(slower / 16))  # else the track would have too few in a second
        for kind, place, power, counts in _DURATIONS if path.suffix != ".avi" else ():
            if (at := data.find(kind)) >= 0:
                (value,) = struct.unpack_from(">I", data, at + place)
                value *= slower**power * units**counts
                struct.pack_into(">I", data, at + place, _whole(value))
        file.seek(begin)
        file.write(data)


def _whole(value: float) -> int:
    """Nearest positive number that fits 32 bits."""
    return min(max(1, round(value)), 0xFFFFFFFF)
