"""Pack the results of a tracker for an evaluation server or another tool, if they are complete.

The archive (default: TRACKER_DATASET.zip) holds the files as tools/test.py writes them, which is
what the servers take: <video>/<video>_001.txt and <video>/<video>_time.txt for GOT-10k, <video>.txt
for TrackingNet. With --format it holds a text per video as MOTChallenge has it (mot), or it is a
JSON file with boxes, polygons or run lengths of masks as COCO (coco) or with the masks of each
object as YouTube-VOS has it (ytvos). Nothing is written if a video is missing or has a wrong
number of lines.

Examples:
    pysot submit -p results -d GOT-10k -t my_tracker
    pysot submit -p results -d TrackingNet -t my_tracker --output tn.zip
    pysot submit -p results -d DAVIS2017 -t my_tracker --format coco
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from pysot.cli import Parser, find_dataset_root
from pysot.core import RunFailed
from toolkit.datasets import find_benchmark, load_videos
from toolkit.results.exports import EXPORTS, clips_of
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
    parser.add_output("-o", text="default: TRACKER_DATASET.zip, or TRACKER_DATASET_FORMAT.*")
    add("--format", choices=EXPORTS, help="write this instead of the files of the results")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Check the results and pack them."""
    args = parse_args(argv)
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    output = _output(args)
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
    if args.format:
        EXPORTS[args.format].write(output, clips_of(videos, store))
        print(f"{output}: {len(videos)} videos")
        return
    number = write_archive(output, store, videos)
    print(f"{output}: {number} files of {len(videos)} videos")


def _output(args: argparse.Namespace) -> Path:
    suffix = EXPORTS[args.format].suffix if args.format else ".zip"
    name = "_".join(filter(None, (args.tracker, args.dataset, args.format)))
    output = args.output or Path(f"{name}{suffix}")
    if output.suffix.lower() != suffix:
        kind = "archive" if suffix == ".zip" else "file"
        raise ValueError(f"--output {output}: the name of the {kind} must end in {suffix}")
    return output
