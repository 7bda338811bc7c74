"""Scores of a tracker in one form for all benchmarks.

As plain data (`Scores.as_data`) a tracker's scores are::

    {
      "metrics":    {metric: value},                    # keys of METRICS
      "intervals":  {metric: [low, high]},              # 95 %, only after a bootstrap
      "videos":     {video: {metric: value}},
      "attributes": {attribute: {metric: value}},       # or tags of frames
      "curves":     {curve: {"x": [...], "y": [...]}},  # keys of CURVES
      "num_videos": 100,
      "problems":   ["3 of 100 videos have no result (...): counted as lost"],
    }

A value that is not defined (NaN, infinite) is None there. Which of the metrics are there, and
which attributes and curves, depends on the evaluation; tables and plots need not know.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Metric:
    """How a metric is shown.

    Attributes:
        label: Heading of its column.
        digits: Decimals.
        higher_is_better: Direction of the ranking.
    """

    label: str
    digits: int = 3
    higher_is_better: bool = True


METRICS: dict[str, Metric] = {
    "success": Metric("Success"),
    "precision": Metric("Precision"),
    "norm_precision": Metric("Norm Precision"),
    "op50": Metric("OP@0.50"),
    "op75": Metric("OP@0.75"),
    "accuracy": Metric("Accuracy"),
    "robustness": Metric("Robustness", higher_is_better=False),
    "lost_number": Metric("Lost Number", digits=1, higher_is_better=False),
    "eao": Metric("EAO"),
    "recall": Metric("Recall"),
    "f1": Metric("F1"),
    "ao": Metric("AO"),
    "sr50": Metric("SR@0.50"),
    "sr75": Metric("SR@0.75"),
    "jf": Metric("J&F"),
    "j": Metric("J mean"),
    "j_recall": Metric("J recall"),
    "j_decay": Metric("J decay", higher_is_better=False),
    "f": Metric("F mean"),
    "f_recall": Metric("F recall"),
    "f_decay": Metric("F decay", higher_is_better=False),
}


@dataclass(frozen=True)
class Axes:
    """What a curve shows.

    Attributes:
        title: Of its plot.
        x: Label of the x axis.
        y: Label of the y axis.
    """

    title: str
    x: str
    y: str


CURVES: dict[str, Axes] = {
    "success": Axes("Success", "Overlap threshold", "Success rate"),
    "precision": Axes("Precision", "Location error threshold", "Precision"),
    "norm_precision": Axes("Normalized precision", "Location error threshold", "Precision"),
    "expected_overlap": Axes("Expected overlap", "Sequence length", "Expected overlap"),
    "precision_recall": Axes("Precision over recall", "Recall", "Precision"),
    "f1": Axes("F1", "Confidence threshold", "F1"),
}


@dataclass(frozen=True)
class Curve:
    """A curve of a tracker.

    Attributes:
        x: (P,) positions, ascending, or as `CURVES` says.
        y: (P,) values.
    """

    x: NDArray
    y: NDArray


@dataclass(frozen=True)
class Measures:
    """What was measured on each video, before averaging.

    Attributes:
        videos: Names of the V videos that count.
        sums: Arrays (V, ...) by name; an average over videos is made of weighted sums of these,
            which is what makes resampling of videos cheap.
        shared: Arrays that belong to no single video.
        by_video: Arrays by name and video whose shape differs from video to video.
    """

    videos: list[str]
    sums: dict[str, NDArray]
    shared: dict[str, NDArray] = field(default_factory=dict)
    by_video: dict[str, dict[str, NDArray]] = field(default_factory=dict)

    def rows(self, names: list[str]) -> "Measures":
        """The same of some of the videos, in the order given."""
        order = [self.videos.index(name) for name in names]
        sums = {name: values[order] for name, values in self.sums.items()}
        return Measures(list(names), sums, self.shared, self.by_video)


@dataclass(frozen=True)
class Scores:
    """All scores of one tracker; see the module for their form as plain data.

    Attributes:
        metrics: Value by metric.
        videos: Value by video and metric.
        attributes: Value by attribute, or tag, and metric.
        curves: Average curves.
        measures: What they were made of.
        problems: What was wrong with the results and what was done about it, one line each.
        intervals: Bounds of the 95 % confidence interval by metric, after a bootstrap.
    """

    metrics: dict[str, float]
    videos: dict[str, dict[str, float]]
    attributes: dict[str, dict[str, float]]
    curves: dict[str, Curve]
    measures: Measures
    problems: list[str]
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)

    def as_data(self) -> dict[str, Any]:
        """Plain data for JSON and other outputs."""
        curves = {name: {"x": curve.x, "y": curve.y} for name, curve in self.curves.items()}
        data = {
            "metrics": self.metrics,
            "videos": self.videos,
            "attributes": self.attributes,
            "curves": curves,
            "num_videos": len(self.videos),
            "problems": self.problems,
        }
        if self.intervals:
            data["intervals"] = self.intervals
        return plain(data)


@dataclass(frozen=True)
class Comparison:
    """How tracker A compares with tracker B by one metric.

    Attributes:
        a: Value of A over the videos that both have.
        b: Value of B.
        difference: A - B.
        low: Lower bound of the difference, 95 %.
        high: Upper bound.
        share: Share of the samples in which A is better than B; equals count half.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    share: float


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
