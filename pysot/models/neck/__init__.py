"""Necks; importing the package registers them."""

from pysot.models.neck import neck  # noqa: F401
