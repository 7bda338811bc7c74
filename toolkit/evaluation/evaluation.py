"""What the evaluations of all benchmarks share: reading, averaging, resampling, several processes.

Confidence intervals and comparisons are made by the bootstrap (Efron, 1979): as many videos as
there are, drawn with replacement, make one sample; the scores of many samples tell how far the
score depends on the choice of videos. Percentiles bound the interval. Trackers are compared on the
same samples, which is the paired test.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.dataset import Dataset
from toolkit.datasets.video import Video
from toolkit.evaluation.metrics import Comparison, Curve, Measures, Metric, Scores, Totals
from toolkit.evaluation.tables import TableColumn, metric_table, print_tables
from toolkit.io.issues import IssueLog
from toolkit.io.pool import run_parallel
from toolkit.results.formats import ResultFiles
from toolkit.results.store import Found, ResultStore
from toolkit.results.trajectory import Code, Trajectory, empty_trajectory
from toolkit.utils.statistics import overlap_ratio

logger = logging.getLogger(__name__)

SEED = 0  # the same samples in every run
LEVEL = 0.95  # share of the samples within an interval
SAME = 0.5  # least overlap of the first line of a result with the first box, if it belongs to it

#: What to do about missing, unreadable, short and long results.
INCOMPLETE = {
    "lost": "frames without a result count as lost",
    "skip": "frames without a result are left out of the mean",
    "error": "whatever is wrong with a tracker's results is an error",
}

#: Lines for several files at once: number, total, names and outcome are filled in.
_GROUPS = {
    "missing": "{count} of {total} videos have no result ({names}): {outcome}",
    "doubtful": "{count} video(s) with several results, none of the very name ({names}): {outcome}",
    "binary": "{count} video(s) with binary files of the VOT toolkit only ({names}), which are not "
    "read; let it write text files, as <video>_001.txt: {outcome}",
    "nan": "{count} file(s) with NaN or infinite numbers ({names}): such frames counted as lost",
    "separators": "{count} file(s) with other separators than commas ({names}): read all the same",
    "before": "{count} file(s) over a whole folder, of which the lines of images before the "
    "annotation ({names}) were left out",
    "header": "{count} file(s) with a header line ({names}): it was left out",
    "mark": "{count} file(s) with a byte-order mark ({names}): read all the same",
    "repetitions": "{count} video(s) with fewer repetitions than others ({names}): of equal weight",
    "foreign": "{count} file(s) or folder(s) of no video ({names}): ignored",
}


class NoResults(ValueError):
    """A tracker has no result that can be read, for any video."""


@dataclass(frozen=True)
class Gathered:
    """All repetitions of a tracker by video, none longer than the video.

    With the policy ``skip``, videos without a result are not in ``runs`` and others may be shorter;
    otherwise all are there in full length.
    """

    runs: dict[str, list]
    missing: frozenset[str]  # videos without a result that can be read
    problems: list[str]  # what was wrong and what was done about it, one line each


class Evaluation(ABC):
    """Scores the trackers that a data set was given by ``set_tracker``.

    Every result file is read once, whatever is asked for; what is wrong with the results of a
    tracker is logged once, as one warning. An average over videos is always made by `combine`,
    from weights of the videos, so that attributes, single videos and bootstrap samples are scored
    by the same lines as the whole set. A subclass says what is measured on each video (`measure`);
    the rows of its metrics say what is made of the sums.

    Args:
        dataset: The videos and the trackers' names and folder.
        incomplete: What to do about missing, unreadable, short and long results, a key of
            ``INCOMPLETE``. By default frames without a result count as lost, so that no tracker
            gains by being incomplete: they hold no region, and in the reset-based layout the first
            of them is a failure. ``skip`` scores each video over the frames it has, as the
            published numbers of some older archives do. Surplus lines are ignored.
        strict: Count frames without ground truth as misses in precision (one-pass sets only).

    Raises:
        ValueError: If ``incomplete`` is unknown.
    """

    key: ClassVar[str]  # metric that trackers are ranked by
    metrics: ClassVar[Sequence[Metric]]  # rows of `toolkit.evaluation.metrics.METRICS_OF`
    name_width: ClassVar[int] = 14  # characters of the first column of the table of videos

    def __init__(self, dataset: Dataset, incomplete: str = "lost", strict: bool = False) -> None:
        if incomplete not in INCOMPLETE:
            raise ValueError(f"unknown policy {incomplete!r}; known: {', '.join(INCOMPLETE)}")
        self.dataset, self.incomplete, self.strict = dataset, incomplete, strict
        self.outcome = "left out" if incomplete == "skip" else "counted as lost"
        self._scores: dict[str, Scores] = {}
        self._found: dict[str, Found] = {}

    @abstractmethod
    def measure(self, results: Gathered) -> Measures:
        """Measure each video of a tracker."""

    def combine(self, measures: Measures, weights: NDArray) -> dict[str, NDArray]:
        """Average the V videos of a tracker with weights (B, V) of the videos in B averages.

        Returns:
            (B,) values by metric; NaN where one is not defined.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            totals = self.totals(measures, weights)
            return {metric.key: metric.value(totals) for metric in self.metrics}

    def totals(self, measures: Measures, weights: NDArray) -> Totals:
        """Sum up what the metrics are made of, see `toolkit.evaluation.metrics.Totals`."""
        sums = {name: weights @ values for name, values in measures.sums.items()}
        return {**sums, "videos": weights.sum(axis=1)}

    def curves(self, measures: Measures) -> dict[str, Curve]:
        """Average curves over all videos, by name; none by default."""
        return {}

    def attributes(self, measures: Measures) -> dict[str, dict[str, float]]:
        """Scores over the videos of each attribute that has any."""
        groups = {
            name: np.isin(measures.videos, videos).astype(float)
            for name, videos in self.dataset.attr.items()
        }
        groups = {name: weights for name, weights in groups.items() if weights.any()}
        return by_name(self.combine(measures, np.array(list(groups.values()))), groups)

    @property
    def headlines(self) -> list[str]:
        """Metrics that confidence intervals and comparisons are made of."""
        return [metric.key for metric in self.metrics if metric.headline]

    @property
    def table_metrics(self) -> list[str]:
        """Columns of the table of trackers: those that the benchmark names, and new ones."""
        always = [metric.key for metric in self.metrics if metric.always_shown]
        return list(dict.fromkeys([*self.dataset.benchmark.metrics, *always]))

    @property
    def ranked_metrics(self) -> list[str]:
        """Those of `table_metrics`; the one that ranks the trackers is always among them."""
        metrics = self.table_metrics
        return metrics if self.key in metrics else [self.key, *metrics]

    @property
    def video_columns(self) -> list[TableColumn]:
        """Columns of the table of videos."""
        return [(metric.key, metric.column) for metric in self.metrics if metric.column]

    def show(
        self,
        trackers: Sequence[str],
        show_video_level: bool = False,
        top: int = 20,
        color: bool | None = None,
    ) -> None:
        """Print the table of the ``top`` trackers, best first, and on request that of the videos.

        The latter has the trackers in the order given; see `print_tables`.
        """
        videos = self.video_scores(trackers) if show_video_level else None
        table = self.tracker_table(trackers, top)
        print_tables(table, videos, self.video_columns, self.name_width, color)

    def tracker_table(self, trackers: Sequence[str], top: int) -> str:
        """Table of the best trackers."""
        best = {name: self.scores(name).metrics for name in self.ranked(trackers)[:top]}
        return metric_table(best, self.table_metrics)

    def video_scores(self, trackers: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
        """Values of the table of videos by tracker, video and metric."""
        return {name: self.scores(name).videos for name in trackers}

    def evaluate(self, trackers: Sequence[str], num_workers: int = 1) -> Iterable[str]:
        """Score trackers, in several processes if wanted, and yield each name when it is done.

        A tracker without any result is logged and left out; `scored` tells which are left.

        Raises:
            NoResults: If none of the trackers has a result, or, with the policy ``error``, if one
                has none.
            ValueError: As `scores`.
        """
        todo = [name for name in trackers if name not in self._scores]
        failures = []
        workers = max(1, min(num_workers, len(todo)))
        outcomes = run_parallel(self._try_to_score, todo, workers)  # which sends the data set once
        for name, outcome in zip(todo, outcomes, strict=True):
            if isinstance(outcome, NoResults):
                failures.append(outcome)
            else:
                self._keep_and_warn(name, outcome)
            yield name
        if failures and not self.scored(trackers):
            raise failures[0]
        for failure in failures:
            logger.warning("%s: left out", failure)

    def scored(self, trackers: Sequence[str]) -> list[str]:
        """Those of the trackers whose scores are known."""
        return [name for name in trackers if name in self._scores]

    def scores(self, tracker: str) -> Scores:
        """All scores of a tracker; read and computed the first time only.

        Raises:
            NoResults: If the tracker has no result for any video.
            ValueError: If the data set has no ground truth but in first frames, or, with the policy
                ``error``, if anything is wrong with the results.
        """
        if tracker not in self._scores:
            self._keep_and_warn(tracker, self._score(tracker))
        return self._scores[tracker]

    @np.errstate(over="ignore", invalid="ignore")
    def partial_score(self, runs: Mapping[str, list]) -> float:
        """Score by `key` over the videos whose runs, by name, are given; NaN if not defined.

        Runs are those that `read_runs` returns.
        """
        measures = self.measure(Gathered(dict(runs), frozenset(), []))
        return float(self.combine(measures, np.ones((1, len(measures.videos))))[self.key][0])

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher score by `key` is a better one."""
        return next(metric for metric in self.metrics if metric.key == self.key).higher_is_better

    def ranked(self, trackers: Sequence[str]) -> list[str]:
        """Trackers, best first; equals stay in the order given, undefined scores are last."""
        sign = -1 if self.higher_is_better else 1

        def rank(name: str) -> tuple[bool, float]:
            value = self.scores(name).metrics[self.key]
            return (True, 0.0) if np.isnan(value) else (False, sign * value)

        return sorted(trackers, key=rank)

    def intervals(self, tracker: str, num_samples: int) -> dict[str, tuple[float, float]]:
        """Bounds of the 95 % interval of a tracker's headline metrics."""
        samples = self._samples(self.scores(tracker).measures, num_samples)
        return {metric: percentiles(samples[metric]) for metric in self.headlines}

    def add_intervals(self, trackers: Sequence[str], num_samples: int) -> None:
        """Give the scores of trackers their intervals; see `intervals`."""
        for name in trackers:
            bounds = self.intervals(name, num_samples)
            self._scores[name] = replace(self.scores(name), intervals=bounds)

    def compare(self, a: str, b: str, num_samples: int) -> dict[str, Comparison]:
        """Compare two trackers by headline metric, on samples of the videos that both have.

        Raises:
            ValueError: If they have no video in common.
        """
        measures = [self.scores(name).measures for name in (a, b)]
        common = [video for video in measures[0].videos if video in measures[1].videos]
        if not common:
            raise ValueError(f"{a} and {b} have no video in common")
        measures = [measure.rows(common) for measure in measures]
        whole = [self.combine(measure, np.ones((1, len(common)))) for measure in measures]
        samples = [self._samples(measure, num_samples) for measure in measures]
        return {
            metric.key: _comparison(metric, *(of[metric.key] for of in (*whole, *samples)))
            for metric in self.metrics
            if metric.headline
        }

    def as_data(self, trackers: Sequence[str]) -> dict[str, Any]:
        """Scores of trackers and how they came about, as plain data; see `scores`."""
        dataset = self.dataset
        return {
            "dataset": dataset.name,
            "protocol": dataset.benchmark.protocol,
            "evaluation": dataset.benchmark.evaluation,
            "num_videos": len(dataset),
            "num_frames": sum(map(len, dataset)),
            "incomplete": self.incomplete,
            "strict_gt": self.strict,
            "trackers": {name: self.scores(name).as_data() for name in trackers},
        }

    def store(self, tracker: str) -> ResultStore:
        """Results of a tracker."""
        path = Path(self.dataset.tracker_path or ".") / tracker
        return ResultStore(path, self.dataset.benchmark.layout)

    def read(self, tracker: str, video: str) -> list[Trajectory]:
        """Read the repetitions of one video, as long as they are; raises what the reader does."""
        found, store = self.dataset.videos[video], self.store(tracker)
        if tracker not in self._found:
            self._found[tracker] = store.locate(self.dataset.videos, self.dataset.benchmark)
        files = self._found[tracker].runs[video]
        return [self._aligned(store.read(run), found).resized(len(found)) for run in files]

    def read_runs(
        self, store: ResultStore, found: list[ResultFiles], video: Video, log: IssueLog
    ) -> list:
        """Read all repetitions of a video and log what is wrong with them.

        A run has a length and a method ``resized``, as a `Trajectory` has; an empty one stands for
        one that cannot be read.
        """
        return [self._read_run(store, files, video, log) for files in found]

    def check_ground_truth(self) -> None:
        """Raise ValueError if the data set has ground truth for first frames only."""
        longer = [video for video in self.dataset if len(video) > 1]
        if longer and not any(np.any(video.boxes[1:, 2:] > 0) for video in longer):
            raise ValueError(
                f"{self.dataset.name} has ground truth for first frames only: its server scores "
                "the results"
            )

    def checked(self, name: str, problems: list[str]) -> list[str]:
        """Return problems, or raise ValueError if there are any and the policy is ``error``."""
        if problems and self.incomplete == "error":
            raise ValueError("\n  ".join([f"{name}:", *problems]))
        return problems

    def gather(self, tracker: str) -> Gathered:
        """Read the results of a tracker for all videos; raises what `scores` does."""
        self.check_ground_truth()
        log, store = IssueLog(), self.store(tracker)
        located = self._found[tracker] = store.locate(self.dataset.videos, self.dataset.benchmark)
        runs = {v.name: self.read_runs(store, located.runs[v.name], v, log) for v in self.dataset}
        missing = frozenset(name for name, found in runs.items() if not any(map(len, found)))
        lost = [name for name, found in runs.items() if not found and name not in located.doubtful]
        binaries = store.binaries(lost)
        for name in lost:
            log.add("binary" if name in binaries else "missing", name)
        for paths in located.doubtful.values():
            log.add("doubtful", " or ".join(str(path.relative_to(store.folder)) for path in paths))
        if len(missing) == len(self.dataset):
            raise NoResults(self._nothing_found(store, self._lines(log)))
        most = max(map(len, runs.values()))
        for name in (name for name, found in runs.items() if 0 < len(found) < most):
            log.warn("repetitions", name)
        for name in located.foreign:
            log.note("foreign", name)
        problems = self.checked(tracker, self._lines(log))
        return Gathered(self._completed(runs), missing, problems)

    def _read_run(
        self, store: ResultStore, files: ResultFiles, video: Video, log: IssueLog
    ) -> Trajectory:
        try:
            whole = store.read(files)
            run = self._aligned(whole, video)
        except (ValueError, OSError) as error:
            text = error if str(files.regions) in str(error) else f"{files.regions.name} {error}"
            log.add("", files.regions, f"{text}: {self.outcome}")
            return empty_trajectory(scores=store.layout == "longterm")
        for warning in run.warnings:
            log.warn(warning, files.regions.name)
        if before := len(whole) - len(run):
            log.note("before", f"{files.regions.name}: {before}")
        lines, frames = len(run), len(video)
        text = f"{files.regions.name} has {lines} lines for {frames} frames"
        if lines < frames:
            log.warn("", files.regions, f"{text}: the rest {self.outcome}")
        elif lines > frames and video.name not in self.dataset.benchmark.cut_results:
            log.warn("", files.regions, f"{text}: surplus ignored")
        return run.resized(frames) if lines > frames else run

    def _aligned(self, run: Trajectory, video: Video) -> Trajectory:
        """Leave out the lines of images before the annotation, if a run is over a whole folder.

        Raises:
            ValueError: If there are more lines than frames and it is not clear which to leave out.
        """
        first, _ = self.dataset.benchmark.frames.get(video.name, (1, None))
        before = max(first, video.first_number) - 1
        surplus = len(run) - len(video)
        if surplus <= 0 or before <= 0:
            return run
        places = [0, before] if surplus == before else [0]
        overlaps = overlap_ratio(run.boxes[places], video.boxes[[0] * len(places)])
        if surplus == before and not overlaps[0] > overlaps[1]:
            return run.without_first(before)
        if not overlaps[0] > SAME:
            raise ValueError(
                f"has {len(run)} lines for {len(video)} frames, which begin at image {before + 1}, "
                "and it is not clear which lines belong to them"
            )
        return run

    def _completed(self, runs: dict[str, list]) -> dict[str, list]:
        """Runs as the policy has them, see `Gathered`."""
        layout = self.dataset.benchmark.layout
        if self.incomplete == "skip":
            kept = {name: [run for run in found if len(run)] for name, found in runs.items()}
            return {name: found for name, found in kept.items() if found}
        code = Code.LOST if layout == "vot" else Code.REGION
        nothing = [empty_trajectory(scores=layout == "longterm")]
        completed = {}
        for name, found in runs.items():
            length = len(self.dataset.videos[name])
            completed[name] = [
                run if len(run) == length else run.resized(length, code) for run in found or nothing
            ]
        return completed

    def _lines(self, log: IssueLog) -> list[str]:
        """One line per issue or group of issues: missing videos, single files, other groups."""
        places = {kind: [issue.where for issue in log if issue.kind == kind] for kind in _GROUPS}
        fixed = {"total": len(self.dataset), "outcome": self.outcome}
        groups = {
            kind: _GROUPS[kind].format(count=len(names), names=_shortened(names), **fixed)
            for kind, names in places.items()
            if names
        }
        first = [groups.pop("missing")] if "missing" in groups else []
        return [*first, *(issue.text for issue in log if not issue.kind), *groups.values()]

    def _nothing_found(self, store: ResultStore, lines: Sequence[str]) -> str:
        """Say that a tracker has no result, where it was looked for, and what is there."""
        folder, wanted = store.folder, store.files(self.dataset[0].name).regions
        there = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
        found = f"there is {_shortened(there)}" if there else "the folder is empty or missing"
        faults = [line.removesuffix(f": {self.outcome}") for line in lines]
        return (
            f"{folder.name}: no usable result for any of the {len(self.dataset)} videos of "
            f"{self.dataset.name}; looked for {wanted} and so on, {found}; {_shortened(faults, 1)}"
        )

    def _samples(self, measures: Measures, num_samples: int) -> dict[str, NDArray]:
        return self.combine(measures, draw_weights(len(measures.videos), num_samples))

    def _try_to_score(self, tracker: str) -> Scores | NoResults:
        try:
            return self._score(tracker)
        except NoResults as error:
            if self.incomplete == "error":
                raise
            return error

    def _keep_and_warn(self, tracker: str, scores: Scores) -> None:
        self._scores[tracker] = scores
        if scores.problems:
            logger.warning("%s:%s", tracker, "\n  ".join(["", *scores.problems]))

    @np.errstate(over="ignore", invalid="ignore")  # boxes beyond all measure are lost, that is all
    def _score(self, tracker: str) -> Scores:
        results = self.gather(tracker)
        measures = self.measure(results)
        videos = measures.videos
        return Scores(
            metrics=by_name(self.combine(measures, np.ones((1, len(videos)))), [tracker])[tracker],
            videos=by_name(self.combine(measures, np.eye(len(videos))), videos),
            attributes=self.attributes(measures),
            curves=self.curves(measures),
            measures=measures,
            problems=results.problems,
        )


def by_name(values: Mapping[str, NDArray], names: Iterable[str]) -> dict[str, dict[str, float]]:
    """Turn columns (B,) by metric into values by one of B names and metric."""
    return {
        name: {metric: float(column[i]) for metric, column in values.items()}
        for i, name in enumerate(names)
    }


def draw_weights(num_videos: int, num_samples: int, seed: int = SEED) -> NDArray:
    """Count each video in samples (num_samples, num_videos) that are drawn with replacement."""
    shares = np.full(num_videos, 1 / num_videos)
    return np.random.default_rng(seed).multinomial(num_videos, shares, num_samples).astype(float)


def percentiles(values: NDArray) -> tuple[float, float]:
    """Bounds that hold the middle 95 % of values (B,); undefined ones are left out."""
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _comparison(
    metric: Metric, a: NDArray, b: NDArray, samples_a: NDArray, samples_b: NDArray
) -> Comparison:
    differences = samples_a - samples_b
    known = differences[~np.isnan(differences)]
    better = known if metric.higher_is_better else -known
    share = np.mean((better > 0) + 0.5 * (better == 0)) if len(known) else np.nan
    low, high = percentiles(differences)
    return Comparison(float(a[0]), float(b[0]), float(a[0] - b[0]), low, high, float(share))


def _shortened(names: Sequence[str], limit: int = 5) -> str:
    """Join the first names and count the rest."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
