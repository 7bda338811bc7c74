import json

import numpy as np
import pytest

from toolkit.datasets import DatasetFactory
from toolkit.evaluation import (
    AccuracyRobustnessBenchmark,
    EAOBenchmark,
    ResetEvaluation,
    build_evaluation,
)
from toolkit.evaluation.metrics import mean_known
from toolkit.evaluation.reset import SKIPPING, fragments

NAN = float("nan")
BOX, AWAY = "10,10,20,20", "100,60,20,20"
SIZE = (160, 120)


@pytest.fixture
def reset_set(tmp_path):
    """Function that writes a set of still targets and runs {video: [lines of a run, ...]}."""

    def build(runs, num_frames=30, name="VOT2018", skip=(), change=lambda records: None):
        records = {
            video: {
                "img_names": [f"{video}/{i:08d}.jpg" for i in range(num_frames)],
                "gt_rect": [[10, 10, 20, 20]] * num_frames,
                "width": SIZE[0],
                "height": SIZE[1],
                "camera_motion": [1] * 10 + [0] * (num_frames - 10),
                "occlusion": [0] * num_frames,
            }
            for video in runs
        }
        change(records)
        (tmp_path / f"{name}.json").write_text(json.dumps(records))
        for video, repetitions in runs.items():
            folder = tmp_path / "results" / "t" / "baseline" / video
            folder.mkdir(parents=True)
            for number, lines in enumerate(repetitions, 1):
                (folder / f"{video}_{number:03d}.txt").write_text("\n".join(lines) + "\n")
        dataset = DatasetFactory.create_dataset(name=name, dataset_root=tmp_path)
        dataset.set_tracker(tmp_path / "results", ["t"])
        return dataset

    return build


def run_of(length, failures=(), box=BOX):
    """Lines of a run that fails in the given frames and starts again 5 frames on."""
    lines = ["1", *[box] * (length - 1)]
    for frame in failures:
        lines[frame : frame + 6] = ["2", "0", "0", "0", "0", "1"][: length - frame]
    return lines


@pytest.mark.parametrize("name", ["VOT2018", "VOT2019"])
def test_scores_match_the_recorded_ones(load_protocol, protocol_numbers, name):
    evaluation = build_evaluation(load_protocol(name))
    for tracker, recorded in protocol_numbers[name]["trackers"].items():
        scores = evaluation.scores(tracker)
        assert scores.problems == []
        for metric in ("accuracy", "robustness", "lost_number", "eao"):
            assert scores.metrics[metric] == pytest.approx(recorded[metric], abs=1e-6)
        curve = scores.curves["expected_overlap"]
        assert curve.y == pytest.approx(recorded["eao_curve_all"], abs=1e-6)
        assert curve.x.tolist() == list(range(1, len(curve.y) + 1))
        for video, (accuracy, failures) in recorded["per_video"].items():
            assert scores.videos[video]["accuracy"] == pytest.approx(accuracy, abs=1e-6)
            assert scores.measures.by_video["failures"][video].tolist() == failures
        for tag, value in recorded["eao_per_tag"].items():
            if tag != "empty":  # its meaning differs on purpose
                expected = pytest.approx(float(value), abs=1e-6, nan_ok=True)
                assert scores.attributes[tag]["eao"] == expected


def without(text, tracker):
    return "".join(line for line in text.splitlines(True) if tracker not in line)


def test_tables_match_the_recorded_ones(load_protocol, protocol_numbers, capsys):
    dataset, recorded = load_protocol("VOT2018"), protocol_numbers["VOT2018"]
    ar, eao = AccuracyRobustnessBenchmark(dataset), EAOBenchmark(dataset)
    result = ar.eval()
    ar.show_result(result)
    assert capsys.readouterr().out == without(recorded["table_ar"], "TrkPoor15")
    ar.show_result(result, eao.eval())
    assert capsys.readouterr().out == without(recorded["table_ar_eao"], "TrkPoor15")
    tags = EAOBenchmark(dataset, tags=dataset.tags)
    tags.show_result(tags.eval())
    shown, expected = capsys.readouterr().out.splitlines(), recorded["table_eao_tags"].splitlines()
    cut = [line.rsplit("|", 2)[0] for line in shown]  # but for the last column, empty
    assert cut == [line.rsplit("|", 2)[0] for line in expected if "TrkPoor15" not in line]


def test_table_of_videos_matches_the_recorded_one(load_protocol, protocol_numbers, capsys):
    dataset = load_protocol("VOT2018")
    benchmark = AccuracyRobustnessBenchmark(dataset)
    names = ["TrkGood", "TrkPoly", "TrkMid"]
    benchmark.show_result(benchmark.eval(names), None, True, color=True)
    table = capsys.readouterr().out.split("\n\n\n\n")[1].splitlines()
    expected = protocol_numbers["VOT2018"]["cli_video"].split("\n\n\n\n")[1].splitlines()
    rows = [line.split("|") for line in expected[5:-1]]
    assert [line.split("|")[:8] for line in table[5:-1]] == [row[:8] for row in rows]


def test_upstream_benchmarks_return_what_the_originals_did(load_protocol):
    dataset = load_protocol("VOT2018")
    benchmark = AccuracyRobustnessBenchmark(dataset)
    result = benchmark.eval("TrkMid")
    assert list(result) == ["TrkMid"]
    assert set(result["TrkMid"]) == {"overlaps", "failures"}
    assert type(result["TrkMid"]["overlaps"]["bag"]) is list
    eao = EAOBenchmark(dataset, tags=["all", "occlusion"])
    assert set(eao.eval(["TrkGood"])["TrkGood"]) == {"all", "occlusion"}
    assert (eao.low, eao.high, eao.peak) == (100, 356, 160)
    with pytest.raises(ValueError, match="unknown tag 'fog'; there are: all, camera_motion"):
        EAOBenchmark(dataset, tags=["fog"])


def test_burnin_is_what_was_asked_for(reset_set):
    dataset = reset_set({"a": [["1", AWAY, *[BOX] * 28]]})
    overlaps = [
        AccuracyRobustnessBenchmark(dataset, burnin).eval()["t"]["overlaps"]["a"]
        for burnin in (0, 1, 10)
    ]
    assert [np.count_nonzero(np.isnan(values)) for values in overlaps] == [1, 1, 10]
    assert overlaps[0][1:3] == [0, 1]


def test_failures_count_and_frames_after_them_do_not(reset_set):
    dataset = reset_set({"a": [run_of(60, [10, 20])]}, num_frames=60)
    scores = ResetEvaluation(dataset).scores("t")
    assert scores.metrics["lost_number"] == 2
    assert scores.metrics["robustness"] == pytest.approx(100 * 2 / 60)
    assert scores.metrics["accuracy"] == 1


def test_every_repetition_counts(reset_set):
    runs = [run_of(30, [10]), run_of(30), run_of(30, [8, 20])]
    scores = ResetEvaluation(reset_set({"a": runs})).scores("t")
    assert scores.metrics["lost_number"] == 1
    assert scores.measures.by_video["failures"]["a"].tolist() == [1, 0, 2]
    assert scores.problems == []


def test_a_video_with_fewer_repetitions_has_the_same_weight(reset_set):
    dataset = reset_set({"a": [run_of(120)], "b": [run_of(120, [10])] * 3}, num_frames=120)
    scores = ResetEvaluation(dataset).scores("t")
    assert scores.problems == ["1 video(s) with fewer repetitions than others (a): of equal weight"]
    # at the length of 101 frames b has a fragment of 15 good frames, weight 16/16, and one of 104
    zero_filled = np.mean([1.0] * 9 + [0] * 91)
    curve = scores.curves["expected_overlap"].y
    assert curve[100] == pytest.approx((1 + zero_filled + 1) / 3, abs=1e-6)


def test_a_skipped_frame_without_failure_is_overlap_zero(reset_set):
    lines = run_of(120)
    lines[50] = "0"
    scores = ResetEvaluation(reset_set({"a": [lines]}, num_frames=120)).scores("t")
    curve = scores.curves["expected_overlap"].y  # PySOT: NaN from frame 50 on
    assert curve[49] == 1
    assert curve[50] == pytest.approx(49 / 50)
    assert scores.metrics["eao"] == pytest.approx(np.mean(curve[99:]))
    assert scores.metrics["accuracy"] == 1  # the frame is left out there


def test_bounds_differ_at_the_border_only(reset_set):
    # The target reaches 20 pixels beyond a frame 160 wide. 161 columns are drawn of one bound and
    # 160 of the other, of which the result has 141 and 140.
    def at_the_border(records):
        records["a"]["gt_rect"] = [[10, 10, 170, 20]] * 30

    dataset = reset_set({"a": [run_of(30, box="30,10,170,20")]}, change=at_the_border)
    evaluation = ResetEvaluation(dataset)
    wide = evaluation.scores("t").measures.by_video["overlaps"]["a"][20]
    assert wide == pytest.approx(131 / 151)
    assert evaluation.frame_overlaps("t", "a")[20] == pytest.approx(130 / 150)


def test_boxes_and_polygons_may_mix(reset_set):
    polygon = "10,10,30,10,30,30,10,30"
    lines = ["1", BOX, polygon, *[BOX] * 27]
    dataset = reset_set({"a": [lines, run_of(30)]})
    assert ResetEvaluation(dataset).frame_overlaps("t", "a")[1:].tolist() == [1] * 29


@pytest.mark.parametrize(("incomplete", "lost", "accuracy"), [("lost", 1, 1), ("skip", 0, 1)])
def test_missing_videos_are_failures_or_left_out(reset_set, incomplete, lost, accuracy):
    dataset = reset_set({"a": [run_of(120)], "b": []}, num_frames=120)
    scores = ResetEvaluation(dataset, incomplete).scores("t")
    assert scores.metrics["lost_number"] == lost
    assert scores.metrics["accuracy"] == accuracy
    assert "1 of 2 videos have no result (b)" in scores.problems[0]
    if incomplete == "skip":
        assert scores.metrics["eao"] == pytest.approx(1)
    else:
        # b: fragments of overlap 0, one without end and one from frame 5 on, 115 frames long
        assert scores.metrics["eao"] == pytest.approx((16 * 1 / 3 + 5 * 1 / 2) / 21)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (run_of(20), "a_001.txt has 20 lines for 30 frames: the rest counted as lost"),
        (run_of(31), "a_001.txt has 31 lines for 30 frames: surplus ignored"),
        (
            ["1", "nan,nan,nan,nan", *[BOX] * 28],
            "1 file(s) with NaN or infinite numbers (a_001.txt)",
        ),
        (["1", "10 10 20 20", *["10\t10\t20\t20"] * 28], "1 file(s) with other separators"),
    ],
)
def test_faulty_runs_are_reported(reset_set, lines, message):
    dataset = reset_set({"a": [lines]})
    assert any(message in line for line in ResetEvaluation(dataset).scores("t").problems)
    with pytest.raises(ValueError) as error:
        ResetEvaluation(dataset, "error").scores("t")
    assert message in str(error.value)


def test_a_line_that_is_no_region_makes_the_run_unreadable(reset_set):
    dataset = reset_set({"a": [run_of(30)], "b": [["1", "7", *[BOX] * 28]]})
    problems = ResetEvaluation(dataset).scores("t").problems
    assert (
        "b_001.txt: line 2: expected a code 0, 1 or 2, a box or a polygon, got '7'" in problems[0]
    )


def test_foreign_files_are_reported(reset_set, tmp_path):
    dataset = reset_set({"a": [run_of(30)]})
    (tmp_path / "results" / "t" / "baseline" / "other").mkdir()
    (tmp_path / "results" / "t" / "baseline" / ".hidden").mkdir()
    problems = ResetEvaluation(dataset).scores("t").problems
    assert problems == ["1 file(s) or folder(s) of no video (other): ignored"]


def test_another_spelling_of_a_video_is_found(reset_set, tmp_path):
    dataset = reset_set({"pedestrian1": [run_of(30)]})
    folder = tmp_path / "results" / "t" / "baseline"
    (folder / "pedestrian1" / "pedestrian1_001.txt").rename(
        folder / "pedestrian1" / "pedestrain1_001.txt"
    )
    (folder / "pedestrian1").rename(folder / "pedestrain1")
    assert ResetEvaluation(dataset).scores("t").problems == []


def test_fragments_by_hand():
    overlaps = np.array([NAN, 0.5, NAN, NAN, NAN, NAN, NAN, NAN, 0.25, 1.0])
    values, weights = fragments(overlaps, [2], 10, np.array([[1.0] * 10, [1.0] * 4 + [0] * 6]), 12)
    # start 0 to the next start 7 inclusive, then zeros; start 7 to the end, then nothing
    assert values[0].tolist() == [0, 0.5] + [0] * 10
    assert values[1, :3].tolist() == [0, 0.25, 1.0]
    assert np.isnan(values[1, 3:]).all()
    assert weights == pytest.approx(np.array([[1, 1], [4 / 8, 0]]))


@pytest.mark.parametrize("frame", [6, 7, 9])
def test_a_late_failure_ends_no_fragment(frame):
    flags = np.ones((1, 10))
    values, _ = fragments(np.full(10, 0.5), [frame], 10, flags, 10)
    assert len(values) == 1  # frame + 5 is beyond the end
    values, _ = fragments(np.full(10, 0.5), [10 - SKIPPING], 10, flags, 10)
    assert len(values) == 2
    assert np.isnan(values[1]).all()


def test_mean_known_leaves_nan_out():
    assert mean_known(np.array([[1, NAN, NAN], [2, 3, NAN]])) == pytest.approx(
        [1.5, 3, NAN], nan_ok=True
    )


def test_sets_too_short_for_the_expected_overlap_are_named(reset_set, caplog):
    scores = ResetEvaluation(reset_set({"a": [run_of(30)]})).scores("t")
    assert "VOT2018: no video has the 100 frames from which EAO is defined" in caplog.text
    assert np.isnan(scores.metrics["eao"])
    assert scores.as_data()["metrics"]["eao"] is None


def test_other_sets_are_refused(make_set):
    dataset = DatasetFactory.create_dataset(name="Tiny", dataset_root=make_set())
    with pytest.raises(ValueError, match="Tiny has no eao_window"):
        ResetEvaluation(dataset)
