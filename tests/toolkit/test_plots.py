from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from toolkit.visualization import plots
from toolkit.visualization.plots import (
    LEGEND_ROWS,
    draw_accuracy_robustness,
    draw_bars,
    draw_curves,
    draw_eao,
    draw_expected_overlap,
    draw_f1,
    draw_radar,
    draw_rank,
    save_figure,
)

NAN = float("nan")
TAGS = ("all", "camera_motion", "illum_change", "motion_change", "size_change", "occlusion")


def entries(figure):
    """Texts of the legend, inside or beside the axes."""
    legend = figure.axes[0].get_legend() or figure.legends[0]
    return [text.get_text() for text in legend.get_texts()]


def lines(figure):
    return {line.get_label(): line.get_xydata() for line in figure.axes[0].get_lines()}


def eao_result(scores):
    return {name: dict(zip((*TAGS, "empty"), of, strict=True)) for name, of in scores.items()}


def test_eao_scales_each_axis_by_its_best_tracker():
    result = eao_result(
        {"low": [0.1, 0.2, 0.4, 0.1, 0.1, 0.1, 0.3], "top": [0.4, 0.4, 0.2, 0.4, 0.1, 0.2, 0.6]}
    )
    figure = draw_eao(result, show=False)
    assert entries(figure) == ["[0.400] top", "[0.100] low"]
    radius = lines(figure)["[0.100] low"][:, 1]
    np.testing.assert_allclose(radius, [0.25, 0.5, 1, 0.25, 1, 0.5, 0.5, 0.25])  # closed
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts[0] == "Overall\n(0.100, 0.400)"
    assert texts[2] == "Illumination change\n(0.200, 0.400)"
    assert texts[-1] == "Unassigned\n(0.300, 0.600)"


def test_tags_without_a_score_get_no_axis():
    result = eao_result({"a": [0.3, NAN, 0.2, NAN, 0.1, NAN, 0.2]})
    assert len(draw_eao(result, show=False).axes[0].texts) == 4
    with pytest.raises(ValueError, match="needs scores of 3 tags, there are 1"):
        draw_eao({"a": {"all": 0.3, "occlusion": NAN}}, show=False)


def test_radar_shows_names_as_they_are():
    scores = {"a": {"ALL": 0.5, "Fast $x$": 0.5, "Blur": 0.5}, "b": {"ALL": 0.6, "Blur": 0.1}}
    figure = draw_radar(scores, "Success", {"ALL": "Overall"})
    assert entries(figure) == ["[0.600] b", "[0.500] a"]
    assert figure.axes[0].texts[1].get_text().startswith(r"Fast \$x\$")  # no mathematics


def test_f1_marks_the_best_threshold_on_lines_of_equal_f1():
    curves = {
        "precision": {"u": np.array([1.0, 0.8, 0.4]), "v": np.array([1.0, 0.6, 0.4])},
        "recall": {"u": np.array([0.0, 0.7, 0.8]), "v": np.array([0.0, 0.7, 0.8])},
    }
    figure = draw_f1({"a": curves, "b": curves}, bold_name="b", show=False)
    assert figure.axes[0].get_title() == "VOT2018-LT Precision vs Recall"
    assert entries(figure) == ["[0.700] a", "[0.700] b"]
    iso, drawn = figure.axes[0].get_lines()[:9], figure.axes[0].get_lines()[9:]
    for f1, line in zip(np.arange(1, 10) / 10, iso, strict=True):
        recall, precision = line.get_xydata().T
        np.testing.assert_allclose(2 * precision * recall / (precision + recall), f1)
    np.testing.assert_allclose(drawn[0].get_xydata(), [[0, 1], [0.7, 0.7], [0.8, 0.4]])
    np.testing.assert_allclose(drawn[1].get_xydata(), [[0.7, 0.7]])
    legend = figure.axes[0].get_legend() or figure.legends[0]
    assert [text.get_weight() for text in legend.get_texts()] == ["normal", "bold"]


def test_expected_overlap_shades_the_averaged_lengths():
    x = np.arange(1, 1501)
    curves = {"a": (x, 1 / x), "b": (x, np.full(1500, 0.5))}
    figure = draw_expected_overlap(curves, {"a": 0.1, "b": 0.5}, (100, 356), "VOT2018")
    axes = figure.axes[0]
    assert entries(figure) == ["[0.500] b", "[0.100] a"]
    assert axes.get_xlim() == (1, 712)
    (shade,) = axes.patches
    assert (shade.get_x(), shade.get_x() + shade.get_width()) == (100, 356)


def test_ranks_run_from_the_worst_to_the_best():
    scores = {"a": 0.2, "b": 0.4, "c": NAN, "d": 0.3}
    figure = draw_rank(scores, "EAO", "EAO", {"b": (0.35, 0.45), "a": (NAN, NAN)})
    assert entries(figure) == ["[0.400] b", "[0.300] d", "[0.200] a"]
    assert [xy.tolist() for xy in lines(figure).values()] == [[[1, 0.4]], [[2, 0.3]], [[3, 0.2]]]
    low, high = figure.axes[0].get_xlim()
    assert low > high
    (bounds,) = figure.axes[0].collections
    np.testing.assert_allclose(bounds.get_segments()[0], [[1, 0.35], [1, 0.45]])


def test_robustness_is_a_probability_or_raw():
    scores = {"a": (0.6, 0.5), "b": (0.5, 0.0)}
    figure = draw_accuracy_robustness(scores, "VOT2018")
    np.testing.assert_allclose(lines(figure)["[0.600, 0.500] a"], [[np.exp(-0.15), 0.6]])
    np.testing.assert_allclose(lines(figure)["[0.500, 0.000] b"], [[1, 0.5]])
    assert "S = 30" in figure.axes[0].get_xlabel()
    raw = draw_accuracy_robustness(scores, "VOT2018", sensitivity=None)
    np.testing.assert_allclose(lines(raw)["[0.600, 0.500] a"], [[0.5, 0.6]])
    assert "per 100 frames" in raw.axes[0].get_xlabel()
    low, high = raw.axes[0].get_xlim()
    assert low > high  # few failures at the right


def test_bars_have_the_best_tracker_at_the_top():
    scores = {"a": {"j": 0.2, "f": 0.4}, "b": {"j": 0.6, "f": 0.1}}
    axes = draw_bars(scores, "J, F", {"j": "J mean", "f": "F mean"}).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a"]
    assert axes.yaxis_inverted()
    assert [[bar.get_width() for bar in group] for group in axes.containers] == [
        [0.6, 0.2],
        [0.1, 0.4],
    ]


def test_infinite_thresholds_leave_a_gap(tmp_path):
    x = np.array([np.inf, 0.5, -np.inf])
    figure = draw_curves({"a": (x, np.ones(3))}, {"a": 1.0}, "F1", ("threshold", "F1"))
    assert np.isnan(lines(figure)["[1.000] a"][:, 0]).tolist() == [True, False, True]
    save_figure(figure, tmp_path / "f1.png")


def test_legends_stand_within_axes_of_one_size():
    x = np.linspace(0, 1, 20)
    free = draw_curves({"a": (x, x)}, {"a": 1.0}, "t", ("x", "y"), "lower right")
    busy = draw_curves({"a": (x, x * 0)}, {"a": 1.0}, "t", ("x", "y"), "lower right")
    legends = [figure.axes[0].get_legend() for figure in (free, busy)]
    assert [legend._loc for legend in legends] == [4, 1]  # at the lower and the upper right
    assert free.get_size_inches().tolist() == busy.get_size_inches().tolist()
    radar = draw_radar({"a": dict.fromkeys("xyz", 0.5)}, "t")
    assert entries(radar) == ["[nan] a"]
    assert radar.get_size_inches().tolist() == [7.2, 5.4]  # as wide and high


@pytest.mark.parametrize("names", [[f"t{i}" for i in range(11)], ["name" * 12]])
def test_legends_that_are_too_large_stand_beside_the_axes(names):
    x = np.linspace(0, 1, 20)
    figures = [
        draw_curves(dict.fromkeys(names, (x, x * k)), dict.fromkeys(names, 0.5), "t", ("x", "y"))
        for k in (0, 1)
    ]
    assert [figure.axes[0].get_legend() for figure in figures] == [None, None]
    assert len({tuple(figure.get_size_inches()) for figure in figures}) == 1


def test_matplotlib_says_nothing_of_fonts(tmp_path, caplog, recwarn):
    figure = plots.new_figure(False)
    figure.add_subplot().set_title("目标", family="No Such Font", weight="bold")
    plots.save_figure(figure, tmp_path / "a.png")
    assert not [record for record in caplog.records if "matplotlib" in record.name]
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def test_any_number_of_trackers_can_be_drawn(tmp_path):
    scores = {f"tracker {i}": i / 100 for i in range(2 * LEGEND_ROWS + 1)}
    figure = draw_rank(scores, "EAO", "EAO")
    assert len(entries(figure)) == len(scores)
    assert figure.legends[0]._ncols == 3
    save_figure(figure, tmp_path / "rank.svg")


def test_drawing_leaves_the_settings_of_matplotlib_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw_rank({"a": 0.5}, "EAO", "EAO")
    draw_eao(eao_result({"a": [0.1] * 7}), show=False)
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    "draw",
    [
        lambda: draw_eao(eao_result({"a": [0.1] * 7})),
        lambda: draw_f1({"a": {key: {"v": np.ones(3)} for key in ("precision", "recall")}}),
    ],
)
def test_windows_open_as_in_pysot(monkeypatch, draw):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = []
    monkeypatch.setattr(pyplot, "show", lambda: shown.append(pyplot.get_fignums()))
    draw()
    assert shown == [[1]]
    pyplot.close("all")


def named_figure(name):
    figure = plots.new_figure(False)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], label=name)
    axes.set_yticks([0.0], [name])
    plots.add_legend(axes, "lower right")
    return figure


def families(figure):
    from matplotlib.text import Text

    return {tuple(text.get_fontfamily()[1:]) for text in figure.findobj(Text) if text.get_text()}


@pytest.fixture
def machine_fonts(monkeypatch):
    """Fonts of a made-up machine, and the characters that they have."""
    manager = pytest.importorskip("matplotlib.font_manager")
    real, fonts = manager.get_font, {"Han": "目标跟", "Half": "目", "Kana": "ひら", "Bad": None}

    def get_font(path, *args, **kwargs):
        if path not in fonts:
            return real(path, *args, **kwargs)
        if fonts[path] is None:
            raise RuntimeError("damaged")
        return SimpleNamespace(get_charmap=lambda: dict.fromkeys(map(ord, fonts[path])))

    entries = [manager.FontEntry(fname=name, name=name, style="italic") for name in fonts]
    own = [e for e in manager.fontManager.ttflist if e.name[:6] in ("DejaVu", "Last R")]
    monkeypatch.setattr(manager, "get_font", get_font)
    monkeypatch.setattr(manager.fontManager, "ttflist", [*own, *entries])
    plots._fonts_for.cache_clear()
    plots._warn_once.cache_clear()
    yield
    plots._fonts_for.cache_clear()


@pytest.mark.parametrize(
    ("name", "fonts", "warned"),
    [
        ("SiamRPN", (), False),
        ("Ünïcøde Ωж", (), False),  # the usual font has them
        ("目标", ("Han",), False),
        ("跟ひ", ("Han", "Kana"), False),
        ("目추", ("Han",), True),
        ("추적", (), True),
    ],
)
def test_names_in_any_script_use_the_fewest_fonts_that_have_it(
    machine_fonts, name, fonts, warned, caplog
):
    figure = named_figure(name)
    plots._add_fonts(figure)
    assert families(figure) == {fonts}
    assert warned is ("no font here has all characters" in caplog.text)


def test_characters_without_a_font_are_one_warning(tmp_path, caplog, recwarn):
    plots._fonts_for.cache_clear()
    plots._warn_once.cache_clear()
    for name in ("\U000f0000", "\U000f0001"):  # of private use
        plots.save_figure(named_figure(name), tmp_path / "a.png")
    assert len(caplog.messages) == 1
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]
