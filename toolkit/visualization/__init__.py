"""Plots of scores and overlays on frames; plotting needs matplotlib, loaded when used."""

from toolkit.visualization.draw_success_precision import draw_success_precision
from toolkit.visualization.draw_utils import COLOR, LINE_STYLE, MARKER_STYLE, save_figure

__all__ = ["COLOR", "LINE_STYLE", "MARKER_STYLE", "draw_success_precision", "save_figure"]
