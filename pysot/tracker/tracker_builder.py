"""Trackers as a configuration names them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pysot.tracker.siamrpn_tracker  # noqa: F401 - registers the tracker
from pysot.core import config as configuration
from pysot.core.registry import TRACKERS
from pysot.tracker.siamrpn_tracker import TrackParams


def track_params(cfg: configuration.Config) -> TrackParams:
    """Collect a tracker's settings from ``TRACK`` and ``ANCHOR``."""
    known = {field.name for field in fields(TrackParams)}
    settings = {key.lower(): value for key, value in cfg.TRACK.items() if key.lower() in known}
    return TrackParams(
        **settings,
        stride=cfg.ANCHOR.STRIDE,
        ratios=tuple(cfg.ANCHOR.RATIOS),
        scales=tuple(cfg.ANCHOR.SCALES),
    )


def build_tracker(model: Any, cfg: configuration.Config | None = None) -> Any:
    """Build the tracker that ``TRACK.TYPE`` names.

    Args:
        model: Its network, on the device where it shall run.
        cfg: A configuration; without one, ``pysot.core.config.cfg``.

    Returns:
        An object with ``init(image, bbox)`` and ``track(image)``.

    Raises:
        ValueError: If the type is unknown; the message lists the known ones.
    """
    cfg = configuration.cfg if cfg is None else cfg
    return TRACKERS.get(cfg.TRACK.TYPE)(model, track_params(cfg))
