"""Prepare YouTube-BoundingBoxes: check, crops, annotations, pack."""

from collections.abc import Sequence

from pysot.core.errors import run
from pysot.datasets.prepare.cli import parser, prepare
from pysot.datasets.prepare.youtube_bb import read_youtube_bb


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare one subset."""
    options = parser(__doc__, "folder with <subset>.csv and <subset>/<class>/*.jpg")
    options.add_argument("--subset", default="yt_bb_detection_train")
    prepare(
        options.parse_args(argv),
        lambda args, problems: read_youtube_bb(args.root, args.subset, problems),
    )


if __name__ == "__main__":
    run(main)
