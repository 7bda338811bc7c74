"""From a configuration to a tracker, in this process or another."""

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
from pysot.core.plugins import digests, load_plugins
from pysot.core.registry import TRACKERS
from pysot.core.settings import TrackParams
from pysot.inference import prepare_for_tracking
from pysot.models.model_builder import ModelBuilder, build_model
from pysot.utils.model_load import choose_device, load_weights

# sections of a configuration that change a tracker's boxes
_SETTINGS = ("BACKBONE", "ADJUST", "RPN", "MASK", "REFINE", "ANCHOR", "TRACK")

TRACKS = TRACKERS  # PySOT's name for it


def track_params(cfg: configuration.Config) -> TrackParams:
    """Read a tracker's parameters from ``TRACK`` and ``ANCHOR``; ``ValueError`` if one is wrong."""
    cfg.check()
    kind = getattr(TRACKERS.get(cfg.TRACK.TYPE), "params_type", TrackParams)
    return configuration.read_sections(kind, cfg.TRACK, cfg.ANCHOR)


def build_tracker(model: Any, cfg: configuration.Config | None = None) -> Any:
    """Build the tracker that ``TRACK.TYPE`` names for a network, on the device where it runs.

    Without a configuration, that is ``pysot.core.config.cfg``'s. ``ValueError`` for unknown types
    (the known ones are listed) and wrong values.
    """
    cfg = configuration.cfg if cfg is None else cfg
    return TRACKERS.get(cfg.TRACK.TYPE)(model, track_params(cfg))


def prepare_model(model: ModelBuilder, cfg: configuration.Config) -> nn.Module:
    """Return a faster copy of a network in evaluation mode, as ``TRACK`` says."""
    names = ("PRECISION", "COMPILE", "WINOGRAD")
    return prepare_for_tracking(model, **{name.lower(): cfg.TRACK[name] for name in names})


def load_network(
    config: str | Path | configuration.Config,
    weights: str | Path,
    device: str = "auto",
    opts: Sequence[Any] = (),
) -> tuple[nn.Module, configuration.Config]:
    """Load a network, made fast for tracking, and its configuration, for :func:`build_tracker`.

    Overrides ``[KEY, VALUE, ...]`` are for a YAML file; ``auto`` is the configuration's device.

    Raises:
        OSError: If a file is missing or cannot be read.
        ValueError: If configuration, weights or device are unusable.
    """
    known = isinstance(config, configuration.Config)
    cfg = config if known else configuration.load_config(config, opts)
    place = choose_device(cfg.DEVICE if device == "auto" else device, cfg.CUDA)
    rename = cfg.TRAIN.PRETRAINED_RENAME
    model = load_weights(build_model(cfg), weights, rename=rename).to(place).eval()
    return prepare_model(model, cfg), cfg


@dataclass(frozen=True)
class TrackerSpec:
    """A picklable tracker: a call builds one; equal specs give equal boxes."""

    config: configuration.Config = field(hash=False)
    snapshot: Path
    digest: str  # SHA-256 of the weights, as a file may change between two runs of one process
    tuned: tuple[str, ...] = ()  # overrides KEY, VALUE, ... that do not concern the network

    @classmethod
    def read(
        cls, config: str | Path, snapshot: str | Path, opts: Sequence[str] = ()
    ) -> TrackerSpec:
        """Read a YAML file with overrides ``KEY, VALUE, ...``, and the digest of a snapshot."""
        snapshot = Path(snapshot)
        if not snapshot.is_file():
            raise FileNotFoundError(f"checkpoint not found: {snapshot}")
        digest = hashlib.sha256(snapshot.read_bytes()).hexdigest()
        return cls(configuration.load_config(config, opts), snapshot, digest)

    def with_settings(self, *pairs: Any) -> TrackerSpec:
        """Return the spec with other values ``KEY, VALUE, ...`` of keys below ``TRACK``."""
        return replace(self, tuned=(*self.tuned, *map(str, pairs)))

    def __call__(self) -> Any:
        """Build the tracker; the network is loaded once in each process."""
        load_plugins(self.config.PLUGINS)
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
        """Return the digest and settings that results depend on, to keep beside them."""
        cfg, used = self.cfg, digests()
        settings = {key: cfg[key] for key in _SETTINGS}
        return {"sha256": self.digest, "settings": settings, **({"plugins": used} if used else {})}


@lru_cache(maxsize=1)
def _network(spec: TrackerSpec) -> nn.Module:
    torch.set_num_threads(1)  # as fast for one target, and workers do not fight for cores
    cv2.setNumThreads(1)
    return load_network(spec.config, spec.snapshot)[0]
