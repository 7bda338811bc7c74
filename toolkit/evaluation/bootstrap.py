"""Confidence intervals and comparisons of trackers by resampling the videos.

The bootstrap (Efron, 1979): as many videos as there are, drawn with replacement, make one sample;
the scores of many samples tell how far the score depends on the choice of videos. Percentiles
bound the interval. Trackers are compared on the same samples, which is the paired test.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from toolkit.evaluation.evaluation import Evaluation
from toolkit.evaluation.scores import METRICS, Comparison, Measures

SEED = 0  # the same samples in every run
LEVEL = 0.95  # share of the samples within an interval


def draw_weights(num_videos: int, num_samples: int, seed: int = SEED) -> NDArray:
    """Draw samples of videos with replacement.

    Returns:
        (num_samples, num_videos) how often each video is in each sample.
    """
    shares = np.full(num_videos, 1 / num_videos)
    return np.random.default_rng(seed).multinomial(num_videos, shares, num_samples).astype(float)


def percentiles(values: NDArray) -> tuple[float, float]:
    """Bounds that hold the middle 95 % of values (B,); undefined ones are left out."""
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def intervals(evaluation: Evaluation, tracker: str, num_samples: int) -> dict[str, tuple]:
    """Bounds of the 95 % interval of a tracker's headline metrics.

    Args:
        evaluation: Scores the tracker.
        tracker: Its name.
        num_samples: Number of samples.

    Returns:
        Lower and upper bound by metric.
    """
    samples = _samples(evaluation, evaluation.scores(tracker).measures, num_samples)
    return {metric: percentiles(samples[metric]) for metric in evaluation.headlines}


def add_intervals(evaluation: Evaluation, trackers: Sequence[str], num_samples: int) -> None:
    """Give the scores of trackers their intervals; see `intervals`."""
    for name in trackers:
        bounds = intervals(evaluation, name, num_samples)
        evaluation.keep(name, replace(evaluation.scores(name), intervals=bounds))


def compare(evaluation: Evaluation, a: str, b: str, num_samples: int) -> dict[str, Comparison]:
    """Compare two trackers on the same samples of the videos that both have.

    Args:
        evaluation: Scores the trackers.
        a: Name of the one.
        b: Name of the other.
        num_samples: Number of samples.

    Returns:
        Comparison by headline metric.

    Raises:
        ValueError: If they have no video in common.
    """
    measures = [evaluation.scores(name).measures for name in (a, b)]
    common = [video for video in measures[0].videos if video in measures[1].videos]
    if not common:
        raise ValueError(f"{a} and {b} have no video in common")
    measures = [measure.rows(common) for measure in measures]
    whole = [evaluation.combine(measure, np.ones((1, len(common)))) for measure in measures]
    samples = [_samples(evaluation, measure, num_samples) for measure in measures]
    return {
        metric: _comparison(metric, *(of[metric] for of in (*whole, *samples)))
        for metric in evaluation.headlines
    }


def _samples(evaluation: Evaluation, measures: Measures, num_samples: int) -> dict[str, NDArray]:
    return evaluation.combine(measures, draw_weights(len(measures.videos), num_samples))


def _comparison(
    metric: str, a: NDArray, b: NDArray, samples_a: NDArray, samples_b: NDArray
) -> Comparison:
    differences = samples_a - samples_b
    known = differences[~np.isnan(differences)]
    better = known if METRICS[metric].higher_is_better else -known
    share = np.mean((better > 0) + 0.5 * (better == 0)) if len(known) else np.nan
    low, high = percentiles(differences)
    return Comparison(float(a[0]), float(b[0]), float(a[0] - b[0]), low, high, float(share))
