"""The results of one tracker over one data set, and what they were made with."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

from toolkit.io.files import atomic_write
from toolkit.results.formats import LAYOUTS, ResultFiles
from toolkit.results.trajectory import Code, Trajectory

_RECORD = ".run.json"


@dataclass(frozen=True)
class ResultStore:
    """A tracker's results: a folder, which need not exist, and the layout of its files."""

    folder: Path
    layout: str  # key of `toolkit.results.formats.LAYOUTS`

    def files(self, video: str, repetition: int = 1) -> ResultFiles:
        """Return the paths of a run; repetitions count from 1."""
        return LAYOUTS[self.layout].files(self.folder, video, repetition)

    def find(self, *names: str) -> list[ResultFiles]:
        """Find all repetitions of a video, in order, under the first of its names that has any.

        PySOT takes them only if there are 15, else the first in the order of the file system.
        """
        return next(filter(None, map(self._find, names)), [])

    def foreign(self, names: Iterable[str]) -> list[str]:
        """Find what lies beside the results of these videos, except hidden files."""
        mark = "\0"
        parts = self.files(mark).regions.relative_to(self.folder).parts
        depth = next(i for i, part in enumerate(parts) if mark in part)
        base = self.folder.joinpath(*parts[:depth])
        expected = {parts[depth].replace(mark, name) for name in names}
        there = os.listdir(base) if base.is_dir() else []
        return sorted(name for name in there if name not in expected and not name.startswith("."))

    def write(self, video: str, trajectory: Trajectory, repetition: int = 1) -> None:
        """Write a run; see `toolkit.results.formats.Layout.write`."""
        LAYOUTS[self.layout].write(self.files(video, repetition), trajectory, repetition)

    def read(self, files: ResultFiles) -> Trajectory:
        """Read a run; see `toolkit.results.formats.Layout.read`."""
        return LAYOUTS[self.layout].read(files)

    def is_finished(self, video: str, num_frames: int, repetition: int = 1) -> bool:
        """Return whether the results of a run are there, with an entry per frame in each file."""
        files = self.files(video, repetition)
        if files.regions.is_dir():
            return len(list(files.regions.glob("*.png"))) == num_frames
        if not all(path.is_file() for path in files.all()):
            return False
        lines = {path: path.read_bytes().splitlines() for path in files.all()}
        if any(len(found) != num_frames for found in lines.values()):
            return False
        times = lines.get(files.times)
        return times is None or times[0].count(b",") + 1 >= repetition

    def count_lost(self, video: str, repetition: int = 1) -> int:
        """Return the number of failures in a result of the reset protocol."""
        lines = self.files(video, repetition).regions.read_bytes().splitlines()
        return lines.count(b"%d" % Code.LOST)

    def discard(self, video: str, repetition: int = 1) -> None:
        """Delete the regions of a run, without which it counts as missing."""
        _remove(self.files(video, repetition).regions)

    def remove(self, video: str) -> None:
        """Delete all results of a video."""
        for files in self.find(video):
            for path in files.all():
                _remove(path)

    def record(self, made_with: Mapping[str, Any], videos: Sequence[str], overwrite: bool) -> None:
        """Note in the folder what its results of ``videos`` are made with, as JSON.

        Raises:
            ValueError: If the folder holds results of another snapshot or other settings, unless
                it shall ``overwrite`` them.
        """
        path = self.folder / _RECORD
        text, noted = json.dumps(made_with, indent=1), None
        with suppress(OSError, ValueError):
            noted = json.loads(path.read_text(encoding="utf-8"))
        finished = [name for name in videos if self.files(name).regions.exists()]
        stale = noted not in (None, json.loads(text))
        if stale and finished and not overwrite:
            raise ValueError(
                f"{self.folder} holds results of another snapshot or of other settings (its "
                f"{_RECORD} says which); keep both with --name, or replace them with --overwrite"
            )
        for name in finished if stale else ():
            self.remove(name)
        with atomic_write(path) as file:
            file.write(f"{text}\n")

    def _find(self, video: str) -> list[ResultFiles]:
        first = self.files(video)
        if self.files(video, 2) == first:
            return [first] if first.regions.exists() else []
        prefix, _, suffix = first.regions.name.rpartition("001")
        pattern = f"{escape(prefix)}[0-9][0-9][0-9]{escape(suffix)}"
        names = sorted(path.name for path in first.regions.parent.glob(pattern))
        return [self.files(video, int(name[len(prefix) :][:3])) for name in names]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
