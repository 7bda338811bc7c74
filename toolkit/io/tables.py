"""Tables that plug-ins add their own rows to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

V = TypeVar("V")


class Table(dict[str, V]):
    """Entries by name, of a ``kind`` such as "protocol"; a name is taken once.

    ``TABLE[name] = entry`` adds one; ``ValueError`` if another has that name.
    """

    def __init__(self, kind: str, entries: Mapping[str, V] | Iterable[tuple[str, V]] = ()) -> None:
        super().__init__(entries)
        self.kind = kind

    def __setitem__(self, name: str, entry: V) -> None:
        if name in self:
            owner = getattr(self[name], "__module__", "")
            by = f", by {owner}" if owner else ""
            raise ValueError(f"{self.kind} {name!r} is registered already{by}")
        super().__setitem__(name, entry)

    def __reduce__(self) -> tuple[Any, ...]:
        return Table, (self.kind, dict(self))
