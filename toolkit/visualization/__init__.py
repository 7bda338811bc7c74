"""Plots of scores and overlays on frames; plotting needs matplotlib, loaded when used."""

from toolkit.visualization.draw_f1 import draw_f1
from toolkit.visualization.draw_radar import draw_eao, draw_radar
from toolkit.visualization.draw_scores import (
    draw_accuracy_robustness,
    draw_bars,
    draw_curves,
    draw_expected_overlap,
    draw_rank,
)
from toolkit.visualization.draw_success_precision import draw_success_precision
from toolkit.visualization.draw_utils import COLOR, LINE_STYLE, MARKER_STYLE, save_figure

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
