import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from toolkit.utils import statistics as stats

GOLDEN = Path(__file__).parents[1] / "golden" / "toolkit"
CURVES = (stats.success_curve, stats.precision_curve, stats.norm_precision_curve)
NAN = float("nan")


def numbers(values):
    """JSON keeps NaN and infinities as text."""
    return np.array(values, dtype=float)


@pytest.fixture(scope="module")
def functions():
    with gzip.open(GOLDEN / "functions.json.gz", "rt") as file:
        return json.load(file)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0, 0, 2, 2], [0, 0, 2, 2], 1),
        ([0, 0, 2, 2], [1, 0, 2, 2], 2 / 6),
        ([0, 0, 2, 2], [2, 0, 2, 2], 0),  # touching
        ([0, 0, 2, 2], [5, 5, 2, 2], 0),  # apart in both directions
        ([0, 0, 0, 0], [0, 0, 0, 0], NAN),
        ([0, 0, NAN, 2], [0, 0, 2, 2], NAN),
        ([0, 0, 2, 2], [1e308, 1e308, 1e308, 1e308], 0),  # too large to add up
    ],
)
@pytest.mark.filterwarnings("error")
def test_overlap_ratio(a, b, expected):
    assert stats.overlap_ratio(np.array(a, float), np.array(b, float)) == pytest.approx(
        [expected], nan_ok=True
    )


def test_one_pass_curves_match_the_recorded_counts(functions):
    for case in functions["ope"]:
        gt, pred, n = numbers(case["gt"]), numbers(case["pred"]), case["n_frame"]
        assert stats.overlap_ratio(gt, pred) == pytest.approx(
            numbers(case["overlap_ratio"]), abs=1e-12, nan_ok=True
        )
        assert stats.success_overlap(gt, pred, n).tolist() == case["success_overlap"]
        assert stats.precision_curve(gt, pred, n).tolist() == case["success_error"]
        assert stats.norm_precision_curve(gt, pred, n).tolist() == case["norm_success_error"]


def test_a_perfect_tracker_misses_only_the_last_threshold():
    boxes = np.array([[5, 5, 10, 10]] * 4, float)
    assert stats.success_overlap(boxes, boxes, 4).tolist() == [1.0] * 20 + [0.0]
    assert stats.success_overlap(boxes, boxes, 4).mean() == pytest.approx(20 / 21)


def test_frames_left_out_still_count_in_the_denominator():
    boxes = np.array([[5, 5, 10, 10]] * 2, float)
    assert stats.success_overlap(boxes, boxes, 4)[0] == 0.5


def test_absent_target_is_a_success_miss_and_a_precision_hit_unless_strict():
    gt = np.array([[NAN] * 4, [5, 5, 10, 10]])
    pred = np.array([[5, 5, 10, 10], [5, 5, 10, 10]], float)
    assert stats.success_curve(gt, pred, 2)[0] == 0.5
    assert stats.precision_curve(gt, pred, 2)[0] == 1.0
    assert stats.precision_curve(gt, pred, 2, strict=True).tolist() == [0.5] * 51
    assert stats.norm_precision_curve(gt, pred, 2, strict=True).tolist() == [0.5] * 51


def test_nan_results_are_misses():
    gt = np.array([[5, 5, 10, 10]], float)
    pred = np.full((1, 4), NAN)
    for curve in (stats.success_curve, stats.precision_curve, stats.norm_precision_curve):
        assert curve(gt, pred, 1).max() == 0


def test_distance_threshold_is_inclusive():
    gt, pred = np.array([[0, 0, 11, 11.0]]), np.array([[3, 4, 11, 11.0]])  # centers 5 pixels apart
    assert stats.precision_curve(gt, pred, 1)[4:6].tolist() == [0, 1]


def test_trajectories_of_two_lengths_are_refused():
    for curve in (stats.success_curve, stats.precision_curve, stats.norm_precision_curve):
        with pytest.raises(ValueError, match="2 predictions for 3 ground-truth"):
            curve(np.ones((3, 4)), np.ones((2, 4)), 3)


def test_failures_and_accuracy_match_the_recorded_ones(functions):
    for run in functions["trajectories"]:
        assert list(stats.calculate_failures(run["pred"])) == run["failures"]
        for case in run["cases"]:
            mean, overlaps = stats.calculate_accuracy(
                run["pred"], run["gt"], burnin=case["burnin"], bound=case["bound"]
            )
            assert mean == pytest.approx(float(case["acc"]), abs=1e-6, nan_ok=True)
            assert overlaps == pytest.approx(numbers(case["overlaps"]), abs=1e-6, nan_ok=True)


def test_accuracy_of_nothing_is_zero(functions):
    assert list(stats.calculate_accuracy([], [])) == functions["accuracy_empty"]


def test_unknown_frames_count_as_zero_on_request():
    box = [0, 0, 9, 9]
    assert stats.calculate_accuracy([[1], box], [box, box]) == (
        1.0,
        pytest.approx([NAN, 1], nan_ok=True),
    )
    assert stats.calculate_accuracy([[1], box], [box, box], ignore_unknown=False) == (0.5, [0, 1])


def test_long_term_curves_match_the_recorded_ones(functions):
    for case in functions["f1"]:
        scores = numbers(case["scores"])
        thresholds = stats.determine_thresholds(scores)
        if not isinstance(case["statistics"], str):  # the recorded crash with few scores is fixed
            assert thresholds.tolist() == numbers(case["statistics"]).tolist()
            curves = stats.calculate_f1(
                numbers(case["overlaps"]), scores, None, thresholds, case["N"]
            )
            for curve, name in zip(curves, ("f1", "precision", "recall"), strict=True):
                assert curve == pytest.approx(numbers(case[name]), abs=1e-9, nan_ok=True)


def test_few_scores_give_repeated_thresholds():
    thresholds = stats.determine_thresholds(np.array([0.5, NAN, 0.1]), resolution=6)
    assert thresholds.tolist() == [-np.inf, 0.1, 0.1, 0.5, 0.5, np.inf]
    with pytest.raises(ValueError, match="no confidence scores"):
        stats.determine_thresholds(np.array([NAN]))


def test_expected_overlap_matches_the_recorded_one(functions):
    for case in functions["expected_overlap"]:
        curve = stats.calculate_expected_overlap(
            numbers(case["fragments"]), numbers(case["weights"])
        )
        assert curve == pytest.approx(numbers(case["expected"]), abs=1e-6, nan_ok=True)


def test_expected_overlap_by_hand():
    fragments = [[NAN, 1.0, 0.5], [0.3, 0.5, NAN]]  # the second ends after frame 1
    curve = stats.calculate_expected_overlap(fragments, [1, 3])
    assert curve == pytest.approx([1, (1 * 1.0 + 3 * 0.5) / 4, 0.75])
