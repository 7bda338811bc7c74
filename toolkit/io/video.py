"""Frames in and out: cameras, video files, image folders and streams; video files and windows."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
from numpy.typing import NDArray

from toolkit.io.images import IMAGE_SUFFIXES, list_images, read_image

CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
"""FourCC by suffix: both come with every OpenCV build that has FFmpeg, unlike H.264."""

_DEFAULT_FPS = 25.0
_WARM_UP = 5  # first frames of a camera: exposure is not settled yet (PySOT's number)


class CutShortError(OSError):
    """A video file ended before its own frame count; the frames up to there were delivered."""


@dataclass(frozen=True)
class Frame:
    """One frame of a video."""

    index: int
    """0, 1, 2, ..."""
    name: str
    """File name of an image, else the index as text."""
    image: NDArray
    """BGR uint8, (H, W, 3)."""


class FrameSource:
    """Frames of one video in order, all of one size; it can be iterated once.

    Args:
        name: What messages call it: a path, a URL, ``camera 0``.
        images: Pairs of a frame's name and its image, BGR uint8 (H, W, 3).
        fps: Frames per second as stated by the source, or 25 where it states none.
        num_frames: As stated by the source; None where it has no end, such as a camera.
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
        """Return whether it goes on until somebody stops it."""
        return self.num_frames is None

    def __iter__(self) -> Iterator[Frame]:
        first_shape = None
        for index, (name, image) in enumerate(self._images):
            shape = image.shape[:2]
            first_shape = first_shape or shape
            if shape != first_shape:
                raise ValueError(
                    f"{self.name}: frame {name} is {_size(shape)} pixels, "
                    f"those before it {_size(first_shape)}"
                )
            yield Frame(index, name, image)


def _size(shape: tuple[int, int]) -> str:
    return f"{shape[1]} x {shape[0]}"


def open_source(source: str | os.PathLike | int = 0) -> FrameSource:
    """Open a video of any kind.

    Frames come as BGR uint8 whatever the source holds: gray is repeated in all three channels,
    alpha is dropped, 16-bit values keep their upper byte, an EXIF rotation is applied.

    Args:
        source: Camera number (also as text), stream URL, folder of images (in natural order,
            ``2.jpg`` before ``10.jpg``; other files are passed over), or a file that OpenCV opens.

    Returns:
        Its frames. Iterating raises ``ValueError`` for an image that cannot be decoded or a change
        of size, `CutShortError` at the end of a file that holds fewer frames than it states, and
        ``OSError`` when a camera fails.

    Raises:
        FileNotFoundError: If there is no such file, or no image in the folder.
        OSError: If OpenCV cannot open it.
    """
    text = os.fspath(source) if not isinstance(source, int) else str(source)
    if os.path.isdir(text):
        return _open_folder(Path(text))
    if "://" in text:
        return _open_capture(text, text, live=True)
    if text.isdecimal() and not os.path.exists(text):
        return _open_capture(int(text), f"camera {int(text)}", live=True)
    if not os.path.exists(text) and "%" not in text:  # OpenCV takes patterns such as img%04d.png
        raise FileNotFoundError(f"no such video file, folder, camera number or URL: {text!r}")
    return _open_capture(text, text, live=False)


def _open_folder(folder: Path) -> FrameSource:
    paths = list_images(folder)
    if not paths:
        known = ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
        raise FileNotFoundError(f"{folder}: no images in this folder (looked for {known})")
    images = ((path.name, read_image(path)) for path in paths)
    return FrameSource(str(folder), images, _DEFAULT_FPS, len(paths))


def _open_capture(target: str | int, name: str, live: bool) -> FrameSource:
    with _quiet_opencv():
        capture = cv2.VideoCapture(target)
    if not capture.isOpened():
        hint = "is it connected, and may you use it?" if isinstance(target, int) else _no_video()
        raise OSError(f"cannot open {name}: {hint}")
    fps = capture.get(cv2.CAP_PROP_FPS)
    count = None if live else max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    if isinstance(target, int):
        images = _camera_images(capture, name)
    else:
        images = _file_images(capture, name, count or 0)
    return FrameSource(name, images, fps if 1 <= fps <= 1000 else _DEFAULT_FPS, count)


def _no_video() -> str:
    return "it is damaged, cut short, or in a format that this OpenCV build does not read"


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
        raise OSError(f"{name}: no frame can be decoded; {_no_video()}")
    # some containers only state a duration, from which OpenCV estimates the count
    if index < count - max(2, count // 50):
        raise CutShortError(f"{name} ends after {index} of {count} frames; it is cut short")


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Keep OpenCV's own reports off the screen: the caller says in one line what failed."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    logging = getattr(getattr(cv2, "utils", None), "logging", None)
    if logging is None:
        yield
        return
    level = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)


class VideoSink:
    """Writes a video file that takes its name when the ``with`` block succeeds.

    If the block fails nothing is left behind, and a file of that name stays as it was. Without
    any frame no file is written. These codecs hold even sides only: OpenCV drops the last row or
    column of an odd one.

    Args:
        path: ``.mp4`` (MPEG-4 part 2) or ``.avi`` (motion JPEG). Missing folders are made.
        fps: Frames per second, finite and positive.

    Raises:
        ValueError: If the suffix is another one.
        OSError: If the folder cannot be written.
    """

    def __init__(self, path: str | os.PathLike, fps: float = _DEFAULT_FPS) -> None:
        self.path = Path(path)
        self.fps = fps
        self.num_frames = 0
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        if self.path.suffix.lower() not in CODECS:
            known = " or ".join(CODECS)
            raise ValueError(f"{self.path}: a video's name must end in {known}")
        if self.path.is_dir():
            raise ValueError(f"{self.path} is a folder, not a video file")
        self._temporary = self.path.with_name(
            f".{self.path.stem}.{os.getpid()}.part{self.path.suffix.lower()}"
        )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._temporary.touch()
            self._temporary.unlink()
        except OSError as error:
            reason = error.strerror or error
            raise OSError(error.errno, f"cannot write {self.path}: {reason}") from error

    def __enter__(self) -> VideoSink:
        return self

    def write(self, image: NDArray) -> None:
        """Append a frame, BGR uint8 (H, W, 3).

        Raises:
            ValueError: If it has another size than the first one.
            OSError: If OpenCV has no encoder for this format.
        """
        size = (image.shape[1], image.shape[0])
        if self._writer is None:
            self._open(size)
        if size != self._size:
            raise ValueError(
                f"{self.path}: a frame of {size[0]} x {size[1]} pixels in a video of "
                f"{self._size[0]} x {self._size[1]}"
            )
        self._writer.write(image)
        self.num_frames += 1

    def _open(self, size: tuple[int, int]) -> None:
        codec = CODECS[self.path.suffix.lower()]
        with _quiet_opencv():
            fourcc = cv2.VideoWriter_fourcc(*codec)
            writer = cv2.VideoWriter(str(self._temporary), fourcc, float(self.fps), size)
        if not writer.isOpened():
            raise OSError(
                f"cannot write {self.path}: this OpenCV build has no encoder {codec!r} for frames "
                f"of {size[0]} x {size[1]} pixels at {self.fps:g} per second"
            )
        self._writer, self._size = writer, size

    def __exit__(self, kind: type | None, error: object, traceback: object) -> None:
        try:
            if self._writer is None:
                return
            self._writer.release()
            if kind is None:
                self._check()
                os.replace(self._temporary, self.path)
        finally:
            with suppress(OSError):
                self._temporary.unlink()

    def _check(self) -> None:
        """OpenCV does not say when a write fails, so the file is asked for its frames."""
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
    """Return whether OpenCV can open a window here.

    Args:
        environment: Looks up an environment variable.
        platform: As ``sys.platform``; only Linux needs a variable to name its display.
    """
    if platform.startswith("linux") and not (
        environment("DISPLAY") or environment("WAYLAND_DISPLAY")
    ):
        return False
    gui = re.search(r"^\s*GUI:\s*(\S+)", cv2.getBuildInformation(), re.MULTILINE)
    return gui is not None and gui.group(1) != "NONE"


class Window:
    """Shows frames in a window; use it only where `window_available` says so.

    Args:
        title: Text of its title bar.
        fps: Frames per second that `write` keeps to; 0 sets no pace.
    """

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
        """Show a frame, BGR uint8 (H, W, 3), when its time has come.

        Returns:
            False if the user pressed q or Escape.
        """
        wait = self._interval - (time.perf_counter() - self._shown)
        cv2.imshow(self.title, image)
        key = cv2.waitKey(max(1, round(1000 * wait))) & 0xFF
        self._shown = time.perf_counter()
        return key not in (27, ord("q"))

    def select_box(self, image: NDArray) -> tuple[int, int, int, int]:
        """Let the user draw a box with the mouse: x, y, w, h in 0-based pixels.

        Raises:
            ValueError: If the user drew none.
        """
        x, y, w, h = (int(v) for v in cv2.selectROI(self.title, image, False, False))
        if w <= 0 or h <= 0:
            raise ValueError("no box was drawn; drag one with the mouse and press Enter")
        return x, y, w, h
