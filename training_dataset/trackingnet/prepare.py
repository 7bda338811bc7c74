"""Prepare TrackingNet: check, crops, annotations, pack."""

from collections.abc import Sequence

from pysot.core.errors import run
from pysot.datasets.prepare.cli import parser, prepare
from pysot.datasets.prepare.tracking import read_trackingnet

PARTS = tuple(f"TRAIN_{number}" for number in range(12))


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare the parts that are there."""
    options = parser(__doc__, "folder with TRAIN_0 to TRAIN_11, or some of them")
    options.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="TRAIN_n")
    prepare(
        options.parse_args(argv),
        lambda args, problems: read_trackingnet(args.root, args.parts, problems),
    )


if __name__ == "__main__":
    run(main)
