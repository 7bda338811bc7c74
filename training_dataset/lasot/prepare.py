"""Prepare LaSOT: check, crops, annotations, pack."""

import argparse
import json
from collections.abc import Iterator, Sequence
from importlib.resources import files

from pysot.core.errors import run
from pysot.datasets.prepare.cli import parser, prepare
from pysot.datasets.prepare.frames import Frame, Problems
from pysot.datasets.prepare.tracking import read_lasot


def read(args: argparse.Namespace, problems: Problems) -> Iterator[Frame]:
    """Yield the frames of the split."""
    table = files("toolkit.datasets") / "data" / "lasot_splits.json"
    names = json.loads(table.read_text(encoding="utf-8"))
    names["all"] = None
    return read_lasot(args.root, names[args.split], problems)


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare one split."""
    options = parser(__doc__, "folder with <class>/<class>-<n>/")
    options.add_argument("--split", choices=("train", "test", "all"), default="train")
    prepare(options.parse_args(argv), read)


if __name__ == "__main__":
    run(main)
