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

from pysot.cli.arguments import Parser
from toolkit.datasets import Video, find_benchmark
from toolkit.datasets.check import check_set, frame_size
from toolkit.datasets.dataset import annotation_file, read_json
from toolkit.datasets.formats import read_records
from toolkit.io.files import atomic_write
from toolkit.io.issues import LEVELS, IssueLog


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; None takes that of the process."""
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--dataset", required=True, help="name of the benchmark, or of a set of your own")
    parser.add_dataset_root("--root", text="its folder", required=True)
    parser.add_output(text="the JSON to write (default: ROOT/DATASET.json)")
    add("--rebuild", action="store_true", help="read the folders although there is a JSON")
    add("--check-images", action="store_true", help="look into every image, not only the first")
    add("--strict", action="store_true", help="warnings are errors")
    return parser.parse_args(argv)


def _read_set(args: argparse.Namespace) -> tuple[dict[str, Any], IssueLog, Path | None]:
    """Read the records of the set by video, from its JSON, which is returned, or its folders."""
    path = None if args.rebuild else annotation_file(args.dataset_root, args.dataset)
    if path:
        log = IssueLog()
        return read_json(path, partial(_note_doubles, log)), log, path
    if not args.dataset_root.is_dir():
        raise FileNotFoundError(f"the folder {args.dataset_root} does not exist")
    return (*read_records(args.dataset_root, args.dataset), None)


def _note_doubles(log: IssueLog, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Object of a JSON; a key that comes twice, of which a dictionary keeps the last, is noted."""
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        for key in sorted({key for key in keys if keys.count(key) > 1}):
            log.add("", key, "comes more than once in the JSON")
    return made


def _print_report(log: IssueLog) -> None:
    """Print all issues as one table, the worst first."""
    issues = sorted(log, key=lambda issue: (LEVELS.index(issue.level), issue.where))
    width = max((len(issue.where) for issue in issues), default=0)
    for issue in issues:
        print(f"{issue.level:8} {issue.where:{width}} {issue.text}")
    print(", ".join(f"{len(log.of(level))} {level}s" for level in LEVELS))


def _write_json(path: Path, records: Mapping[str, Any], videos: Mapping[str, Video]) -> None:
    """Write the records in PySOT's format, with the sizes of the frames where they are known."""
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
    records, log, path = _read_set(args)
    show = partial(tqdm, desc="check", ncols=100, leave=False, disable=None)
    videos = check_set(records, args.dataset_root, benchmark, log, args.check_images, show)
    frames = sum(map(len, videos.values()))
    source = path or f"the folders in {args.dataset_root}"
    print(f"{args.dataset}: {len(videos)} videos, {frames} frames, from {source}")
    _print_report(log)
    faults = log.of("error", "warning") if args.strict else log.of("error")
    if faults or not videos:
        raise ValueError(
            f"{args.dataset} cannot be used as it is; see the {len(faults)} lines above"
        )
    if args.output or not path:
        output = args.output or args.dataset_root / f"{args.dataset}.json"
        _write_json(output, records, videos)
        print(f"wrote {output}")
