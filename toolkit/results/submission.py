"""Archives of results for evaluation servers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np

from toolkit.datasets.benchmarks import OPE
from toolkit.io.files import atomic_path
from toolkit.results.formats import WARNINGS, ResultFiles, read_times
from toolkit.results.store import ResultStore


def find_faults(store: ResultStore, lengths: Mapping[str, int]) -> list[str]:
    """Describe what a server would refuse or misread; ``lengths`` counts the frames by video."""
    runs = {video: store.find(video) for video in lengths}
    elsewhere = store.locate(lengths, OPE).runs
    most = max(map(len, runs.values()), default=0)
    faults = []
    for video, found in runs.items():
        wanted = [store.files(video, number) for number in range(1, most + 1)]
        if not found:
            paths = [of.regions for of in (*elsewhere[video][:1], store.files(video))]
            names = [path.relative_to(store.folder).as_posix() for path in paths]
            text = f"{names[0]} must be named {names[1]}" if names[1:] else "no result"
            faults.append(f"{video}: {text}")
        elif found != wanted:
            there = sum(files in found for files in wanted)
            faults.append(f"{video}: {there} of {most} repetitions")
        else:
            faults += [f"{video}: {fault}" for fault in _faults(store, found, lengths[video])]
    return faults


def write_archive(path: str | os.PathLike, store: ResultStore, videos: Iterable[str]) -> int:
    """Pack the results of videos into a ZIP file; the same results give the same bytes.

    Names in it are relative to the folder of the store. Returns the number of files in it. There is
    no archive if anything raises.
    """
    paths: set[Path] = set()
    for video in videos:
        for files in store.find(video):
            for item in files.all():
                paths.update(item.glob("*.png") if item.is_dir() else [item])
    with atomic_path(path) as temporary, ZipFile(temporary, "w", ZIP_DEFLATED) as archive:
        for item in sorted(paths):
            add_text(archive, item.relative_to(store.folder).as_posix(), item.read_bytes())
    return len(paths)


def add_text(archive: ZipFile, name: str, content: bytes) -> None:
    """Add a file without a time, and readable for whoever unpacks it."""
    info = ZipInfo(name)
    info.external_attr, info.create_system = 0o644 << 16, 3  # as on Unix
    archive.writestr(info, content, ZIP_DEFLATED)


def _faults(store: ResultStore, found: Sequence[ResultFiles], num_frames: int) -> Iterator[str]:
    for files in found:
        try:
            yield from _run_faults(store, files, num_frames)
            if files.times is not None:
                rows, columns = read_times(files.times).shape
                if (rows, columns) != (num_frames, len(found)):
                    there = f"{rows} lines of {columns} numbers in {files.times.name}"
                    yield f"{there}; expected {num_frames} of {len(found)}"
        except (OSError, ValueError) as error:
            yield str(error)


def _run_faults(store: ResultStore, files: ResultFiles, num_frames: int) -> Iterator[str]:
    name = files.regions.name
    if files.regions.is_dir():
        number = len(list(files.regions.glob("*.png")))
        if number != num_frames:
            yield f"{number} masks for {num_frames} frames"
        return
    run = store.read(files)
    if len(run) != num_frames:
        yield f"{len(run)} lines for {num_frames} frames in {name}"
    infinite = run.scores is not None and np.isinf(run.scores).any()
    if infinite or "nan" in run.warnings or not np.isfinite(run.regions[run.codes < 0]).all():
        yield f"values that are no finite numbers in {name}"
    yield from (f"{WARNINGS[key]} in {name}" for key in run.warnings if key != "nan")
