"""Prepare ImageNet DET: check, crops, annotations, pack."""

from collections.abc import Sequence

from pysot.core.errors import run
from pysot.datasets.prepare.cli import parser, prepare
from pysot.datasets.prepare.imagenet import read_det


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare all parts that are there."""
    options = parser(__doc__, "folder ILSVRC, with Annotations/DET/train and Data/DET/train")
    prepare(
        options.parse_args(argv),
        lambda args, problems: (f for f in read_det(args.root, problems) if f.boxes),
    )


if __name__ == "__main__":
    run(main)
