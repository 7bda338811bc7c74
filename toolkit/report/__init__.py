"""Reports of scores: every plot that applies, and a page that holds all."""

from toolkit.report.page import write_report

__all__ = ["write_report"]
