"""The command lines of the scripts in ``training_dataset``."""

from __future__ import annotations

import argparse
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from pysot.core.errors import RunFailed
from pysot.datasets.annotation import categories_path
from pysot.datasets.crop import CropForm, write_annotation
from pysot.datasets.prepare.checker import check_set
from pysot.datasets.prepare.cropper import Notes, crop_set
from pysot.datasets.prepare.frames import Frame, Problems
from toolkit.io.files import write_bytes

Reader = Callable[[argparse.Namespace, Problems], Iterable[Frame]]
REPORT = "problems.txt"


def parser(description: str, root: str) -> argparse.ArgumentParser:
    """Make a parser with the options that all ``prepare.py`` have.

    Args:
        description: What the script prepares.
        root: What ``--root`` must hold.
    """
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--root", type=Path, required=True, help=root)
    made.add_argument("--output", type=Path, required=True, help="folder for crops and train.json")
    made.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    made.add_argument("--every", type=int, default=1, help="use every n-th annotated frame")
    made.add_argument("--check", action="store_true", help="only report what is wrong, and stop")
    made.add_argument(
        "--template-crops", action="store_true", help="write .z.jpg too, which nothing here reads"
    )
    made.add_argument(
        "--plain-jpeg", action="store_true", help="JPEG without restart markers, as PySOT's"
    )
    return made


def prepare(args: argparse.Namespace, read: Reader, annotation: str = "train.json") -> None:
    """Check or crop a set, as the options say.

    Args:
        args: Of :func:`parser`.
        read: Yields the frames.
        annotation: Name of the file of annotations.

    Raises:
        ValueError: If an option makes no sense, or nothing usable was found.
        RunFailed: If something was wrong with the data; what could be used is written.
    """
    if args.workers < 1 or args.every < 1:
        raise ValueError("--workers and --every must be 1 or more")
    problems = Problems()
    frames = every(read(args, problems), args.every)
    if args.check:
        print(check_set(frames, problems, args.workers))
        finish(problems, args.output / REPORT)
        return
    form = CropForm(template=args.template_crops, tiles=not args.plain_jpeg)
    notes = crop_set(frames, args.output, problems, form, args.workers)
    if not any(notes.boxes.values()):
        finish(problems, args.output / REPORT, failed=False)
        raise ValueError(f"{args.root}: no usable box was found; {args.output / REPORT} says more")
    write_notes(args.output / annotation, notes)
    root = args.output / f"crop{form.size}"
    print(_section(args.output.resolve().name, root, args.output / annotation))
    finish(problems, args.output / REPORT)


def every(frames: Iterable[Frame], step: int) -> Iterator[Frame]:
    """Yield every ``step``-th frame of each video, its first one included."""
    for _, video in itertools.groupby(frames, lambda frame: frame.video):
        yield from itertools.islice(video, 0, None, step)


def write_notes(path: Path, notes: Notes) -> None:
    """Write the annotations, and the kinds of objects where any are known."""
    write_annotation(path, notes.boxes)
    if notes.kinds:
        content = json.dumps(notes.kinds, indent=4, sort_keys=True)
        write_bytes(categories_path(path), content.encode())


def split_notes(notes: Notes, belongs: Callable[[str], bool]) -> Notes:
    """Take the annotations of the videos whose names ``belongs`` accepts."""
    boxes = {video: tracks for video, tracks in notes.boxes.items() if belongs(video)}
    kinds = {video: tracks for video, tracks in notes.kinds.items() if belongs(video)}
    return Notes(boxes, kinds)


def finish(problems: Problems, report: Path, failed: bool = True) -> None:
    """Write all problems to a file, and print a summary.

    Args:
        problems: All there were.
        report: Removed where there are none.
        failed: Whether problems are an error.

    Raises:
        RunFailed: If there are problems, and they are an error.
    """
    lines = [str(problem) for problem in problems.items]
    lines += [f"note: {note}" for note in problems.notes]
    if lines:
        write_bytes(report, ("\n".join(lines) + "\n").encode())
    else:
        report.unlink(missing_ok=True)
    for line in problems.summary():
        print(line)
    if failed and problems.items:
        raise RunFailed(
            f"{len(problems.items)} problems, all named in {report}; everything else is in order"
        )


def crop_size_and_workers(description: str, argv: Sequence[str] | None) -> tuple[int, int]:
    """Read the two arguments of PySOT's ``par_crop.py``: size of crops, number of processes."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("crop_size", type=int, nargs="?", default=511)
    made.add_argument("num_processes", type=int, nargs="?", default=os.cpu_count() or 1)
    args = made.parse_args(argv)
    if args.crop_size < 1 or args.num_processes < 1:
        made.error("crop_size and num_processes must be 1 or more")
    return args.crop_size, args.num_processes


def crop_like_pysot(
    frames: Iterable[Frame], crop_size: int, workers: int, problems: Problems
) -> None:
    """Write ``crop<size>/`` of the current folder as PySOT does, template crops included.

    Raises:
        RunFailed: If something was wrong with the data.
    """
    crop_set(frames, Path(), problems, CropForm(crop_size, template=True), workers)
    finish(problems, Path(f"crop{crop_size}.{REPORT}"))


def _section(name: str, root: Path, annotation: Path) -> str:
    name = "".join(c for c in name.upper() if c.isalnum()) or "MINE"
    return (
        f"ready; in a configuration:\nDATASET:\n    NAMES: [{name}]\n    {name}:\n"
        f"        ROOT: {json.dumps(str(root.resolve()))}\n"
        f"        ANNO: {json.dumps(str(annotation.resolve()))}\n"
        f"        FRAME_RANGE: 100\n        NUM_USE: -1"
    )
