"""Write ``vid.json``, the XML files of ImageNet VID in one, from ``ILSVRC2015/``."""

import json
from pathlib import Path

from pysot.cli import run
from pysot.cli.prepare import finish
from toolkit.datasets.formats.voc import parse_vid
from toolkit.datasets.reading import Reading
from toolkit.io.files import write_bytes
from toolkit.io.issues import IssueLog


def main() -> None:
    """Write it."""
    reading = Reading(Path("ILSVRC2015"), IssueLog(), training=True)
    parts = parse_vid(reading)
    write_bytes(Path("vid.json"), json.dumps(parts, indent=4, sort_keys=True).encode())
    print(f"vid.json: {sum(map(len, parts))} videos in {len(parts)} parts")
    finish(reading.log, Path("parse_vid.problems.txt"))


if __name__ == "__main__":
    run(main)
