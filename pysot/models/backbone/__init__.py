"""Backbones; importing the package registers them."""

from typing import Any

from pysot.core.registry import BACKBONES
from pysot.models.backbone import alexnet, mobile_v2, resnet_atrous, timm_network  # noqa: F401


def get_backbone(name: str, **kwargs: Any) -> Any:
    """Build a backbone by its name in a configuration; ``ValueError`` if there is none."""
    return BACKBONES.build(name, **kwargs)
