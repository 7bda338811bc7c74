import json

import numpy as np
import pytest

from toolkit.datasets import DatasetFactory
from toolkit.evaluation import F1Benchmark, build_evaluation
from toolkit.evaluation.metrics import best_f1

BOX = "10,10,20,20"
NAN = float("nan")


@pytest.fixture
def long_set(tmp_path):
    """Function that writes a set of still targets, absent in frame 2, and runs {video: files}."""

    def build(runs, num_frames=5):
        boxes = [[10, 10, 20, 20]] * num_frames
        boxes[2] = [NAN] * 4
        records = {
            video: {
                "img_names": [f"{video}/{i:08d}.jpg" for i in range(num_frames)],
                "gt_rect": boxes,
                "width": 160,
                "height": 120,
            }
            for video in runs
        }
        (tmp_path / "VOT2018-LT.json").write_text(json.dumps(records))
        for video, files in runs.items():
            folder = tmp_path / "results" / "t" / "longterm" / video
            folder.mkdir(parents=True)
            for suffix, lines in zip((".txt", "_confidence.value"), files, strict=False):
                (folder / f"{video}_001{suffix}").write_text("\n".join(lines) + "\n")
        dataset = DatasetFactory.create_dataset(name="VOT2018-LT", dataset_root=tmp_path)
        dataset.set_tracker(tmp_path / "results", ["t"])
        return dataset

    return build


GOOD = (["1", *[BOX] * 4], ["", "0.9", "0.1", "0.9", "0.9"])


def test_scores_match_the_recorded_ones(load_protocol, protocol_numbers):
    benchmark = F1Benchmark(load_protocol("VOT2018-LT"))
    for tracker, recorded in protocol_numbers["VOT2018-LT"]["trackers"].items():
        curves = benchmark.eval(tracker)[tracker]
        assert set(curves) == {"precision", "recall", "f1"}
        for metric, videos in recorded.items():
            assert list(curves[metric]) == list(videos)
            for video, curve in videos.items():
                assert curves[metric][video] == pytest.approx(curve, abs=1e-9)


@pytest.mark.parametrize(("level", "key"), [(False, "cli"), (True, "cli_video")])
def test_tables_match_the_recorded_ones(load_protocol, protocol_numbers, capsys, level, key):
    evaluation = build_evaluation(load_protocol("VOT2018-LT"))
    evaluation.show(["TrkA", "TrkB"], level, color=True)
    assert capsys.readouterr().out == protocol_numbers["VOT2018-LT"][key]
    benchmark = F1Benchmark(evaluation.dataset)
    benchmark.show_result(benchmark.eval(), level, color=True)
    assert capsys.readouterr().out == protocol_numbers["VOT2018-LT"][key]


def test_scores_by_hand(long_set):
    scores = F1Benchmark(long_set({"a": GOOD})).scores("t")
    # at 0.9 three of the four visible frames are found; the first has no overlap
    assert scores.metrics == pytest.approx({"precision": 1, "recall": 3 / 4, "f1": 6 / 7})
    assert scores.problems == []
    evaluation = F1Benchmark(long_set({"b": GOOD}))
    assert evaluation.frame_overlaps("t", "b") == pytest.approx([0, 1, NAN, 1, 1], nan_ok=True)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (GOOD[:1], "a_001_confidence.value: there is no such file of confidences: counted as lost"),
        ((GOOD[0], ["", "0.9", "x", "0.9", "0.9"]), "line 3: expected a confidence, got 'x'"),
        ((GOOD[0], ["", "0.9", "0.1", "0.9"]), "a_001.txt has 4 lines for 5 frames"),
        ((GOOD[0][:4], GOOD[1]), "a_001.txt has 4 lines for 5 frames"),
        ((GOOD[0], ["", "0.9", "0.1", "nan", "0.9"]), "with NaN or infinite numbers (a_001.txt)"),
        ((["1", "5", *[BOX] * 3], GOOD[1]), "line 2: expected a code, a box or a polygon, got '5'"),
        (([""], GOOD[1]), "a_001.txt: is empty"),
        ((GOOD[0], [""]), "a_001.txt has 1 lines for 5 frames"),
    ],
)
def test_faulty_runs_are_reported(long_set, files, message):
    benchmark = F1Benchmark(long_set({"a": files, "b": GOOD}))
    scores = benchmark.scores("t")
    assert any(message in line for line in scores.problems)
    assert scores.metrics["f1"] <= 6 / 7


@pytest.mark.parametrize(
    ("incomplete", "precision", "recall"), [("lost", 0.5, 3 / 8), ("skip", 1, 3 / 4)]
)
def test_missing_videos_have_no_score_or_are_left_out(long_set, incomplete, precision, recall):
    metrics = F1Benchmark(long_set({"a": GOOD, "b": ()}), incomplete).scores("t").metrics
    assert metrics["precision"] == pytest.approx(precision)
    assert metrics["recall"] == pytest.approx(recall)


def test_an_undefined_f1_never_wins():
    precision, recall = np.array([[0.0, 0.5]]), np.array([[0.0, 0.5]])
    assert best_f1(precision, recall)["f1"].tolist() == [0.5]
    assert best_f1(np.zeros((1, 2)), np.zeros((1, 2)))["f1"].tolist() == [0]
