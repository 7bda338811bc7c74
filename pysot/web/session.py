"""A video tracked in a thread, under the control of somebody who watches."""

from __future__ import annotations

import itertools
import logging
import math
import queue
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path
from time import monotonic

import cv2
from numpy.typing import NDArray

from pysot.tracker.api import MultiTracker
from pysot.tracker.session import FrameResult, Session, TargetResult, smoothed
from toolkit.io.names import first_line, printable
from toolkit.io.video import Frame, FrameSource, open_source
from toolkit.io.video_writer import VideoSink, open_video_writer
from toolkit.protocols.runner import FAILURES
from toolkit.results.tracks import Tracks
from toolkit.visualization.overlay import draw_result

logger = logging.getLogger(__name__)

_SMALLEST_BOX = 4.0  # pixels: less is a slip of the mouse
_MOST_TARGETS = 10
_MOST_PIXELS = 1 << 25  # of a frame: 8K; more is an attack on the memory
_WIDEST_VIEW = 1280  # pixels of the pictures that are sent
_JPEG_QUALITY = 80
_CLOSING_SECONDS = 5.0

_view_numbers = itertools.count(1)


class State(Enum):
    """What a session is doing."""

    OPENING = auto()
    READY = auto()
    """The first frame is there."""
    PLAYING = auto()
    PAUSED = auto()
    ENDED = auto()
    """The files are there."""
    FAILED = auto()


@dataclass(frozen=True, eq=False)
class View:
    """A drawn frame, BGR uint8 (H, W, 3), and its number among all views of all sessions."""

    number: int
    image: NDArray

    def jpeg(self) -> bytes:
        """Encode the frame, at most 1280 pixels wide."""
        image, scale = self.image, _WIDEST_VIEW / self.image.shape[1]
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()


@dataclass(frozen=True)
class Status:
    """A session at one moment."""

    state: State = State.OPENING
    message: str = ""
    """What went wrong, in one line; empty if nothing did."""
    frame: int = -1
    """Number of the current frame, from 0; -1 before there is one."""
    num_frames: int | None = 0
    """As `FrameSource.num_frames`."""
    fps: float = 0.0
    """Frames per second of the tracking alone; 0 if nothing was tracked yet."""
    targets: Mapping[int, TargetResult] = field(default_factory=dict)
    """The targets in the current frame, by number."""

    @property
    def ended(self) -> bool:
        """Return whether no frame will follow."""
        return self.state in (State.ENDED, State.FAILED)


class TrackingSession:
    """Follows targets through a source, in a thread of its own.

    It waits on the first frame for boxes. Methods return at once: what they ask for is done between
    two frames, or not at all once the session has ended. A frame joins the results when the next
    one is taken, so that they hold its corrections.

    Args:
        source: As for `open_source`.
        label: Stands for the source in messages and files, which must not give away its path.
        tracker: Makes the tracker.
        folder: An existing folder for the files.
    """

    def __init__(
        self,
        source: str | Path | int,
        label: str,
        tracker: Callable[[], MultiTracker],
        folder: Path,
    ) -> None:
        self.label = label
        self.video_path, self.json_path = folder / "tracked.mp4", folder / "tracked.json"
        self.status = Status()
        self.view: View | None = None
        self.live = False
        self.full_speed = False
        """Whether to track as fast as possible, instead of at the rate of the video."""
        self._source, self._new_tracker = source, tracker
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._steps = 0.0  # frames to go until it pauses
        self._due = 0.0  # when the next frame is, by the clock
        self._seconds = 0.0  # of the tracking of a frame, smoothed
        self._over = self._closed = False
        self._tracks = Tracks(label, (0, 0))
        self._thread = threading.Thread(target=self._run, name=f"track {label}", daemon=True)
        self._thread.start()

    def play(self) -> None:
        """Track on."""
        self._commands.put(lambda: self._go(math.inf))

    def pause(self) -> None:
        """Stay on the current frame; what a live source shows meanwhile is lost."""
        self._commands.put(lambda: self._go(0))

    def step(self) -> None:
        """Track one frame, and pause."""
        self._commands.put(lambda: self._go(1))

    def add(self, box: Sequence[float]) -> None:
        """Follow one more target: x, y, w, h in 0-based pixels of the current frame."""
        self._commands.put(lambda: self._add(box))

    def redraw(self, number: int, box: Sequence[float]) -> None:
        """Correct the box of a target in the current frame, from which it is followed anew."""
        self._commands.put(lambda: self._session.restart(number, self._inside(box)))

    def drop(self, number: int) -> None:
        """Stop following a target from the current frame on."""
        self._commands.put(lambda: self._session.drop(number))

    def finish(self) -> None:
        """End here, and write the files."""
        self._commands.put(self._end)

    def close(self) -> None:
        """End without files; wait for the thread, unless its source hangs."""
        self._closed = self._over = True
        self._commands.put(self._end)
        self._thread.join(_CLOSING_SECONDS)

    def file(self, kind: str) -> Path | None:
        """Return the file of results of that kind, ``video`` or ``json``, if it is ready."""
        path = {"video": self.video_path, "json": self.json_path}.get(kind)
        return path if path and self.status.state == State.ENDED and path.exists() else None

    def name_of(self, file: Path) -> str:
        """Return what a file of results should be called where the visitor keeps it."""
        stem = "_".join(re.findall(r"\w+", Path(self.label).stem)) or "video"
        return f"{stem}_tracked{file.suffix}"

    # ------------------------------------------------------------------------------- the thread

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            error = self._follow(open_source(self._source))
        except Exception as caught:  # whoever watches would wait for ever for a thread that died
            error = caught
        state = State.ENDED if self.json_path.exists() else State.FAILED
        message = "" if error is None else self._message_of(error)
        self.status = replace(self.status, state=state, message=message)

    def _message_of(self, error: BaseException) -> str:
        if not isinstance(error, FAILURES):
            logger.error("%s", self.label, exc_info=error)
            return "an error of the program; the log of the server says more"
        text, source = first_line(error), str(self._source)
        return printable(text if source.isdecimal() else text.replace(source, self.label))

    def _follow(self, source: FrameSource) -> BaseException | None:
        """Track until the end; return what ended it too early, if anything."""
        self.live, self._pace = source.live, 1 / source.fps
        self.status = replace(self.status, num_frames=source.num_frames)
        self._session, self._images = Session(self._new_tracker()), iter(source)
        error = None
        with suppress(_Closed), open_video_writer(self.video_path, fps=source.fps) as sink:
            try:
                self._track_all(sink)
            except FAILURES as caught:
                if not self._tracks:
                    raise
                error = caught
            self._tracks.write_json(self.json_path)
        return error

    def _track_all(self, sink: VideoSink) -> None:
        for frame in self._images:
            self._track(frame)
            self._settle()
            self._tracks.add(self._result)
            sink.write(self.view.image, frame.time)
            if self._over:
                return

    def _track(self, frame: Frame) -> None:
        height, width = frame.image.shape[:2]
        if height * width > _MOST_PIXELS:
            raise ValueError(f"frames of {width} x {height} pixels are too large for this page")
        self._tracks.size = width, height
        result = self._session.step(frame)
        if result.targets:
            self._seconds = smoothed(self._seconds, result.seconds)
        self._present()

    @property
    def _result(self) -> FrameResult:
        return self._session.result

    def _present(self, message: str = "") -> None:
        """Draw the current frame, and say what there is to see."""
        result = self._result
        self.view = View(next(_view_numbers), draw_result(result.image.copy(), result))
        waiting = State.PAUSED if self._tracks else State.READY
        self.status = replace(
            self.status,
            state=State.PLAYING if self._steps else waiting,
            message=message,
            frame=result.index,
            fps=1 / self._seconds if self._seconds else 0.0,
            targets=result.targets,
        )

    def _settle(self) -> None:
        """Do what is asked for until the next frame is due."""
        self._due = self._pace + max(self._due, monotonic() - self._pace)
        while not self._over:
            wait = None
            if self._steps:
                wait = 0 if self.live or self.full_speed else max(0.0, self._due - monotonic())
            elif self.live:
                wait = 0
            try:
                self._carry_out(self._commands.get(timeout=wait))
            except queue.Empty:
                if self._steps:
                    self._steps -= 1
                    return
                # a live source that is not read would stall, or go on where it was
                self._over |= next(self._images, None) is None
        if self._closed:
            raise _Closed

    def _carry_out(self, command: Callable[[], None]) -> None:
        try:
            command()
        except (ValueError, TypeError) as error:  # of a box
            self._present(self._message_of(error))
        else:
            self._present()

    def _go(self, steps: float) -> None:
        self._steps, self._due = steps, monotonic()

    def _end(self) -> None:
        self._over = True

    def _add(self, box: Sequence[float]) -> None:
        if len(self._result.targets) >= _MOST_TARGETS:
            raise ValueError(f"no more than {_MOST_TARGETS} objects: remove one first")
        self._session.add(self._inside(box))

    def _inside(self, box: Sequence[float]) -> tuple[float, float, float, float]:
        """Return the part of a box that lies in the frame; ``ValueError`` if it is too small."""
        x, y, w, h = (float(value) for value in box)
        height, width = self._result.image.shape[:2]
        x1, x2 = (min(max(value, 0.0), float(width)) for value in (x, x + w))
        y1, y2 = (min(max(value, 0.0), float(height)) for value in (y, y + h))
        if not min(x2 - x1, y2 - y1) >= _SMALLEST_BOX:  # not so with NaN, either
            raise ValueError(f"a box needs {_SMALLEST_BOX:g} pixels in width and height")
        return x1, y1, x2 - x1, y2 - y1


class _Closed(Exception):
    """Nobody wants the results any more."""
