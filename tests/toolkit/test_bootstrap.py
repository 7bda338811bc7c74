import numpy as np
import pytest
from box_files import write_boxes

from toolkit.datasets import DatasetFactory
from toolkit.evaluation import OPEBenchmark, build_evaluation
from toolkit.evaluation.evaluation import draw_weights, percentiles
from toolkit.evaluation.tables import comparison_table, interval_table


@pytest.fixture
def many(make_set, tmp_path):
    """Evaluation of 20 videos: "half" is perfect on 10 of them, "perfect" on all."""

    def spread(records):
        record = records.pop("a")
        records.update({f"v{i:02d}": record for i in range(20)})
        del records["b"]

    dataset = DatasetFactory.create_dataset(name="Tiny", dataset_root=make_set(spread))
    for i, video in enumerate(dataset.videos):
        good = [[10 + k, 20, 30, 40] for k in range(3)]
        bad = [[200, 200, 30, 40]] * 3
        write_boxes(tmp_path / "results" / "half" / f"{video}.txt", bad if i % 2 else good)
        write_boxes(tmp_path / "results" / "perfect" / f"{video}.txt", good)
    dataset.set_tracker(tmp_path / "results", ["half", "perfect"])
    return OPEBenchmark(dataset)


def test_a_sample_holds_as_many_videos_as_there_are():
    weights = draw_weights(7, 100)
    assert weights.shape == (100, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert weights.max() > 1
    assert (weights == draw_weights(7, 100)).all()
    assert (weights != draw_weights(7, 100, seed=1)).any()


def test_percentiles_leave_undefined_samples_out():
    values = np.array([*range(101), np.nan])
    assert percentiles(values) == pytest.approx((2.5, 97.5))
    assert np.isnan(percentiles(np.full(3, np.nan))).all()


def test_interval_is_that_of_the_binomial(many):
    # the precision of "half" is 0.5; 20 draws of a fair coin lie in 6..14 with 95.9 %
    low, high = many.intervals("half", 4000)["precision"]
    assert (low, high) == pytest.approx((0.3, 0.7), abs=0.051)
    assert many.intervals("perfect", 100)["precision"] == (1, 1)


def test_comparison_is_paired(many):
    result = many.compare("perfect", "half", 500)["precision"]
    assert (result.a, result.b, result.difference) == (1, 0.5, 0.5)
    assert 0 < result.low < 0.5 < result.high < 1
    assert result.share == 1
    same = many.compare("half", "half", 50)["success"]
    assert (same.difference, same.low, same.high, same.share) == (0, 0, 0, 0.5)


def test_only_videos_of_both_are_compared(many, tmp_path):
    (tmp_path / "results" / "half" / "v00.txt").unlink()
    evaluation = OPEBenchmark(many.dataset, "skip")
    assert evaluation.compare("perfect", "half", 50)["precision"].b == pytest.approx(9 / 19)


def test_lower_may_be_better(load_protocol):
    evaluation = build_evaluation(load_protocol("VOT2018"))
    result = evaluation.compare("TrkGood", "TrkMid", 300)
    assert result["robustness"].difference < 0  # fewer failures
    assert result["robustness"].share > 0.9
    assert result["accuracy"].share > 0.9
    assert set(result) == {"accuracy", "robustness", "lost_number", "eao"}


@pytest.mark.parametrize("name", ["VOT2018", "VOT2018-LT"])
def test_one_sample_is_scored_as_a_set_of_its_videos_would_be(load_protocol, name):
    evaluation = build_evaluation(load_protocol(name))
    tracker = evaluation.dataset.tracker_names[0]
    measures = evaluation.scores(tracker).measures
    whole = evaluation.combine(measures, np.ones((1, len(measures.videos))))
    twice = evaluation.combine(measures, np.full((1, len(measures.videos)), 2.0))
    for metric, values in whole.items():
        factor = 2 if metric == "lost_number" else 1  # a sum
        assert twice[metric] == pytest.approx(factor * values)
    low, high = evaluation.intervals(tracker, 200)[evaluation.key]
    assert low <= evaluation.scores(tracker).metrics[evaluation.key] <= high


def test_tables_show_intervals_and_comparisons(many):
    many.add_intervals(["half"], 200)
    scores = many.scores("half")
    table = interval_table({"half": scores})
    low, high = scores.intervals["precision"]
    assert f"0.500 [{low:.3f}, {high:.3f}]" in table
    assert scores.as_data()["intervals"]["precision"] == [low, high]
    text = comparison_table("perfect", "half", many.compare("perfect", "half", 200))
    assert "perfect is better" in text
    assert "+0.500 [" in text
    assert "100.0 %" in text
