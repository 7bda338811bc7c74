"""Benchmarks: from result files to scores and tables."""

from toolkit.evaluation.ope_benchmark import INCOMPLETE, OPEBenchmark, TrackerScores

__all__ = ["INCOMPLETE", "OPEBenchmark", "TrackerScores"]
