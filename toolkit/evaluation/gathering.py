"""The results of one tracker, video by video as the ground truth has them, and what is wrong."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.datasets.dataset import Dataset
from toolkit.datasets.video import Video
from toolkit.io.issues import IssueLog
from toolkit.results.formats import ResultFiles
from toolkit.results.store import ResultStore
from toolkit.results.trajectory import Code, Trajectory, empty_trajectory

#: What to do about missing, unreadable, short and long results.
INCOMPLETE = {
    "lost": "frames without a result count as lost",
    "skip": "frames without a result are left out of the mean",
    "error": "whatever is wrong with a tracker's results is an error",
}

#: Lines for several files at once: number, total, names and outcome are filled in.
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

    runs: dict[str, list]
    missing: frozenset[str]
    problems: list[str]


#: Reads all repetitions of a video and logs what is wrong; the last argument is the outcome. Each
#: has a length and a method ``resized``, as a `Trajectory` has.
Reader = Callable[[Dataset, ResultStore, Video, IssueLog, str], list]


def read_runs(
    dataset: Dataset, store: ResultStore, video: Video, log: IssueLog, outcome: str
) -> list[Trajectory]:
    """Read all repetitions of a video; an empty run stands for an unreadable one."""
    found = store.find(*dataset.benchmark.result_names(video.name))
    surplus = video.name in dataset.benchmark.cut_results
    return [_read_run(store, files, (len(video), surplus), log, outcome) for files in found]


def gather(
    dataset: Dataset, tracker: str, incomplete: str = "lost", read: Reader = read_runs
) -> Gathered:
    """Read the results of a tracker for all videos of a data set.

    A frame without a result counts as lost with the policy ``lost``: it holds no region, and in
    the reset-based layout the first such frame is a failure.

    Args:
        dataset: The videos; its ``tracker_path`` holds the results.
        tracker: Name of the tracker, a folder there.
        incomplete: Key of ``INCOMPLETE``.
        read: Reads the results of a video.

    Raises:
        NoResults: If there is none for any video.
        ValueError: If anything is wrong with them and the policy is ``error``.
    """
    log, store, outcome = IssueLog(), result_store(dataset, tracker), outcome_of(incomplete)
    runs = {video.name: read(dataset, store, video, log, outcome) for video in dataset}
    missing = frozenset(name for name, found in runs.items() if not any(map(len, found)))
    for name in (name for name, found in runs.items() if not found):
        log.add("missing", name)
    if len(missing) == len(dataset):
        faults = [line.removesuffix(f": {outcome}") for line in _lines(log, dataset, outcome)]
        raise NoResults(_nothing_found(store, dataset, faults))
    most = max(map(len, runs.values()))
    for name in (name for name, found in runs.items() if 0 < len(found) < most):
        log.warn("repetitions", name)
    names = (name for video in dataset.videos for name in dataset.benchmark.result_names(video))
    for name in store.foreign(names):
        log.note("foreign", name)
    lines = checked(tracker, _lines(log, dataset, outcome), incomplete)
    return Gathered(_completed(runs, dataset, incomplete), missing, lines)


def result_store(dataset: Dataset, tracker: str) -> ResultStore:
    """Results of a tracker."""
    return ResultStore(Path(dataset.tracker_path or ".") / tracker, dataset.benchmark.layout)


def outcome_of(incomplete: str) -> str:
    """What is done about a frame without a result."""
    return "left out" if incomplete == "skip" else "counted as lost"


def checked(tracker: str, problems: list[str], incomplete: str) -> list[str]:
    """Return problems, or raise ValueError if there are any and the policy is ``error``."""
    if problems and incomplete == "error":
        raise ValueError("\n  ".join([f"{tracker}:", *problems]))
    return problems


def _read_run(
    store: ResultStore, files: ResultFiles, expected: tuple[int, bool], log: IssueLog, outcome: str
) -> Trajectory:
    """Read one run; ``expected`` is the number of frames and whether there may be more."""
    try:
        run = store.read(files)
    except (ValueError, OSError) as error:
        log.add("", files.regions, f"{error}: {outcome}")
        return empty_trajectory(scores=store.layout == "longterm")
    for warning in run.warnings:
        log.warn(warning, files.regions.name)
    lines, (frames, surplus) = len(run), expected
    text = f"{files.regions.name} has {lines} lines for {frames} frames"
    if lines < frames:
        log.warn("", files.regions, f"{text}: the rest {outcome}")
    elif lines > frames and not surplus:
        log.warn("", files.regions, f"{text}: surplus ignored")
    return run.resized(frames) if lines > frames else run


def _completed(runs: dict[str, list], dataset: Dataset, incomplete: str) -> dict[str, list]:
    layout = dataset.benchmark.layout
    if incomplete == "skip":
        kept = {name: [run for run in found if len(run)] for name, found in runs.items()}
        return {name: found for name, found in kept.items() if found}
    code = Code.LOST if layout == "vot" else Code.REGION
    nothing = [empty_trajectory(scores=layout == "longterm")]
    completed = {}
    for name, found in runs.items():
        length = len(dataset.videos[name])
        completed[name] = [
            run if len(run) == length else run.resized(length, code) for run in found or nothing
        ]
    return completed


def _lines(log: IssueLog, dataset: Dataset, outcome: str) -> list[str]:
    """One line per issue or group of issues: missing videos, single files, other groups."""
    places = {kind: [issue.where for issue in log if issue.kind == kind] for kind in _GROUPS}
    groups = {
        kind: _GROUPS[kind].format(
            count=len(names), total=len(dataset), names=_shortened(names), outcome=outcome
        )
        for kind, names in places.items()
        if names
    }
    first = [groups.pop("missing")] if "missing" in groups else []
    return [*first, *(issue.text for issue in log if not issue.kind), *groups.values()]


def _shortened(names: Sequence[str], limit: int = 5) -> str:
    """Join the first names and count the rest."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _nothing_found(store: ResultStore, dataset: Dataset, faults: Sequence[str]) -> str:
    """Say that a tracker has no result, where it was looked for, and what is there."""
    folder, wanted = store.folder, store.files(dataset[0].name).regions
    there = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    found = f"there is {_shortened(there)}" if there else "the folder is empty or missing"
    return (
        f"{folder.name}: no usable result for any of the {len(dataset)} videos of {dataset.name}; "
        f"looked for {wanted} and so on, {found}; {_shortened(faults, 1)}"
    )
