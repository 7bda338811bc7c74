import json

import numpy as np
import pytest

from pysot.cli import eval as tool
from toolkit.evaluation import METRICS
from toolkit.evaluation.metrics import METRICS_OF, Metric, add_metric, score_of_curve
from toolkit.report import report_page

SETS = ["OTB100", "VOT2018", "VOT2018-LT", "GOT-10k", "DAVIS2016"]


def center_error(gt, pred, n_frame, strict):
    return np.hypot(*(gt - pred)[:, :2].T).mean()


@pytest.fixture
def with_error():
    """A row that is added to the one-pass metrics."""
    row = Metric(
        "error",
        "Error [px]",
        lambda totals: totals["error"] / totals["videos"],
        center_error,
        digits=1,
        higher_is_better=False,
        range=(0, np.inf),
        always_shown=True,
    )
    add_metric("ope", row)
    with pytest.raises(ValueError, match="metric 'error' is registered already"):
        add_metric("ope", row)
    yield
    METRICS_OF["ope"].remove(row)
    del METRICS["error"]


def test_a_metric_is_one_row(scored_set, with_error, tmp_path, capsys):
    evaluation = scored_set("OTB100")
    trackers = evaluation.ranked(evaluation.dataset.tracker_names)
    evaluation.show(trackers)
    head, _, good, bad = capsys.readouterr().out.splitlines()[1:5]
    assert "Error [px]" in head
    assert "|    0.0     |" in good
    assert "|    23.0    |" in bad
    evaluation.add_intervals(trackers, 10)
    tool.write_json(tmp_path / "s.json", evaluation, trackers)
    data = json.loads((tmp_path / "s.json").read_text())["trackers"][trackers[1]]
    assert data["metrics"]["error"] == data["videos"]["A"]["error"] == 23
    assert data["intervals"]["error"] == [23, 23]
    tool.write_csv(tmp_path / "s.csv", evaluation, trackers)
    assert "dataset,OTB100,error,23.0,23.0,23.0" in (tmp_path / "s.csv").read_text()
    tool.write_latex(tmp_path / "s.tex", evaluation, trackers)
    assert r"Error [px] $\downarrow$" in (tmp_path / "s.tex").read_text()
    assert ">Error [px]</button>" in report_page(evaluation, trackers)
    assert evaluation.compare(*trackers, 10)["error"].share == 1


def test_a_new_metric_is_drawn(scored_set, with_error, tmp_path):
    pytest.importorskip("matplotlib")
    tool.write_plots(tmp_path, scored_set("OTB100"), ["good"])
    assert (tmp_path / "OTB100_more_scores.png").is_file()


def test_rows_of_one_key_are_shown_alike():
    for rows in METRICS_OF.values():
        for row in rows:
            known = METRICS[row.key]
            assert (row.label, row.digits, row.range) == (known.label, known.digits, known.range)
            assert row.higher_is_better == known.higher_is_better


@pytest.mark.parametrize("name", SETS)
def test_values_lie_in_the_range_of_their_metric(scored_set, name):
    evaluation = scored_set(name)
    for tracker in evaluation.dataset.tracker_names:
        for metric in evaluation.metrics:
            low, high = metric.range
            assert low <= evaluation.scores(tracker).metrics[metric.key] <= high


def test_scores_of_curves_by_hand():
    curve = np.linspace(1, 0, 51)
    assert score_of_curve("precision", curve) == pytest.approx(0.6)
    assert score_of_curve("success", np.array([1.0, 0.5])) == 0.75
