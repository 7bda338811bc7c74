"""Heads; importing the package registers them."""

from pysot.models.head import fc, mask, rpn  # noqa: F401
