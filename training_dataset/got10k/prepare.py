"""Prepare GOT-10k: check, crops, annotations, pack."""

from collections.abc import Sequence

from pysot.core.errors import run
from pysot.datasets.prepare.cli import parser, prepare
from pysot.datasets.prepare.tracking import read_got10k


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare one split."""
    options = parser(__doc__, "folder with train/list.txt or val/list.txt")
    options.add_argument("--split", choices=("train", "val"), default="train")
    args = options.parse_args(argv)
    prepare(
        args,
        lambda args, problems: read_got10k(args.root, args.split, problems),
        f"{args.split}.json",
    )


if __name__ == "__main__":
    run(main)
