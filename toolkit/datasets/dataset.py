"""From a folder to a benchmark's videos: the reader of PySOT's JSON."""

import json
import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from operator import index as as_index
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.benchmarks import Benchmark, find_benchmark, near_benchmarks
from toolkit.datasets.video import Labels, MaskBoxes, Video, image_number
from toolkit.io.boxes import ABSENT, NAN, Region, parse_numbers
from toolkit.io.images import depth_note, list_images
from toolkit.io.issues import IssueLog
from toolkit.io.names import fold, printable, safe_name

logger = logging.getLogger("toolkit")

_BOXES = re.compile(rb'"gt_rect"\s*:\s*(?=\[)')
_NO_INT = re.compile(rb"[^-\d,\[\]]|\d{16}")

_DEEPEST = 65535  # highest label of a mask of 16 bits


class Dataset:
    """The videos of one benchmark in sorted order, by name or by position.

    Attributes:
        attr: Video names by attribute; ``"ALL"`` holds all.
        tags: Names of the per-frame tags: ``all``, those of the set, ``empty``.
    """

    def __init__(self, name: str, dataset_root: str | os.PathLike) -> None:
        self.name, self.dataset_root = name, Path(dataset_root)
        self.benchmark = find_benchmark(name)
        self.videos = load_videos(dataset_root, name)
        self.attr = {"ALL": list(self.videos)}
        for video in self.videos.values():
            for attribute in video.attr:
                self.attr.setdefault(attribute, []).append(video.name)
        self.tags = ["all", *self.benchmark.tags, "empty"]
        self.tracker_path: Path | None = None
        self.tracker_names: list[str] = []

    def __len__(self) -> int:
        return len(self.videos)

    def __iter__(self) -> Iterator[Video]:
        return iter(self.videos.values())

    def __getitem__(self, key: str | int) -> Video:
        """Video by name, or by position in sorted order (negative counts from the end)."""
        if isinstance(key, str):
            return self.videos[key]
        return list(self.videos.values())[as_index(key)]

    def set_tracker(self, path: str | os.PathLike, tracker_names: Sequence[str]) -> None:
        """Name the trackers to score: folders below ``path``."""
        self.tracker_path, self.tracker_names = Path(path), list(tracker_names)


def load_videos(root: str | os.PathLike, name: str) -> dict[str, Video]:
    """Read a set without touching its images.

    That is ``<root>/<name>.json`` in PySOT's format, packed as ``.json.xz`` if you like, or else
    the folders in which its owner distributes it or a user's own; see `toolkit.datasets.formats`.
    The videos are sorted by name.

    Raises:
        FileNotFoundError: If neither is there; says what was looked for.
        ValueError: If a file is not of its format, naming file, video and field or line.
    """
    root, benchmark = Path(root), find_benchmark(name)
    if doubt := doubt_of_name(name):
        logger.warning("%s", doubt)
    path = annotation_file(root, name)
    records = _native_records(root, name) if path is None else read_json(path)
    videos, log = {}, IssueLog()
    for video in sorted(records):
        try:  # popped, since the lists of a large set take a lot of memory
            videos[video] = make_video(video, records.pop(video), root, benchmark, log)
        except ValueError as error:
            raise ValueError(f"{path or root}: video {video!r}: {error}") from None
    for kind, count in Counter(issue.kind for issue in log).items():
        first = next(issue for issue in log if issue.kind == kind)
        text = "%s: %d video(s) with %s; %s: %s"
        logger.warning(text, path or root, count, kind, first.where, first.text)
    _warn_of_set(path or root, name, videos)
    return videos


def _warn_of_set(place: Path, name: str, videos: dict[str, Video]) -> None:
    """Warn of what only shows when the videos of a set are seen together."""
    if len(alike := {fold(video): video for video in videos}) < len(videos):
        first = next(video for video in videos if alike[fold(video)] != video)
        text = (
            "%s: %r and %r are one name where file systems ignore case: results would be lost there"
        )
        logger.warning(text, place, first, alike[fold(first)])
    if (expected := find_benchmark(name).num_videos) not in (0, len(videos)):
        text = "%s has %d videos here, but %d belong to it; scores are not those of the benchmark"
        logger.warning(text, name, len(videos), expected)


def require_images(name: str, videos: Sequence[Video]) -> None:
    """Warn of videos of a set that have no images, see `toolkit.datasets.locating`.

    How images of more than 8 bits are read is said here, too: once for a run.

    Raises:
        FileNotFoundError: If none of them has any; says what was looked for and what is there.
    """
    if note := depth_note(video.first_image for video in videos):
        logger.warning("%s", note)
    lost = [video for video in videos if not os.path.exists(video.first_image)]
    if not lost:
        return
    root, more = lost[0].root, f" and {len(lost) - 1} more" if lost[1:] else ""
    text = f"{len(lost)} of {len(videos)} videos of {name} have no images ({lost[0].name}{more})"
    there = sorted(os.listdir(root)) if root.is_dir() else []
    text += (
        f": there is no {lost[0].first_image}, also without or with a folder img or color; "
        f"{root} holds {', '.join(there[:5]) or 'nothing'}{', ...' if there[5:] else ''}"
    )
    if len(lost) == len(videos):
        raise FileNotFoundError(f"{text}; name the folder of the set with --dataset-root")
    logger.warning("%s", text)


def doubt_of_name(name: str) -> str:
    """Say which benchmark is meant, perhaps, by a name that is nearly its own; else nothing."""
    near = near_benchmarks(name)
    meant = " or ".join((", ".join(near[:-1]), near[-1]) if near[1:] else near)
    text = (
        f"{name} is no known benchmark and is taken as a set of your own, run once over each video"
    )
    return f"{text}; did you mean {meant}?" if near else ""


def annotation_file(root: Path, name: str) -> Path | None:
    """The JSON of a set, perhaps packed; None if there is none."""
    paths = (root / f"{name}{suffix}" for suffix in (".json", ".json.xz"))
    return next((path for path in paths if path.is_file()), None)


def read_json(path: Path, make_object: Callable[..., Any] | None = None) -> dict[str, Any]:
    """Read the records of a set, by video; ``make_object`` is the ``object_pairs_hook`` of `json`.

    Raises:
        ValueError: If the file is not an object of at least one video.
    """
    try:
        records = parse_records(_unpack(path), make_object)
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    except RecursionError:
        raise ValueError(f"{path}: is nested too deeply") from None
    if not isinstance(records, dict) or not records:
        raise ValueError(f"{path}: expected an object of at least one video by name")
    return records


def _unpack(path: Path) -> bytes:
    if path.suffix != ".xz":
        return path.read_bytes()
    import lzma

    try:
        return lzma.decompress(path.read_bytes())
    except lzma.LZMAError as error:
        raise ValueError(f"cannot be unpacked: {error}") from None


def parse_records(data: bytes, make_object: Callable[..., Any] | None = None) -> Any:
    """Read the JSON of a set; where nothing looks unusual, boxes of a video become an array."""
    if make_object is None:
        try:
            return _read_quickly(data)
        except ValueError:  # of which `json` names the place, if it is one
            pass
    return json.loads(data, object_pairs_hook=make_object)


def _read_quickly(data: bytes) -> Any:
    """Read lists of boxes from the text, in place of which `json` sees the number of each.

    It would make millions of objects of LaSOT's.
    """
    parts, found, position = [], [], 0
    for key in _BOXES.finditer(data):
        begin = key.end()
        quote = data.find(b'"', begin)
        brace = data.find(b"}", begin, quote if quote >= 0 else len(data))
        end = data.rfind(b"]", begin, brace if brace >= 0 else max(quote, 0)) + 1
        parts += [data[position:begin], b"%d" % len(found)]
        found.append(_rows(data[begin:end]))
        position = end
    records = json.loads(b"".join((*parts, data[position:])))
    items = records.values() if isinstance(records, dict) else ()
    holders = [item for item in items if isinstance(item, dict) and "gt_rect" in item]
    if [item["gt_rect"] for item in holders] != list(range(len(found))):
        raise ValueError("lists of boxes where no video has them")
    for item, rows in zip(holders, found, strict=True):
        item["gt_rect"] = rows
    return records


def _rows(text: bytes) -> NDArray | list:
    """Read lists of 4 or of 8 numbers; as an array if all are ints, or all floats."""
    plain = text.translate(None, b" \t\r\n")
    if plain[:2] != b"[[" or plain[-2:] != b"]]":
        raise ValueError("no list of lists")
    values, counts = parse_numbers(plain[2:-2].replace(b"],[", b"\n"))
    if counts[0] not in (4, 8) or (counts != counts[0]).any():
        raise ValueError("neither boxes nor polygons")
    floats = plain.count(b".") + plain.count(b"a")  # 1.5, NaN
    if floats not in (0, values.size) or (not floats and _NO_INT.search(plain)):
        return json.loads(text)
    return values.reshape(len(counts), -1).astype(float if floats else int, copy=False)


def _native_records(root: Path, name: str) -> dict[str, Any]:
    from toolkit.datasets.formats import read_records  # those with a JSON need not wait for it

    if not root.is_dir():
        missing = "the folder does not exist" if not root.exists() else f"{root} is not a folder"
        raise FileNotFoundError(f"no annotation file {root / name}.json: {missing}")
    try:
        records, log = read_records(root, name)
    except FileNotFoundError as error:
        places = (root / name, root.parent)
        near = [path.name for path in sorted(root.glob("*.json"))]
        near += [str(path) for place in places if (path := annotation_file(place, name))]
        raise FileNotFoundError(
            f"no annotation file {root / name}.json: there is {', '.join(near) or 'no JSON file'}; "
            f"{error}"
        ) from None
    errors = log.of("error")
    if errors:
        more = f"; {len(errors) - 1} more errors" if len(errors) > 1 else ""
        raise ValueError(
            f"{root}: video {errors[0].where!r}: {errors[0].text}{more} "
            "(tools/make_dataset_json.py lists all that is wrong)"
        )
    if warnings := log.of("warning"):
        first = f"{warnings[0].where}: {warnings[0].text}"
        more = f" (and {len(warnings) - 1} more warnings)" if len(warnings) > 1 else ""
        logger.warning("%s: %s%s", root, first, more)
    return records


# ------------------------------------------------------------------------- checking a record


def make_video(
    name: str, record: Any, root: Path, benchmark: Benchmark, log: IssueLog | None = None
) -> Video:
    """Check the record of a video and make it; ``log`` receives what is wrong but of no harm.

    Raises:
        ValueError: If the record is not of PySOT's format, naming the field.
    """
    if safe_name(name) != name:
        raise ValueError("its name cannot name a file of results")
    if not isinstance(record, dict):
        raise ValueError(f"expected an object of fields, got {type(record).__name__}")
    log = IssueLog() if log is None else log
    record = _as_pysot_has_it(name, record, root, log)
    given = _list_field(record, "gt_rect")
    regions = _regions(given) if isinstance(given, list) else given
    names = _texts(_list_field(record, "img_names"), "img_names", {str})
    if "" in names:
        raise ValueError(f"img_names[{names.index('')}] is empty")
    first = record.get("init_rect")
    first = _region("init_rect", first) if first else None
    lengths = {len(names), len(regions)}
    names, regions = _paired(name, names, regions, benchmark, log)
    return Video(
        name,
        root,
        names,
        regions,
        record.get("video_dir", ""),
        first or regions[0],
        [*map(printable, _texts(_list_field(record, "attr"), "attr", {str}))]
        if record.get("attr")
        else [],
        _size(record),
        _labels(cut_lists(record, lengths, len(names)), benchmark, len(names)),
        benchmark,
    )


def _paired(
    video: str, names: list[str], regions: Any, benchmark: Benchmark, log: IssueLog
) -> tuple[list[str], Any]:
    """Bring images and boxes to one length, and say what was left out."""
    number, surplus = len(regions), len(names) - len(regions)
    if number == 1 < len(names):  # enough to track, as in the test sets of servers
        first = regions.tolist() if isinstance(regions, np.ndarray) else list(regions)
        return names, first + [[NAN] * len(first[0])] * surplus
    if surplus:
        what = f"the last {abs(surplus)} {'images' if surplus > 0 else 'boxes'} are left out"
        first, _ = benchmark.frames.get(video, (1, None))
        if surplus == first - 1 and image_number(names[0]) == 1:
            names, what = names[surplus:], f"the first {surplus} images are before the annotation"
        text = f"{number + surplus} img_names but {number} gt_rect, {what}"
        log.warn("boxes and images that differ in number", video, text)
    length = min(len(names), number)
    return names[:length], regions[:length]


def cut_lists(record: dict[str, Any], lengths: set[int], length: int) -> dict[str, Any]:
    """Cut the lists of a record with an entry per frame, which are of some lengths, to one."""
    if lengths == {length}:
        return record
    whole = ("attr", "init_rect")
    return {
        field: values[:length]
        if isinstance(values, list) and len(values) in lengths and field not in whole
        else values
        for field, values in record.items()
    }


def _as_pysot_has_it(name: str, record: dict[str, Any], root: Path, log: IssueLog) -> dict:
    """Turn records of other layouts into PySOT's, or say what they are.

    DaSiamRPN's OTB2015.json has names of images without their folder, and counts pixels from 1.
    """
    boxes = record.get("gt_rect")
    if "img_names" not in record and "image_files" in record and boxes is not None:
        folder = record.get("name", name)
        names = _texts(_list_field(record, "image_files"), "image_files", {str})
        names = [file if "/" in file else f"{folder}/img/{file}" for file in names]
        given = _list_field(record, "gt_rect")
        given = given.tolist() if isinstance(given, np.ndarray) else given
        boxes = [[x - 1, y - 1, *rest] for x, y, *rest in _regions(given)]
        log.note("the layout of DaSiamRPN", name, "boxes count from pixel 1 and were moved to 0")
        return {**record, "gt_rect": boxes, "img_names": names, "init_rect": None}
    tracks = [track for track in record.values() if isinstance(track, dict)]
    if record and len(tracks) == len(record) and "gt_rect" not in record:
        raise ValueError(
            "holds tracks, as annotation to train on: name the file in DATASET.<NAME>.ANNO, and to "
            "test on the set give its folders, or a JSON with img_names and gt_rect"
        )
    names = record.get("img_names")
    if isinstance(names, list) and not any(names) and boxes is not None and len(boxes):
        return {**record, "img_names": _image_names(name, record, root, len(boxes), log)}
    return record


def _image_names(
    name: str, record: dict[str, Any], root: Path, length: int, log: IssueLog
) -> list[str]:
    """Name the images of a video whose JSON does not: those in its folder, if they are as many."""
    from toolkit.datasets.reading import image_folder  # most sets need not wait for it

    folder = image_folder(root / str(record.get("video_dir") or name))
    found = [os.path.relpath(path, root) for path in list_images(folder)]
    if len(found) == length:
        return found
    text = f"there are {len(found)} images in {folder} for {length} boxes: enough to score only"
    log.warn("no names of images", name, text)
    return [f"{name}/{number:08d}.jpg" for number in range(1, length + 1)]


def _labels(record: dict[str, Any], benchmark: Benchmark, length: int) -> Labels:
    value = record.get("mask_value")
    if value is not None and (type(value) is not int or not 0 < value <= _DEEPEST):
        raise ValueError(f"mask_value: expected an integer of 1 to {_DEEPEST}, got {value!r}")
    masks = None
    if "mask_names" in record:
        masks = _list_field(record, "mask_names", length)
        masks = _texts(masks, "mask_names", {str, type(None)}, "text or null")
    return Labels(
        absent=_flags(record, "absent", length) if benchmark.has_absent else None,
        tags={
            tag: _flags(record, tag, length) if record.get(tag) else [] for tag in benchmark.tags
        },
        cover=_flags(record, "cover", length, range(9)) if "cover" in record else None,
        mask_names=masks,
        mask_value=value,
    )


def _list_field(record: dict[str, Any], field: str, length: int | None = None) -> list:
    """Return a list that is not empty, of one entry per frame if there is a ``length``."""
    if field not in record:
        raise ValueError(f"field {field!r} is missing; there are {', '.join(record) or 'none'}")
    values = record[field]
    if not isinstance(values, (list, MaskBoxes, np.ndarray)):
        raise ValueError(f"{field}: expected a list, got {type(values).__name__}")
    if not len(values):
        raise ValueError(f"{field}: is empty")
    if length not in (None, len(values)):
        raise ValueError(f"{field} has {len(values)} entries for {length} frames")
    return values


def _texts(values: list, field: str, types: set[type], expected: str = "text") -> list:
    if not set(map(type, values)) <= types:
        raise ValueError(f"{field}: expected {expected} only")
    return values


def _flags(
    record: dict[str, Any], field: str, length: int, allowed: Iterable[int] = (0, 1)
) -> list[int]:
    """One small integer per frame."""
    values = _list_field(record, field, length)
    if not set(map(type, values)) <= {int} or not set(values) <= set(allowed):
        *others, last = allowed
        raise ValueError(f"{field}: expected only {', '.join(map(str, others))} and {last}")
    return values


def _regions(gt: list) -> list[Region]:
    """Check the ground truth; null, for a frame or a number, means an absent target."""
    gt = [ABSENT if region is None else region for region in gt]
    # One pass over types and lengths is quick; only a faulty file is searched for the place.
    if set(map(type, gt)) == {list}:
        types = set(map(type, chain.from_iterable(gt)))
        huge = int in types and any(map(_is_huge, chain.from_iterable(gt)))
        if types <= {int, float} and set(map(len, gt)) <= {4, 8} and not huge:
            return gt
    return [_region(f"gt_rect[{i}]", region) for i, region in enumerate(gt)]


def _is_huge(value: Any) -> bool:
    """Return whether a value is an integer that no pixel can have, and no float either."""
    return type(value) is int and value.bit_length() > 63


def _region(where: str, region: Any) -> Region:
    if not isinstance(region, list) or len(region) not in (4, 8):
        raise ValueError(f"{where}: expected 4 or 8 numbers, got {region!r}")
    region = [NAN if value is None else value for value in region]
    if not all(type(value) in (int, float) and not _is_huge(value) for value in region):
        raise ValueError(f"{where}: expected numbers, got {region!r}")
    return region


def _size(record: dict[str, Any]) -> tuple[int, int] | None:
    size = record.get("width"), record.get("height")
    if size == (None, None):
        return None
    if not all(type(side) in (int, float) and side > 0 and side % 1 == 0 for side in size):
        raise ValueError(f"width, height: expected two positive integers, got {size}")
    return int(size[0]), int(size[1])
