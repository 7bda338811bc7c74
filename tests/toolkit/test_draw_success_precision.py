import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from toolkit.visualization import draw_success_precision, save_figure
from toolkit.visualization.plots import line_style

VIDEOS = ["a", "b"]


def curves(levels, length):
    return {f"t{i}": dict.fromkeys(VIDEOS, np.full(length, v)) for i, v in enumerate(levels)}


SUCCESS, PRECISION = curves([0.2, 0.6, 0.4], 21), curves([0.9, 0.1, 0.5], 51)


def entries(figure):
    return (figure.axes[0].get_legend() or figure.legends[0]).get_texts()


def labels(figure):
    return [text.get_text() for text in entries(figure)]


def test_one_figure_per_metric_with_a_sorted_legend():
    figures = draw_success_precision(
        SUCCESS, "OTB100", VIDEOS, "ALL", PRECISION, PRECISION, show=False
    )
    assert list(figures) == ["success", "precision", "norm_precision"]
    assert labels(figures["success"]) == ["[0.600] t1", "[0.400] t2", "[0.200] t0"]
    assert labels(figures["precision"]) == ["[0.900] t0", "[0.500] t2", "[0.100] t1"]
    titles = [figure.axes[0].get_title() for figure in figures.values()]
    assert titles == [
        "Success plots of OPE on OTB100",
        "Precision plots of OPE on OTB100",
        "Normalized Precision plots of OPE on OTB100",
    ]


def test_trackers_keep_their_color_over_all_figures():
    figures = draw_success_precision(SUCCESS, "OTB100", VIDEOS, "ALL", PRECISION, show=False)
    colors = [
        {line.get_label()[8:]: line.get_color() for line in figure.axes[0].get_lines()}
        for figure in figures.values()
    ]
    assert colors[0] == colors[1]
    assert len(set(colors[0].values())) == 3


def test_an_attribute_averages_its_videos_only():
    success = {"t": {"a": np.zeros(21), "b": np.ones(21)}}
    figure = draw_success_precision(success, "OTB100", ["b"], "Occlusion", show=False)["success"]
    assert figure.axes[0].get_title() == "Success plots of OPE - Occlusion"
    assert labels(figure) == ["[1.000] t"]
    with pytest.raises(ValueError, match="t has no score on any of the 1 videos"):
        draw_success_precision(success, "OTB100", ["c"], "Occlusion", show=False)


def test_the_bold_tracker_stands_out():
    figure = draw_success_precision(
        SUCCESS, "OTB100", VIDEOS, "ALL", bold_name="t2", axis=[0, 0.7], show=False
    )["success"]
    weights = {t.get_text(): t.get_weight() for t in entries(figure)}
    assert [name for name, weight in weights.items() if weight == "bold"] == ["[0.400] t2"]
    assert figure.axes[0].get_ylim() == pytest.approx((0, 0.73))


def test_any_number_of_trackers_can_be_drawn():
    figure = draw_success_precision(
        curves(np.linspace(0, 1, 25), 21), "S", VIDEOS, "ALL", show=False
    )
    assert len(figure["success"].axes[0].get_lines()) == 25
    assert line_style(11) != line_style(0)  # a color comes back with other dashes


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_figures_are_saved_in_the_format_of_their_name(tmp_path, suffix):
    figure = draw_success_precision(SUCCESS, "OTB100", VIDEOS, "ALL", show=False)["success"]
    save_figure(figure, tmp_path / "new" / f"success.{suffix}")
    head = (tmp_path / "new" / f"success.{suffix}").read_bytes()[:5]
    assert head == {"png": b"\x89PNG\r", "pdf": b"%PDF-", "svg": b"<?xml"}[suffix]


@pytest.mark.parametrize("suffix", ["pdf", "svg"])
def test_equal_figures_are_equal_bytes(tmp_path, suffix):
    paths = [tmp_path / f"{number}.{suffix}" for number in (1, 2)]
    for path in paths:
        figure = draw_success_precision(SUCCESS, "OTB100", VIDEOS, "ALL", show=False)["success"]
        save_figure(figure, path)
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert b"dc:date" not in first and b"CreationDate" not in first


def test_unknown_formats_are_refused_and_leave_nothing(tmp_path):
    figure = draw_success_precision(SUCCESS, "OTB100", VIDEOS, "ALL", show=False)["success"]
    with pytest.raises(ValueError, match="xyz"):
        save_figure(figure, tmp_path / "success.xyz")
    assert list(tmp_path.iterdir()) == []


def test_windows_open_on_request(monkeypatch):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = []
    monkeypatch.setattr(pyplot, "show", lambda: shown.append(pyplot.get_fignums()))
    draw_success_precision(SUCCESS, "OTB100", VIDEOS, "ALL", PRECISION)
    assert shown == [[1, 2]]
    pyplot.close("all")


def test_plotting_without_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install matplotlib"):
        draw_success_precision(SUCCESS, "OTB100", VIDEOS, "ALL", show=False)
