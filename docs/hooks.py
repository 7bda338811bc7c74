"""What mkdocs.yml cannot say: pages that lie outside of docs, and links that lead there."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]

#: File of the repository -> page of the site.
PAGES = {
    "testing_dataset/README.md": "testing-data.md",
    "training_dataset/README.md": "training-data.md",
    "examples/plugins/siamban/README.md": "examples/siamban.md",
    "examples/plugins/nanotrack/README.md": "examples/nanotrack.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
SOURCES = {page: source for source, page in PAGES.items()}
LINK = re.compile(r"\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> None:
    """Add the pages that lie outside of docs."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))


def on_page_markdown(markdown: str, page: Any, **others: Any) -> str:
    """Let links between files of the repository lead from page to page.

    A file that is no page, such as a script, has no address here: its name stays without a link.
    """
    here = page.file.src_uri
    folder = posixpath.dirname(SOURCES.get(here, f"docs/{here}"))

    def replace(link: re.Match) -> str:
        text, path, anchor = link.groups()
        target = posixpath.normpath(posixpath.join(folder, path))
        if target in PAGES or target.startswith("docs/"):
            target = PAGES.get(target, target.removeprefix("docs/"))
            return f"[{text}]({posixpath.relpath(target, posixpath.dirname(here))}{anchor or ''})"
        return text

    return LINK.sub(replace, markdown)


def on_page_content(html: str, **others: Any) -> str:
    """Show the roles of docstrings, such as ``:func:`track```, as plain names."""
    return re.sub(r":(?:class|func|mod):(?=<code>)", "", html).replace("::</p>", ":</p>")
