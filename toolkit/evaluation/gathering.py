"""The results of one tracker over a data set, and all that is wrong with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.datasets.dataset import Dataset
from toolkit.datasets.video import Video
from toolkit.results.formats import ResultFiles
from toolkit.results.store import ResultStore
from toolkit.results.trajectory import Code, Trajectory, empty_trajectory

#: What becomes of missing, unreadable, short and long results.
INCOMPLETE = {
    "lost": "frames without a result count as lost",
    "skip": "frames without a result are left out of the mean",
    "error": "whatever is wrong with a tracker's results is an error",
}

#: What is said of several files at once: number, total, names and outcome are filled in.
_GROUPS = {
    "missing": "{count} of {total} videos have no result ({names}): {outcome}",
    "nan": "{count} file(s) with NaN or infinite numbers ({names}): such frames counted as lost",
    "separators": "{count} file(s) with other separators than commas ({names}): read all the same",
    "mark": "{count} file(s) with a byte-order mark ({names}): read all the same",
    "repetitions": "{count} video(s) with fewer repetitions than others ({names}): of equal weight",
    "foreign": "{count} file(s) or folder(s) of no video ({names}): ignored",
}


class NoResults(ValueError):
    """A tracker has no result that can be read, for any video."""


class Problems:
    """Collects what is wrong with the results of a tracker and what was done about it.

    Args:
        incomplete: Key of ``INCOMPLETE``.
        total: Number of videos.
    """

    def __init__(self, incomplete: str, total: int) -> None:
        self.outcome = "left out" if incomplete == "skip" else "counted as lost"
        self._total, self._single = total, []
        self._groups: dict[str, list[str]] = {kind: [] for kind in _GROUPS}

    def add(self, text: str) -> None:
        """Note one problem, as a whole line."""
        self._single.append(text)

    def group(self, kind: str, name: str) -> None:
        """Note a file or video of a kind of problem that is told of all at once."""
        self._groups[kind].append(name)

    def faults(self) -> list[str]:
        """As `lines`, without the outcome at their ends."""
        return [line.removesuffix(f": {self.outcome}") for line in self.lines()]

    def lines(self) -> list[str]:
        """One line per problem or group of problems."""
        told = {
            kind: text.format(
                count=len(names),
                total=self._total,
                names=shortened(names),
                outcome=self.outcome,
            )
            for kind, text in _GROUPS.items()
            if (names := self._groups[kind])
        }
        missing = [told.pop("missing")] if "missing" in told else []
        return [*missing, *self._single, *told.values()]


@dataclass(frozen=True)
class Gathered:
    """Results of one tracker.

    Attributes:
        runs: Trajectories of all repetitions by video, none longer than the video. With the
            policy ``skip``, videos without a result are not in it and others may be shorter;
            otherwise all are there in full length.
        missing: Videos that have no result that can be read.
        problems: What was wrong and what was done about it, one line each.
    """

    runs: dict[str, list[Trajectory]]
    missing: frozenset[str]
    problems: list[str]


def gather(dataset: Dataset, tracker: str, incomplete: str = "lost") -> Gathered:
    """Read the results of a tracker for all videos of a data set.

    A frame without a result counts as lost with the policy ``lost``: it holds no region, and in
    the reset-based layout the first such frame is a failure.

    Args:
        dataset: The videos; its ``tracker_path`` holds the results.
        tracker: Name of the tracker, a folder there.
        incomplete: Key of ``INCOMPLETE``.

    Raises:
        NoResults: If there is none for any video.
        ValueError: If anything is wrong with them and the policy is ``error``.
    """
    problems = Problems(incomplete, len(dataset))
    store = result_store(dataset, tracker)
    runs, missing = {}, []
    for video in dataset:
        files = store.find(*dataset.benchmark.result_names(video.name))
        found = [_read(store, each, video, dataset, problems) for each in files]
        if not any(map(len, found)):
            missing.append(video.name)
        if not found:
            problems.group("missing", video.name)
        runs[video.name] = found
    if len(missing) == len(dataset):
        raise NoResults(nothing_found(store, dataset, problems.faults()))
    _note_repetitions(runs, problems)
    for name in foreign_entries(dataset, store):
        problems.group("foreign", name)
    lines = checked(tracker, problems.lines(), incomplete)
    return Gathered(_completed(runs, dataset, incomplete), frozenset(missing), lines)


def result_store(dataset: Dataset, tracker: str) -> ResultStore:
    """Results of a tracker."""
    return ResultStore(Path(dataset.tracker_path or ".") / tracker, dataset.benchmark.layout)


def foreign_entries(dataset: Dataset, store: ResultStore) -> list[str]:
    """Files and folders beside the results that belong to no video."""
    benchmark = dataset.benchmark
    return store.foreign(name for video in dataset.videos for name in benchmark.result_names(video))


def shortened(names: Sequence[str], limit: int = 5) -> str:
    """Join the first names and count the rest."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _read(
    store: ResultStore, files: ResultFiles, video: Video, dataset: Dataset, problems: Problems
) -> Trajectory:
    """Read one run and note what is wrong with it; an empty run stands for an unreadable one."""
    try:
        run = store.read(files)
    except (ValueError, OSError) as error:
        problems.add(f"{error}: {problems.outcome}")
        return empty_trajectory(scores=store.layout == "longterm")
    for warning in run.warnings:
        problems.group(warning, files.regions.name)
    lines, frames = len(run), len(video)
    said = f"{files.regions.name} has {lines} lines for {frames} frames"
    if lines < frames:
        problems.add(f"{said}: the rest {problems.outcome}")
    elif lines > frames and video.name not in dataset.benchmark.cut_results:
        problems.add(f"{said}: surplus ignored")
    return run.resized(min(lines, frames))


def _note_repetitions(runs: dict[str, list[Trajectory]], problems: Problems) -> None:
    most = max(map(len, runs.values()))
    for name, found in runs.items():
        if 0 < len(found) < most:
            problems.group("repetitions", name)


def _completed(
    runs: dict[str, list[Trajectory]], dataset: Dataset, incomplete: str
) -> dict[str, list[Trajectory]]:
    layout = dataset.benchmark.layout
    if incomplete == "skip":
        kept = {name: [run for run in found if len(run)] for name, found in runs.items()}
        return {name: found for name, found in kept.items() if found}
    code = Code.LOST if layout == "vot" else Code.REGION
    nothing = [empty_trajectory(scores=layout == "longterm")]
    return {
        name: [run.resized(len(dataset.videos[name]), code) for run in found or nothing]
        for name, found in runs.items()
    }


def checked(tracker: str, problems: list[str], incomplete: str) -> list[str]:
    """Return problems, or raise ValueError if there are any and the policy is ``error``."""
    if problems and incomplete == "error":
        raise ValueError("\n  ".join([f"{tracker}:", *problems]))
    return problems


def nothing_found(store: ResultStore, dataset: Dataset, faults: Sequence[str]) -> str:
    """Say that a tracker has no result, where it was looked for, and what is there."""
    folder, wanted = store.folder, store.files(dataset[0].name).regions
    there = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    found = f"there is {shortened(there)}" if there else "the folder is empty or missing"
    return (
        f"{folder.name}: no usable result for any of the {len(dataset)} videos of {dataset.name}; "
        f"looked for {wanted} and so on, {found}; {shortened(faults, 1)}"
    )
