"""Messages that the page on troubleshooting quotes are those of the program."""

import re

import pytest
from command_lines import ROOT, blocks

PAGE = ROOT / "docs/troubleshooting.md"


MESSAGES = [
    line for block in blocks(PAGE) if block.language == "text" for line in block.code.splitlines()
]


@pytest.fixture(scope="module")
def source():
    """The program, with the parts of texts that are split over lines put together."""
    paths = [*ROOT.glob("pysot/**/*.py"), *ROOT.glob("toolkit/**/*.py")]
    text = "\0".join(path.read_text(encoding="utf-8") for path in paths)
    return re.sub(r'"\n *f?"', "", text)


def pieces(text, source):
    """Cut a text into the longest beginnings that the program has in one place."""
    while text:
        length = next((end for end in range(len(text), 0, -1) if text[:end] in source), 1)
        yield text[:length]
        text = text[length:]


@pytest.mark.parametrize("message", MESSAGES)
def test_quoted_messages_are_in_the_source(message, source):
    for part in filter(None, re.split(r" ?\.\.\. ?", message)):
        found = list(pieces(part, source))
        assert len(found) <= 1 + len(part) // 30, found
