"""Plots of scores and overlays on frames; plotting needs matplotlib, loaded when used."""

from toolkit.visualization.plots import (
    COLOR,
    LINE_STYLE,
    MARKER_STYLE,
    draw_accuracy_robustness,
    draw_bars,
    draw_curves,
    draw_eao,
    draw_expected_overlap,
    draw_f1,
    draw_radar,
    draw_rank,
    draw_success_precision,
    save_figure,
)

__all__ = [
    "COLOR",
    "LINE_STYLE",
    "MARKER_STYLE",
    "draw_accuracy_robustness",
    "draw_bars",
    "draw_curves",
    "draw_eao",
    "draw_expected_overlap",
    "draw_f1",
    "draw_radar",
    "draw_rank",
    "draw_success_precision",
    "save_figure",
]
