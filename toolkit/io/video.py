"""Frames in and out: cameras, video files, image folders and streams; video files and windows."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import cv2
from numpy.typing import NDArray

from toolkit.io.files import naming, temporary_path
from toolkit.io.images import IMAGE_SUFFIXES, depth_note, list_images, read_image

#: FourCC by suffix: both come with every OpenCV build that has FFmpeg, unlike H.264.
CODECS = {".mp4": "mp4v", ".avi": "MJPG"}

_DEFAULT_FPS = 25.0
_WARM_UP = 5  # first frames of a camera: exposure is not settled yet (PySOT's number)
_NO_VIDEO = "it is damaged, cut short, or in a format that this OpenCV build does not read"


class CutShortError(OSError):
    """A video file ended before its own frame count; the frames up to there were delivered."""


class Frame(NamedTuple):
    """One frame: index from 0, file name (or the index as text), BGR uint8 image (H, W, 3)."""

    index: int
    name: str
    image: NDArray


class FrameSource:
    """Frames of one video in order, all of one size; it can be iterated once.

    ``num_frames`` is what the source states, None where it has no end, such as a camera.
    """

    def __init__(
        self, name: str, images: Iterable[tuple[str, NDArray]], fps: float, num_frames: int | None
    ) -> None:
        self.name = name
        self.fps = fps
        self.num_frames = num_frames
        self._images = images

    @property
    def live(self) -> bool:
        """Return whether the source has no end of its own."""
        return self.num_frames is None

    def __iter__(self) -> Iterator[Frame]:
        first = None
        for index, (name, image) in enumerate(self._images):
            size = f"{image.shape[1]} x {image.shape[0]}"
            first = first or size
            if size != first:
                raise ValueError(
                    f"{self.name}: frame {name} is {size} pixels, those before it {first}"
                )
            yield Frame(index, name, image)


def open_source(source: str | os.PathLike | int = 0) -> FrameSource:
    """Open a camera (by its number), a stream URL, a folder of images, or a video file.

    Gray is repeated in all three channels, alpha is dropped; for images of more than 8 bits and
    EXIF orientations see `toolkit.io.images.read_image`; of video files OpenCV gives 8 bits.
    Iterating raises ``ValueError`` for an image that cannot be decoded or a change of size,
    `CutShortError` at the end of a file that holds fewer frames than it states, and ``OSError``
    when a camera fails.

    Raises:
        OSError: If OpenCV cannot open it, or there is no such file, or no image in the folder.
    """
    text = os.fspath(source) if not isinstance(source, int) else str(source)
    if os.path.isdir(text):
        return _open_folder(text)
    if "://" in text:
        return _open_capture(text, text, live=True)
    if text.isdecimal() and not os.path.exists(text):
        return _open_capture(int(text), f"camera {int(text)}", live=True)
    if not os.path.exists(text) and "%" not in text:  # OpenCV takes patterns such as img%04d.png
        raise FileNotFoundError(f"no such video file, folder, camera number or URL: {text!r}")
    return _open_capture(text, text, live=False)


def _open_folder(folder: str) -> FrameSource:
    paths = list_images(folder)
    if not paths:
        known = ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
        raise FileNotFoundError(f"{Path(folder)}: no images in this folder (looked for {known})")
    if note := depth_note(paths[:1]):
        logging.getLogger(__name__).warning(note)
    images = ((path.name, read_image(path, first=paths[0])) for path in paths)
    return FrameSource(str(Path(folder)), images, _DEFAULT_FPS, len(paths))


def _open_capture(target: str | int, name: str, live: bool) -> FrameSource:
    camera = isinstance(target, int)
    with _quiet_opencv():
        capture = cv2.VideoCapture(target)
    if not capture.isOpened():
        hint = "is it connected, and may you use it?" if camera else _NO_VIDEO
        raise OSError(f"cannot open {name}: {hint}")
    fps = capture.get(cv2.CAP_PROP_FPS)
    count = None if live else max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    images = _camera_images(capture, name) if camera else _file_images(capture, name, count or 0)
    return FrameSource(name, images, fps if 1 <= fps <= 1000 else _DEFAULT_FPS, count)


def _decoded(capture: cv2.VideoCapture) -> Iterator[NDArray]:
    try:
        while (found := capture.read())[0]:
            yield found[1]
    finally:
        capture.release()


def _camera_images(capture: cv2.VideoCapture, name: str) -> Iterator[tuple[str, NDArray]]:
    for index, image in enumerate(_decoded(capture), -_WARM_UP):
        if index >= 0:
            yield str(index), image
    raise OSError(f"{name} delivers no more frames")


def _file_images(capture: cv2.VideoCapture, name: str, count: int) -> Iterator[tuple[str, NDArray]]:
    index = 0
    for index, image in enumerate(_decoded(capture), start=1):
        yield str(index - 1), image
    if not index:
        raise OSError(f"{name}: no frame can be decoded; {_NO_VIDEO}")
    # some containers only state a duration, from which OpenCV estimates the count
    if index < count - max(2, count // 50):
        raise CutShortError(f"{name} ends after {index} of {count} frames; it is cut short")


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Keep OpenCV's own reports off the screen: the caller says in one line what failed."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    logging = cv2.utils.logging
    level = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)


class VideoSink:
    """Writes an MPEG-4 (.mp4) or motion JPEG (.avi) video that appears when the block succeeds.

    If the block fails, or writes no frame, nothing changes on disk. These codecs hold even sides
    only: OpenCV drops the last row or column of an odd one.

    Raises:
        ValueError: If the suffix is another one, or there is a folder of that name.
        OSError: If the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike, fps: float = _DEFAULT_FPS) -> None:
        self.path = Path(path)
        self.fps = fps
        self.num_frames = 0
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
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

    def write(self, image: NDArray) -> None:
        """Append a frame, BGR uint8 (H, W, 3), of the size of the first one."""
        height, width = image.shape[:2]
        if self._writer is None:
            self._writer, self._size = self._open(width, height), (width, height)
        if (width, height) != self._size:
            raise ValueError(
                f"{self.path}: a frame of {width} x {height} pixels in a video of "
                f"{self._size[0]} x {self._size[1]}"
            )
        self._writer.write(image)
        self.num_frames += 1

    def _open(self, width: int, height: int) -> cv2.VideoWriter:
        codec = CODECS[self._temporary.suffix]
        arguments = (cv2.VideoWriter_fourcc(*codec), float(self.fps), (width, height))
        with _quiet_opencv():
            writer = cv2.VideoWriter(str(self._temporary), *arguments)
        if not writer.isOpened():
            raise OSError(
                f"cannot write {self.path}: this OpenCV build has no encoder {codec!r} for frames "
                f"of {width} x {height} pixels at {self.fps:g} per second"
            )
        return writer

    def __exit__(self, kind: type | None, *error: object) -> None:
        try:
            if self._writer is not None:
                self._writer.release()
            if self._writer is not None and kind is None:
                self._check()
                os.replace(self._temporary, self.path)
        finally:
            with suppress(OSError):
                self._temporary.unlink()

    def _check(self) -> None:
        """Count the frames in the file: OpenCV does not say when a write fails."""
        with _quiet_opencv():
            capture = cv2.VideoCapture(str(self._temporary))
        found = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
        capture.release()
        if found < self.num_frames:
            raise OSError(
                f"cannot write {self.path}: only {found} of {self.num_frames} frames arrived; "
                "is the disk full?"
            )


def window_available(
    environment: Callable[[str], str | None] = os.environ.get, platform: str = sys.platform
) -> bool:
    """Return whether OpenCV can open a window here; only Linux names its display in a variable."""
    display = environment("DISPLAY") or environment("WAYLAND_DISPLAY")
    if platform.startswith("linux") and not display:
        return False
    gui = re.search(r"^\s*GUI:\s*(\S+)", cv2.getBuildInformation(), re.MULTILINE)
    return gui is not None and gui.group(1) != "NONE"


class Window:
    """Shows frames, at most ``fps`` a second (0: any); needs `window_available`."""

    def __init__(self, title: str, fps: float = 0.0) -> None:
        self.title = title
        self._interval = 1 / fps if fps else 0.0
        self._shown = 0.0

    def __enter__(self) -> Window:
        cv2.namedWindow(self.title, cv2.WINDOW_AUTOSIZE)
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(cv2.error):  # the user may have closed it
            cv2.destroyWindow(self.title)

    def write(self, image: NDArray) -> bool:
        """Show a frame, BGR uint8 (H, W, 3); return False if the user pressed q or Escape."""
        wait = self._interval - (time.perf_counter() - self._shown)
        cv2.imshow(self.title, image)
        key = cv2.waitKey(max(1, round(1000 * wait))) & 0xFF
        self._shown = time.perf_counter()
        return key not in (27, ord("q"))

    def select_box(self, image: NDArray) -> tuple[int, int, int, int]:
        """Let the user draw a box with the mouse: x, y, w, h in 0-based pixels."""
        x, y, w, h = (int(v) for v in cv2.selectROI(self.title, image, False, False))
        if w <= 0 or h <= 0:
            raise ValueError("no box was drawn; drag one with the mouse and press Enter")
        return x, y, w, h
