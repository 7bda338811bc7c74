"""Prepare YouTube-VOS: check, crops with masks, annotations, pack."""

from collections.abc import Sequence

from pysot.core.errors import run
from pysot.datasets.prepare.cli import parser, prepare
from pysot.datasets.prepare.segmentation import read_youtube_vos


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare one split."""
    options = parser(__doc__, "folder with train/ or valid/")
    options.add_argument("--split", choices=("train", "valid"), default="train")
    prepare(
        options.parse_args(argv),
        lambda args, problems: read_youtube_vos(args.root, args.split, problems),
    )


if __name__ == "__main__":
    run(main)
