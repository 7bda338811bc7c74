"""How the results of a tracker were made: speed, device, settings, version and date.

Each video has a file ``.runs/<video>.json`` beside the results, a place where no reader looks for
results::

    {"device": "cpu", "settings": "siamrpn_lite0", "version": "pysot 0.1.0",
     "date": "2026-01-31T12:00:00Z", "frames": 724, "seconds": 8.25}
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from toolkit.io.files import atomic_write

FOLDER = ".runs"

_DAMAGES = (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True)
class Conditions:
    """What the speed of a tracker depends on, in words."""

    device: str = ""
    settings: str = ""
    version: str = ""

    def differences(self, other: Conditions) -> list[str]:
        """Name what is not the same here and in others, with both values."""
        pairs = ((key, value, asdict(other)[key]) for key, value in asdict(self).items())
        return [f"{key} {a!r}, not {b!r}" for key, a, b in pairs if a != b]


@dataclass(frozen=True)
class Run:
    """Videos that were run under the same conditions."""

    conditions: Conditions
    date: str  # when the last of them ended, UTC by ISO 8601
    videos: int
    frames: int  # that were tracked: the first of a video is not
    seconds: float  # in the tracker; 0 if they were not measured

    @property
    def fps(self) -> float | None:
        """Tracked frames per second; None if they were not measured."""
        return self.frames / self.seconds if self.seconds > 0 else None


def note_video(
    folder: Path, video: str, conditions: Conditions, frames: int, seconds: float
) -> None:
    """Note how a video was run, in place of what was noted of it before; see `Run`.

    Raises:
        OSError: If the file cannot be written.
    """
    date = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    data = {**asdict(conditions), "date": date, "frames": frames, "seconds": seconds}
    with atomic_write(_file(folder, video)) as file:
        json.dump(data, file)
        file.write("\n")


def forget_video(folder: Path, video: str) -> None:
    """Delete what was noted of a video."""
    _file(folder, video).unlink(missing_ok=True)


def read_runs(folder: Path, videos: Iterable[str]) -> list[Run]:
    """Read how videos were run, by conditions, the latest last; none where nothing was noted."""
    found: dict[Conditions, Run] = {}
    for run in _noted(folder, videos):
        if before := found.get(run.conditions):
            date = max(before.date, run.date)
            frames, seconds = before.frames + run.frames, before.seconds + run.seconds
            run = Run(run.conditions, date, before.videos + 1, frames, seconds)
        found[run.conditions] = run
    return sorted(found.values(), key=lambda run: run.date)


def _noted(folder: Path, videos: Iterable[str]) -> Iterator[Run]:
    for video in videos if (folder / FOLDER).is_dir() else ():
        # what is damaged counts as not noted: no score depends on it
        with suppress(*_DAMAGES):
            data = json.loads(_file(folder, video).read_text(encoding="utf-8"))
            texts = [data.get(key) for key in ("device", "settings", "version", "date")]
            frames, seconds = int(data.get("frames")), float(data.get("seconds"))
            if all(isinstance(text, str) for text in texts) and 0 <= seconds < math.inf:
                yield Run(Conditions(*texts[:3]), texts[3], 1, frames, seconds)


def _file(folder: Path, video: str) -> Path:
    return folder / FOLDER / f"{video}.json"
