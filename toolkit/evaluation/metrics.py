"""The table of metrics, and the scores of a tracker in one form for all benchmarks.

A metric is one row of ``METRICS_OF``: adding it there is all that it takes to have it in tables,
JSON, CSV, LaTeX, the page and the plots.

As plain data (`Scores.as_data`) a tracker's scores are::

    {
      "metrics":    {metric: value},                    # keys of METRICS
      "intervals":  {metric: [low, high]},              # 95 %, only after a bootstrap
      "videos":     {video: {metric: value}},
      "attributes": {attribute: {metric: value}},       # or tags of frames
      "curves":     {curve: {"x": [...], "y": [...]}},  # keys of CURVES
      "num_videos": 100,
      "problems":   ["3 of 100 videos have no result (...): counted as lost"],  # a line each
    }

A value that is not defined (NaN, infinite) is None there. Which of the metrics are there, and
which attributes and curves, depends on the evaluation; tables and plots need not know.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.io.tables import Table
from toolkit.utils.statistics import (
    ERROR_THRESHOLDS,
    IOU_THRESHOLDS,
    NORM_ERROR_THRESHOLDS,
    norm_precision_curve,
    precision_curve,
    success_curve,
)

#: Arrays (B, ...) by name, of each of B averages: weighted sums of what was measured on the videos,
#: and ``videos``, the sum of their weights.
Totals = Mapping[str, NDArray]
Value = Callable[[Totals], NDArray]


@dataclass(frozen=True)
class Column:
    """A column of the table of videos."""

    label: str
    width: int  # characters
    low: float = -np.inf  # values below it are red
    high: float = np.inf  # values above it are red


@dataclass(frozen=True)
class Metric:
    """A metric: what it is called, how it is shown and how it is computed.

    ``value`` makes its values (B,) from totals, NaN where it is not defined. One-pass evaluation
    sums under ``key`` what ``measure(gt, pred, n_frame, strict)`` makes of a video, see
    `toolkit.utils.statistics.success_curve`; it is None if others measure what the metric needs.
    """

    key: str  # name in data and commands
    label: str  # heading of its column
    value: Value
    measure: Callable[..., NDArray] | None = None
    digits: int = 3
    higher_is_better: bool = True
    range: tuple[float, float] = (0, 1)  # lowest and highest possible value
    headline: bool = True  # has a confidence interval and is compared
    always_shown: bool = False  # in the table of trackers even if the benchmark does not name it
    column: Column | None = None  # in the table of videos


def _mean_curve(totals: Totals, name: str) -> NDArray:
    return totals[name] / totals["videos"][:, None]


def _ratio(part: str, whole: str) -> Value:
    return lambda totals: totals[part] / totals[whole]


def _mean_of(curve: str) -> Value:
    return lambda totals: _mean_curve(totals, curve).mean(axis=-1)


def _point_of(curve: str, index: int) -> Value:
    return lambda totals: _mean_curve(totals, curve)[:, index]


def f1_of(precision: NDArray, recall: NDArray) -> NDArray:
    """F1 of precisions and recalls of any shape; NaN where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return 2 * precision * recall / (precision + recall)


def best_f1(precision: NDArray, recall: NDArray) -> dict[str, NDArray]:
    """Precision, recall and F1 (B,) of curves (B, T) at the first threshold of the highest F1.

    Where neither precision nor recall is above 0, F1 counts as 0 (in PySOT its NaN wins).
    """
    f1 = np.nan_to_num(f1_of(precision, recall))
    best = np.argmax(f1, axis=1)[:, None]
    values = {"precision": precision, "recall": recall, "f1": f1}
    return {name: np.take_along_axis(of, best, axis=1)[:, 0] for name, of in values.items()}


def _at_best_f1(key: str) -> Value:
    return lambda totals: best_f1(*(_mean_curve(totals, m) for m in ("precision", "recall")))[key]


def mean_known(stack: NDArray) -> NDArray:
    """Mean (N,) over the rows of (R, N) without NaN; NaN where nothing is known."""
    known = ~np.isnan(stack)
    with np.errstate(invalid="ignore"):
        return np.where(known, stack, 0).sum(axis=0) / known.sum(axis=0)


def average_expected_overlap(totals: Totals) -> NDArray:
    """EAO (B,): the mean of the expected overlap (B, L) over the benchmark's window of lengths."""
    return mean_known(totals["expected_overlap"].T.astype(np.float64))


def _robustness(totals: Totals) -> NDArray:
    return 100 * totals["failures"] / totals["frames"]


def _region_and_boundary(totals: Totals) -> NDArray:
    return (totals["j"] / totals["objects"] + totals["f"] / totals["objects"]) / 2


def _of_masks(key: str) -> tuple[Metric, ...]:
    """Mean, recall and decay of J or F."""
    label, recall, decay = key.upper(), f"{key}_recall", f"{key}_decay"
    return (
        Metric(key, f"{label} mean", _ratio(key, "objects"), column=Column(label, 7, 0.5)),
        Metric(recall, f"{label} recall", _ratio(recall, "objects"), headline=False),
        Metric(
            decay,
            f"{label} decay",
            _ratio(decay, "objects"),
            higher_is_better=False,
            range=(-1, 1),
            headline=False,
        ),
    )


#: Metrics by evaluation, a key of `toolkit.evaluation.EVALUATIONS`, in the order of JSON and CSV.
METRICS_OF: dict[str, list[Metric]] = {
    "ope": [
        Metric(
            "success",
            "Success",
            _mean_of("success"),
            success_curve,
            column=Column("success", 9, 0.6),
        ),
        Metric(
            "norm_precision",
            "Norm Precision",
            _point_of("norm_precision", 20),  # 0.20 target sizes
            norm_precision_curve,
        ),
        Metric(
            "precision",
            "Precision",
            _point_of("precision", 20),  # 20 pixels
            precision_curve,
            column=Column("precision", 11, 0.6),
        ),
        Metric("op50", "OP@0.50", _point_of("success", 10)),
        Metric("op75", "OP@0.75", _point_of("success", 15)),
    ],
    "vot": [
        Metric("accuracy", "Accuracy", _ratio("overlap", "known"), column=Column("Acc", 8, 0.5)),
        Metric("robustness", "Robustness", _robustness, higher_is_better=False, range=(0, 100)),
        Metric(
            "lost_number",
            "Lost Number",
            lambda totals: totals["failures"],
            digits=1,
            higher_is_better=False,
            range=(0, np.inf),
            column=Column("LN", 8, high=0),
        ),
        Metric("eao", "EAO", average_expected_overlap),
    ],
    "longterm": [
        Metric(
            "precision", "Precision", _at_best_f1("precision"), column=Column("Precision", 11, 0.5)
        ),
        Metric("recall", "Recall", _at_best_f1("recall"), column=Column("Recall", 8, 0.5)),
        Metric("f1", "F1", _at_best_f1("f1"), column=Column("F1", 7, 0.5)),
    ],
    "got10k": [
        Metric("ao", "AO", _ratio("overlap", "frames"), column=Column("AO", 7, 0.5)),
        Metric("sr50", "SR@0.50", _ratio("sr50", "frames"), column=Column("SR@0.50", 9, 0.5)),
        Metric("sr75", "SR@0.75", _ratio("sr75", "frames")),
    ],
    "davis": [
        Metric("jf", "J&F", _region_and_boundary),
        *_of_masks("j"),
        *_of_masks("f"),
    ],
}

#: Any metric by key, for its label, decimals and direction: those are the same in all evaluations.
METRICS: Table[Metric] = Table(
    "metric", {row.key: row for rows in METRICS_OF.values() for row in rows}
)


def add_metric(evaluation: str, metric: Metric) -> None:
    """Add a metric to an evaluation, as a plug-in does; ``ValueError`` if its key is taken.

    It comes last in JSON, CSV and page; `Benchmark.metrics` says which ones tables show.
    """
    METRICS[metric.key] = metric
    METRICS_OF[evaluation].append(metric)


def score_of_curve(key: str, curve: NDArray) -> float:
    """Value of a one-pass metric of a mean curve (T,) of what it measures."""
    row = next(row for row in METRICS_OF["ope"] if row.key == key)
    return float(row.value({key: curve[None], "videos": np.ones(1)})[0])


@dataclass(frozen=True)
class Axes:
    """Title and labels of the plot of a curve."""

    title: str
    x: str
    y: str
    thresholds: NDArray | None = None  # (T,) positions on the x axis in one-pass evaluation
    unit: str = ""  # of the thresholds
    corner: str = "lower right"  # where curves leave room for a legend


_ERROR = "Location error threshold"
CURVES: dict[str, Axes] = {
    "success": Axes(
        "Success", "Overlap threshold", "Success rate", IOU_THRESHOLDS, corner="lower left"
    ),
    "precision": Axes("Precision", _ERROR, "Precision", ERROR_THRESHOLDS, "pixels"),
    "norm_precision": Axes(
        "Normalized precision", _ERROR, "Precision", NORM_ERROR_THRESHOLDS, "target sizes"
    ),
    "expected_overlap": Axes("Expected overlap", "Sequence length", "Expected overlap"),
    "precision_recall": Axes("Precision over recall", "Recall", "Precision"),
    "f1": Axes("F1", "Confidence threshold", "F1", corner="lower left"),
}


@dataclass(frozen=True)
class Curve:
    """Positions and values of a tracker's curve, (P,) both."""

    x: NDArray
    y: NDArray


@dataclass(frozen=True)
class Measures:
    """What was measured on each of V videos, before averaging.

    An average over videos is made of weighted sums, which is what makes resampling of them cheap.
    """

    videos: list[str]  # names of those that count
    sums: dict[str, NDArray]  # (V, ...)
    shared: dict[str, NDArray] = field(default_factory=dict)  # of no single video
    by_video: dict[str, dict[str, NDArray]] = field(default_factory=dict)  # of different shapes

    def rows(self, names: list[str]) -> "Measures":
        """The same of some of the videos, in the order given."""
        order = [self.videos.index(name) for name in names]
        sums = {name: values[order] for name, values in self.sums.items()}
        return Measures(list(names), sums, self.shared, self.by_video)

    def of_videos(self, name: str) -> dict[str, NDArray]:
        """One of ``sums``, by video."""
        return dict(zip(self.videos, self.sums[name], strict=True))


@dataclass(frozen=True)
class Scores:
    """All scores of one tracker; the module's docstring describes the fields."""

    metrics: dict[str, float]
    videos: dict[str, dict[str, float]]
    attributes: dict[str, dict[str, float]]
    curves: dict[str, Curve]
    measures: Measures  # what they were made of
    problems: list[str]
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)

    def as_data(self) -> dict[str, Any]:
        """Plain data for JSON and other outputs."""
        data = {
            "metrics": self.metrics,
            "videos": self.videos,
            "attributes": self.attributes,
            "curves": {name: {"x": of.x, "y": of.y} for name, of in self.curves.items()},
            "num_videos": len(self.videos),
            "problems": self.problems,
        }
        return plain({**data, "intervals": self.intervals} if self.intervals else data)


@dataclass(frozen=True)
class Comparison:
    """How tracker A compares with tracker B by one metric, over the videos that both have."""

    a: float
    b: float
    difference: float  # A - B, and the bounds of its 95 % interval
    low: float
    high: float
    share: float  # of the samples in which A is better than B; equals count half


def plain(value: Any) -> Any:
    """Make lists and Python numbers of arrays and NumPy numbers; what is not finite is None."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
