import csv
import io

import pytest

from pysot.cli.eval import write_csv, write_latex
from toolkit.datasets import DatasetFactory
from toolkit.evaluation import METRICS, build_evaluation
from toolkit.evaluation.metrics import Scores
from toolkit.evaluation.tables import (
    CSV_HEADER,
    csv_text,
    latex_table,
    metric_table,
    places_of,
)
from toolkit.io.names import width_of

NAN = float("nan")


@pytest.fixture
def evaluation(mini):
    dataset = DatasetFactory.create_dataset(
        name="OTB100", dataset_root=mini / "testing_dataset" / "OTB100"
    )
    trackers = ["TrkA", "TrkB_alias"]
    dataset.set_tracker(mini / "results" / "OTB100", trackers)
    return build_evaluation(dataset)


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_csv_has_a_row_per_value(evaluation, tmp_path):
    write_csv(tmp_path / "new" / "s.csv", evaluation, ["TrkA", "TrkB_alias"])
    rows = read(tmp_path / "new" / "s.csv")
    assert tuple(rows[0]) == CSV_HEADER
    scores = evaluation.scores("TrkA")
    of_a = [row for row in rows if row["tracker"] == "TrkA"]
    by_level = {
        level: {
            (row["name"], row["metric"]): float(row["value"])
            for row in of_a
            if row["level"] == level
        }
        for level in ("dataset", "attribute", "video")
    }
    assert by_level["dataset"] == {("OTB100", m): v for m, v in scores.metrics.items()}
    for level, groups in (("attribute", scores.attributes), ("video", scores.videos)):
        expected = {(name, m): v for name, values in groups.items() for m, v in values.items()}
        assert by_level[level] == expected
    assert len(rows) == 2 * len(of_a)


def test_csv_holds_the_intervals_of_the_whole_set(evaluation, tmp_path):
    evaluation.add_intervals(["TrkA"], 50)
    write_csv(tmp_path / "s.csv", evaluation, ["TrkA"])
    rows = read(tmp_path / "s.csv")
    (success,) = (row for row in rows if (row["level"], row["metric"]) == ("dataset", "success"))
    bounds = evaluation.scores("TrkA").intervals["success"]
    assert (float(success["low"]), float(success["high"])) == bounds
    assert {row["low"] for row in rows if row["level"] != "dataset"} == {""}


@pytest.mark.parametrize("name", ["OTB100", "VOT2018", "VOT2018-LT", "GOT-10k", "DAVIS2016"])
def test_every_evaluation_is_written(scored_set, tmp_path, name):
    evaluation = scored_set(name)
    trackers = evaluation.ranked(evaluation.dataset.tracker_names)
    write_csv(tmp_path / "s.csv", evaluation, trackers)
    rows = read(tmp_path / "s.csv")
    assert {row["level"] for row in rows} == {"dataset", "attribute", "video"}
    assert {row["name"] for row in rows if row["level"] == "video"} == {"A", "B", "C<i>"}
    write_latex(tmp_path / "s.tex", evaluation, trackers)
    lines = (tmp_path / "s.tex").read_text().splitlines()
    assert [line.rsplit(" & ", len(evaluation.ranked_metrics))[0] for line in lines[4:-2]] == [
        "good",
        r"<b>bad \& \_co",
    ]
    assert METRICS[evaluation.key].label in lines[2].replace("\\", "")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("=1+1", "'=1+1"),
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("@SUM(1)", "'@SUM(1)"),
        ("+x", "'+x"),
        ("-x", "'-x"),
        (" =1", "' =1"),
        ("\uff1d1", "'\uff1d1"),
        ("-1.5", "-1.5"),
        ("+3", "+3"),
        ("a=1", "a=1"),
        ("\t=1", r"\t=1"),
        ("\r=1", r"\r=1"),
        ("a\x1b[31m\n\ud800", r"a\x1b[31m\n\ud800"),
    ],
)
def test_names_in_a_table_are_no_formulas(name, expected):
    levels = {"success": -0.5}, {name: {"success": -1.0}}, {name: {"success": NAN}}
    scores = Scores(*levels, {}, None, [])
    rows = list(csv.DictReader(io.StringIO(csv_text(name, {name: scores}))))
    assert {row["tracker"] for row in rows} | {row["dataset"] for row in rows} == {expected}
    assert [(row["name"], row["value"]) for row in rows] == [
        (expected, "-0.5"),
        (expected, ""),
        (expected, "-1.0"),
    ]


def test_names_in_tables_and_latex_have_no_effect():
    table = metric_table({"a\x1b[2Jb\nc": {"success": 0.5}}, ["success"])
    assert r"a\x1b[2Jb\nc" in table and len(table.splitlines()) == 5
    rows = latex_table({"a": {"success": 1.0}, "[b]\x1b": {"success": 0.5}}, ["success"])
    assert "{}[b]\\textbackslash{}x1b & " in rows  # a bracket after a line end is an option


def test_latex_marks_the_best_two_and_escapes_names():
    scores = {
        "a_1 & co": {"success": 0.7, "lost_number": 3.0},
        "b": {"success": 0.69999, "lost_number": 1.0},
        "c\\": {"success": 0.5, "lost_number": 2.0},
        "d": {"success": NAN, "lost_number": 9.0},
    }
    assert latex_table(scores, ["success", "lost_number"]) == (
        "\\begin{tabular}{lcc}\n"
        "\\hline\n"
        "Tracker & Success $\\uparrow$ & Lost Number $\\downarrow$ \\\\\n"
        "\\hline\n"
        "a\\_1 \\& co & \\textbf{0.700} & 3.0 \\\\\n"
        "b & \\textbf{0.700} & \\textbf{1.0} \\\\\n"
        "c\\textbackslash{} & \\underline{0.500} & \\underline{2.0} \\\\\n"
        "d & -- & 9.0 \\\\\n"
        "\\hline\n"
        "\\end{tabular}\n"
    )


def test_a_single_tracker_is_not_marked():
    assert "b & 0.500 \\\\" in latex_table({"b": {"f1": 0.5}}, ["f1"])


def test_places_follow_the_direction_of_the_metric():
    assert places_of([0.2, NAN, 0.4, 0.4], METRICS["eao"]) == [1, None, 0, 0]
    assert places_of([20.0, 10.0], METRICS["robustness"]) == [1, 0]


def test_the_metric_that_ranks_is_always_shown(evaluation):
    assert evaluation.ranked_metrics == ["success", "precision"]


def test_wide_characters_take_two_columns():
    table = metric_table({"追踪器": {"success": 0.5}, "e\u0301": {"success": 0.4}}, ["success"])
    assert table.splitlines()[3:5] == ["|   追踪器   |  0.500  |", "|     e\u0301      |  0.400  |"]
    assert width_of("\uff21\uff22") == 4
    assert metric_table({"目" * 8: {"success": 0.5}}, ["success"]).startswith("-" * 30 + "\n")
