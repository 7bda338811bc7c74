r"""Write the JSON of a benchmark from its owner's folders, and report all that is wrong with it.

    python tools/make_dataset_json.py --dataset OTB100 --root /data/OTB100
    python tools/make_dataset_json.py --dataset mine --root videos --check-images --strict
    python tools/make_dataset_json.py --dataset VOT2018 --root testing_dataset/VOT2018

Where ROOT/NAME.json is there already it is checked and, without --rebuild, not written again.
Otherwise NAME says which layout is expected, and any other name is a set of your own:
testing_dataset/README.md describes them all. Image names in the JSON are relative to ROOT, so
that is where it belongs.

Exit code 0: the set can be used, perhaps with warnings (with --strict, without any). Exit code 2:
it cannot; then nothing is written.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from toolkit.datasets import Video, find_benchmark
from toolkit.datasets.check import check_set, frame_size
from toolkit.datasets.layouts import read_native
from toolkit.datasets.loading import annotation_file, read_json
from toolkit.datasets.sources import Report
from toolkit.io.files import atomic_write

LEVELS = ("error", "warning", "note")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; None takes that of the process."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--dataset", required=True, help="name of the benchmark, or of a set of your own")
    add("--root", type=Path, required=True, help="its folder")
    add("--output", type=Path, help="the JSON to write (default: ROOT/DATASET.json)")
    add("--rebuild", action="store_true", help="read the folders although there is a JSON")
    add("--check-images", action="store_true", help="look into every image, not only the first")
    add("--strict", action="store_true", help="warnings are errors")
    return parser.parse_args(argv)


def read_set(args: argparse.Namespace) -> tuple[dict[str, Any], Report, Path | None]:
    """Read the records of the set from its JSON or its folders.

    Returns:
        The records by video, what was wrong while reading, and the JSON if there is one.

    Raises:
        OSError: If there is neither.
        ValueError: If it cannot be read at all.
    """
    path = None if args.rebuild else annotation_file(args.root, args.dataset)
    if path:
        report = Report()
        return read_json(path, partial(_note_doubles, report)), report, path
    if not args.root.is_dir():
        raise FileNotFoundError(f"the folder {args.root} does not exist")
    return (*read_native(args.root, args.dataset), None)


def _note_doubles(report: Report, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Object of a JSON; a key that comes twice, of which a dictionary keeps the last, is noted."""
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        for key in sorted({key for key in keys if keys.count(key) > 1}):
            report.add("error", key, "comes more than once in the JSON")
    return made


def print_report(report: Report) -> None:
    """Print all problems as one table, the worst first."""
    problems = sorted(report.problems, key=lambda p: (LEVELS.index(p.level), p.video))
    width = max((len(problem.video) for problem in problems), default=0)
    for problem in problems:
        print(f"{problem.level:8} {problem.video:{width}} {problem.text}")
    print(", ".join(f"{len(report.of(level))} {level}s" for level in LEVELS))


def write_json(path: Path, records: Mapping[str, Any], videos: Mapping[str, Video]) -> None:
    """Write the records in PySOT's format, with the sizes of the frames where they are known.

    Raises:
        OSError: If the file cannot be written.
    """
    complete = {}
    for name, video in videos.items():
        record = {**records[name], "gt_rect": [list(region) for region in video.gt_traj]}
        record["init_rect"] = record.get("init_rect") or record["gt_rect"][0]
        if size := frame_size(video):
            record["width"], record["height"] = size
        complete[name] = record
    with atomic_write(path) as file:
        json.dump(complete, file)
        file.write("\n")


def main(argv: Sequence[str] | None = None) -> None:
    """Read, check, report and write."""
    args = parse_args(argv)
    benchmark = find_benchmark(args.dataset)
    records, report, path = read_set(args)
    show = partial(tqdm, desc="check", ncols=100, leave=False, disable=None)
    videos = check_set(records, args.root, benchmark, report, args.check_images, show)
    frames = sum(map(len, videos.values()))
    source = path or f"the folders in {args.root}"
    print(f"{args.dataset}: {len(videos)} videos, {frames} frames, from {source}")
    print_report(report)
    faults = report.of("error", "warning") if args.strict else report.of("error")
    if faults or not videos:
        raise ValueError(
            f"{args.dataset} cannot be used as it is; see the {len(faults)} lines above"
        )
    if args.output or not path:
        output = args.output or args.root / f"{args.dataset}.json"
        write_json(output, records, videos)
        print(f"wrote {output}")
