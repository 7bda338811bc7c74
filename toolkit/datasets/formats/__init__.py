"""The distributions of public data sets and users' own, with kindred ones in one module.

A module has functions that yield `Sequence`, given a `Reading`, and tables of their uses:
``TESTING`` by name of the benchmark, ``TRAINING`` by name of the set in ``pysot prepare``. A module
that is put here is found, and a plug-in adds rows to `testing_formats` and `training_sets`; what
readers have in common is in `toolkit.datasets.reading`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from toolkit.datasets.reading import Format, Reading, TrainingSet
from toolkit.io.issues import IssueLog
from toolkit.io.tables import Table


@cache
def testing_formats() -> Table[Format]:
    """Return the formats by benchmark; a set of another name is one of the user's own."""
    return Table("format", _gather("TESTING"))


@cache
def training_sets() -> Table[TrainingSet]:
    """Return the sets that can be prepared for training, by name."""
    return Table("training set", _gather("TRAINING"))


def _gather(table: str) -> dict[str, Any]:
    names = (f"{__name__}.{module.name}" for module in iter_modules(__path__))
    return {k: v for name in names for k, v in getattr(import_module(name), table, {}).items()}


def read_records(root: Path, name: str) -> tuple[dict[str, dict[str, Any]], IssueLog]:
    """Read a set from its owner's folders, or from the user's own, to test on it.

    Returns:
        The records of the videos that can be used, sorted by name, in the form of PySOT's JSON,
        and all that is wrong with the set; issues name the video.

    Raises:
        FileNotFoundError: If no format of this set is recognized; says what was looked for.
        ValueError: If a table of boxes cannot be read.
    """
    from toolkit.datasets.formats import custom

    known = testing_formats().get(name)
    formats = (known,) if known else custom.formats(name)
    reading, log, records = Reading(root, IssueLog()), IssueLog(), {}
    fitting = next((form for form in formats if form.fits(root)), None)
    for sequence in fitting.read(reading) if fitting else ():
        issues = [*reading.log]
        reading.log.clear()
        for issue in issues:
            log.add(issue.kind, sequence.name, issue.text, issue.level)
        if sequence.name in records:
            log.add("twice", sequence.name, "is there twice")
        elif len(sequence) and not any(issue.level == "error" for issue in issues):
            records[sequence.name] = sequence.record(root)
    if not records and not len(log):
        marks = " or ".join(mark for form in formats for mark in form.marks)
        raise FileNotFoundError(f"no folders of {name} in {root}: looked for {marks}")
    return dict(sorted(records.items())), IssueLog(sorted(log, key=lambda issue: issue.where))
