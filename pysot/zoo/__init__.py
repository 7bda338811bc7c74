"""Published weights by name: the table, and the files in the user's cache.

A file is fetched once to ``PYSOT_HOME/models``, ``PYSOT_HOME`` being the user's cache folder unless
the environment variable of that name says otherwise, and checked against its SHA-256.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from pysot.core import REPOSITORY
from pysot.zoo.download import fetch, sha256_of
from toolkit.io.files import atomic_write

logger = logging.getLogger(__name__)

EXPERIMENTS = REPOSITORY / "experiments"

_TABLE = Path(__file__).with_name("models.json")


@dataclass(frozen=True)
class Model:
    """Weights that can be had by name; a row of ``models.json``."""

    name: str
    system: str  # SiamRPN++ and the like
    config: str  # name of a configuration in ``experiments``
    urls: tuple[str, ...]  # where the file is, the first that answers: https, file, gdrive
    license: str
    sha256: str = ""  # empty where the publisher states none
    size: int = 0  # bytes, 0 where unknown
    published: Mapping[str, Any] = field(default_factory=dict)  # scores by benchmark
    measured: Mapping[str, Any] = field(default_factory=dict)  # the same, of this package
    about: str = ""

    @property
    def config_path(self) -> Path:
        """Where its configuration is."""
        return EXPERIMENTS / self.config / "config.yaml"

    @property
    def path(self) -> Path:
        """Where the file is, or goes, in the cache."""
        return home() / "models" / f"{self.name}.pth"


@cache
def models() -> Mapping[str, Model]:
    """Return all models by name."""
    rows = json.loads(_TABLE.read_text(encoding="utf-8"))
    return {row["name"]: Model(**{**row, "urls": tuple(row["urls"])}) for row in rows}


def find_model(name: str) -> Model:
    """Return the model of a name; ``ValueError`` with near names if there is none."""
    known = models()
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else "pysot models lists them"
        raise ValueError(f"no model is called {name!r}; {hint}")
    return known[name]


def home() -> Path:
    """Return the folder of downloaded files; it need not exist."""
    own = os.environ.get("PYSOT_HOME")
    return Path(own).expanduser() if own else user_cache_path("pysot", appauthor=False)


def weights_of(model: Model) -> Path:
    """Return the file of a model's weights, which is downloaded if it is not in the cache.

    Where the publisher states no hash, that of the first download is kept and must not change.

    Raises:
        OSError: If the file cannot be had; the message says where it belongs.
        ValueError: If the file in the cache is another than the one published.
    """
    path, record = model.path, model.path.with_suffix(".sha256")
    expected = model.sha256 or (record.read_text().strip() if record.is_file() else "")
    if not path.is_file():
        fetch(model.urls, path, expected, model.size)
    digest = sha256_of(path)
    if expected and digest != expected:
        raise ValueError(
            f"{path}: its SHA-256 is not that of {model.name}; delete it to download it again"
        )
    if not expected:
        logger.warning("%s: no hash was published; that of this file is kept: %s", path, digest)
        with atomic_write(record) as file:
            file.write(f"{digest}\n")
    return path
