"""Backbones; importing the package registers them."""

from pysot.models.backbone import alexnet  # noqa: F401
