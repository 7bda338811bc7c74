"""Prepare your own data: check, crops (with masks where there are any), annotations, pack."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from pysot.core.errors import run
from pysot.datasets.prepare.cli import finish, parser, prepare
from pysot.datasets.prepare.frames import Frame, Problems
from pysot.datasets.prepare.heldout import write_benchmark
from pysot.datasets.prepare.own import read_own


def read(args: argparse.Namespace, problems: Problems) -> Iterator[Frame]:
    """Yield the frames to train on."""
    frames = read_own(args.root, args.masks, problems)
    return (frame for frame in frames if frame.video not in args.test_videos)


def write_test_set(args: argparse.Namespace) -> None:
    """Write the benchmark of the videos that are kept from training.

    Raises:
        ValueError: If one of them is not there.
    """
    problems = Problems()
    frames = [f for f in read_own(args.root, args.masks, problems) if f.video in args.test_videos]
    missing = set(args.test_videos) - {frame.video for frame in frames}
    if missing:
        raise ValueError(f"--test-videos: not in {args.root}: {', '.join(sorted(missing))}")
    path = args.output / f"{args.output.resolve().name}.json"
    print(f"{path}: {write_benchmark(path, frames, problems)} videos to test on")
    finish(problems, args.output / "test_problems.txt")


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare whatever there is."""
    options = parser(
        __doc__, "folder of videos, JSON file (COCO), folder of XML files, or CSV file"
    )
    options.add_argument("--masks", type=Path, help="folder of <video>/<frame>.png")
    options.add_argument(
        "--test-videos", nargs="+", default=(), metavar="VIDEO", help="kept from training"
    )
    args = options.parse_args(argv)
    if args.test_videos and not args.check:
        write_test_set(args)
    prepare(args, read)


if __name__ == "__main__":
    run(main)
