"""Names that a configuration file may use, and the classes they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T", bound=Callable[..., Any])


class Registry:
    """Classes by name, of a ``kind`` such as "head", which a key such as ``RPN.TYPE`` selects."""

    def __init__(self, kind: str, key: str) -> None:
        self.kind, self.key = kind, key
        self._entries: dict[str, Callable[..., Any]] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that enters a class or function; ``ValueError`` if taken."""
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered already")
        return lambda entry: self._entries.setdefault(name, entry)

    def get(self, name: str) -> Callable[..., Any]:
        """Return the entry called ``name``; ``ValueError`` lists the known names."""
        if name not in self._entries:
            known = ", ".join(sorted(self._entries))
            raise ValueError(f"{self.key}: unknown {self.kind} {name!r}; known: {known}")
        return self._entries[name]

    def build(self, name: str, **kwargs: Any) -> Any:
        """Call an entry with keyword arguments of the configuration; ``ValueError`` if unfit."""
        entry = self.get(name)
        try:
            return entry(**kwargs)
        except TypeError as error:
            section = self.key.rsplit(".", 1)[0]
            message = f"{section}.KWARGS do not fit {self.kind} {name!r}: {error}"
            raise ValueError(message) from error

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))


BACKBONES = Registry("backbone", "BACKBONE.TYPE")
"""Networks: ``(B, 3, H, W)`` BGR 0..255 -> one feature map or a list of them.
Entries state ``out_channels`` (list of int) and ``stride``.
"""

NECKS = Registry("neck", "ADJUST.TYPE")
"""Necks: the backbone's maps -> maps for the heads, a tensor or a list like the input.
Entries state ``in_channels`` and ``out_channels`` (lists of int).
"""

RPN_HEADS = Registry("RPN head", "RPN.TYPE")
"""Heads: ``encode(zf)`` -> kernels; ``correlate(kernels, xf)`` -> (cls, loc).
Entries state ``in_channels`` (int, or list for a head of several levels; None: any) and
``anchor_num`` (None, already on the class: no boxes, ``loc`` is None).
"""

MASK_HEADS = Registry("mask head", "MASK.TYPE")
"""Heads: ``encode(zf)`` -> kernel; ``correlate(kernel, xf)`` -> correlation;
``masks(correlation)`` -> masks (B, M, R, R).
Entries state ``in_channels`` and ``hidden`` (channels of the correlation).
"""

REFINE_HEADS = Registry("refine head", "REFINE.TYPE")
"""Modules: ``(low-level maps, correlation, position)`` -> mask logits (B, M).
Entries state ``low_channels`` (list of int) and ``in_channels`` (of the correlation).
"""

TRACKERS = Registry("tracker", "TRACK.TYPE")
"""Trackers: ``init(image, bbox)``, then ``track(image)`` -> dict with ``bbox``, ``best_score``."""
