"""Heads; importing the package registers them."""

from pysot.models.head import rpn  # noqa: F401
