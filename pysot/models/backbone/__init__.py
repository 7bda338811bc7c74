"""Backbones; importing the package registers them."""

from pysot.core.registry import BACKBONES
from pysot.models.backbone import alexnet, mobile_v2, resnet_atrous, timm_network  # noqa: F401

get_backbone = BACKBONES.build  # PySOT's name for it
