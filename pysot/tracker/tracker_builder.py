"""Trackers as a configuration names them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import nn

import pysot.tracker.dasiamrpn_tracker
import pysot.tracker.siamfc_tracker
import pysot.tracker.siammask_tracker
import pysot.tracker.siamrpn_tracker
import pysot.tracker.siamrpnlt_tracker  # noqa: F401 - the imports register the trackers
from pysot.core import config as configuration
from pysot.core.registry import TRACKERS
from pysot.inference import prepare_for_tracking
from pysot.models.model_builder import ModelBuilder, build_model
from pysot.tracker.siamrpn_tracker import TrackParams
from pysot.utils.device import choose_device
from pysot.utils.model_load import load_weights


def track_params(cfg: configuration.Config) -> Any:
    """Collect a tracker's settings from ``TRACK`` and ``ANCHOR``.

    Returns:
        The ``params_type`` of the tracker that ``TRACK.TYPE`` names; without one, ``TrackParams``.
    """
    params_type = getattr(TRACKERS.get(cfg.TRACK.TYPE), "params_type", TrackParams)
    known = {field.name for field in fields(params_type)}
    settings = {key.lower(): value for key, value in cfg.TRACK.items()}
    settings["stride"] = cfg.ANCHOR.STRIDE
    settings["ratios"] = tuple(cfg.ANCHOR.RATIOS)
    settings["scales"] = tuple(cfg.ANCHOR.SCALES)
    return params_type(**{key: value for key, value in settings.items() if key in known})


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


def prepare_model(model: ModelBuilder, cfg: configuration.Config) -> nn.Module:
    """Return a faster copy of a network for tracking, as ``TRACK`` says.

    Args:
        model: With its weights, on the device where it shall run, in evaluation mode.
        cfg: Its configuration.

    Raises:
        ValueError: If ``TRACK.PRECISION`` is unknown, or the model is in training mode.
    """
    names = ("PRECISION", "COMPILE", "WINOGRAD")
    return prepare_for_tracking(model, **{name.lower(): cfg.TRACK[name] for name in names})


def load_network(
    config: str | Path, weights: str | Path, device: str = "auto", opts: Sequence[Any] = ()
) -> tuple[nn.Module, configuration.Config]:
    """Read a configuration and its network, made fast for tracking, for :func:`build_tracker`.

    Args:
        config: YAML file.
        weights: Checkpoint.
        device: ``auto`` for what the configuration says.
        opts: Overrides of the configuration, ``[KEY, VALUE, ...]``.

    Raises:
        OSError: If a file is missing or cannot be read.
        ValueError: If configuration, weights or device are unusable.
    """
    cfg = configuration.load_config(config, opts)
    place = choose_device(cfg.DEVICE if device == "auto" else device, cfg.CUDA)
    model = load_weights(build_model(cfg), weights).to(place).eval()
    return prepare_model(model, cfg), cfg
