"""Necks; importing the package registers them."""

from typing import Any

from pysot.core.registry import NECKS
from pysot.models.neck import neck  # noqa: F401


def get_neck(name: str, **kwargs: Any) -> Any:
    """Build a neck by its name in a configuration; ``ValueError`` if there is none."""
    return NECKS.build(name, **kwargs)
