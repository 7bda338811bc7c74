"""Archives of results for evaluation servers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np

from toolkit.io.files import atomic_path
from toolkit.results.formats import WARNINGS, ResultFiles, read_times
from toolkit.results.store import ResultStore


def find_faults(store: ResultStore, lengths: Mapping[str, int]) -> list[str]:
    """Find what a server would refuse or misread: a line for each video that is not complete.

    Args:
        store: The tracker's results.
        lengths: Number of frames by name of the video, for all videos of the set.
    """
    runs = {video: store.find(video) for video in lengths}
    most = max(map(len, runs.values()), default=0)
    faults = []
    for video, found in runs.items():
        wanted = [store.files(video, number) for number in range(1, most + 1)]
        if not found:
            faults.append(f"{video}: no result")
        elif found != wanted:
            there = sum(files in found for files in wanted)
            faults.append(f"{video}: {there} of {most} repetitions")
        else:
            faults += [f"{video}: {fault}" for fault in _of_runs(store, found, lengths[video])]
    return faults


def write_archive(path: str | os.PathLike, store: ResultStore, videos: Iterable[str]) -> int:
    """Pack the results of all videos, whole or not at all; the same results give the same bytes.

    Args:
        path: The ZIP file. Names in it are relative to the folder of the tracker's results.
        store: The tracker's results.
        videos: Names of all videos of the set.

    Returns:
        Number of files in the archive.

    Raises:
        OSError: If a file cannot be read or the archive not be written.
    """
    paths: set[Path] = set()
    for video in videos:
        for files in store.find(video):
            for item in files.all():
                paths.update(item.glob("*.png") if item.is_dir() else [item])
    with atomic_path(path) as temporary, ZipFile(temporary, "w", ZIP_DEFLATED) as archive:
        for item in sorted(paths):
            # without the time of the file, and readable for whoever unpacks it
            info = ZipInfo(item.relative_to(store.folder).as_posix())
            info.external_attr = 0o644 << 16
            archive.writestr(info, item.read_bytes(), ZIP_DEFLATED)
    return len(paths)


def _of_runs(store: ResultStore, found: Sequence[ResultFiles], num_frames: int) -> list[str]:
    faults = []
    for files in found:
        try:
            faults += _of_run(store, files, num_frames)
            if files.times is not None:
                faults += _of_times(files.times, (num_frames, len(found)))
        except (OSError, ValueError) as error:
            faults.append(str(error))
    return faults


def _of_run(store: ResultStore, files: ResultFiles, num_frames: int) -> list[str]:
    name = files.regions.name
    if files.regions.is_dir():
        number = len(list(files.regions.glob("*.png")))
        return [f"{number} masks for {num_frames} frames"] if number != num_frames else []
    run = store.read(files)
    faults = []
    if len(run) != num_frames:
        faults.append(f"{len(run)} lines for {num_frames} frames in {name}")
    if "nan" in run.warnings or not np.isfinite(run.regions[run.codes < 0]).all():
        faults.append(f"values that are no finite numbers in {name}")
    foreign = [WARNINGS[warning] for warning in run.warnings if warning != "nan"]
    return faults + [f"{warning} in {name}" for warning in foreign]


def _of_times(path: Path, shape: tuple[int, int]) -> list[str]:
    """What is wrong with times that should be of (frames, repetitions)."""
    times = read_times(path)
    if times.shape == shape:
        return []
    return [
        f"{times.shape[0]} lines of {times.shape[1]} numbers in {path.name}; "
        f"expected {shape[0]} of {shape[1]}"
    ]
