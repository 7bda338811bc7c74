"""Prepare COCO, or any set in its format: check, crops with masks, annotations, pack."""

from collections.abc import Sequence

from pysot.core.errors import run
from pysot.datasets.prepare.cli import parser, prepare
from pysot.datasets.prepare.coco import read_coco


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare one subset."""
    options = parser(__doc__, "folder with annotations/instances_<subset>.json and <subset>/")
    options.add_argument("--subset", default="train2017")
    args = options.parse_args(argv)
    source = args.root / "annotations" / f"instances_{args.subset}.json"
    prepare(
        args,
        lambda args, problems: read_coco(source, args.root / args.subset, args.subset, problems),
    )


if __name__ == "__main__":
    run(main)
