"""Write ``vid.json``, the XML files of ImageNet VID in one, from ``ILSVRC2015/``."""

import json
from pathlib import Path

from pysot.core.errors import run
from pysot.datasets.prepare.cli import finish
from pysot.datasets.prepare.frames import Problems
from pysot.datasets.prepare.imagenet import parse_vid
from toolkit.io.files import write_bytes


def main() -> None:
    """Write it."""
    problems = Problems()
    parts = parse_vid(Path("ILSVRC2015"), problems)
    write_bytes(Path("vid.json"), json.dumps(parts, indent=4, sort_keys=True).encode())
    print(f"vid.json: {sum(map(len, parts))} videos in {len(parts)} parts")
    finish(problems, Path("parse_vid.problems.txt"))


if __name__ == "__main__":
    run(main)
