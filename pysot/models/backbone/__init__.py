"""Backbones; importing the package registers them."""

from pysot.core.registry import BACKBONES
from pysot.models.backbone import (  # noqa: F401
    alexnet,
    efficientnet_lite,
    mobile_v2,
    resnet_atrous,
    timm_network,
)

get_backbone = BACKBONES.build  # PySOT's name for it
