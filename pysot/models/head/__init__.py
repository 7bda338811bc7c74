"""Heads; importing the package registers them."""

from pysot.core.registry import MASK_HEADS as MASKS
from pysot.core.registry import REFINE_HEADS as REFINE
from pysot.core.registry import RPN_HEADS as RPNS
from pysot.models.head import mask, pixel_mask, rpn, unit  # noqa: F401

# PySOT's names
get_rpn_head, get_mask_head, get_refine_head = RPNS.build, MASKS.build, REFINE.build
