"""Frames of cameras, video files, image folders and streams, and windows that show them."""

from __future__ import annotations

import logging
import os
import re
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from time import monotonic, perf_counter
from typing import IO, NamedTuple

import cv2
from numpy.typing import NDArray

from toolkit.io.images import IMAGE_SUFFIXES, depth_note, list_images, read_image
from toolkit.io.samples import sample_clip

logger = logging.getLogger(__name__)

#: Frames per second where a source states none.
DEFAULT_FPS = 25.0
_SAMPLE = "sample:"
_SILENT = 0  # level of OpenCV's reports
_DEEP_GRAY = int.from_bytes(b"Y1", "little")  # FFmpeg's tag of gray pixels of 9 to 16 bits
_WARM_UP = 5  # first frames of a camera: exposure is not settled yet (PySOT's number)
_PROBE_SECONDS = 20
_LONGEST_WAIT = 10.0  # seconds that a window shows one frame
_PROBE = "import cv2; cv2.namedWindow('display'); cv2.waitKey(1)"
_SCREEN = "import tkinter as t; r = t.Tk(); print(r.winfo_screenwidth(), r.winfo_screenheight())"
_SMALL_SCREEN = 1280, 720
_SHARE = 0.85  # of the screen that a window may take: it has a title, and panels stand beside it
_LEAST_SIDE = 360  # pixels on the screen for frames that are smaller
_MOMENT = 0.04  # seconds
_QUIT = ("q", "\x1b")
_MOST_FRAMES = 1e9  # what is above is no count
_RIFF = int.from_bytes(b"RIFF", "big")
_NO_VIDEO = "it is damaged, cut short, or in a format that this OpenCV build does not read"


class CutShortError(OSError):
    """A video file ended before its own frame count; the frames up to there were delivered."""


class Frame(NamedTuple):
    """One frame: index from 0, file name (or the index as text), BGR uint8 image (H, W, 3)."""

    index: int
    name: str
    image: NDArray
    time: float | None = None
    """Seconds on the clock of the source, if it has one."""


class FrameSource:
    """Frames of one video in order, all of one size; it can be iterated once.

    ``fps`` and ``num_frames`` are what the source states, which many containers only guess: go by
    the times of the frames. ``num_frames`` is 0 if unknown and None where there is no end, such as
    of a camera. ``clock`` returns the time of the latest frame in seconds.
    """

    def __init__(
        self,
        name: str,
        images: Iterable[tuple[str, NDArray]],
        fps: float,
        num_frames: int | None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.name = name
        self.fps = fps
        self.num_frames = num_frames
        self._images = images
        self._clock = clock

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
            yield Frame(index, name, image, self._clock and self._clock())


def open_source(source: str | os.PathLike | int = 0) -> FrameSource:
    """Open a camera (its number or device), a stream (URL or pipe), an image folder or a video.

    ``sample:NAME`` is a clip of `toolkit.io.samples`.
    A pattern such as ``img%04d.png`` names images, and an image those numbered from it on.

    Gray is repeated in all three channels, alpha is dropped; for images of more than 8 bits and
    EXIF orientations see `toolkit.io.images.read_image`; of video files OpenCV gives 8 bits.
    Iterating raises ``ValueError`` for an image that cannot be decoded or a change of size,
    `CutShortError` at the end of a file that holds fewer frames than it states, and ``OSError``
    when a camera fails.

    Raises:
        OSError: If OpenCV cannot open it, or there is no such file, or no image in the folder.
    """
    if isinstance(source, int):
        return _open_capture(source, f"camera {source}", live=True, camera=True)
    text = os.fspath(source)
    if text.startswith(_SAMPLE):
        text = str(sample_clip(text.removeprefix(_SAMPLE)))
    if os.path.isdir(text):
        return _open_folder(text)
    if "://" in text:
        return _open_capture(text, text, live=True)
    if paths := _numbered(Path(text)):
        return _open_images(text, paths)
    if not os.path.exists(text):
        if text.isdecimal():
            return open_source(int(text))
        raise FileNotFoundError(f"no such video file, folder, camera number or URL: {text!r}")
    mode = os.stat(text).st_mode
    return _open_capture(text, text, not stat.S_ISREG(mode), camera=stat.S_ISCHR(mode))


def _open_folder(folder: str) -> FrameSource:
    paths = list_images(folder)
    if not paths:
        known = ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
        raise FileNotFoundError(f"{Path(folder)}: no images in this folder (looked for {known})")
    return _open_images(str(Path(folder)), paths)


def _numbered(path: Path) -> list[Path]:
    """Images of a pattern such as ``img%04d.png``, or numbered from the one of that name on."""
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return []
    number = r"%0?\d*d" if "%" in path.stem else r"\d+(?=\D*$)"
    pattern = re.sub(number, r"\\d+", re.escape(path.stem)) + re.escape(path.suffix)
    paths = [image for image in list_images(path.parent) if re.fullmatch(pattern, image.name)]
    return paths[paths.index(path) :] if path in paths else paths if "%" in path.stem else []


def _open_images(name: str, paths: list[Path]) -> FrameSource:
    if note := depth_note(paths[:1]):
        logger.warning(note)
    images = ((path.name, read_image(path, first=paths[0])) for path in paths)
    return FrameSource(name, images, DEFAULT_FPS, len(paths))


def _open_capture(target: str | int, name: str, live: bool, camera: bool = False) -> FrameSource:
    with quiet_opencv():
        capture = cv2.VideoCapture(target)
    if not capture.isOpened():
        hint = "is it connected, and may you use it?" if camera else _NO_VIDEO
        raise OSError(f"cannot open {name}: {hint}")
    if int(capture.get(cv2.CAP_PROP_CODEC_PIXEL_FORMAT)) & 0xFFFF == _DEEP_GRAY:
        logger.warning("%s has more than 8 bits, of which OpenCV gives the upper 8", name)
    fps, stated = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
    count = None if live else int(stated) if 0 < stated < _MOST_FRAMES else 0
    images = _camera_images(capture, name) if camera else _file_images(capture, name, count or 0)
    # a camera waits for whoever reads it slowly: what counts is when its frames were read
    clock = monotonic if camera else lambda: capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
    return FrameSource(name, images, fps if 1 <= fps <= 1000 else DEFAULT_FPS, count, clock)


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
    index, last, duration = 0, 0.0, count / max(capture.get(cv2.CAP_PROP_FPS), 1e-9)
    for index, image in enumerate(_decoded(capture), start=1):
        last = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        yield str(index - 1), image
    if not index:
        raise OSError(f"{name}: no frame can be decoded; {_NO_VIDEO}")
    if index >= count - max(2, count // 50):
        return
    # most containers only state a duration, from which OpenCV guesses the count
    lasts = duration - last < max(0.02 * duration, 2 * last / index) or not last
    if cut := _is_cut(name):
        raise CutShortError(f"{name} ends after {index} of {count} frames; it is cut short")
    if cut is False or not lasts:
        logger.warning("%s: %d of %d frames; others were trimmed or lost", name, index, count)


def _is_cut(name: str) -> bool | None:
    """Return whether an MP4 or AVI file ends before its last box; None for other containers."""
    with open(name, "rb") as file:
        ends = [end for *_, end in container_boxes(file)]
    return ends[-1] > os.path.getsize(name) if ends else None


def container_boxes(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, begin and stated end of the outermost boxes of an MP4 or AVI file."""
    begin, size = 0, os.fstat(file.fileno()).st_size
    while begin < size:
        file.seek(begin)
        length, kind, long = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
        if length == _RIFF:
            length = 8 + int.from_bytes(kind, "little")
        elif not kind.isalpha():
            return
        length = long if length == 1 else length or size - begin
        yield kind, begin, begin + length
        begin += max(length, 8)


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Keep OpenCV's own reports off the screen: the caller says in one line what failed."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    reports = getattr(cv2.utils, "logging", cv2)  # OpenCV 4 has these functions itself
    level = reports.getLogLevel()
    reports.setLogLevel(_SILENT)
    try:
        yield
    finally:
        reports.setLogLevel(level)


def window_available(
    environment: Callable[[str], str | None] = os.environ.get, platform: str = sys.platform
) -> bool:
    """Return whether OpenCV can open a window here, with a warning if a display is out of reach.

    Only Linux names its display in a variable, which may outlive the display.
    """
    display = environment("DISPLAY") or environment("WAYLAND_DISPLAY")
    if platform.startswith("linux") and not display:
        return False
    gui = re.search(r"^\s*GUI:\s*(\S+)", cv2.getBuildInformation(), re.MULTILINE)
    if gui is None or gui.group(1) == "NONE":
        logger.warning("this OpenCV opens no windows: install opencv-python, not -headless")
        return False
    if not _window_opens():
        logger.warning("no window can be opened on the display %s", display or "")
        return False
    return True


@cache
def _window_opens() -> bool:
    """Open a window in another process: where it fails, the toolkit ends the whole process."""
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    folder, command = Path(cv2.__file__).parents[1], [sys.executable, "-c", _PROBE]
    try:
        done = subprocess.run(command, cwd=folder, timeout=_PROBE_SECONDS, **quiet)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


@cache
def screen_size() -> tuple[int, int]:
    """Return width and height of the screen; those of a small one if nobody knows."""
    try:  # in another process, as its toolkit and OpenCV's do not agree everywhere
        done = subprocess.run(
            [sys.executable, "-c", _SCREEN], capture_output=True, timeout=_PROBE_SECONDS
        )
        width, height = map(int, done.stdout.split())
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return _SMALL_SCREEN
    return width, height


class Window:
    """Shows frames, at most ``fps`` a second (0: any); needs `window_available`.

    Frames that do not fit the screen are shown smaller, and tiny ones larger, in their aspect.
    """

    def __init__(self, title: str, fps: float = 0.0) -> None:
        self.title = title
        self.key = ""
        """What the user pressed in the last frame, "" if nothing."""
        self._interval = 1 / fps if fps else 0.0
        self._shown = 0.0
        self._time: float | None = None
        self._seen = False

    def __enter__(self) -> Window:
        cv2.namedWindow(self.title, cv2.WINDOW_AUTOSIZE)
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(cv2.error):  # the user may have closed it
            cv2.destroyWindow(self.title)

    def write(self, image: NDArray, time: float | None = None) -> bool:
        """Show a frame, BGR uint8 (H, W, 3), at its time; return False if the user has enough.

        That is: pressed q or Escape, or closed the window.
        """
        interval = self._interval
        if interval and time is not None and self._time is not None:
            interval = min(max(0.0, time - self._time), _LONGEST_WAIT) or interval
        self._time = time
        return self._show(image, interval - (perf_counter() - self._shown))

    def pause(self, image: NDArray) -> bool:
        """Show a frame for a moment, to be called until a key is pressed; returns as `write`."""
        return self._show(image, _MOMENT)

    def _show(self, image: NDArray, seconds: float) -> bool:
        self.key = ""
        if self._closed():
            return False
        cv2.imshow(self.title, _resized(image, self._scale(image)))
        code = cv2.waitKey(max(1, round(1000 * seconds)))
        self._shown = perf_counter()
        self.key = chr(code & 0xFF) if code >= 0 else ""
        return self.key not in _QUIT

    def _scale(self, image: NDArray) -> float:
        """Return pixels on the screen per pixel of a frame."""
        height, width = image.shape[:2]
        fitting = min(
            _SHARE * side / own for side, own in zip(screen_size(), (width, height), strict=True)
        )
        return min(fitting, max(1.0, _LEAST_SIDE / min(width, height)))

    def _closed(self) -> bool:
        """Whether the window was there and is not: OpenCV would open it again."""
        try:
            visible = cv2.getWindowProperty(self.title, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:
            visible = False
        self._seen |= visible
        return self._seen and not visible

    def select_box(self, image: NDArray) -> tuple[float, float, float, float]:
        """Let the user draw a box with the mouse: x, y, w, h in 0-based pixels of the frame.

        Raises:
            ValueError: If none was drawn.
        """
        scale = self._scale(image)
        shown = _resized(image, scale)
        x, y, w, h = (v / scale for v in cv2.selectROI(self.title, shown, False, False))
        if w <= 0 or h <= 0:
            raise ValueError("no box was drawn; drag one with the mouse and press Enter")
        return x, y, w, h


def _resized(image: NDArray, scale: float) -> NDArray:
    if scale == 1:
        return image
    size = tuple(max(1, round(scale * side)) for side in image.shape[1::-1])
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
