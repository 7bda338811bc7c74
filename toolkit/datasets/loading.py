"""From a folder to its videos: the reader of the benchmarks' JSON.

Most of a large JSON is names of images, which scoring does not need, and boxes, which it needs as
an array: both are kept as text, where `json` would make five million objects of LaSOT's. It reads
the rest, and the whole of a file in which anything looks unusual.
"""

import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from toolkit.datasets.benchmarks import Benchmark, find_benchmark
from toolkit.datasets.regions import ABSENT, NAN, Region
from toolkit.datasets.sequence import Late, MaskBoxes, Rows
from toolkit.datasets.video import Labels, Video
from toolkit.io.boxes import NotNumbers, parse_numbers

logger = logging.getLogger("toolkit")

_BLANK = b" \t\r\n"
_OPENING = re.compile(rb"\s*:\s*\[")
_MARK = "\0"  # begins the text that stands for a list which was read already


def load_videos(root: str | os.PathLike, name: str) -> dict[str, Video]:
    """Read a set without touching its images.

    That is ``<root>/<name>.json`` in PySOT's format, packed as ``.json.xz`` if you like, or else
    the folders in which its owner distributes it or a user's own; see `toolkit.datasets.formats`.

    Returns:
        The videos by name, in sorted order.

    Raises:
        FileNotFoundError: If neither is there; says what was looked for.
        ValueError: If a file is not of its format, naming file, video and field or line.
    """
    root, benchmark = Path(root), find_benchmark(name)
    path = annotation_file(root, name)
    records = _native_records(root, name) if path is None else read_json(path)
    videos = {}
    for video in sorted(records):
        try:
            videos[video] = make_video(video, records[video], root, benchmark)
        except ValueError as error:
            raise ValueError(f"{path or root}: video {video!r}: {error}") from None
    return videos


def annotation_file(root: Path, name: str) -> Path | None:
    """The JSON of a set, perhaps packed; None if there is none."""
    paths = (root / f"{name}{suffix}" for suffix in (".json", ".json.xz"))
    return next((path for path in paths if path.is_file()), None)


def read_json(path: Path, make_object: Callable[..., Any] | None = None) -> dict[str, Any]:
    """Read the records of a set, by video.

    Args:
        path: The file, perhaps packed.
        make_object: Makes an object of the list of its pairs, as ``object_pairs_hook`` of `json`.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not an object of at least one video.
    """
    try:
        data = _unpack(path)
        records = (
            json.loads(data, object_pairs_hook=make_object) if make_object else parse_records(data)
        )
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
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


def parse_records(data: bytes) -> Any:
    """Read the JSON of a set, in which regular lists of names and boxes become `Late` and `Rows`.

    Raises:
        ValueError: If the text is not valid JSON.
    """
    parts, found, position = [], [], 0
    for begin, end, read in sorted(_lists(data), key=lambda place: place[:2]):
        value = read(data[begin:end]) if begin >= position else None
        if value is not None:
            parts += [data[position:begin], json.dumps(f"{_MARK}{len(found)}").encode()]
            found.append(value)
            position = end
    if found and json.dumps(_MARK)[1:-1].encode() not in data:
        records = json.loads(b"".join((*parts, data[position:])))
        if _put_back(records, found):
            return records
    return json.loads(data)


def _lists(data: bytes) -> Iterator[tuple[int, int, Callable[[bytes], Any]]]:
    """Yield where lists of names and boxes begin and perhaps end, and how to read them."""
    for key, read in ((b'"img_names"', _read_names), (b'"gt_rect"', _read_rows)):
        place = data.find(key)
        while place >= 0:
            opening = _OPENING.match(data, place + len(key))
            place = following = data.find(key, place + len(key))
            if opening is None:
                continue
            limit = following if following >= 0 else len(data)
            if read is _read_rows:  # no text is within
                for stop in (b'"', b"}"):
                    nearest = data.find(stop, opening.end(), limit)
                    limit = nearest if nearest >= 0 else limit
                end = data.rfind(b"]", opening.end(), limit)
            else:
                end = data.find(b"]", opening.end(), limit)
            if end >= 0:
                yield opening.end() - 1, end + 1, read


def _read_names(text: bytes) -> Late | None:
    """Set a list of plain texts aside; None if it is something else.

    If all quotes are at its ends or belong to its separator, nothing else stands between texts.
    """
    pieces = text.split(b'"', 4)
    if len(pieces) < 5:
        return None
    before, _, between, _, _ = pieces
    count = text.count(b'"%b"' % between) + 1
    regular = before.strip() == b"[" and between.strip() == b"," and text.count(b'"') == 2 * count
    ends = text[:-1].rstrip(_BLANK)[-1:] == b'"'
    return Late(text, count) if regular and ends and b"\\" not in text and text.isascii() else None


def _read_rows(text: bytes) -> Rows | None:
    """Read a list of lists of 4 or of 8 numbers; None if it is something else."""
    plain = text.translate(None, _BLANK)
    if plain[:2] != b"[[" or plain[-2:] != b"]]" or b"n" in plain:  # in null, not in NaN
        return None
    try:
        values, counts = parse_numbers(plain[2:-2].replace(b"],[", b"\n"))
    except NotNumbers:
        return None
    width = int(counts[0])
    if width not in (4, 8) or (counts != width).any():
        return None
    return Rows(text, values.reshape(-1, width))


def _put_back(records: Any, found: list[Any]) -> bool:
    """Put the lists in place of their marks; return whether all were where they belong."""
    count = 0
    for record in records.values() if isinstance(records, dict) else ():
        for field in ("img_names", "gt_rect") if isinstance(record, dict) else ():
            value = record.get(field)
            if isinstance(value, str) and value[:1] == _MARK:
                record[field] = found[int(value[1:])]
                count += 1
    return count == len(found)


def _native_records(root: Path, name: str) -> dict[str, Any]:
    from toolkit.datasets.formats import read_records  # those with a JSON need not wait for it

    if not root.is_dir():
        missing = "the folder does not exist" if not root.exists() else f"{root} is not a folder"
        raise FileNotFoundError(f"no annotation file {root / name}.json: {missing}")
    try:
        records, log = read_records(root, name)
    except FileNotFoundError as error:
        near = ", ".join(sorted(p.name for p in root.glob("*.json"))) or "no JSON file"
        raise FileNotFoundError(
            f"no annotation file {root / name}.json: there is {near}; {error}"
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


def make_video(name: str, record: Any, root: Path, benchmark: Benchmark) -> Video:
    """Check the record of a video and make it.

    Raises:
        ValueError: If the record is not of PySOT's format, naming the field.
    """
    if set(name.split("/")) & {"", ".", ".."}:
        raise ValueError("its name cannot name a file of results")
    if not isinstance(record, dict):
        raise ValueError(f"expected an object of fields, got {type(record).__name__}")
    names = _texts(record, "img_names")
    gt = _regions(_list_field(record, "gt_rect"))
    if len(gt) == 1 < len(names):  # enough to track, as in the test sets of servers
        gt = [*gt, *[[NAN] * len(gt[0])] * (len(names) - 1)]
    if len(names) != len(gt):
        raise ValueError(f"gt_rect has {len(gt)} entries for {len(names)} img_names")
    return Video(
        name,
        root,
        names,
        gt,
        record.get("video_dir", ""),
        record.get("init_rect") or gt[0],
        _texts(record, "attr", optional=True),
        _size(record),
        _labels(record, benchmark, len(gt)),
    )


def _labels(record: dict[str, Any], benchmark: Benchmark, length: int) -> Labels:
    value = record.get("mask_value")
    if value is not None and (type(value) is not int or not 0 < value < 256):
        raise ValueError(f"mask_value: expected an integer of 1 to 255, got {value!r}")
    return Labels(
        absent=_flags(record, "absent", length) if benchmark.has_absent else None,
        tags={
            tag: _flags(record, tag, length) if record.get(tag) else [] for tag in benchmark.tags
        },
        cover=_flags(record, "cover", length, range(9)) if "cover" in record else None,
        mask_names=_mask_names(record, length) if "mask_names" in record else None,
        mask_value=value,
    )


def _mask_names(record: dict[str, Any], length: int) -> list[str | None]:
    names = _list_field(record, "mask_names")
    _check_length("mask_names", names, length)
    if not set(map(type, names)) <= {str, type(None)}:
        raise ValueError("mask_names: expected text or null only")
    return names


def _texts(record: dict[str, Any], field: str, optional: bool = False) -> list[str]:
    values = _list_field(record, field, optional)
    if not isinstance(values, Late) and not set(map(type, values)) <= {str}:
        raise ValueError(f"{field}: expected text only")
    return values


def _flags(
    record: dict[str, Any], field: str, length: int, allowed: Iterable[int] = (0, 1)
) -> list[int]:
    """One small integer per frame."""
    values = _list_field(record, field)
    _check_length(field, values, length)
    if not set(map(type, values)) <= {int} or not set(values) <= set(allowed):
        *others, last = allowed
        raise ValueError(f"{field}: expected only {', '.join(map(str, others))} and {last}")
    return values


def _check_length(field: str, values: list, length: int) -> None:
    if len(values) != length:
        raise ValueError(f"{field} has {len(values)} entries for {length} frames")


def _list_field(record: dict[str, Any], field: str, optional: bool = False) -> list:
    if optional and field not in record:
        return []
    if field not in record:
        raise ValueError(f"field {field!r} is missing; there are {', '.join(record) or 'none'}")
    value = record[field]
    if not isinstance(value, (list, Late, MaskBoxes)):
        raise ValueError(f"{field}: expected a list, got {type(value).__name__}")
    if not value and not optional:
        raise ValueError(f"{field}: is empty")
    return value


def _regions(gt: list) -> Sequence[Region]:
    """Check the ground truth; null, for a frame or a number, means an absent target."""
    if isinstance(gt, (Rows, MaskBoxes)):
        return gt
    gt = [ABSENT if region is None else region for region in gt]
    # One pass over types and lengths is quick; only a faulty file is searched for the place.
    if set(map(type, gt)) == {list}:
        types = set(map(type, chain.from_iterable(gt)))
        if types <= {int, float} and set(map(len, gt)) <= {4, 8}:
            return gt
    return [_region(i, region) for i, region in enumerate(gt)]


def _region(index: int, region: Any) -> Region:
    if not isinstance(region, list) or len(region) not in (4, 8):
        raise ValueError(f"gt_rect[{index}]: expected 4 or 8 numbers, got {region!r}")
    region = [NAN if value is None else value for value in region]
    if not all(type(value) in (int, float) for value in region):
        raise ValueError(f"gt_rect[{index}]: expected numbers, got {region!r}")
    return region


def _size(record: dict[str, Any]) -> tuple[int, int] | None:
    size = record.get("width"), record.get("height")
    if size == (None, None):
        return None
    if not all(type(side) is int and side > 0 for side in size):
        raise ValueError(f"width, height: expected two positive integers, got {size}")
    return size
