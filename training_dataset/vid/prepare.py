"""Prepare ImageNet VID: check, crops, annotations, pack."""

import argparse
from collections.abc import Iterator, Sequence

from pysot.core.errors import run
from pysot.datasets.prepare.cli import parser, prepare
from pysot.datasets.prepare.frames import Frame, Problems
from pysot.datasets.prepare.imagenet import keep_runs, parse_vid, vid_frames


def read(args: argparse.Namespace, problems: Problems) -> Iterator[Frame]:
    """Yield the frames of the split that show something."""
    frames = keep_runs(vid_frames(parse_vid(args.root, problems), args.root))
    return (frame for frame in frames if frame.boxes and args.split in frame.video)


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare the split."""
    options = parser(__doc__, "folder ILSVRC2015, with Annotations/VID/train and Data/VID/train")
    options.add_argument("--split", choices=("train", "val"), default="train")
    args = options.parse_args(argv)
    prepare(args, read, f"{args.split}.json")


if __name__ == "__main__":
    run(main)
