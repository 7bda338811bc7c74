"""The note in a results folder that says what its results were made with.

Snapshots of two experiments often have the same name, and finished videos are skipped: without
the note the results of one could pass for those of the other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from toolkit.io.files import atomic_write
from toolkit.protocols.running import Plan
from toolkit.results.formats import remove_results

RECORD = ".run.json"


def claim_folder(
    plan: Plan,
    videos: Sequence[str],
    record: Mapping[str, Any],
    defaults: Mapping[str, Any] | None = None,
) -> None:
    """Note in the results folder what its results are made with, and refuse to mix two trackers.

    Args:
        plan: Where the results go; results of another tracker are deleted if it may overwrite.
        videos: Names of all videos of the set.
        record: What the tracker is made of, of the types that JSON knows.
        defaults: Values of what older versions did not know and so did not note.

    Raises:
        ValueError: If the folder holds results of another snapshot or other settings.
        OSError: If it cannot be written.
    """
    path = plan.folder / RECORD
    record = json.loads(json.dumps(record))  # tuples become lists, as they will when read back
    stale = not _same(_read(path), record, json.loads(json.dumps(defaults or {})))
    finished = [name for name in videos if plan.files(name).regions.exists()]
    if stale and finished and not plan.overwrite:
        raise ValueError(
            f"{plan.folder} holds results of another snapshot or of other settings (its "
            f"{RECORD} says which); keep both with --name, or replace them with --overwrite"
        )
    for name in finished if stale else ():
        remove_results(plan.layout, plan.folder, name)
    with atomic_write(path) as file:
        json.dump(record, file, indent=1)
        file.write("\n")


def _read(path: Path) -> Any:
    with suppress(OSError, ValueError):
        return json.loads(path.read_text(encoding="utf-8"))
    return None


def _same(noted: Any, record: dict[str, Any], defaults: dict[str, Any]) -> bool:
    """Whether a note says the same; without a note nothing speaks against it."""
    return noted is None or _filled(noted, defaults, record) == record


def _filled(noted: Any, defaults: Any, record: Any) -> Any:
    """The note, and where it is silent about what the record tells, the default."""
    if not (isinstance(noted, dict) and isinstance(record, dict)):
        return noted
    known = defaults if isinstance(defaults, dict) else {}
    silent = {key: known[key] for key in record if key in known and key not in noted}
    return silent | {
        key: _filled(value, known.get(key), record.get(key)) for key, value in noted.items()
    }
