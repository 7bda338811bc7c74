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
from importlib.resources import files
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from pysot.core import EXPERIMENTS
from pysot.zoo.download import fetch
from toolkit.io.files import atomic_write, sha256_of

logger = logging.getLogger(__name__)

#: Name of the model that is used where none is named.
DEFAULT = "siamrpn_lite0"

_TABLE = Path(__file__).with_name("models.json")
_PACKAGED = "package://"


@dataclass(frozen=True)
class Model:
    """Weights that can be had by name; a row of ``models.json``."""

    name: str
    system: str  # SiamRPN++ and the like
    urls: tuple[str, ...]  # https, file, gdrive, the first that answers; or one package://NAME/FILE
    license: str
    config: str = ""  # an experiment, or package://NAME/FILE; empty: the card in the weights
    sha256: str = ""  # empty where the publisher states none; a file of a package has one
    size: int = 0  # bytes, 0 where unknown
    parameters: int = 0  # of the network
    pages: tuple[str, ...] = ()  # where a person finds the file
    published: Mapping[str, Any] = field(default_factory=dict)  # scores by benchmark
    measured: Mapping[str, Any] = field(default_factory=dict)  # the same, of this package

    @property
    def config_path(self) -> Path:
        """Where its configuration is."""
        if self.config.startswith(_PACKAGED):
            return _packaged(self.config)
        return EXPERIMENTS / self.config / "config.yaml" if self.config else self.path

    @property
    def packaged(self) -> bool:
        """Whether the weights are a file of an installed package."""
        return self.urls[0].startswith(_PACKAGED)

    @property
    def path(self) -> Path:
        """Where the weights are, or go in the cache."""
        if self.packaged:
            return _packaged(self.urls[0])
        suffix = ".safetensors" if self.urls[0].endswith(".safetensors") else ".pth"
        return home() / "models" / f"{self.name}{suffix}"

    def scores(self, benchmark: str = "") -> list[str]:
        """Say in a line each what was published and measured, on one benchmark or all."""
        return [
            f"{kind}, {name}: {', '.join(map(_score, values, values.values()))}"
            for kind, table in (("published", self.published), ("measured here", self.measured))
            for name, values in table.items()
            if benchmark in ("", name)
        ]


def _score(metric: str, value: float) -> str:
    return f"{metric} {value:.3f}" if isinstance(value, float) else f"{metric} {value}"


def _packaged(address: str) -> Path:
    package, _, file = address.removeprefix(_PACKAGED).partition("/")
    return Path(str(files(package))) / file


@cache
def models() -> Mapping[str, Model]:
    """Return all models by name."""
    rows = json.loads(_TABLE.read_text(encoding="utf-8"))
    lists = ("urls", "pages")
    return {
        row["name"]: Model(**{**row, **{key: tuple(row.get(key, ())) for key in lists}})
        for row in rows
    }


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
    return Path(os.path.expanduser(own)) if own else user_cache_path("pysot", appauthor=False)


def weights_of(model: Model) -> Path:
    """Return the file of a model's weights, which is downloaded if it is not in the cache.

    Where the publisher states no hash, that of the first download is kept and must not change.

    Raises:
        OSError: If the file cannot be had; the message says where it belongs.
        ValueError: If the file is another than the one published.
    """
    path, record = model.path, model.path.with_suffix(".sha256")
    known = record.is_file() and not model.sha256
    expected = record.read_text(encoding="utf-8").strip() if known else model.sha256
    if not path.is_file():
        _download(model, expected)
    elif not expected:
        _check(path)
    digest = sha256_of(path)
    if digest != expected and expected:
        both = f", with {record.name} if a new one was published" if known else ""
        advice = f"delete it to download it again{both}"
        if model.packaged:
            advice = "it came with its package: install that again"
        raise ValueError(f"{path}: its SHA-256 is not that of {model.name}; {advice}")
    if not expected:
        logger.warning("%s: no hash was published; that of this file is kept: %s", path, digest)
        _keep(record, digest)
    return path


def find_pretrained(name: str | Path) -> tuple[Path, Path]:
    """Return configuration and weights of a model, see `weights_of`, or of a file with a card."""
    if (path := Path(name)).suffix == ".safetensors":
        return path, path
    model = find_model(str(name))
    return model.config_path, weights_of(model)


def _keep(record: Path, digest: str) -> None:
    try:
        with atomic_write(record) as file:
            file.write(f"{digest}\n")
    except OSError as error:  # a cache that others fill
        logger.warning("%s", error)


def _check(path: Path) -> None:
    """Find a file that is cut short, or a page of HTML, by its content, where no hash is known."""
    from pysot.utils.model_load import read_checkpoint

    read_checkpoint(path)


def _download(model: Model, sha256: str) -> None:
    if model.packaged:
        raise FileNotFoundError(f"{model.path}, the weights of {model.name}, is missing")
    try:
        fetch(model.urls, model.path, sha256, model.size, None if sha256 else _check)
    except OSError as error:
        if error.errno is not None or str(error).startswith("cannot write"):
            raise
        pages = f" from {' or '.join(model.pages)}" if model.pages else ""
        raise OSError(f"{error}; get the file{pages} and put it at {model.path}") from error
