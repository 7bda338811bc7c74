"""Data sets, protocols, metrics and plots of tracking benchmarks, without torch."""
