"""Trackers as a configuration names them, and what other processes need to build one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import nn

import pysot.tracker.dasiamrpn_tracker
import pysot.tracker.siamfc_tracker
import pysot.tracker.siammask_tracker
import pysot.tracker.siamrpn_tracker
import pysot.tracker.siamrpnlt_tracker  # noqa: F401 - the imports register the trackers
from pysot.core import config as configuration
from pysot.core.registry import TRACKERS
from pysot.core.settings import TrackParams
from pysot.inference import prepare_for_tracking
from pysot.models.model_builder import ModelBuilder, build_model
from pysot.utils.model_load import choose_device, load_weights

# sections of a configuration that change a tracker's boxes
_SETTINGS = ("BACKBONE", "ADJUST", "RPN", "MASK", "REFINE", "ANCHOR", "TRACK")


def track_params(cfg: configuration.Config) -> TrackParams:
    """Read a tracker's parameters from ``TRACK`` and ``ANCHOR``.

    Raises:
        ValueError: If a value of the configuration is wrong.
    """
    cfg.check()
    return configuration.read_sections(TrackParams, cfg.TRACK, cfg.ANCHOR)


def build_tracker(model: Any, cfg: configuration.Config | None = None) -> Any:
    """Build the tracker that ``TRACK.TYPE`` names.

    Args:
        model: Its network, on the device where it runs.
        cfg: A configuration; without one, ``pysot.core.config.cfg``.

    Returns:
        An object with ``init(image, bbox)`` and ``track(image)``.

    Raises:
        ValueError: If the type is unknown (the known ones are listed), or a value wrong.
    """
    cfg = configuration.cfg if cfg is None else cfg
    return TRACKERS.get(cfg.TRACK.TYPE)(model, track_params(cfg))


def prepare_model(model: ModelBuilder, cfg: configuration.Config) -> nn.Module:
    """Return a faster copy of a network for tracking, as ``TRACK`` says.

    Args:
        model: With its weights, on the device where it runs, in evaluation mode.
        cfg: Its configuration.

    Raises:
        ValueError: If the model is in training mode.
    """
    names = ("PRECISION", "COMPILE", "WINOGRAD")
    return prepare_for_tracking(model, **{name.lower(): cfg.TRACK[name] for name in names})


def load_network(
    config: str | Path | configuration.Config,
    weights: str | Path,
    device: str = "auto",
    opts: Sequence[Any] = (),
) -> tuple[nn.Module, configuration.Config]:
    """Load a network, made fast for tracking, and its configuration, for :func:`build_tracker`.

    Args:
        config: YAML file, or a configuration.
        weights: Checkpoint.
        device: ``auto`` for what the configuration says.
        opts: Overrides of the file, ``[KEY, VALUE, ...]``.

    Raises:
        OSError: If a file is missing or cannot be read.
        ValueError: If configuration, weights or device are unusable.
    """
    known = isinstance(config, configuration.Config)
    cfg = config if known else configuration.load_config(config, opts)
    place = choose_device(cfg.DEVICE if device == "auto" else device, cfg.CUDA)
    model = load_weights(build_model(cfg), weights).to(place).eval()
    return prepare_model(model, cfg), cfg


@dataclass(frozen=True)
class TrackerSpec:
    """All that a process needs to build a tracker; equal ones give equal boxes.

    Calling it builds a tracker; those of one process share one network.

    Attributes:
        config: The configuration.
        snapshot: Weights.
        digest: SHA-256 of the weights: a file may change between two runs of one process.
        tuned: Overrides ``KEY, VALUE, ...`` that do not concern the network.
    """

    config: configuration.Config = field(hash=False)
    snapshot: Path
    digest: str
    tuned: tuple[str, ...] = ()

    @classmethod
    def read(
        cls, config: str | Path, snapshot: str | Path, opts: Sequence[str] = ()
    ) -> TrackerSpec:
        """Read a YAML file with overrides ``KEY, VALUE, ...``, and the digest of a snapshot.

        Raises:
            OSError: If a file cannot be read.
            ValueError: If the configuration is unusable.
        """
        snapshot = Path(snapshot)
        if not snapshot.is_file():
            raise FileNotFoundError(f"checkpoint not found: {snapshot}")
        digest = hashlib.sha256(snapshot.read_bytes()).hexdigest()
        return cls(configuration.load_config(config, opts), snapshot, digest)

    def with_settings(self, *pairs: Any) -> TrackerSpec:
        """Return the same network with other values ``KEY, VALUE, ...`` of keys below ``TRACK``."""
        return replace(self, tuned=(*self.tuned, *map(str, pairs)))

    def __call__(self) -> Any:
        """Build the tracker; the network is loaded once in each process.

        Raises:
            OSError: If the snapshot is missing.
            ValueError: If configuration or snapshot is unusable.
        """
        return build_tracker(_network(replace(self, tuned=())), self.cfg)

    @property
    def cfg(self) -> configuration.Config:
        """The configuration with all overrides."""
        if not self.tuned:
            return self.config
        cfg = self.config.clone()
        cfg.defrost()
        cfg.merge_from_list(self.tuned)
        return cfg

    def record(self) -> dict[str, Any]:
        """Return what the results depend on, for a note beside them."""
        return {"sha256": self.digest, "settings": {key: self.cfg[key] for key in _SETTINGS}}


@lru_cache(maxsize=1)
def _network(spec: TrackerSpec) -> nn.Module:
    torch.set_num_threads(1)  # as fast for one target, and workers do not fight for cores
    cv2.setNumThreads(1)
    return load_network(spec.config, spec.snapshot)[0]
