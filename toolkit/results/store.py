"""The results of one tracker over one data set, and what they were made with."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.datasets.benchmarks import Benchmark
from toolkit.io.files import acquire, atomic_write
from toolkit.results.formats import LAYOUTS, Layout, ResultFiles
from toolkit.results.runs import forget_video
from toolkit.results.trajectory import Code, Trajectory

_RECORD = ".run.json"


@dataclass(frozen=True)
class Found:
    """The results of videos in a folder."""

    runs: dict[str, list[ResultFiles]]  # repetitions by video, in order; empty if there are none
    doubtful: dict[str, list[Path]]  # files of which several may be a video's: none is taken
    foreign: list[str]  # what lies beside them, except hidden files


@dataclass(frozen=True)
class ResultStore:
    """A tracker's results: a folder, which need not exist, and the layout of its files."""

    folder: Path
    layout: str  # key of `toolkit.results.formats.LAYOUTS`

    def files(self, video: str, repetition: int = 1) -> ResultFiles:
        """Return the paths of a run; repetitions count from 1."""
        return LAYOUTS[self.layout].files(self.folder, video, repetition)

    def find(self, video: str) -> list[ResultFiles]:
        """Find all repetitions of a video, in order, where `write` puts them.

        PySOT takes them only if there are 15, else the first in the order of the file system.
        """
        return self._find(LAYOUTS[self.layout], video)

    def locate(self, videos: Iterable[str], benchmark: Benchmark) -> Found:
        """Find the results of videos, also where other toolkits put them and as they name them.

        The place and name of `write` come first, then its name elsewhere, then a name that is
        spelled alike (`Benchmark.spelling`), then another name that is known. Where several files
        fit equally, none is taken.
        """
        runs = {video: self.find(video) for video in videos}
        named, spelled = defaultdict(list), defaultdict(list)
        for name, found in () if all(runs.values()) else self._elsewhere(runs):
            (named[name] if name in runs else spelled[benchmark.spelling(name)]).append(found)
        count = Counter(map(benchmark.spelling, runs))
        doubtful = {}
        for video in [video for video, found in runs.items() if not found]:
            own = benchmark.spelling(video)
            other = benchmark.spelling(benchmark.other_names.get(video, video))
            alike = spelled[own] if count[own] == 1 else []
            fitting = named[video] or alike or ([] if count[other] else spelled[other])
            if len(fitting) == 1:
                runs[video] = fitting[0]
            elif fitting:
                doubtful[video] = [found[0].regions for found in fitting]
        return Found(runs, doubtful, self._foreign(runs, doubtful))

    def binaries(self, videos: Iterable[str]) -> set[str]:
        """Return the videos with a result in the binary format of the VOT toolkit."""
        paths = {video: self.files(video).regions for video in videos}
        there = {folder: _names(folder) for folder in {path.parent for path in paths.values()}}
        binary = {
            (folder, name.rpartition("_")[0])
            for folder, names in there.items()
            for name in names
            if name.endswith(".bin")
        }
        return {video for video, path in paths.items() if (path.parent, video) in binary}

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
        """Delete all results of a video, and what was noted of its run."""
        forget_video(self.folder, video)
        for files in self.find(video):
            for path in files.all():
                _remove(path)

    def record(self, made_with: Mapping[str, Any], videos: Sequence[str], overwrite: bool) -> None:
        """Note in the folder what its results of ``videos`` are made with, as JSON.

        Raises:
            ValueError: If the folder holds results of another snapshot or other settings, unless
                it shall ``overwrite`` them, or if another process is writing such results.
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
        if stale and (video := self._locked()):
            raise ValueError(
                f"{self.folder}: another process runs {video} with another snapshot or other "
                "settings; wait until it ends, or choose another --name"
            )
        for name in finished if stale else ():
            self.remove(name)
        with atomic_write(path) as file:
            file.write(f"{text}\n")

    def lock(self, video: str) -> Path:
        """Return the file that a process locks while it runs a video."""
        return self.folder / f".{video}.lock"

    def _locked(self) -> str:
        """Return the name of a video that another process is running, if any."""
        for path in self.folder.glob(self.lock("*").name):
            with acquire(path) as free:
                if not free:
                    return path.name[1:].removesuffix(".lock")
        return ""

    def _find(
        self, place: Layout, video: str, there: Collection[str] | None = None
    ) -> list[ResultFiles]:
        """Find the repetitions of a video, among the names ``there`` in their folder if given."""
        first = place.files(self.folder, video)
        if place.files(self.folder, video, 2) == first:
            return [first] if first.regions.exists() else []
        before, _, after = first.regions.name.rpartition("001")
        names = _names(first.regions.parent) if there is None else there
        middles = (name[len(before) : len(name) - len(after)] for name in names)
        runs = {text for text in middles if len(text) == 3 and text.isascii() and text.isdigit()}
        found = sorted(int(text) for text in runs if f"{before}{text}{after}" in names)
        return [place.files(self.folder, video, number) for number in found]

    def _elsewhere(
        self, runs: Mapping[str, Sequence[ResultFiles]]
    ) -> Iterator[tuple[str, list[ResultFiles]]]:
        """Yield the results that are none of these runs, each with the name in its path."""
        taken = {files.regions for found in runs.values() for files in found}
        for place in LAYOUTS[self.layout].places():
            base, pattern = self._listed(place)
            entries: dict[str, list[str]] = defaultdict(list)  # repetitions by name
            for entry in sorted(os.listdir(base)) if base.is_dir() else ():
                if match := re.fullmatch(pattern, entry, re.IGNORECASE):
                    entries[match[1]].append(entry)
            for name, there in entries.items():
                inside = place.files(self.folder, name).regions.parent != base
                found = self._find(place, name, None if inside else there)
                if not found and there[0].lower().endswith(".txt"):  # .TXT
                    found = [ResultFiles(base / there[0])]
                if found and found[0].regions not in taken:
                    yield name, found

    def _listed(self, place: Layout) -> tuple[Path, str]:
        """Return the folder whose entries name videos, and a pattern of these."""
        parts = Path(place.regions).parts
        depth = next(i for i, part in enumerate(parts) if "{video}" in part)
        pattern = re.escape(parts[depth]).replace(r"\{video\}", r"([^.].*)")
        return self.folder.joinpath(*parts[:depth]), pattern.replace(r"\{run:03d\}", r"\d{3}")

    def _foreign(
        self, runs: Mapping[str, Sequence[ResultFiles]], doubtful: Mapping[str, Sequence[Path]]
    ) -> list[str]:
        base, _ = self._listed(LAYOUTS[self.layout])
        paths = [path for found in runs.values() for files in found for path in files.all()]
        paths += [self.files(video).regions for video in runs]
        paths += [path for several in doubtful.values() for path in several]
        known = {path.relative_to(base).parts[0] for path in paths if path.is_relative_to(base)}
        known |= {f"{path.stem}_time.txt" for path in paths}  # of pytracking
        there = os.listdir(base) if base.is_dir() else []
        return sorted(name for name in there if name not in known and not name.startswith("."))


def _names(folder: Path) -> frozenset[str]:
    """Return the names in a folder; none without it."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return frozenset(os.listdir(folder))
    return frozenset()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
