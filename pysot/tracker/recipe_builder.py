"""A tracker as a value: what it is built from, to be sent to other processes and noted down."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import torch

from pysot.core.config import load_config
from pysot.tracker.tracker_builder import build_tracker, load_network

# sections of a configuration that change a tracker's boxes
_SETTINGS = ("BACKBONE", "ADJUST", "RPN", "MASK", "REFINE", "ANCHOR", "TRACK")


@dataclass(frozen=True)
class Recipe:
    """All that a process needs to build a tracker; equal recipes give equal boxes.

    Calling it gives a new tracker; trackers of one process share one network.

    Attributes:
        config: YAML file.
        snapshot: Weights.
        opts: Overrides of the configuration, ``(KEY, VALUE, ...)``.
        digest: SHA-256 of the weights: a file may change between two runs of one process.
        tuned: Further overrides, of keys below ``TRACK`` that do not concern the network.
    """

    config: str
    snapshot: Path
    opts: tuple[str, ...]
    digest: str
    tuned: tuple[str, ...] = ()

    @classmethod
    def read(cls, config: str, snapshot: str | Path, opts: Sequence[str] = ()) -> Recipe:
        """Make a recipe of what a command line says.

        Raises:
            OSError: If the snapshot cannot be read.
        """
        snapshot = Path(snapshot)
        if not snapshot.is_file():
            raise FileNotFoundError(f"checkpoint not found: {snapshot}")
        digest = hashlib.sha256(snapshot.read_bytes()).hexdigest()
        return cls(config, snapshot, tuple(opts), digest)

    def with_settings(self, *pairs: Any) -> Recipe:
        """The same network with other settings: ``KEY, VALUE, ...`` of keys below ``TRACK``."""
        return replace(self, tuned=(*self.tuned, *map(str, pairs)))

    def __call__(self) -> Any:
        """Build the tracker; the network is loaded once in each process.

        Raises:
            OSError: If a file is missing.
            ValueError: If configuration or snapshot is unusable.
        """
        model = _network(replace(self, tuned=()))
        return build_tracker(model, self.config_node())

    def config_node(self) -> Any:
        """The configuration with all overrides.

        Raises:
            OSError: If the file is missing.
            ValueError: If it is unusable.
        """
        return load_config(self.config, (*self.opts, *self.tuned))

    def record(self) -> dict[str, Any]:
        """What the results depend on, for a note beside them."""
        return {"sha256": self.digest, "settings": _settings(self.config_node())}


def _settings(cfg: Any) -> dict[str, Any]:
    return {key: cfg[key] for key in _SETTINGS}


@lru_cache(maxsize=1)
def _network(recipe: Recipe) -> Any:
    torch.set_num_threads(1)  # as fast for one target, and workers do not fight for cores
    cv2.setNumThreads(1)
    model, _ = load_network(recipe.config, recipe.snapshot, opts=recipe.opts)
    return model
