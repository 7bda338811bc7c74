"""Heads; importing the package registers them."""

from typing import Any

from pysot.core.registry import MASK_HEADS as MASKS
from pysot.core.registry import REFINE_HEADS as REFINE
from pysot.core.registry import RPN_HEADS as RPNS
from pysot.models.head import mask, rpn  # noqa: F401


def get_rpn_head(name: str, **kwargs: Any) -> Any:
    """Build an RPN head by its name in a configuration; ``ValueError`` if there is none."""
    return RPNS.build(name, **kwargs)


def get_mask_head(name: str, **kwargs: Any) -> Any:
    """Build a mask head by its name in a configuration; ``ValueError`` if there is none."""
    return MASKS.build(name, **kwargs)


def get_refine_head(name: str, **kwargs: Any) -> Any:
    """Build a refine head by its name in a configuration; ``ValueError`` if there is none."""
    return REFINE.build(name, **kwargs)
