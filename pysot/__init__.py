"""Siamese single-object tracking."""

__version__ = "0.1.0"
