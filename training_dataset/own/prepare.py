"""Prepare your own data: check, crops (with masks where there are any), annotations, pack."""

from collections.abc import Sequence
from pathlib import Path

from pysot.datasets.prepare.cli import parser, prepare
from pysot.datasets.prepare.own import read_own
from pysot.utils.cli import run


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare whatever there is."""
    options = parser(
        __doc__, "folder of videos, JSON file (COCO), folder of XML files, or CSV file"
    )
    options.add_argument("--masks", type=Path, help="folder of <video>/<frame>.png")
    prepare(
        options.parse_args(argv),
        lambda args, problems: read_own(args.root, args.masks, problems),
    )


if __name__ == "__main__":
    run(main)
