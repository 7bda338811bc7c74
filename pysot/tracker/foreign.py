"""Trackers of other origin, made to look like ours: any object with ``init`` and ``track``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pysot.core.plugins import ANYTHING, accepts, digests, load_plugins
from pysot.tracker.base_tracker import BaseTracker

_METHODS = ("track", "update")


@dataclass(frozen=True)
class ForeignSpec:
    """A picklable tracker that a function or class without arguments makes; a call builds one.

    A factory's method ``record()``, if there is one, returns a dict of what results depend on; its
    or its trackers' attribute ``deterministic`` says whether two runs are alike, by default they
    are.
    """

    place: str  # of the factory: a module, or the absolute path of a file
    name: str

    @classmethod
    def read(cls, source: str) -> ForeignSpec:
        """Import ``module:factory`` or ``path/file.py:factory``.

        Raises:
            ValueError: If it cannot be imported, or is no function or class.
        """
        place, _, name = source.rpartition(":")
        if not place or not name:
            expected = "module:factory or path/file.py:factory"
            raise ValueError(f"--tracker {source}: expected {expected}")
        try:
            spec = cls(*load_plugins([place]), name)
            known = hasattr(spec._module(), name)
        except (ValueError, OSError) as error:
            raise ValueError(f"--tracker {source}: {error}") from error
        if not known:
            raise ValueError(f"--tracker {source}: {place} has no {name}")
        if not callable(spec._factory()):
            kind = type(spec._factory()).__name__
            raise ValueError(f"--tracker {source}: expected a function or class, found {kind}")
        return spec

    def __call__(self) -> BaseTracker:
        """Build the tracker; ``ValueError`` if that fails or it lacks a method."""
        load_plugins([self.place])
        factory = self._factory()
        try:
            tracker = factory()
        except ANYTHING as error:
            raise ValueError(f"--tracker {self}: {_reason(error)}") from error
        if isinstance(tracker, BaseTracker):
            return tracker
        return ForeignTracker(tracker, str(self), factory)

    def __str__(self) -> str:
        return f"{self._module().__name__}:{self.name}"

    def record(self) -> dict[str, Any]:
        """Return what results depend on, to keep beside them."""
        own = getattr(self._factory(), "record", dict)()
        return {"tracker": str(self), "plugins": digests([self._factory()]), **own}

    def _module(self) -> Any:
        return import_module(Path(self.place).stem if self.place.endswith(".py") else self.place)

    def _factory(self) -> Callable[[], Any]:
        return getattr(self._module(), self.name)


class ForeignTracker(BaseTracker):
    """Follows one target by an object with ``init(image, bbox)`` and ``track`` or ``update``.

    These take a BGR uint8 frame (H, W, 3) and return a dict with ``bbox``, an object with that
    attribute, x, y, w, h alone, or a flag and these, as OpenCV does. Where the flag is false, the
    last box is repeated with score 0. ``source`` names it in messages, ``factory`` makes another.

    Raises:
        ValueError: If the object lacks a method.
    """

    def __init__(self, tracker: Any, source: str, factory: Callable[[], Any]) -> None:
        if not callable(getattr(tracker, "init", None)):
            raise ValueError(f"{source}: {type(tracker).__name__} has no method init(image, bbox)")
        usable = (name for name in _METHODS if accepts(getattr(tracker, name, None), 1))
        self.method = next(usable, "")
        if not self.method:
            kind = type(tracker).__name__
            raise ValueError(f"{source}: {kind} has no method track(image) or update(image)")
        self.tracker, self.source, self.factory = tracker, source, factory
        certain = getattr(factory, "deterministic", True)
        certain = getattr(tracker, "is_deterministic", certain)  # got10k's name for it
        self.deterministic = getattr(tracker, "deterministic", certain)
        self._box: list[float] = []

    def init(self, image: NDArray, bbox: Sequence[float]) -> None:
        """See :meth:`BaseTracker.init`; ``RuntimeError`` if the tracker fails."""
        self._box = list(bbox)
        box: Any = list(bbox)  # which the tracker may change
        if isinstance(self.tracker, cv2.Tracker):  # which starts once, on whole numbers
            self.tracker = self.factory()
            box = (round(box[0]), round(box[1]), max(1, round(box[2])), max(1, round(box[3])))
        if self._call("init", image, box) is False:
            raise RuntimeError(f"{self.source}: init refused the box {box}")

    def track(self, image: NDArray) -> dict[str, Any]:
        """See :meth:`BaseTracker.track`; ``RuntimeError`` if the tracker fails."""
        found = self._call(self.method, image)
        result = found
        if isinstance(found, tuple) and len(found) == 2 and np.ndim(found[0]) == 0:
            seen, result = found
            if not seen:
                return {"bbox": self._box, "best_score": 0.0, "lost": True}
        try:
            result = _checked(_as_dict(result), image.shape[:2])
        except ValueError as expected:
            raise RuntimeError(
                f"{self.source}: {self.method} returned {_shown(found)}; expected {expected}"
            ) from None
        self._box = result["bbox"]
        return result

    def _call(self, method: str, *args: Any) -> Any:
        try:
            return getattr(self.tracker, method)(*args)
        except ANYTHING as error:
            raise RuntimeError(f"{self.source}: {method}: {_reason(error)}") from error


def _as_dict(found: Any) -> dict[str, Any]:
    """Return what a tracker found by the names that our trackers use."""
    if isinstance(found, Mapping):
        named = dict(found)
    elif hasattr(found, "bbox"):
        known = {"bbox": "bbox", "best_score": "score", "polygon": "polygon", "mask": "mask"}
        named = {name: getattr(found, theirs, None) for name, theirs in known.items()}
    else:
        named = {"bbox": found}
    return {name: value for name, value in named.items() if value is not None}


def _checked(result: dict[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    """Return a result with numbers of Python; `ValueError` says what was expected instead.

    ``shape`` is that of the frame.
    """
    box = result["bbox"] = _numbers(result.get("bbox"))
    if len(box) != 4 or not all(map(math.isfinite, box)) or min(box[2:]) < 0:
        raise ValueError("a dict with bbox, or x, y, w, h, or a flag and these")
    if "best_score" in result:
        score = _numbers([result["best_score"]])
        if not score:
            raise ValueError("best_score to be a number")
        result["best_score"] = float(score[0])
    if "polygon" in result:
        polygon = result["polygon"] = _numbers(result["polygon"])
        if len(polygon) < 6 or len(polygon) % 2 or not all(map(math.isfinite, polygon)):
            raise ValueError("polygon to be x1, y1, x2, y2, ...")
    if "mask" in result:
        with suppress(TypeError, ValueError, RuntimeError):  # of a tensor that is no array
            result["mask"] = np.asarray(result["mask"])
        if not isinstance(result["mask"], np.ndarray) or result["mask"].shape != shape:
            raise ValueError(f"mask to have the frame's shape {shape}")
    return result


def _numbers(values: Any) -> list[int | float]:
    """Return numbers, also of NumPy or torch, as Python's; none if there is anything else.

    Whole numbers stay so, as files show them.
    """
    try:
        found = [value.item() if hasattr(value, "item") else value for value in values]
    except (TypeError, ValueError, RuntimeError):
        return []
    return found if all(isinstance(value, (int, float)) for value in found) else []


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    plain = isinstance(error, (ValueError, OSError, ImportError)) and text
    return text if plain else f"{type(error).__name__}: {text}"


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
