"""Necks; importing the package registers them."""

from pysot.core.registry import NECKS
from pysot.models.neck import fusion, neck  # noqa: F401

get_neck = NECKS.build  # PySOT's name for it
