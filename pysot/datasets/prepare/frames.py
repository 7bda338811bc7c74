"""What every reader of a data set yields, and where it reports what is wrong.

A reader goes through the annotations of one data set and yields a :class:`Frame` for each annotated
image, those of one video one after the other. It opens no image; what it cannot read it adds to a
:class:`Problems` and goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pysot.datasets.prepare.masks import Mask


@dataclass(frozen=True)
class Frame:
    """One annotated image.

    Attributes:
        video: Name of the video, a path below the folder of crops.
        number: Of the frame in the video.
        image: Its file.
        boxes: Track number -> x1, y1, x2, y2 in pixels.
        masks: Track number -> mask; tracks may be missing.
        kinds: Track number -> name of the kind of object; tracks may be missing.
        labels: Image of labels (see ``read_labels``), where that is the annotation: then label n
            is track n, its box is the smallest one around its pixels, and ``boxes`` is empty.
        size: (w, h) in pixels that the annotations state, or None.
    """

    video: str
    number: int
    image: Path
    boxes: Mapping[int, tuple[float, float, float, float]] = field(default_factory=dict)
    masks: Mapping[int, Mask] = field(default_factory=dict)
    kinds: Mapping[int, str] = field(default_factory=dict)
    labels: Path | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Problem:
    """Something wrong in a data set.

    Attributes:
        kind: Short and equal for equal faults, such as "missing image".
        where: The file, and the track or line in it.
        detail: What was found.
    """

    kind: str
    where: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}{': ' if self.detail else ''}{self.detail}"


class Problems:
    """Collects problems; none of them stops a run.

    Attributes:
        items: In the order in which they were found.
        notes: Things that are worth to know and do no harm.
    """

    def __init__(self) -> None:
        self.items: list[Problem] = []
        self.notes: list[Problem] = []

    def add(self, kind: str, where: object, detail: object = "") -> None:
        """Report a problem; see :class:`Problem`."""
        self.items.append(Problem(kind, str(where), str(detail)))

    def note(self, kind: str, where: object, detail: object = "") -> None:
        """Report something harmless."""
        self.notes.append(Problem(kind, str(where), str(detail)))

    def summary(self, examples: int = 3) -> Iterator[str]:
        """Lines for people: each kind with its count and the first of its places."""
        for title, found in (("", self.items), ("note: ", self.notes)):
            for kind, count in Counter(problem.kind for problem in found).most_common():
                yield f"{title}{kind}: {count}"
                some = [problem for problem in found if problem.kind == kind][:examples]
                for problem in some:
                    yield f"    {problem.where}{'  ' if problem.detail else ''}{problem.detail}"
                if count > len(some):
                    yield f"    and {count - len(some)} more"
