"""What is wrong with an input: collected while reading goes on, then shown or written at once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from toolkit.io.files import atomic_write
from toolkit.io.names import printable

#: From the worst to the harmless.
LEVELS = ("error", "warning", "note")


@dataclass(frozen=True)
class Issue:
    """One thing that is wrong with an input."""

    level: str  # "error": not usable; "warning": used in part or differently; "note": harmless
    kind: str  # equal for equal faults, such as "missing image"; may be empty
    where: str  # the file, line, video or track
    text: str = ""  # what was found, and what was done about it

    def __str__(self) -> str:
        return ": ".join(part for part in (self.kind, self.where, self.text) if part)


class IssueLog(list[Issue]):
    """Issues in the order in which they were found; none of them stops a run."""

    def add(self, kind: str, where: object = "", text: object = "", level: str = "error") -> None:
        """Add an issue; see `Issue`."""
        if level not in LEVELS:
            raise ValueError(f"unknown level {level!r}; known: {', '.join(LEVELS)}")
        self.append(Issue(level, kind, printable(str(where)), printable(str(text))))

    def warn(self, kind: str, where: object = "", text: object = "") -> None:
        """Add a warning."""
        self.add(kind, where, text, "warning")

    def note(self, kind: str, where: object = "", text: object = "") -> None:
        """Add something harmless."""
        self.add(kind, where, text, "note")

    def of(self, *levels: str) -> list[Issue]:
        """Issues of these levels, in the order of the log."""
        return [issue for issue in self if issue.level in levels]

    def summary(self, examples: int = 3) -> Iterator[str]:
        """Lines for people: errors first; each kind with its count and the first few places."""
        for level in LEVELS:
            found = self.of(level)
            for kind, count in Counter(issue.kind for issue in found).most_common():
                yield f"{_title(level)}{kind or 'other'}: {count}"
                some = [issue for issue in found if issue.kind == kind][:examples]
                for issue in some:
                    yield f"    {issue.where}{'  ' if issue.text else ''}{issue.text}"
                if count > len(some):
                    yield f"    and {count - len(some)} more"

    def write(self, path: str | os.PathLike) -> None:
        """Write all issues to a text file, one a line, errors first."""
        with atomic_write(path) as file:
            file.writelines(f"{_title(i.level)}{i}\n" for level in LEVELS for i in self.of(level))


def _title(level: str) -> str:
    return "" if level == "error" else f"{level}: "
