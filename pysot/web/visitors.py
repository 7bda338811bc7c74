"""Who uses the page: a place for each visitor, and the videos that they may open."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import shutil
import tempfile
import threading
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

import cv2

from pysot.tracker.api import MultiTracker
from pysot.web.session import State, TrackingSession
from toolkit.io.images import list_images
from toolkit.io.names import printable
from toolkit.io.video import open_source

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm")
HEAD_BYTES = 512
"""Bytes from the begin of a file that `is_video` looks at."""

_LONGEST_LABEL = 60  # characters

# What files begin with. FFmpeg goes by their content, whatever they are called: playlists and the
# like, which make it open other files or addresses, must not reach it.
_CONTAINERS: tuple[Callable[[bytes], bool], ...] = (
    lambda head: head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"),  # MP4, MOV
    lambda head: head[:4] == b"RIFF" and head[8:12] == b"AVI ",
    lambda head: head[:4] == b"\x1a\x45\xdf\xa3",  # MKV, WebM
    lambda head: head[:4] == b"\x00\x00\x01\xba",  # MPEG, of files
    lambda head: head[:1] == b"\x47" == head[188:189] == head[376:377],  # and of broadcasts
)


class UploadRefused(ValueError):
    """A file that a visitor sent is not taken; the message says why."""


def is_video(head: bytes) -> bool:
    """Return whether a file begins like MP4, MOV, AVI, MKV, WebM or MPEG."""
    return any(begins(head) for begins in _CONTAINERS)


@dataclass(frozen=True)
class Offer:
    """A clip, folder of images, camera or stream that visitors may open, and what they call it."""

    label: str
    source: str

    @classmethod
    def parse(cls, text: str) -> Offer:
        """Read ``SOURCE`` or ``LABEL=SOURCE``; a URL's label is without user and password."""
        label, given, source = text.partition("=")
        if not given or "/" in label or "?" in label:
            label, source = "", text
        if not source:
            raise ValueError(f"{text!r}: expected SOURCE or LABEL=SOURCE")
        return cls(label or _label_of(source), source)


def _label_of(source: str) -> str:
    if source.isdecimal():
        return f"camera {source}"
    if "://" in source:
        url = urlsplit(source)
        return f"{url.scheme}://{url.hostname or ''}{url.path}"
    return Path(source).name


def clips_in(folder: Path) -> list[Offer]:
    """Return the video files and the folders of images that lie in a folder, by name."""
    found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    return [Offer(path.name, str(path)) for path in found if _is_clip(path)]


def _is_clip(path: Path) -> bool:
    return bool(list_images(path)) if path.is_dir() else path.suffix.lower() in VIDEO_SUFFIXES


class Visitor:
    """Somebody at the page: a key that nobody else knows, a folder, and at most one session.

    Args:
        folder: An existing folder for the files that are sent and made.
        tracker: Makes the tracker of a session.
    """

    def __init__(self, folder: Path, tracker: Callable[[], MultiTracker]) -> None:
        self.key = secrets.token_urlsafe()
        self.folder = folder
        self.session: TrackingSession | None = None
        self.uploading = False
        self.used = monotonic()
        """When the visitor last did something."""
        self._tracker = tracker
        self._offer: Offer | None = None
        self._runs = itertools.count()
        self._lock = threading.RLock()
        self._gone = False

    def touch(self) -> None:
        """Note that the visitor does something."""
        self.used = monotonic()

    def idle(self, seconds: float) -> bool:
        """Return whether nothing was done for so long, and no clip is being tracked."""
        session = self.session
        busy = session and session.status.state == State.PLAYING and not session.live
        return not busy and monotonic() - self.used > seconds

    def open(self, offer: Offer) -> None:
        """Begin a session, in place of the one there is, whose files are removed."""
        with self._lock:
            if self._gone:
                return
            self._close()
            folder = self.folder / f"run{next(self._runs)}"
            folder.mkdir()
            self._offer = offer
            self.session = TrackingSession(offer.source, offer.label, self._tracker, folder)

    def reopen(self) -> None:
        """Begin anew with the video there is."""
        if self._offer:
            self.open(self._offer)

    def leave(self) -> None:
        """End the session, and remove all files; nothing can be opened any more."""
        with self._lock:
            self._gone = True
            self._close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _close(self) -> None:
        if self.session:
            self.session.close()
            shutil.rmtree(self.session.video_path.parent, ignore_errors=True)
        self.session = None


class Upload:
    """A video on its way from a visitor; its file is gone after the block unless it was opened.

    Args:
        visitor: Who sends it; one file at a time.
        name: What the visitor calls it.
        most_bytes: How large it may be.

    Raises:
        UploadRefused: If the visitor is sending another one.
    """

    def __init__(self, visitor: Visitor, name: str, most_bytes: int) -> None:
        if visitor.uploading:
            raise UploadRefused("another file is on its way: wait for it")
        self._visitor, self._most = visitor, most_bytes
        self._label = printable(Path(name.replace("\\", "/")).name)[-_LONGEST_LABEL:] or "upload"
        self._head, self._size = b"", 0
        self._path = visitor.folder / f"upload{secrets.token_hex(4)}"
        self._opened = False

    def __enter__(self) -> Upload:
        self._visitor.uploading = True
        self._file = open(self._path, "wb")
        return self

    def __exit__(self, *error: object) -> None:
        self._visitor.uploading = False
        self._visitor.touch()
        self._file.close()
        if not self._opened:
            self._path.unlink(missing_ok=True)

    async def receive(self, chunks: AsyncIterable[bytes]) -> None:
        """Write all that arrives, and `open` it, without holding up other visitors.

        What is refused is read to its end all the same: browsers show no answer before.

        Raises:
            UploadRefused: See `write` and `open`.
        """
        refused = None
        async for data in chunks:
            try:
                if not refused:
                    self.write(data)
            except UploadRefused as error:
                refused = error
        if refused:
            raise refused
        await asyncio.to_thread(self.open)

    def write(self, data: bytes) -> None:
        """Append what has arrived; ``UploadRefused`` if it is too much, or no video."""
        self._visitor.touch()
        self._size += len(data)
        if self._size > self._most:
            raise UploadRefused(f"{self._label} is too large: at most {self._most / 1e6:g} MB")
        if len(self._head) < HEAD_BYTES:
            self._head += data[:HEAD_BYTES]
            if len(self._head) >= HEAD_BYTES:
                self._check_head()
        self._file.write(data)

    def open(self) -> None:
        """Decode the first frame, and open the file in place of the upload before it.

        Raises:
            UploadRefused: If it is no video, or one that cannot be decoded.
        """
        self._file.close()
        self._check_head()
        try:
            next(iter(open_source(self._path)))
        except (OSError, ValueError, cv2.error) as error:
            raise UploadRefused(f"{self._label} is damaged: no frame can be decoded") from error
        self._visitor.open(Offer(self._label, str(self._path)))
        self._opened = True
        for other in self._visitor.folder.glob("upload*"):
            if other != self._path:
                other.unlink()

    def _check_head(self) -> None:
        if not is_video(self._head):
            kinds = "MP4, MOV, AVI, MKV, WebM or MPEG"
            raise UploadRefused(f"{self._label} is no video: expected {kinds}")


class Visitors:
    """The visitors at one time, each with a place; safe to call from any thread.

    Args:
        folder: An existing folder, in which each visitor has one.
        tracker: Makes the tracker of a session.
        most: How many places there are.
        idle_seconds: After how long without a sign of life a place is given up.
    """

    def __init__(
        self, folder: Path, tracker: Callable[[], MultiTracker], most: int, idle_seconds: float
    ) -> None:
        self.most = most
        self.idle_seconds = idle_seconds
        self._folder, self._tracker = folder, tracker
        self._visitors: dict[str, Visitor] = {}
        self._lock = threading.Lock()

    def enter(self) -> Visitor | None:
        """Return a new visitor, or None if all places are taken."""
        with self._lock:
            if len(self._visitors) >= self.most:
                return None
            folder = Path(tempfile.mkdtemp(prefix="visitor-", dir=self._folder))
            visitor = Visitor(folder, self._tracker)
            self._visitors[visitor.key] = visitor
            return visitor

    def find(self, key: str) -> Visitor | None:
        """Return the visitor of that key, if there is one."""
        return self._visitors.get(key)

    def leave(self, key: str) -> None:
        """End a visitor's session, and remove the files."""
        with self._lock:
            visitor = self._visitors.pop(key, None)
        if visitor:
            visitor.leave()

    def leave_idle(self) -> None:
        """Let those leave who were idle for too long."""
        for key, visitor in list(self._visitors.items()):
            if visitor.idle(self.idle_seconds):
                self.leave(key)

    def close(self) -> None:
        """Let all leave."""
        for key in list(self._visitors):
            self.leave(key)
