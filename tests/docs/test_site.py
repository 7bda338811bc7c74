"""The site that mkdocs builds of docs/ and of the READMEs of the repository."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.extras
def test_the_site_builds_without_a_warning(tmp_path):
    """Needs ``pip install mkdocs-material "mkdocstrings[python]"`` (extra ``docs``)."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # of the theme, about another program
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=quiet)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    for page in ("api/tracking", "training-data", "examples/siamban"):
        assert (tmp_path / page / "index.html").is_file()
    html = (tmp_path / "api/tracking/index.html").read_text(encoding="utf-8")
    assert "Tracker.from_pretrained" in html
