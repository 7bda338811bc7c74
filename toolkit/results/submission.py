"""Archives of results for evaluation servers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np

from toolkit.datasets import Video
from toolkit.io.files import atomic_path
from toolkit.results.formats import ResultFiles, result_files
from toolkit.results.reading import ODDITIES, READERS, read_times


def find_files(layout: str, folder: str | os.PathLike, video: str) -> list[ResultFiles]:
    """Result files of all repetitions of a video that are there.

    Args:
        layout: Key of `toolkit.results.formats.LAYOUTS`.
        folder: Folder of the tracker's results.
        video: Name of the video.
    """
    found: list[ResultFiles] = []
    for repetition in count(1):
        files = result_files(layout, folder, video, repetition)
        if not files.regions.exists() or files in found:
            return found
        found.append(files)


def find_faults(layout: str, folder: str | os.PathLike, videos: Iterable[Video]) -> list[str]:
    """What a server would refuse or misread: a line for each video that is not complete.

    Args:
        layout: Key of `toolkit.results.formats.LAYOUTS`.
        folder: Folder of the tracker's results.
        videos: All videos of the set.
    """
    runs = {video.name: (video, find_files(layout, folder, video.name)) for video in videos}
    most = max((len(found) for _, found in runs.values()), default=0)
    faults = []
    for name, (video, found) in runs.items():
        if not found:
            faults.append(f"{name}: no result")
        elif len(found) < most:
            faults.append(f"{name}: {len(found)} of {most} repetitions")
        else:
            faults += [f"{name}: {fault}" for fault in _faults_of_runs(layout, video, found)]
    return faults


def write_archive(
    path: str | os.PathLike,
    layout: str,
    folder: str | os.PathLike,
    videos: Sequence[Video],
) -> int:
    """Pack the results of all videos, whole or not at all; the same results give the same bytes.

    Args:
        path: The ZIP file. Names in it are relative to ``folder``.
        layout: Key of `toolkit.results.formats.LAYOUTS`.
        folder: Folder of the tracker's results.
        videos: All videos of the set.

    Returns:
        Number of files in the archive.

    Raises:
        OSError: If a file cannot be read or the archive not be written.
    """
    paths: set[Path] = set()
    for video in videos:
        for files in find_files(layout, folder, video.name):
            for item in files.all():
                paths.update(item.glob("*.png") if item.is_dir() else [item])
    with atomic_path(path) as temporary, ZipFile(temporary, "w", ZIP_DEFLATED) as archive:
        for item in sorted(paths):
            # without the time of the file, and readable for whoever unpacks it
            info = ZipInfo(item.relative_to(folder).as_posix())
            info.external_attr = 0o644 << 16
            archive.writestr(info, item.read_bytes(), ZIP_DEFLATED)
    return len(paths)


def _faults_of_runs(layout: str, video: Video, found: Sequence[ResultFiles]) -> list[str]:
    faults = []
    for files in found:
        try:
            faults += _faults(layout, files, len(video), len(found))
        except (OSError, ValueError) as error:
            faults.append(str(error))
    return faults


def _faults(layout: str, files: ResultFiles, num_frames: int, repetitions: int) -> list[str]:
    if files.regions.is_dir():
        number = len(list(files.regions.glob("*.png")))
        return [f"{number} masks for {num_frames} frames"] if number != num_frames else []
    run = READERS[layout](files.regions)
    faults = []
    if len(run) != num_frames:
        faults.append(f"{len(run)} lines for {num_frames} frames in {files.regions.name}")
    if "nan" in run.oddities or not np.isfinite(run.regions[run.codes < 0]).all():
        faults.append(f"values that are no finite numbers in {files.regions.name}")
    foreign = [ODDITIES[oddity] for oddity in run.oddities if oddity != "nan"]
    faults += [f"{oddity} in {files.regions.name}" for oddity in foreign]
    if files.times is not None:
        times = read_times(files.times)
        if times.shape != (num_frames, repetitions):
            faults.append(
                f"{times.shape[0]} lines of {times.shape[1]} numbers in {files.times.name}; "
                f"expected {num_frames} of {repetitions}"
            )
    return faults
