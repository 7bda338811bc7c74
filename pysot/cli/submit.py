"""Pack the results of a tracker for an evaluation server, if they are complete.

Usage:
    python tools/make_submission.py -p results -d GOT-10k -t my_tracker
    python tools/make_submission.py -p results -d TrackingNet -t my_tracker --output tn.zip

The archive (default: TRACKER_DATASET.zip) holds the files as tools/test.py writes them, which is
what the servers take: <video>/<video>_001.txt and <video>/<video>_time.txt for GOT-10k, <video>.txt
for TrackingNet. Nothing is written if a video is missing or has a wrong number of lines.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from pysot.cli import Parser, find_dataset_root
from pysot.core import RunFailed
from toolkit.datasets import find_benchmark, load_videos
from toolkit.results.store import ResultStore
from toolkit.results.submission import find_faults, write_archive

SHOWN = 20


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--tracker_path", "-p", type=Path, required=True, help="folder with <DATASET>/<TRACKER>/")
    add("--dataset", "-d", required=True, help="GOT-10k, TrackingNet, or any other set")
    add("--tracker", "-t", required=True, help="name of the tracker in that folder")
    parser.add_dataset_root()
    parser.add_output("-o", text="the archive (default: TRACKER_DATASET.zip)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Check the results and pack them."""
    args = parse_args(argv)
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    output = args.output or Path(f"{args.tracker}_{args.dataset}.zip")
    if output.suffix.lower() != ".zip":
        raise ValueError(f"--output {output}: the name of the archive must end in .zip")
    folder = args.tracker_path / args.dataset / args.tracker
    if not folder.is_dir():
        raise FileNotFoundError(f"no results: there is no folder {folder}")
    videos = load_videos(find_dataset_root(args.dataset, args.dataset_root), args.dataset)
    store = ResultStore(folder, find_benchmark(args.dataset).layout)
    faults = find_faults(store, {name: len(video) for name, video in videos.items()})
    if faults:
        more = [f"... and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
        lines = "\n  ".join([*faults[:SHOWN], *more])
        raise RunFailed(f"{folder} is not complete, nothing was written:\n  {lines}")
    number = write_archive(output, store, videos)
    print(f"{output}: {number} files of {len(videos)} videos")
