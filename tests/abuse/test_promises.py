"""The tests that docs/reliability.md names are there."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_every_test_that_is_named_exists():
    text = (TESTS.parent / "docs" / "reliability.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\|.*\|(.*)\|$", text, re.MULTILINE)
    named = set(re.findall(r"`([^`]+)`", " ".join(rows))) - {"-s"}
    sources = "".join(path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py"))
    known = {name for name in named if (TESTS / name).is_file() or f"def {name}(" in sources}
    assert known == named and len(named) > 40
    assert all(row.strip() for row in rows)
