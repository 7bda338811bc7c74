"""Values of a configuration as text: YAML files, and Python literals as yacs reads them."""

from __future__ import annotations

import itertools
import math
import re
import reprlib
from ast import literal_eval
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

LARGEST = 1e12
"""Numbers of a larger magnitude are refused."""

_LARGEST_FILE = 100_000  # bytes
_MOST_VALUES, _DEEPEST = 5000, 30  # of a file, with its aliases written out

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80
_PLAIN = (bool, int, float, str, type(None))


class OptionText(str):
    """Text of a command line, where ``true``, ``null`` or ``[a, b]`` mean what they do in YAML."""

    __slots__ = ()


class _Loader(yaml.SafeLoader):
    """Reads ``1e-5`` as a number; refuses keys given twice, and files that take long."""

    _composed = _level = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node:
        """Compose a node; ``extent`` is its number of values and its depth, aliases written out."""
        is_alias = self.check_event(yaml.AliasEvent)
        self._composed, self._level = self._composed + 1, self._level + 1
        _check_extent(self, self._composed, self._level)
        node = super().compose_node(parent, index)
        self._level -= 1
        if not is_alias:
            node.extent = _extent(node)
            _check_extent(self, *node.extent)
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def _check_extent(loader: _Loader, values: int, depth: int) -> None:
    if values > _MOST_VALUES:
        raise _refusal(f"more than {_MOST_VALUES} values", loader.get_mark())
    if depth > _DEEPEST:
        raise _refusal(f"values nested more than {_DEEPEST} deep", loader.get_mark())


def _extent(node: yaml.Node) -> tuple[int, int]:
    children = node.value if isinstance(node, yaml.CollectionNode) else []
    if isinstance(node, yaml.MappingNode):
        names = set()
        for key, _ in children:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in names:
                    raise _refusal(f"the key {shown(key.value)} stands twice", key.start_mark)
                names.add(key.value)
        children = list(itertools.chain.from_iterable(children))
    extents = [getattr(child, "extent", None) for child in children]
    if None in extents:
        raise _refusal("a value that contains itself", node.start_mark)
    return 1 + sum(n for n, _ in extents), 1 + max((depth for _, depth in extents), default=0)


def _refusal(problem: str, mark: Any) -> yaml.YAMLError:
    return yaml.composer.ComposerError(None, None, problem, mark)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping, or nothing; keys may be of any type.

    Raises:
        OSError: If there is no such file, or it cannot be read.
        ValueError: If it is no YAML file, holds something else, a key twice, or too much.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected a configuration file")
    if not path.is_file():
        raise FileNotFoundError(f"configuration file not found: {path}")
    with path.open("rb") as file:
        content = file.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        raise ValueError(f"{path} is too large for a configuration, over {_LARGEST_FILE} bytes")
    try:
        values = _parse(content)
    except ValueError as error:
        raise ValueError(f"{path} is not a YAML file for configurations: {error}") from error
    if values is not None and not isinstance(values, dict):
        raise ValueError(f"{path}: expected a mapping of sections, found {type(values).__name__}")
    return values or {}


def _parse(content: bytes | str) -> Any:
    """Return what a YAML document holds; ValueError in one line if it is none."""
    try:
        return yaml.load(content, _Loader)
    except RecursionError as error:
        raise ValueError("values nested too deep") from error
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:
        # a tag that does not fit its value, such as !!int abc, raises any of the latter
        mark = getattr(error, "problem_mark", None)
        reason = " ".join((getattr(error, "problem", None) or str(error)).split())
        raise ValueError(reason + (f" in line {mark.line + 1}" if mark else "")) from error


def decoded(value: Any) -> Any:
    """Return what a text means as a Python literal, as yacs reads it; else the value itself."""
    if not isinstance(value, str):
        return value
    try:
        return literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        pass
    if isinstance(value, OptionText):
        try:
            found = _parse(value)
        except ValueError:
            return str(value)
        infinite = isinstance(found, float) and not math.isfinite(found)
        if infinite or isinstance(found, (bool, list, dict, type(None))):
            return found
    return str(value)


def unusable(value: Any, name: str) -> Iterator[str]:
    """Describe what no keyword argument may be: NaN, infinite or huge numbers, other types."""
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(key, str):
                yield from unusable(item, f"{name}.{key}")
            else:
                yield f"{name}: expected names of arguments, found {shown(key)}"
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from unusable(item, f"{name}[{number}]")
    elif not isinstance(value, _PLAIN):
        yield f"{name}: expected a number, text or list, found {shown(value)}"
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{name} is {value}; expected a finite number"
    elif isinstance(value, (int, float)) and abs(value) > LARGEST:
        yield f"{name}: the number is too large"


def shown(value: Any) -> str:
    """Return a value as a short text."""
    try:
        return _repr.repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a huge number"
