"""Scores of real and of made-up results over real annotations, which are not in the repository."""

import json
import os
import re
import runpy
import tarfile
from pathlib import Path

import numpy as np
import pytest

from toolkit.datasets import DatasetFactory
from toolkit.evaluation import F1Benchmark, build_evaluation

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("PYSOT_SHARED", ROOT.parent / "shared"))
GOLDEN = SHARED / "golden" / "toolkit"
BENCHMARKS = SHARED / "data" / "benchmarks"

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not (GOLDEN.exists() and BENCHMARKS.exists()), reason=f"no {SHARED}"),
]


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Folder of real result files of several sets."""
    folder = tmp_path_factory.mktemp("real")
    with tarfile.open(GOLDEN / "real" / "results.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def evaluation_of(name, root, results, trackers):
    dataset = DatasetFactory.create_dataset(name=name, dataset_root=root)
    dataset.set_tracker(results, trackers)
    return build_evaluation(dataset)


def check_reset_scores(scores, recorded):
    for metric in ("accuracy", "robustness", "lost_number", "eao"):
        assert scores.metrics[metric] == pytest.approx(recorded[metric], abs=1e-6)
    assert scores.curves["expected_overlap"].y == pytest.approx(recorded["eao_curve_all"], abs=1e-6)
    for video, (accuracy, failures) in recorded["per_video"].items():
        expected = pytest.approx(float(accuracy), abs=1e-6, nan_ok=True)
        assert scores.videos[video]["accuracy"] == expected
        assert sorted(scores.measures.by_video["failures"][video]) == sorted(failures)
    for tag, value in recorded["eao_per_tag"].items():
        if tag != "empty":  # its meaning differs on purpose
            expected = pytest.approx(float(value), abs=1e-6, nan_ok=True)
            assert scores.attributes[tag]["eao"] == expected


@pytest.mark.parametrize("name", ["VOT2018", "VOT2019"])
def test_real_reset_results(real, name):
    recorded = json.loads((GOLDEN / "real" / f"{name}.json").read_text())["trackers"]
    evaluation = evaluation_of(name, BENCHMARKS / name, real / name, list(recorded))
    for tracker, expected in recorded.items():
        check_reset_scores(evaluation.scores(tracker), expected)


def test_real_one_pass_results(real):
    recorded = json.loads((GOLDEN / "real" / "OTB100.json").read_text())["trackers"]
    evaluation = evaluation_of("OTB100", BENCHMARKS / "OTB100", real / "OTB100", list(recorded))
    for tracker, expected in recorded.items():
        scores = evaluation.scores(tracker)
        for metric, curve in scores.curves.items():
            assert curve.y == pytest.approx(expected[f"{metric}_curve"], abs=1e-12)
        for video, values in expected["per_video"].items():
            figures = [scores.videos[video][m] for m in ("success", "precision", "norm_precision")]
            assert figures == pytest.approx(values[:3], abs=1e-12)
            assert scores.videos[video]["op50"] == pytest.approx(values[4], abs=1e-12)
        for attribute, values in expected["per_attribute"].items():
            figures = list(scores.attributes[attribute].values())
            assert sorted(figures[:3]) == pytest.approx(sorted(values), abs=1e-12)


def made_up(name, tmp_path, trackers):
    """Results of the recorded generator over the ground truth of a VOT set."""
    generator = runpy.run_path(str(GOLDEN / "generators" / "gen_vot_results.py"))
    path = BENCHMARKS / name / f"{name}.json"
    generator["generate"](str(path), str(tmp_path), "public-1", trackers)
    return evaluation_of(name, BENCHMARKS / name, tmp_path, trackers)


def test_made_up_reset_results(tmp_path):
    recorded = json.loads((GOLDEN / "vot" / "VOT2018_syn.json").read_text())["trackers"]
    evaluation = made_up("VOT2018", tmp_path, ["edge", "polygon"])
    for tracker in ("edge", "polygon"):
        check_reset_scores(evaluation.scores(tracker), recorded[tracker])


def test_skipped_frames_leave_the_expected_overlap_defined(tmp_path):
    scores = made_up("VOT2018", tmp_path, ["unknown"]).scores("unknown")
    assert 0 < scores.metrics["eao"] < 1  # PySOT: NaN
    assert np.isfinite(scores.curves["expected_overlap"].y).all()


def test_long_term_results(tmp_path, capsys):
    recorded = json.loads((GOLDEN / "lt" / "f1.json").read_text())
    with tarfile.open(GOLDEN / "lt" / "lt_dataset_and_results.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    name, trackers = "VOT2018-LT", list(recorded["trackers"])
    evaluation = evaluation_of(name, tmp_path / name, tmp_path / "results" / name, trackers)
    for tracker, expected in recorded["trackers"].items():
        scores = evaluation.scores(tracker)
        for metric in ("precision", "recall", "f1"):
            assert scores.metrics[metric] == pytest.approx(expected[metric], abs=1e-9)
        curve = scores.curves["precision_recall"]
        assert curve.y == pytest.approx(expected["precision_curve"], abs=1e-9)
        assert curve.x == pytest.approx(expected["recall_curve"], abs=1e-9)
        thresholds = [float(value) for value in expected["thresholds_desc"]]
        assert scores.curves["f1"].x.tolist() == thresholds
    benchmark = F1Benchmark(evaluation.dataset)
    benchmark.show_result(benchmark.eval(), True, color=True)
    assert capsys.readouterr().out == recorded["table_video_level"]


@pytest.mark.slow
def test_published_numbers_come_out(capsys):
    published = runpy.run_path(str(ROOT / "benchmarks" / "published.py"))
    assert published["main"]([str(SHARED)]) == 0
    out = capsys.readouterr().out
    assert "DIFFERS" not in out
    assert len(out.splitlines()) == 1 + sum(len(of.values) for of in published["PUBLISHED"])


def test_console_tables_of_all_sets(tmp_path, capsys):
    with tarfile.open(GOLDEN / "mini" / "mini.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    for path in sorted((GOLDEN / "mini" / "cli").glob("*.txt")):
        name, _, level = path.stem.partition("_")
        results, expected = tmp_path / "results" / name, path.read_text()
        trackers = sorted(os.listdir(results))
        if level:  # the columns of PySOT's table come in the order of its file system
            head = expected.split("\n\n\n\n")[1].splitlines()[1]
            trackers.sort(key=head.index)
        root = tmp_path / "testing_dataset" / name
        evaluation = evaluation_of(name, root, results, trackers)
        evaluation.show(trackers, bool(level), color=True)
        printed, no_norm = capsys.readouterr().out, "|     0.000      |"
        if no_norm in expected:  # where PySOT leaves out the normalized precision
            printed = re.sub(r"\|     \d\.\d{3}      \|", no_norm, printed)
        assert printed == expected, path.stem
