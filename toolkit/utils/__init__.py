"""Region overlap, metrics and file helpers."""
