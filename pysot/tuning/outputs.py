"""Outputs of the network that several settings of a tracker share."""

from __future__ import annotations

import hashlib
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


class SharedOutputs:
    """What ``candidates(crop)`` of trackers returned, for equal templates and equal crops.

    Settings that differ only in keys of a tracker's ``tuned`` send the network the same crop as
    long as their boxes agree to the pixel: always the first one of a video, and many later ones.
    As the key is the content of first frame, first box and crop, nothing else can be returned than
    what the network would compute. Left alone are trackers of plug-ins, which may look at more
    than that, and every frame after a tracker has changed its template.

    Args:
        limit: Bytes that are kept. Beyond, entries are dropped at random: a search comes by all
            frames in turn, where the least recently used entry is the one that is needed next.
        seed: Which ones are dropped; the results do not depend on it.
    """

    def __init__(self, limit: int, seed: int = 0) -> None:
        self.limit, self.size = limit, 0
        self.hits = self.misses = 0
        self._found: dict[Any, tuple[Any, int]] = {}
        self._order: list[Any] = []
        self._rng = np.random.default_rng(seed)

    def attach(self, tracker: Any) -> Any:
        """Let a tracker look here before it runs its network; return it."""
        if type(tracker).__module__.startswith("pysot.") and hasattr(tracker, "candidates"):
            _Lookup(self, tracker)
        return tracker

    def get(self, key: Any) -> Any:
        """Return an entry, or None."""
        found = self._found.get(key)
        self.hits += found is not None
        self.misses += found is None
        return None if found is None else found[0]

    def put(self, key: Any, value: Any) -> None:
        """Keep an entry if there is room for it."""
        size = _bytes_of(value) + 200
        if size > self.limit:
            return
        while self.size + size > self.limit:
            self._drop(int(self._rng.integers(len(self._order))))
        self._found[key] = value, size
        self._order.append(key)
        self.size += size

    def _drop(self, index: int) -> None:
        self._order[index], self._order[-1] = self._order[-1], self._order[index]
        self.size -= self._found.pop(self._order.pop())[1]


class _Lookup:
    """Stands before ``init`` and ``candidates`` of one tracker."""

    def __init__(self, outputs: SharedOutputs, tracker: Any) -> None:
        self.outputs, self.tracker = outputs, tracker
        self._init, self._compute = tracker.init, tracker.candidates
        self._start, self._kernels = None, None
        free = (key.lower() for key in tracker.tuned)
        params = tracker.params
        self._fixed = replace(params, **{key: type(getattr(params, key))() for key in free})
        tracker.init, tracker.candidates = self.init, self.candidates

    def init(self, image: NDArray, bbox: Any) -> None:
        self._init(image, bbox)
        self._start = _digest(image), tuple(np.asarray(bbox, float).ravel().tolist())
        self._kernels = self.tracker.state.kernels

    def candidates(self, crop: NDArray) -> Any:
        if self.tracker.state.kernels is not self._kernels:
            return self._compute(crop)
        key = self._fixed, self._start, _digest(crop)
        found = self.outputs.get(key)
        if found is None:
            found = self._compute(crop)
            self.outputs.put(key, found)
        return found


def _digest(array: NDArray) -> tuple[Any, ...]:
    content = np.ascontiguousarray(array)
    return content.shape, hashlib.sha256(content).digest()


def _bytes_of(value: Any) -> int:
    """Return the memory of arrays and tensors in tuples, lists and dataclasses."""
    if hasattr(value, "nbytes"):
        return int(value.nbytes)
    if is_dataclass(value):
        value = [getattr(value, item.name) for item in fields(value)]
    return sum(map(_bytes_of, value)) if isinstance(value, (tuple, list)) else 64
