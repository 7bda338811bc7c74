import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from box_files import write_boxes

from toolkit.datasets import DatasetFactory
from toolkit.evaluation import OPEBenchmark
from toolkit.evaluation.tables import format_table, one_pass_table

FIGURES = {"success": "auc", "precision": "precision20", "norm_precision": "norm_precision20"}
SETS = ["OTB100", "UAV123", "UAV20L", "NFS30", "LaSOT"]
GT = [[10 + i, 20, 30, 40] for i in range(3)]


@pytest.fixture
def mini_benchmark(mini, request):
    def load(name):
        root = mini / "testing_dataset" / name
        dataset = DatasetFactory.create_dataset(name=name, dataset_root=root)
        results = mini / "results" / name
        dataset.set_tracker(results, sorted(path.name for path in results.iterdir()))
        return OPEBenchmark(dataset)

    return load


@pytest.fixture
def benchmark_of(make_set, tmp_path):
    """Benchmark of the two-video set with results given as {tracker: {video: boxes}}."""

    def build(results, name="Tiny", change=lambda records: None, **options):
        dataset = DatasetFactory.create_dataset(name=name, dataset_root=make_set(change, name=name))
        for tracker, videos in results.items():
            (tmp_path / "results" / tracker).mkdir(parents=True, exist_ok=True)
            for video, boxes in videos.items():
                write_boxes(tmp_path / "results" / tracker / f"{video}.txt", boxes)
        dataset.set_tracker(tmp_path / "results", list(results))
        return OPEBenchmark(dataset, **options)

    return build


@pytest.mark.parametrize("name", SETS)
def test_scores_match_the_recorded_ones(mini_benchmark, mini_numbers, name):
    benchmark = mini_benchmark(name)
    for tracker, recorded in mini_numbers[name]["trackers"].items():
        scores = benchmark.scores(tracker)
        assert bool(scores.problems) == ("nan" in tracker)
        for metric, figure in FIGURES.items():
            mean = recorded[f"{metric}_curve"]
            assert scores.curves[metric].y == pytest.approx(mean, abs=1e-12)
            assert scores.metrics[metric] == pytest.approx(recorded[figure], abs=1e-12)
        assert scores.metrics["op50"] == pytest.approx(recorded["success_curve"][10], abs=1e-12)
        assert scores.metrics["op75"] == pytest.approx(recorded["success_curve"][15], abs=1e-12)
        for video, (auc, precision, norm, _, op50) in recorded["per_video"].items():
            expected = {"success": auc, "precision": precision, "norm_precision": norm}
            values = dict(scores.videos[video])
            del values["op75"]
            assert values == pytest.approx({**expected, "op50": op50}, abs=1e-12)
        assert set(scores.attributes) == set(recorded["per_attribute"])
        for attribute, values in recorded["per_attribute"].items():
            figures = [scores.attributes[attribute][metric] for metric in FIGURES]
            assert figures == pytest.approx(values, abs=1e-12)


@pytest.mark.parametrize("name", SETS)
def test_tables_match_the_recorded_ones(mini_benchmark, mini_numbers, name, capsys):
    benchmark, recorded = mini_benchmark(name), mini_numbers[name]
    success, precision, norm = (
        benchmark.eval_success(),
        benchmark.eval_precision(),
        benchmark.eval_norm_precision(),
    )
    for arguments, options, key in (
        ((success, precision, norm), {}, "table_all"),
        ((success, precision), {}, "table_success_precision"),
        ((success,), {}, "table_success_only"),
        ((success, precision), {"show_video_level": True}, "table_video_level"),
    ):
        benchmark.show_result(*arguments, color=True, **options)
        assert capsys.readouterr().out == recorded[key]


def test_color_is_for_terminals(mini_benchmark, capsys):
    benchmark = mini_benchmark("OTB100")
    benchmark.show_result(benchmark.eval_success(), benchmark.eval_precision(), None, True)
    assert "Basketball" in (out := capsys.readouterr().out)
    assert "\x1b" not in out


def test_one_tracker_may_be_asked_for(mini_benchmark):
    benchmark = mini_benchmark("OTB100")
    assert list(benchmark.eval_success("TrkA")) == ["TrkA"]
    assert list(benchmark.eval_precision(["TrkA", "TrkC_nan"])) == ["TrkA", "TrkC_nan"]


def test_workers_give_the_same_scores(mini_benchmark):
    names = ["TrkA", "TrkB_alias", "TrkC_nan"]
    alone, together = mini_benchmark("OTB100"), mini_benchmark("OTB100")
    assert list(alone.evaluate(names)) == list(together.evaluate(names, num_workers=2)) == names
    for name in names:
        assert alone.scores(name).videos == together.scores(name).videos
        for metric, curves in alone.scores(name).measures.sums.items():
            assert (curves == together.scores(name).measures.sums[metric]).all()


def test_files_are_read_once(benchmark_of, tmp_path):
    benchmark = benchmark_of({"t": {"a": GT, "b": GT}})
    benchmark.eval_success()
    (tmp_path / "results" / "t" / "a.txt").unlink()
    assert benchmark.eval_precision()["t"]["a"].min() == 1


def test_frames_marked_absent_are_dropped_but_counted(benchmark_of):
    def mark(records):
        for record in records.values():
            record["absent"] = [1, 0, 1]

    benchmark = benchmark_of({"t": {"a": GT, "b": GT}}, name="LaSOT", change=mark)
    assert benchmark.eval_success()["t"]["a"][0] == pytest.approx(2 / 3)


@pytest.mark.parametrize(("incomplete", "expected"), [("lost", (20 / 21) / 2), ("skip", 20 / 21)])
def test_missing_videos_are_reported_and_handled(benchmark_of, caplog, incomplete, expected):
    benchmark = benchmark_of({"t": {"a": GT}}, incomplete=incomplete)
    for _ in range(2):
        score = np.mean(list(benchmark.eval_success()["t"].values()))
    assert score == pytest.approx(expected)
    assert len(caplog.records) == 1
    assert "t:\n  1 of 2 videos have no result (b)" in caplog.text


@pytest.mark.parametrize(
    ("boxes", "incomplete", "expected", "message"),
    [
        (GT[:2], "lost", 2 / 3, "b.txt has 2 lines for 3 frames: the rest counted as lost"),
        (GT[:2], "skip", 1, "b.txt has 2 lines for 3 frames: the rest left out"),
        ([*GT, GT[0]], "lost", 1, "b.txt has 4 lines for 3 frames: surplus ignored"),
        ([*GT, GT[0]], "skip", 1, "b.txt has 4 lines for 3 frames: surplus ignored"),
        ([[1, 2, 3]] * 3, "lost", 0, "line 1: expected 4 numbers x,y,w,h, got '1,2,3'"),
        ([], "lost", 0, "b.txt: is empty: counted as lost"),
    ],
)
def test_faulty_results_are_reported_and_handled(
    benchmark_of, caplog, boxes, incomplete, expected, message
):
    benchmark = benchmark_of({"t": {"a": GT, "b": boxes}}, incomplete=incomplete)
    assert benchmark.eval_success()["t"]["b"][0] == pytest.approx(expected)
    assert benchmark.eval_precision()["t"]["b"][20] == pytest.approx(expected)
    assert message in caplog.text
    assert benchmark.scores("t").problems


def test_a_tracker_without_results_is_told_of_the_first_fault(benchmark_of):
    benchmark = benchmark_of({"t": {"a": [], "b": []}})
    with pytest.raises(ValueError, match=r"a\.txt, b\.txt; \S*a\.txt: is empty and 1 more$"):
        benchmark.scores("t")


def test_an_unreadable_video_is_left_out_on_request(benchmark_of):
    benchmark = benchmark_of({"t": {"a": GT, "b": []}}, incomplete="skip")
    assert list(benchmark.eval_success()["t"]) == ["a"]


def test_faults_stop_the_scoring_on_request(benchmark_of):
    benchmark = benchmark_of({"t": {"b": GT[:2]}}, incomplete="error")
    with pytest.raises(
        ValueError, match=r"t:\n  1 of 2 videos have no result \(a\).*\n  b.txt has"
    ):
        benchmark.scores("t")


def test_surplus_lines_known_of_a_video_are_no_fault(benchmark_of):
    def rename(records):
        records["monkey-17"] = records.pop("a")
        for record in records.values():
            record["absent"] = [1, 1, 1]

    results = {"t": {"monkey-17": GT * 2, "b": GT}}
    assert benchmark_of(results, name="LaSOT", change=rename).scores("t").problems == []


def test_a_tracker_without_results_is_an_error_saying_what_is_there(benchmark_of, tmp_path):
    benchmark = benchmark_of({"t": {"elsewhere": GT}})
    with pytest.raises(ValueError, match=r"looked for .*t/a\.txt and so on, there is elsewhere\.t"):
        benchmark.scores("t")


def test_absent_ground_truth_is_a_precision_hit_unless_strict(benchmark_of):
    def absent(records):
        records["a"]["gt_rect"][2] = None

    results = {"t": {"a": GT, "b": GT}}
    assert benchmark_of(results, change=absent).eval_precision()["t"]["a"][0] == 1
    strict = benchmark_of(results, change=absent, strict=True)
    assert strict.eval_precision()["t"]["a"][0] == pytest.approx(2 / 3)


def test_unknown_policies_are_refused(benchmark_of):
    with pytest.raises(ValueError, match="unknown policy 'guess'; known: lost, skip, error"):
        benchmark_of({}, incomplete="guess")


def test_centers_under_upstream_names(benchmark_of):
    benchmark = benchmark_of({})
    assert benchmark.convert_bb_to_center([[10, 20, 5, 9]]).tolist() == [[12, 24]]
    assert benchmark.convert_bb_to_norm_center([[10, 20, 5, 9]], [[4, 8]]).tolist() == [[3, 3]]


def test_table_shows_the_best_and_widens_for_long_names():
    scores = {f"t{i}": {"success": i / 100} for i in range(30)}
    lines = one_pass_table(scores, (), top=2).splitlines()
    assert [line.split("|")[1].strip() for line in lines[3:-1]] == ["t29", "t28"]
    long = one_pass_table({"a_name_of_fourteen": {"success": 0}}, ()).splitlines()[1]
    assert long.startswith("|    Tracker name    |")


def test_table_without_rows():
    assert format_table([[("a", 3)]], []) == "-----\n| a |\n-----\n-----"


def test_scoring_imports_neither_torch_nor_opencv_nor_matplotlib():
    code = (
        "import sys, toolkit.datasets, toolkit.evaluation, toolkit.visualization;"
        "print([m for m in ('torch', 'cv2', 'matplotlib', 'yacs', 'pysot') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert run.stdout.strip() == b"[]", run.stderr


SHARED = Path(os.environ.get("PYSOT_SHARED", Path(__file__).parents[3] / "shared"))


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "tracker", "incomplete", "success", "precision"),
    [
        ("OTB100", "STRUCK", "skip", 0.462, 0.640),
        ("DTB70", "LightTrack", "lost", 0.591, 0.766),
        ("DTB70", "SiamAPN", "lost", 0.585, 0.786),
        ("UAV123_10fps", "AutoTrack", "lost", 0.477, 0.671),
    ],
)
def test_published_numbers_come_out(tmp_path, name, tracker, incomplete, success, precision):
    import tarfile

    archive = SHARED / "data" / "results" / f"{name}.tar.xz"
    if not archive.exists():
        pytest.skip(f"no {archive}")
    with tarfile.open(archive) as tar:
        members = [m for m in tar.getmembers() if m.name.startswith(f"{name}/{tracker}/")]
        tar.extractall(tmp_path, members, filter="data")
    root = SHARED / "data" / "benchmarks" / name
    dataset = DatasetFactory.create_dataset(name=name, dataset_root=root)
    dataset.set_tracker(tmp_path / name, [tracker])
    metrics = OPEBenchmark(dataset, incomplete).scores(tracker).metrics
    assert round(metrics["success"], 3) == success
    assert round(metrics["precision"], 3) == precision


@pytest.mark.data
@pytest.mark.parametrize("tracker", ["nan", "alias"])
def test_made_up_results_on_otb100_match_the_recorded_scores(tmp_path, tracker):
    import json
    import runpy

    golden = SHARED / "golden" / "toolkit"
    root = SHARED / "data" / "benchmarks" / "OTB100"
    if not (golden.exists() and root.exists()):
        pytest.skip(f"no {golden} or {root}")
    generate = runpy.run_path(str(golden / "generators" / "gen_ope_results.py"))["generate"]
    generate(str(root / "OTB100.json"), str(tmp_path), "public-1", [tracker])
    recorded = json.loads((golden / "ope" / "OTB100_syn.json").read_text())["trackers"][tracker]
    dataset = DatasetFactory.create_dataset(name="OTB100", dataset_root=root)
    dataset.set_tracker(tmp_path, [tracker])
    for metric, curve in OPEBenchmark(dataset).scores(tracker).curves.items():
        assert curve.y == pytest.approx(recorded[f"{metric}_curve"], abs=1e-12)
