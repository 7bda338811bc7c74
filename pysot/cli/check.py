r"""Write the JSON of a benchmark from its owner's folders, and report all that is wrong with it.

Where ROOT/NAME.json is there already it is checked and, without --rebuild, not written again.
Otherwise NAME says which layout is expected, and any other name is a set of your own:
testing_dataset/README.md describes them all. Image names in the JSON are relative to ROOT, so
that is where it belongs.

Exit code 0: the set can be used, perhaps with warnings (with --strict, without any). Exit code 2:
it cannot; then nothing is written.

Examples:
    pysot check --dataset OTB100 --dataset-root /data/OTB100
    pysot check --dataset mine --dataset-root videos --check-images --strict
    pysot check --dataset VOT2018 --dataset-root testing_dataset/VOT2018
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pysot.cli import Parser, progress_bar
from toolkit.datasets import Benchmark, Video, find_benchmark
from toolkit.datasets.dataset import (
    annotation_file,
    cut_lists,
    doubt_of_name,
    make_video,
    read_json,
)
from toolkit.datasets.formats import read_records
from toolkit.datasets.reading import spans
from toolkit.io.files import atomic_write
from toolkit.io.images import image_size, undecided_turn
from toolkit.io.issues import LEVELS, IssueLog
from toolkit.io.names import fold

# evaluations whose overlaps end at the border of the frame
_NEED_SIZE = ("vot", "longterm")


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
        record = _fitting(records[name], video)
        record["gt_rect"] = [list(region) for region in video.gt_traj]
        record["init_rect"] = record.get("init_rect") or record["gt_rect"][0]
        if size := _frame_size(video):
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
    if doubt := doubt_of_name(args.dataset):
        log.warn("", "", doubt)
    videos = _check_set(records, args.dataset_root, benchmark, log, args.check_images)
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


def _fitting(record: Mapping[str, Any], video: Video) -> dict[str, Any]:
    """Return a record with images where they were found, and lists as long as the video."""
    names = record.get("img_names", record.get("image_files", ()))
    other = ("image_files", "name", "init_rect") if "image_files" in record else ()
    fitting = {key: value for key, value in record.items() if key not in other}
    if [os.path.join(video.root, name) for name in names] != video.img_names:
        paths = (os.path.relpath(path, video.root) for path in video.img_names)
        fitting["img_names"] = [path.replace(os.sep, "/") for path in paths]
    return cut_lists(fitting, {len(names), len(record["gt_rect"])}, len(video))


# ---------------------------------------------------------------------------------- what is wrong


def _check_set(
    records: Mapping[str, Any],
    root: Path,
    benchmark: Benchmark,
    log: IssueLog,
    all_images: bool,
) -> dict[str, Video]:
    """Check every video of a set, and the set as a whole; return the videos that can be made."""
    videos, found, listing = {}, False, cache(_list_folder)
    for name in progress_bar("check", sorted(records), unit="it"):
        try:
            videos[name] = video = make_video(name, records[name], root, benchmark, log)
        except ValueError as error:
            log.add("", name, str(error))
            continue
        paths = enumerate(map(os.path.split, video.img_names))
        missing = [i for i, (folder, image) in paths if image not in listing(folder)]
        found |= len(missing) < len(video)
        _check_images(video, missing, log, all_images)
        _check_boxes(video, log)
    _check_names(videos, benchmark, log)
    if videos and not found:
        log.warn("", "", f"no images below {root}: enough to score, not to track")
    if benchmark.evaluation in _NEED_SIZE:
        unsized = [name for name, video in videos.items() if _frame_size(video) is None]
        if unsized:
            log.warn("", "", f"no frame size, so no score: {_some(unsized)}")
    return videos


def _list_folder(folder: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()


def _frame_size(video: Video) -> tuple[int, int] | None:
    """Width and height of a video's frames, None if neither annotation nor image tells."""
    try:
        return video.width, video.height
    except (ValueError, OSError):
        return None


def _check_images(video: Video, missing: Sequence[int], log: IssueLog, all_images: bool) -> None:
    if missing and len(missing) < len(video):
        first = video.img_names[missing[0]]
        log.add("", video.name, f"frames {spans(missing)} have no image, such as {first}")
    twice = [name for name, count in Counter(video.img_names).items() if count > 1]
    if twice:
        log.warn("", video.name, f"the same image for several frames: {_some(twice)}")
    absent, size, turned = set(missing), video.annotated_size, []
    for index in range(len(video) if all_images else 1):
        if index in absent:
            continue
        try:
            found = image_size(video.img_names[index], video.stated_size)
            turned += filter(None, [undecided_turn(video.img_names[index], video.stated_size)])
        except (ValueError, OSError) as error:
            log.add("", video.name, f"frame {index}: {error}")
            continue
        size = size or found
        if found != size:
            text = f"{found[0]}x{found[1]} but {size[0]}x{size[1]} was expected"
            log.add("", video.name, f"frame {index}: {video.img_names[index]} is {text}")
    if turned:
        text = f"{len(turned)} images are turned by EXIF {turned[0]}"
        log.warn("", video.name, text)


def _check_boxes(video: Video, log: IssueLog) -> None:
    try:
        boxes = video.boxes
    except (ValueError, OSError) as error:
        log.add("", video.name, str(error))
        return
    nan = np.isnan(boxes).any(axis=1)
    infinite = np.isinf(boxes).any(axis=1)
    empty = ~nan & ~infinite & (boxes[:, 2:] <= 0).any(axis=1)
    if (nan | infinite | empty)[0]:
        log.add("", video.name, f"cannot start on the box {list(video.gt_traj[0])}")
    if len(boxes) > 1 and nan[1:].all():
        log.note("", video.name, "no box but the first: it can be tracked, not scored")
    elif nan.any():
        log.note("", video.name, f"absent (NaN) in frames {_frames(nan)}")
    if infinite.any():
        log.add("", video.name, f"infinite numbers in frames {_frames(infinite)}")
    if empty.any():
        log.warn("", video.name, f"width or height not above 0 in frames {_frames(empty)}")
    outside = _outside(boxes, _frame_size(video)) & ~nan & ~infinite & ~empty
    if outside.any():
        log.warn("", video.name, f"box outside the image in frames {_frames(outside)}")


def _outside(boxes: NDArray, size: tuple[int, int] | None) -> NDArray:
    """Whether boxes (N, 4) have no pixel in a frame of a size; without one, of boundless size."""
    x, y, w, h = boxes.T
    width, height = size or (np.inf, np.inf)
    return (x + w <= 0) | (y + h <= 0) | (x >= width) | (y >= height)


def _check_names(videos: Mapping[str, Video], benchmark: Benchmark, log: IssueLog) -> None:
    """What only shows when the videos are seen together."""
    counts = Counter(map(fold, videos))
    alike = [name for name in videos if counts[fold(name)] > 1]
    if alike:
        log.warn("", "", f"names that differ in case only: {_some(alike)}")
    if benchmark.num_videos not in (0, len(videos)):
        expected = f"{benchmark.num_videos} belong to the set"
        log.warn("", "", f"{len(videos)} usable videos, but {expected}")
    for tag in benchmark.tags:
        bare = [name for name, video in videos.items() if not video.tags[tag]]
        if bare:
            log.note("", "", f"tag {tag} is not given for {_some(bare)}")


def _frames(mask: NDArray) -> str:
    return spans(np.flatnonzero(mask).tolist())


def _some(names: Sequence[str], limit: int = 3) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
