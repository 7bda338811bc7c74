"""Animated GIFs that appear whole, by Pillow."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import cv2
from numpy.typing import NDArray

from toolkit.io.files import atomic_path
from toolkit.io.packages import load_package
from toolkit.io.video import DEFAULT_FPS

logger = logging.getLogger(__name__)

_STEP = 0.1  # seconds between frames, as players show no GIF much faster
_WIDEST = 480  # pixels
_COLORS = 128
_MOST = 300  # frames


class GifSink:
    """Writes an animated GIF for pages and messages: 10 frames a second, at most 480 pixels wide.

    It appears when the block ends; if that fails, or no frame is written, nothing changes on disk.

    Args:
        path: Name that ends in .gif.
        fps: Frames per second, of frames that come without times.

    Raises:
        ValueError: If it ends otherwise, or without Pillow.
        OSError: If the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike, fps: float = DEFAULT_FPS) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() != ".gif":
            raise ValueError(f"{self.path}: the name must end in .gif")
        self._pillow = load_package("PIL.Image", "Pillow", "a GIF needs")
        self._step = 1 / fps
        self._next = self._clock = 0.0
        self._time: float | None = None
        self._frames: list[Any] = []

    @property
    def num_frames(self) -> int:
        """Number of frames in the file so far."""
        return len(self._frames)

    def __enter__(self) -> GifSink:
        return self

    def write(self, image: NDArray, time: float | None = None) -> None:
        """Append a frame, BGR uint8 (H, W, 3), at a time in seconds; most are left out."""
        if self._frames:
            passed = self._step if time is None or self._time is None else time - self._time
            self._clock += passed if 0 < passed < 60 else self._step
        self._time = time
        if self._clock < self._next - 1e-6:
            return
        self._next = max(self._next + _STEP, self._clock)
        if len(self._frames) < _MOST:
            self._frames.append(self._pillow.fromarray(_small(image)).quantize(_COLORS))
        elif len(self._frames) == _MOST:
            logger.warning("%s holds the first %d seconds", self.path, round(_MOST * _STEP))
            self._next = float("inf")

    def __exit__(self, kind: type | None, *error: object) -> None:
        if kind is not None or not self._frames:
            return
        first, *others = self._frames
        options = {"append_images": others, "save_all": True, "loop": 0}
        with atomic_path(self.path) as temporary:
            first.save(temporary, duration=round(1000 * _STEP), **options)


def _small(image: NDArray) -> NDArray:
    """Return a frame as RGB, scaled if it is too wide."""
    height, width = image.shape[:2]
    if width > _WIDEST:
        size = (_WIDEST, max(1, round(height * _WIDEST / width)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
