"""Prepare a data set for training: check, crops, annotations.

Examples:
    pysot prepare got10k --root /data/GOT-10k --output /data/crops/got10k --check
    pysot prepare got10k --root /data/GOT-10k --output /data/crops/got10k --workers 16
"""

from __future__ import annotations

import argparse
import difflib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pysot.cli import Parser, positive
from pysot.core import RunFailed
from pysot.datasets.crop import CropForm
from pysot.datasets.prepare import check_output, check_set, crop_set, frames_of, write_benchmark
from toolkit.datasets import video as videos
from toolkit.datasets.formats import training_sets
from toolkit.datasets.reading import Reading, TrainingSet
from toolkit.datasets.video import Frame
from toolkit.io.issues import IssueLog

_REPORT = "problems.txt"


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; None takes that of the process."""
    parser = Parser(__doc__)
    sets = parser.add_subparsers(dest="set", required=True, metavar="SET")
    for name, form in sorted(training_sets().items()):
        example = f"    pysot prepare {name} --root DIR --output CROPS --check"
        text = f"{form.title}\n\nExamples:\n{example}"
        _add_options(sets.add_parser(name, help=form.title, description=text), form)
    return parser.parse_args(argv)


def _add_options(parser: Parser, form: TrainingSet) -> None:
    add = parser.add_argument
    parser.add_dataset_root("--root", text=form.root, required=True)
    parser.add_output(text="folder for crops and train.json", required=True)
    parser.add_workers(default=os.cpu_count() or 1)
    add("--every", type=positive, default=1, metavar="N", help="use every N-th annotated frame")
    add("--check", action="store_true", help="only report what is wrong, and stop")
    add("--template-crops", action="store_true", help="write .z.jpg too, which nothing here reads")
    add("--plain-jpeg", action="store_true", help="JPEG without restart markers, as PySOT's")
    add("--test-videos", nargs="+", default=(), metavar="VIDEO", help="kept from training")
    names = {"nargs": "+", "default": (), "metavar": "VIDEO"}
    add("--videos", help="use these alone; names, or patterns such as 'car_*'", **names)
    add("--without", help="leave these out; names or patterns", **names)
    for flag, keywords in form.options.items():
        add(flag, **keywords)


def main(argv: Sequence[str] | None = None) -> None:
    """Check or crop a set, as the options say; raise if data was wrong or nothing usable found."""
    args = parse_args(argv)
    form = CropForm(template=args.template_crops, tiles=not args.plain_jpeg)
    root = args.output / f"crop{form.size}"
    if args.check or args.test_videos:  # else `crop_set` is the first to do anything
        check_output(root)
    if args.test_videos and not args.check:
        _write_test_set(args)
    if args.videos or args.without:
        _check_patterns(args)
    log, report = IssueLog(), args.output / _REPORT
    frames = (f for f in _frames(args, log) if f.video not in args.test_videos)
    if args.videos:
        frames = (f for f in frames if _matches(f.video, args.videos))
    frames = (f for f in frames if not _matches(f.video, args.without))
    frames = _every(frames, args.every)
    if args.check:
        print(check_set(frames, log, args.workers))
        finish(log, report)
        return
    path = args.output / training_sets()[args.set].annotation.format(**vars(args))
    source = _source(args)
    annotations = crop_set(frames, args.output, log, form, args.workers, source, stamp=path)
    if not any(annotations.boxes.values()):
        finish(log, report, failed=False)
        raise ValueError(f"{args.dataset_root}: no usable box was found; {report} says more")
    annotations.write(path)
    print(_section(args.output.resolve().name, root, path))
    finish(log, report)


def _options(args: argparse.Namespace) -> dict[str, Any]:
    names = (flag.removeprefix("--") for flag in training_sets()[args.set].options)
    return {name: getattr(args, name) for name in names}


def _source(args: argparse.Namespace) -> str:
    """Say which set is read, and which part of it."""
    return f"{args.set} {args.dataset_root.resolve()} {_options(args)}"


def _frames(args: argparse.Namespace, log: IssueLog) -> Iterator[Frame]:
    reading = Reading(args.dataset_root, log, training=True)
    return frames_of(training_sets()[args.set].read(reading, **_options(args)), log)


def _matches(video: str, patterns: Iterable[str]) -> bool:
    return any(video == pattern or fnmatchcase(video, pattern) for pattern in patterns)


def _check_patterns(args: argparse.Namespace) -> None:
    """Raise ValueError if a name or pattern fits no video: what is meant would be in training."""
    names = {frame.video for frame in _frames(args, IssueLog())}
    for option in ("videos", "without"):
        for pattern in getattr(args, option):
            if not any(_matches(name, [pattern]) for name in names):
                near = difflib.get_close_matches(pattern, names) or sorted(names)[:3]
                text = f"there is {', '.join(near)}" if near else "there is no video"
                raise ValueError(f"--{option} {pattern}: not in {args.dataset_root}; {text}")


def _every(frames: Iterable[Frame], step: int) -> Iterator[Frame]:
    """Yield every ``step``-th frame of each video, its first one included."""
    for _, video in itertools.groupby(frames, lambda frame: frame.video):
        yield from itertools.islice(video, 0, None, step)


def _write_test_set(args: argparse.Namespace) -> None:
    """Write the benchmark of the videos that are kept from training."""
    log = IssueLog()
    frames = [frame for frame in _frames(args, log) if frame.video in args.test_videos]
    missing = set(args.test_videos) - {frame.video for frame in frames}
    if missing:
        raise ValueError(f"--test-videos: not in {args.dataset_root}: {', '.join(sorted(missing))}")
    path = args.output / f"{args.output.resolve().name}.json"
    print(f"{path}: {write_benchmark(path, frames, log)} videos to test on")
    finish(log, args.output / "test_problems.txt")


def finish(log: IssueLog, report: Path, failed: bool = True) -> None:
    """Write all issues to a file, which is removed where there are none, and print a summary.

    Raises:
        RunFailed: If there is an issue of level ``error``, unless ``failed`` is false.
    """
    if len(log):
        log.write(report)
    else:
        report.unlink(missing_ok=True)
    for line in log.summary():
        print(line)
    if failed and (errors := log.of("error")):
        raise RunFailed(
            f"{len(errors)} problems, all named in {report}; everything else is in order"
        )


def _section(name: str, root: Path, annotation: Path) -> str:
    name = "".join(c for c in name.upper() if c.isalnum()) or "MINE"
    return (
        f"ready; in a configuration:\nDATASET:\n    NAMES: [{name}]\n    {name}:\n"
        f"        ROOT: {json.dumps(str(root.resolve()))}\n"
        f"        ANNO: {json.dumps(str(annotation.resolve()))}\n"
        f"        FRAME_RANGE: 100\n        NUM_USE: -1"
    )


# ------------------------------------------------------------ scripts that bear PySOT's names


def crop_like_pysot(
    description: str,
    read: Callable[[Reading], Iterable[videos.Sequence]],
    root: Path = Path(),
    argv: Sequence[str] | None = None,
) -> None:
    """Write ``crop<size>/`` in the current folder as PySOT's ``par_crop.py`` does it."""
    parser = Parser(description)
    parser.add_argument("crop_size", type=positive, nargs="?", default=511)
    parser.add_argument("num_processes", type=positive, nargs="?", default=os.cpu_count() or 1)
    args = parser.parse_args(argv)
    log = IssueLog()
    frames = frames_of(read(Reading(root, log, training=True)), log)
    crop_set(frames, Path(), log, CropForm(args.crop_size, template=True), args.num_processes)
    finish(log, Path(f"crop{args.crop_size}.{_REPORT}"))
