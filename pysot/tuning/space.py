"""What is searched: keys of ``TRACK``, their ranges, and the settings of which they consist."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from itertools import product
from typing import Any

import numpy as np

from pysot.core.settings import Key, TrackParams, declared

MAX_SETTINGS = 1_000_000  # more would fill the memory

#: Keys in the names of PySOT's result folders.
_NAMED = (
    ("INSTANCE_SIZE", "r"),
    ("PENALTY_K", "pk-"),
    ("WINDOW_INFLUENCE", "wi-"),
    ("LR", "lr-"),
)

Setting = dict[str, Any]
"""Values by key of ``TRACK``."""


@dataclass(frozen=True)
class Range:
    """Values of one key: from ``low``, below or up to ``high``."""

    key: str
    low: float
    high: float
    values: tuple[Any, ...] = ()  # all of them, if there are steps
    step: float | None = None
    log: bool = False  # whether all magnitudes are equally likely
    whole: bool = False

    def snap(self, value: float) -> Any:
        """Return the setting for a number that a sampler drew: one of the steps, or 3 digits."""
        if self.values:
            return min(self.values, key=lambda known: abs(known - value))
        return int(value) if self.whole else float(f"{value:.3g}")


def read_range(text: str, params: type = TrackParams) -> Range:
    """Read ``KEY=START,STOP[,STEP|,log|,int]``, which with steps leaves out STOP, or ``KEY=VALUE``.

    Args:
        text: As above.
        params: Parameter class of the tracker, which says which keys are whole numbers.

    Raises:
        ValueError: If it is anything else, naming the text.
    """
    key, _, rest = text.partition("=")
    parts = [part.strip() for part in rest.split(",")]
    kind = parts.pop() if parts[-1] in ("log", "int") else ""
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) not in ((2,) if kind else (1, 2, 3)) or not np.isfinite(numbers).all():
        wanted = "expected KEY=START,STOP or KEY=START,STOP,STEP, log or int for STEP, or KEY=VALUE"
        raise ValueError(f"range {text}: {wanted}")
    declaration = _key(params, key)
    whole = kind == "int" or (declaration is not None and declaration.type is int)
    if whole and any(number != int(number) for number in numbers):
        raise ValueError(f"range {text}: expected whole numbers")
    if kind == "log" and numbers[0] <= 0:
        raise ValueError(f"range {text}: a logarithmic one must begin above 0")
    if whole and len(numbers) == 2:
        numbers.append(1)
    values = numbers if len(numbers) == 1 else _steps(text, *numbers)
    values = tuple(int(value) if whole else value for value in values)
    step = numbers[2] if len(values) > 1 else None
    low, high = numbers[0], numbers[-1]
    if values:  # as decimals have it, which Optuna checks; the last value may be a rounding off
        high = float(Decimal(str(low)) + (len(values) - 1) * Decimal(str(step or 0)))
    return Range(key, low, high, values, step, kind == "log", whole)


def _steps(text: str, start: float, stop: float, step: float | None = None) -> list[float]:
    """Return NumPy's ``arange``, but never STOP itself, which rounding may let in there."""
    if stop <= start or (step is not None and step <= 0):
        raise ValueError(f"range {text}: holds no value; expected START < STOP and STEP > 0")
    if step is None:
        return []
    if (stop - start) / step > MAX_SETTINGS:
        raise ValueError(f"range {text}: holds more than {MAX_SETTINGS} values")
    values = np.arange(start, stop, step)
    return values[values < stop - 1e-6 * step].tolist()


def _key(params: type, key: str) -> Key | None:
    """Return what the class of a tracker's parameters declares of a key."""
    known = declared(params).get(key)
    return known if isinstance(known, Key) else None


def ranges_of(
    tracker: Any, asked: Mapping[str, str], usual: Mapping[str, str] | None = None
) -> list[Range]:
    """Return the ranges that are searched for a tracker, by default those that it declares.

    Args:
        tracker: Class of the tracker. Its ``tuned`` names keys that are searched by default, its
            ``reads`` others. Those that its ``params_type`` adds are known, and searched by default
            if they are declared with a range.
        asked: Texts of ranges by key, which take the place of all others.
        usual: Texts of ranges that ``asked`` only adds to, as far as the tracker reads the keys.

    Raises:
        ValueError: If a range is wrong, the tracker does not read a key, or there is no range.
    """
    params = getattr(tracker, "params_type", TrackParams)
    common = {item.name.upper() for item in fields(TrackParams)}
    own = {item.name.upper() for item in fields(params)} - common
    tuned = {*getattr(tracker, "tuned", ()), *own}
    known = {*tuned, *getattr(tracker, "reads", common)}
    name = getattr(tracker, "__name__", str(tracker))
    for key in asked:
        if key not in known:
            reads = ", ".join(sorted(known))
            raise ValueError(f"{name} does not read TRACK.{key}; it reads {reads}")
    if usual is None:
        found = {key: _key(params, key) for key in tuned}
        chosen = asked or {key: of.search for key, of in found.items() if of and of.search}
    else:
        chosen = {**{key: text for key, text in usual.items() if key in known}, **asked}
    if not chosen:
        raise ValueError(f"{name} declares no ranges; give some with --range KEY=START,STOP")
    return [read_range(f"{key}={text}", params) for key, text in sorted(chosen.items())]


def grid_of(ranges: list[Range]) -> Iterator[Setting]:
    """Yield all settings of ranges with steps; ``ValueError`` if one has none, or for too many."""
    for found in ranges:
        if not found.values:
            raise ValueError(f"range {found.key}: a grid needs START,STOP,STEP or one value")
    if (number := math.prod(len(found.values) for found in ranges)) > MAX_SETTINGS:
        raise ValueError(f"the ranges hold {number} settings; expected {MAX_SETTINGS} at most")
    keys = [found.key for found in ranges]
    for values in product(*(found.values for found in ranges)):
        yield dict(zip(keys, values, strict=True))


def folder_name(model: str, track: Mapping[str, Any], setting: Setting) -> str:
    """Return the name of the folder of a setting's results, as PySOT has it, then other keys.

    Args:
        model: Beginning of the name.
        track: The section ``TRACK`` of the configuration.
        setting: Values that take the place of the section's.
    """
    values = {**track, **setting}
    parts = [f"{short}{_decimal(values[key])}" for key, short in _NAMED]
    rest = sorted(setting.keys() - dict(_NAMED).keys())
    parts += [f"{key.lower()}-{_decimal(setting[key])}" for key in rest]
    return "_".join([model, *parts])


def _decimal(value: float) -> str:
    """Return a whole number as it is, others with three decimals, or with all if that is exact."""
    if isinstance(value, int):
        return str(value)
    return f"{value:.3f}" if abs(value - round(value, 3)) < 1e-9 else repr(value)
