"""Prepare DAVIS 2016 or 2017: check, crops with masks, annotations, pack."""

from collections.abc import Sequence

from pysot.core.errors import run
from pysot.datasets.prepare.cli import parser, prepare
from pysot.datasets.prepare.segmentation import read_davis


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare one split."""
    options = parser(__doc__, "folder with JPEGImages/480p, Annotations/480p and ImageSets")
    options.add_argument("--year", choices=("2016", "2017"), default="2017")
    options.add_argument("--split", choices=("train", "val", "all"), default="train")
    prepare(
        options.parse_args(argv),
        lambda args, problems: read_davis(args.root, args.year, args.split, problems),
    )


if __name__ == "__main__":
    run(main)
