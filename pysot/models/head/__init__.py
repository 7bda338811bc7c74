"""Heads; importing the package registers them."""

from pysot.models.head import mask, rpn  # noqa: F401
