"""From a configuration to a tracker, in this process or another."""

from __future__ import annotations

import copy
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

import pysot.tracker.dasiamrpn_tracker
import pysot.tracker.siamfc_tracker
import pysot.tracker.siammask_tracker
import pysot.tracker.siamrpn_tracker
import pysot.tracker.siamrpnlt_tracker  # noqa: F401 - the imports register the trackers
from pysot.core import config as configuration
from pysot.core.plugins import accepts, digests, load_plugins
from pysot.core.registry import (
    BACKBONES,
    MASK_HEADS,
    NECKS,
    REFINE_HEADS,
    RPN_HEADS,
    TRACKERS,
)
from pysot.core.settings import TrackParams
from pysot.core.values import shown
from pysot.tracker.exported import RECORD, ExportedNetwork, read_record
from toolkit.io.files import sha256_of

if TYPE_CHECKING:  # PyTorch is imported where it is used: exported networks do without
    from torch import nn

    from pysot.models.model_builder import ModelBuilder

# what a configuration and an exported folder must agree on
_NETWORK = (
    *("TRACK.TYPE", "TRACK.EXEMPLAR_SIZE", "BACKBONE.TYPE", "BACKBONE.KWARGS", "ADJUST.ADJUST"),
    *("ADJUST.TYPE", "ADJUST.KWARGS", "RPN.TYPE", "RPN.KWARGS", "MASK.MASK", "MASK.TYPE"),
    *("MASK.KWARGS", "REFINE.REFINE", "REFINE.TYPE"),
    *("ANCHOR.STRIDE", "ANCHOR.RATIOS", "ANCHOR.SCALES"),
)

# sections of a configuration that change a tracker's boxes
_SETTINGS = ("BACKBONE", "ADJUST", "RPN", "MASK", "REFINE", "ANCHOR", "TRACK")
_TABLES = dict(
    BACKBONE=BACKBONES,
    ADJUST=NECKS,
    RPN=RPN_HEADS,
    MASK=MASK_HEADS,
    REFINE=REFINE_HEADS,
    TRACK=TRACKERS,
)  # of the parts that sections name

TRACKS = TRACKERS  # PySOT's name for it


def track_params(cfg: configuration.Config) -> TrackParams:
    """Read a tracker's parameters from ``TRACK`` and ``ANCHOR``; ``ValueError`` if one is wrong."""
    cfg.check()
    kind = getattr(TRACKERS.get(cfg.TRACK.TYPE), "params_type", TrackParams)
    return configuration.read_sections(kind, cfg.TRACK, cfg.ANCHOR)


def build_tracker(model: Any, cfg: configuration.Config | None = None) -> Any:
    """Build the tracker that ``TRACK.TYPE`` names for a network, on the device where it runs.

    Without a configuration, that is ``pysot.core.config.cfg``'s. A class that takes the model
    alone, as PySOT's do, reads that one, which gets the values of ``cfg``; and as it lets the model
    remember its target, it gets a copy that shares the weights. ``ValueError`` for unknown types
    (the known ones are listed) and wrong values.
    """
    cfg = configuration.cfg if cfg is None else cfg
    kind, params = TRACKERS.get(cfg.TRACK.TYPE), track_params(cfg)
    if accepts(kind, 2):
        return kind(model, params)
    if cfg is not configuration.cfg:
        configuration.cfg.defrost()
        configuration.cfg.merge_from_other_cfg(cfg)
        model = copy.copy(model)
    return kind(model)


def prepare_model(model: ModelBuilder, cfg: configuration.Config) -> nn.Module:
    """Return a faster copy of a network in evaluation mode, as ``TRACK`` says."""
    from pysot.inference import prepare_for_tracking

    names = ("PRECISION", "COMPILE", "WINOGRAD")
    return prepare_for_tracking(model, **{name.lower(): cfg.TRACK[name] for name in names})


def load_network(
    config: str | Path | configuration.Config | None,
    weights: str | Path,
    device: str = "auto",
    opts: Sequence[Any] = (),
    threads: int | None = None,
) -> tuple[Any, configuration.Config]:
    """Load a network, made fast for tracking, and its configuration, for :func:`build_tracker`.

    Args:
        config: YAML file or configuration; an exported folder has its own.
        weights: Checkpoint, or folder that ``pysot export`` wrote.
        device: A name that ``torch.device`` takes, or ``auto`` for the configuration's.
        opts: Overrides ``[KEY, VALUE, ...]`` of a file.
        threads: Threads of one pass; by default PyTorch's, and 1 for an exported network.

    Raises:
        OSError: If a file is missing or cannot be read.
        ValueError: If configuration, weights or device are unusable.
    """
    weights = Path(weights)
    record = read_record(weights) if weights.is_dir() else None
    known = isinstance(config, configuration.Config)
    cfg = config if known else _read_config(config, weights, opts, record)
    device = cfg.DEVICE if device == "auto" else device
    if record is None:
        return _load_checkpoint(cfg, weights, device, threads), cfg
    return _load_exported(cfg, weights, record, device, threads or 1), cfg


def _read_config(
    config: str | Path | None,
    weights: Path,
    opts: Sequence[Any],
    record: Mapping[str, Any] | None,
) -> configuration.Config:
    """Read a YAML file, or where there is none the configuration in the record of a folder."""
    if config is not None:
        return configuration.load_config(config, opts)
    if not weights.exists():
        raise FileNotFoundError(f"exported folder not found: {weights}")
    if record is None:
        raise ValueError(f"{weights} is no exported folder: it needs a configuration, too")
    configuration.load_installed()
    cfg = configuration.default_config()
    try:
        cfg.merge_from_other_cfg(record["config"])
    except ValueError as error:
        raise ValueError(f"{weights / RECORD}: {error}") from error
    cfg.merge_from_list(list(opts))
    cfg.freeze()
    return cfg


def _load_checkpoint(
    cfg: configuration.Config, weights: Path, device: str, threads: int | None
) -> nn.Module:
    if cfg.TRACK.BACKEND not in ("auto", "torch"):
        raise ValueError(
            f"TRACK.BACKEND {cfg.TRACK.BACKEND} runs exported networks, and {weights} is a "
            "checkpoint: pysot export --config CONFIG --snapshot CHECKPOINT --output FOLDER "
            "writes one; then give the FOLDER in place of the checkpoint"
        )
    import torch

    from pysot.models.model_builder import build_model
    from pysot.utils.model_load import choose_device, load_weights

    if threads:
        torch.set_num_threads(threads)
    place = choose_device(device, cfg.CUDA)
    rename = cfg.TRAIN.PRETRAINED_RENAME
    model = load_weights(build_model(cfg), weights, rename=rename).to(place).eval()
    return prepare_model(model, cfg)


def _load_exported(
    cfg: configuration.Config, folder: Path, record: Mapping[str, Any], device: str, threads: int
) -> ExportedNetwork:
    backend = "onnxruntime" if cfg.TRACK.BACKEND == "auto" else cfg.TRACK.BACKEND
    if backend == "torch":
        raise ValueError(f"TRACK.BACKEND torch runs checkpoints; {folder} is an exported folder")
    if device not in ("auto", "cpu"):
        raise ValueError(f"DEVICE: {backend} runs on the cpu alone, found {device!r}")
    for section, key in (name.split(".") for name in _NETWORK):
        here, there = cfg[section][key], record["config"].get(section, {}).get(key)
        if here != there:
            raise ValueError(
                f"{section}.{key} is {shown(here)}, but {folder} was exported with "
                f"{shown(there)}: it is of another tracker"
            )
    return ExportedNetwork(folder, record, backend, threads)


@dataclass(frozen=True)
class TrackerSpec:
    """A picklable tracker: a call builds one; equal specs give equal boxes."""

    config: configuration.Config = field(hash=False)
    snapshot: Path
    digest: str  # SHA-256 of the weights, as a file may change between two runs of one process
    tuned: tuple[str, ...] = ()  # overrides KEY, VALUE, ... that do not concern the network

    @classmethod
    def read(
        cls, config: str | Path | None, snapshot: str | Path, opts: Sequence[str] = ()
    ) -> TrackerSpec:
        """Read a YAML file with overrides ``KEY, VALUE, ...``, and the digest of a snapshot.

        An exported folder has its own configuration; the digest is that of its record, which holds
        those of its files.
        """
        snapshot = Path(snapshot)
        record = read_record(snapshot) if snapshot.is_dir() else None
        digest = _digest(snapshot)
        return cls(_read_config(config, snapshot, opts, record), snapshot, digest)

    def with_settings(self, *pairs: Any) -> TrackerSpec:
        """Return the spec with other values ``KEY, VALUE, ...`` of keys below ``TRACK``.

        ``ValueError`` if the tracker reads ``pysot.core.config.cfg``, which all of a process share.
        """
        if not accepts(TRACKERS.get(name := self.config.TRACK.TYPE), 2):
            raise ValueError(f"TRACK.TYPE: {name} takes no parameters, so they cannot be searched")
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
        cfg = self.cfg
        parts = [table[cfg[key].TYPE] for key, table in _TABLES.items() if cfg[key].TYPE in table]
        used = digests(parts)
        settings = {key: cfg[key] for key in _SETTINGS}
        return {"sha256": self.digest, "settings": settings, **({"plugins": used} if used else {})}


def _digest(snapshot: Path) -> str:
    """Return the SHA-256 of a checkpoint, or of the record of an exported folder."""
    file = snapshot / RECORD if snapshot.is_dir() else snapshot
    if not file.is_file():
        raise FileNotFoundError(f"checkpoint not found: {snapshot}")
    return sha256_of(file)


@lru_cache(maxsize=1)
def _network(spec: TrackerSpec) -> Any:
    if _digest(spec.snapshot) != spec.digest:  # changed, or the file of another machine
        raise ValueError(f"{spec.snapshot} on {platform.node()} has other weights than the run")
    cv2.setNumThreads(1)
    # one thread is as fast for one target, and workers do not fight for cores
    return load_network(spec.config, spec.snapshot, threads=1)[0]
