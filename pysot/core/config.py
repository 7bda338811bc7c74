"""Loading of YAML files over the defaults of ``pysot.core.settings``.

``load_config`` is the way in. The module-level ``cfg`` exists for scripts written against PySOT,
which merge a file into it. ``python -m pysot.core.config`` prints ``docs/configuration.md``.
"""

from __future__ import annotations

import difflib
import json
import logging
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from yacs.config import CfgNode as _YacsNode

from pysot.core import EXPERIMENTS, REPOSITORY
from pysot.core.card import card_config
from pysot.core.plugins import load_installed, load_plugins
from pysot.core.registry import AUGMENTATIONS, TRACKERS, Registry
from pysot.core.settings import (
    AUGMENTATION_KEYS,
    ROWS,
    Augmentation,
    Dataset,
    Key,
    Settings,
    TrackParams,
    declared,
)
from pysot.core.values import OptionText, decoded, read_yaml, shown, unusable

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Keys that a YAML file published with PySOT carries although nothing reads them.
STALE_KEYS = ("BACKBONE.CHANNELS", "ADJUST.ADJUST_CHANNEL", "RPN.WEIGHTED")

_REPORTED = 20  # problems in one message

_PREFACE = """Written by `python -m pysot.core.config` from `pysot/core/settings.py`.

A YAML file gives values in place of these defaults; `KEY VALUE` pairs of a command line, such as
`TRACK.LR 0.35`, in place of the file's. A text that is a Python literal counts as its value, as in
yacs: `1e-5`, `"(0.5, 1, 2)"`, `"0x10"`, `None`. No number may be NaN or infinite, and no key of a
file may stand twice."""

_Leaf = tuple["Config", str, Any]  # node, key, value


class Config(_YacsNode):
    """A yacs node whose merges check every key, and report all that is wrong at once."""

    def merge_from_file(self, cfg_filename: str | Path) -> None:
        """Merge a YAML file, or the card of a safetensors file.

        The name of a folder of ``experiments`` stands for the file in it. ``OSError`` or
        ``ValueError`` if it is missing or unusable.
        """
        path = find_config(cfg_filename)
        _check_name(path)
        values = card_config(path) if path.suffix == ".safetensors" else read_yaml(path)
        self._merge(values, source=str(path), folder=path.parent)

    def merge_from_list(self, cfg_list: Sequence[Any]) -> None:
        """Merge ``[KEY, VALUE, KEY, VALUE, ...]``, values written as in YAML."""
        if len(cfg_list) % 2:
            raise ValueError(f"overrides come as KEY VALUE pairs; {cfg_list[-1]!r} has no value")
        values: dict[str, Any] = {}
        for key, text in zip(cfg_list[0::2], cfg_list[1::2], strict=True):
            node = values
            *sections, name = str(key).split(".")
            for section in sections:
                node = node.setdefault(section, {})
                if not isinstance(node, dict):
                    raise ValueError(f"command line: {key} is below another KEY")
            if isinstance(node.get(name), dict):
                raise ValueError(f"command line: {key} is above another KEY")
            node[name] = OptionText(text) if isinstance(text, str) else text
        self._merge(values, source="command line")

    def merge_from_other_cfg(self, cfg_other: _YacsNode) -> None:
        """Merge another node, with the same checks."""
        self._merge(cfg_other, source="configuration")

    def check(self) -> None:
        """Raise ``ValueError`` with all wrong values, which may have been set without a merge."""
        self._accepted(self, source="configuration")

    def _merge(self, values: Mapping[str, Any], source: str, folder: str | Path = ".") -> None:
        if self.is_frozen():
            raise ValueError("this configuration is frozen; change it before building from it")
        values = self._prepare_keys(values, folder)
        for node, key, value in self._accepted(values, source):
            dict.__setitem__(node, key, value)

    def _prepare_keys(self, values: Mapping[str, Any], folder: str | Path) -> dict[str, Any]:
        """Import plug-ins, then declare the keys of the parts of theirs that the values name."""
        values = dict(values)
        if "PLUGINS" in self and "PLUGINS" in values:
            names = declared(Settings)["PLUGINS"].convert(values["PLUGINS"], "PLUGINS")
            values["PLUGINS"] = load_plugins(names, folder)
        if kind := self._named("TRACK", "TYPE", values, TRACKERS):
            _declare(self.TRACK, getattr(kind, "params_type", TrackParams), TrackParams)
        augmentation = (
            self._named("DATASET", "AUGMENTATION", values, known)
            for known in (AUGMENTATION_KEYS, AUGMENTATIONS)
        )
        if kind := next(filter(None, augmentation), None):
            for image in ("TEMPLATE", "SEARCH"):
                _declare(self.DATASET[image], kind, Augmentation)
        return values

    def _named(self, section: str, key: str, values: Mapping, known: Registry | Mapping) -> Any:
        """Return what a key selects, given values to merge; None if that is not registered."""
        mine, merged = self.get(section, {}), values.get(section)
        merged = merged if isinstance(merged, Mapping) else {}
        name = str(decoded(merged.get(key, mine.get(key))))
        return known[name] if key in mine and name in known else None

    def _accepted(self, values: Mapping[str, Any], source: str) -> list[_Leaf]:
        strict = values.get("STRICT_KEYS", self.get("STRICT_KEYS", True))
        problems = _Problems(decoded(strict) is not False)
        accepted = list(_accepted_values(self, values, "", problems))
        if len(problems) > _REPORTED:
            problems[_REPORTED:] = [f"... and {len(problems) - _REPORTED} more"]
        if problems:
            raise ValueError(f"{source}: " + "; ".join(problems))
        return accepted


class _Problems(list[str]):
    """What is wrong with values; unknown keys are only warned of if not ``strict``."""

    def __init__(self, strict: bool) -> None:
        super().__init__()
        self.strict = strict

    def add_unknown(self, node: Config, key: str, name: str) -> None:
        """Note a key that the node lacks; to look for near ones takes time."""
        if not self.strict:
            logger.warning("unknown key %s is ignored (STRICT_KEYS is false)", name)
        else:
            self.append(_unknown_key(node, key, name) if len(self) < _REPORTED else name)


def _declare(node: Config, params: type, common: type) -> None:
    """Make the fields of a dataclass, beyond those of all parts of its kind, keys of a node.

    Those of the part that was named before go, and what had its default gets the new one.
    """
    if not is_dataclass(params):
        raise ValueError(f"{params.__name__} must be a dataclass, as {common.__name__} is")
    try:
        fresh, usual = _node(params()), _node(common())
    except TypeError as error:
        raise ValueError(f"every field of {params.__name__} needs a default: {error}") from error
    for name in usual if issubclass(params, common) else ():
        if fresh[name] != usual[name]:
            raise ValueError(
                f"{params.__name__}.{name.lower()} must have the default {shown(usual[name])} of "
                "all parts; set another value in the configuration"
            )
    own = {name: key for name, key in declared(params).items() if name not in usual}
    for name, default in node.__dict__.get("_defaults", {}).items():
        if name not in own or node[name] == default:
            dict.pop(node, name)
    dict.update(node, {**{name: fresh[name] for name in own}, **node})
    node.__dict__.update(_own=own, _defaults={name: _plain(fresh[name]) for name in own})


def _node(section: Any) -> Config:
    """Convert a section, an instance of a class in ``pysot.core.settings``."""
    node = Config()
    node.__dict__["_section"] = type(section)
    for item in fields(section):
        value = getattr(section, item.name)
        if is_dataclass(value):
            value = _node(value)
        elif isinstance(value, dict):
            value = Config(value)
            value.__dict__["_section"] = dict
        elif isinstance(value, tuple):
            value = list(value)
        dict.__setitem__(node, item.name.upper(), value)
    return node


def _accepted_values(
    node: Config, values: Mapping[str, Any], prefix: str, problems: _Problems
) -> Iterator[_Leaf]:
    """Yield every leaf that may be set; describe the others."""
    section = node.__dict__.get("_section", ())
    keys = {**(declared(section) if is_dataclass(section) else {}), **node.__dict__.get("_own", {})}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if name in STALE_KEYS:
            logger.warning("%s has no effect and is ignored", name)
        elif section is dict:  # keyword arguments, which the class checks that takes them
            value = _as_yacs(value, node.get(key))
            problems += unusable({key: value}, prefix.rstrip("."))
            yield node, key, value
        elif section is Dataset and key not in node and isinstance(decoded(value), dict):
            yield from _new_dataset(node, key, decoded(value), problems)
        elif key not in node:
            problems.add_unknown(node, key, name)
        elif isinstance(node[key], _YacsNode):
            value = decoded(value)
            if isinstance(value, dict):
                yield from _accepted_values(node[key], value, name + ".", problems)
            else:
                problems.append(f"{name} is a section, found {shown(value)}")
        elif key in keys:
            try:
                yield node, key, keys[key].convert(value, name)
            except ValueError as error:
                problems.append(str(error))
        else:  # a script may have added keys of its own
            yield node, key, _as_yacs(value, node[key])


def _as_yacs(value: Any, old: Any = None) -> Any:
    """Decode a text, or those in a dict; lists and tuples become what they replace."""
    value = decoded(value)
    if isinstance(value, dict):
        return {key: _as_yacs(item) for key, item in value.items()}
    return type(old)(value) if {type(old), type(value)} == {list, tuple} else value


def _new_dataset(node: Config, key: str, value: dict, problems: _Problems) -> Iterator[_Leaf]:
    """Accept a training set of the user's own below ``DATASET``."""
    kind = decoded(value.get("TYPE", "crops"))
    value = {name: item for name, item in value.items() if (name, kind) != ("TYPE", "crops")}
    if not isinstance(kind, str) or kind not in ROWS:
        problems.append(f"DATASET.{key}.TYPE: unknown {shown(kind)}; known: {', '.join(ROWS)}")
        return
    fresh = _node(ROWS[kind]())
    yield from _accepted_values(fresh, value, f"DATASET.{key}.", problems)
    needed = ("ROOT", "ANNO", "CUTOUTS")
    if missing := [name for name in needed if name in fresh and not value.get(name)]:
        problems.append(f"DATASET.{key} needs {' and '.join(missing)}")
    yield node, key, fresh


def _unknown_key(node: Config, key: str, name: str) -> str:
    near = difflib.get_close_matches(str(key), [str(known) for known in node], n=1, cutoff=0.5)
    prefix = name[: len(name) - len(str(key))]
    hint = f" (did you mean {prefix}{near[0]}?)" if near else ""
    return f"unknown key {textwrap.shorten(name, 80) or shown(name)}{hint}"


def default_config() -> Config:
    """Return a fresh configuration that holds every default."""
    return _node(Settings())


def find_config(path: str | Path) -> Path:
    """Return a path as it is, or of the configuration if it is a name in ``experiments``."""
    path = Path(path)
    named = EXPERIMENTS / path / "config.yaml"
    is_name = path.name == str(path) and not path.is_file()
    return named if is_name and named.is_file() else path


def _check_name(path: Path) -> None:
    """Raise ``FileNotFoundError`` with near names if a path looks like a name and is none."""
    if path.name == str(path) and not path.suffix and not path.exists():
        names = sorted(file.parent.name for file in EXPERIMENTS.glob("*/config.yaml"))
        near = ", ".join(difflib.get_close_matches(path.name, names, n=3, cutoff=0))
        raise FileNotFoundError(f"configuration file not found: {path}; near names are {near}")


def load_config(path: str | Path, opts: Sequence[Any] = ()) -> Config:
    """Read a configuration in PySOT's format over the defaults, and freeze the result.

    Args:
        path: The file, a name in ``experiments``, or weights that have a card.
        opts: Overrides as ``[KEY, VALUE, ...]``, keys dotted (``TRAIN.EPOCH``), values as in YAML.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: With all unknown keys, the known ones nearest to them, and all wrong values.
    """
    load_installed()
    config = default_config()
    config.merge_from_file(path)
    config.merge_from_list(list(opts))
    config.freeze()
    return config


def changes(config: Config, defaults: Config | None = None) -> dict[str, Any]:
    """Return what differs from the defaults, as plain data for a short YAML file."""
    defaults = default_config() if defaults is None else defaults
    found = {}
    for key, value in config.items():
        usual = defaults.get(key)
        if isinstance(value, Config) and isinstance(usual, Config):
            if inner := changes(value, usual):
                found[key] = inner
        elif value != usual:
            found[key] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, dict) else value


def read_sections(kind: type[T], *nodes: Config) -> T:
    """Return sections of a configuration as a dataclass that has their keys for fields."""
    values = {key.lower(): value for node in nodes for key, value in node.items()}
    known = {item.name for item in fields(kind)}
    return kind(
        **{k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in known}
    )


def describe_keys(section: Any = None, name: str = "") -> Iterator[str]:
    """Yield the lines of ``docs/configuration.md`` on a section, by default on all."""
    section = Settings() if section is None else section
    keys = declared(type(section))
    title = f"`{name}`: {type(section).__doc__}" if name else "Configuration"
    yield from (f"{'##' if name else '#'} {title}", "", *([] if name else [_PREFACE, ""]))
    yield "| key | type | default | range | meaning | of |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for key, known in keys.items():
        if isinstance(known, Key):
            default = json.dumps(getattr(section, key.lower()))
            of = "ours" if known.ours else "PySOT"
            limits = known.range.removeprefix("of ").removeprefix("from ")
            cells = (f"`{key}`", known.kind, f"`{default}`", limits, known.help, of)
            yield f"| {' | '.join(cells)} |"
    for key, known in keys.items():
        if not isinstance(known, Key):
            yield ""
            yield from describe_keys(getattr(section, key.lower()), f"{name}.{key}".lstrip("."))
    for keys in AUGMENTATION_KEYS.values() if name == "DATASET" else ():
        yield from ("", *describe_keys(keys(), "DATASET.TEMPLATE, DATASET.SEARCH"))


def resolve_path(path: str | Path) -> Path:
    """Find a path of a YAML file below the repository, else below the current directory.

    An installed package has no repository. Applies to ``BACKBONE.PRETRAINED``, ``DATASET.*.ROOT``
    and ``DATASET.*.ANNO``.
    """
    path = Path(path)
    if EXPERIMENTS.parent != REPOSITORY:
        return path.absolute()
    below_root = REPOSITORY / path  # an absolute path stays as it is
    return path.absolute() if not below_root.exists() and path.exists() else below_root


cfg = default_config()
"""The configuration of scripts written against PySOT; only ``build_tracker`` reads it here."""

if __name__ == "__main__":
    print("\n".join(describe_keys()))
