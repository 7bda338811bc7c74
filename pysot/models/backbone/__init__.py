"""Backbones; importing the package registers them."""

from pysot.models.backbone import alexnet, mobile_v2, resnet_atrous  # noqa: F401
