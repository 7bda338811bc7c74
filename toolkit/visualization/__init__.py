"""Plots of scores and overlays on frames; plotting needs matplotlib, loaded when used."""

from toolkit.visualization.plots import draw_eao, draw_f1, draw_success_precision, save_figure

__all__ = ["draw_eao", "draw_f1", "draw_success_precision", "save_figure"]
