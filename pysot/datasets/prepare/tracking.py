"""Readers of tracking sets: one object per video, a line with its box for each frame."""

from __future__ import annotations

import configparser
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from pysot.datasets.prepare.frames import Frame, Problems
from toolkit.io.images import list_images

Box = tuple[float, float, float, float]


def read_got10k(root: Path, split: str, problems: Problems) -> Iterator[Frame]:
    """Yield the frames of GOT-10k in which the object is there.

    Args:
        root: Has ``<split>/list.txt`` and ``<split>/<video>/``.
        split: ``train`` or ``val``.
        problems: Is told about files that cannot be read.
    """
    for folder in _listed(root / split / "list.txt"):
        absent = _flags(folder / "absence.label", problems)
        kind = _got10k_kind(folder / "meta_info.ini")
        yield from line_frames(
            folder.name, list_images(folder), folder / "groundtruth.txt", problems, absent, kind
        )


def read_lasot(root: Path, split: Sequence[str] | None, problems: Problems) -> Iterator[Frame]:
    """Yield the frames of LaSOT in which the object is seen.

    Args:
        root: Has ``<class>/<class>-<n>/``.
        split: Names of the videos to use; None for all there are.
        problems: Is told about files that cannot be read.

    Raises:
        FileNotFoundError: If there is no video at all.
    """
    for path in _some(sorted(root.glob("*/*/groundtruth.txt")), f"{root}/<class>/<video>"):
        folder = path.parent
        if split is None or folder.name in split:
            hidden, outside = (
                _flags(folder / f"{name}.txt", problems)
                for name in ("full_occlusion", "out_of_view")
            )
            absent = [a or b for a, b in zip(hidden, outside)]  # noqa: B905 - lengths are checked
            kind = folder.name.rsplit("-", 1)[0]
            video = f"{folder.parent.name}/{folder.name}"
            yield from line_frames(video, list_images(folder / "img"), path, problems, absent, kind)


def read_trackingnet(root: Path, parts: Sequence[str], problems: Problems) -> Iterator[Frame]:
    """Yield the frames of TrackingNet.

    Args:
        root: Has ``<part>/anno/<video>.txt`` and ``<part>/frames/<video>/``.
        parts: ``TRAIN_0`` to ``TRAIN_11``; those that are not there are left out.
        problems: Is told about files that cannot be read.

    Raises:
        FileNotFoundError: If none of the parts is there.
    """
    found = [path for part in parts for path in sorted((root / part / "anno").glob("*.txt"))]
    for path in _some(found, f"{root}/<{parts[0]} ...>/anno/<video>.txt"):
        part = path.parent.parent
        images = list_images(part / "frames" / path.stem)
        yield from line_frames(f"{part.name}/{path.stem}", images, path, problems)


def line_frames(
    video: str,
    images: Sequence[Path],
    boxes: Path,
    problems: Problems,
    absent: Sequence[bool] = (),
    kind: str = "",
) -> Iterator[Frame]:
    """Yield the frames of a video whose boxes are the lines of a file.

    Args:
        video: Its name.
        images: Its frames in order, numbered from 0.
        boxes: Lines of x, y, w, h. A frame without the object has NaN.
        problems: Is told when lines and images do not match, and of lines that are no box.
        absent: Per frame whether the object is not to be seen; frames beyond its end have it.
        kind: Name of the kind of object.
    """
    try:
        lines = read_boxes(boxes)
    except (OSError, UnicodeDecodeError) as error:
        problems.add("unreadable annotation", boxes, error)
        return
    if len(lines) != len(images):
        problems.add("boxes and images differ in number", boxes, f"{len(lines)} to {len(images)}")
    for number, (image, box) in enumerate(zip(images, lines)):  # noqa: B905 - reported above
        if isinstance(box, str):
            problems.add("unusable line", f"{boxes}, line {number + 1}", box)
        elif not (number < len(absent) and absent[number]) and not any(map(math.isnan, box)):
            x, y, w, h = box
            kinds = {0: kind} if kind else {}
            yield Frame(video, number, image, {0: (x, y, x + w, y + h)}, kinds=kinds)


def read_boxes(path: Path) -> list[Box | str]:
    """Read lines of four numbers, or of eight: corners, of which the upright box is taken.

    Returns:
        x, y, w, h per line; the line itself where it is neither.

    Raises:
        OSError: If there is no such file.
    """
    lines = path.read_text(encoding="utf-8").strip().splitlines()
    return [_box(line) for line in lines]


def _box(line: str) -> Box | str:
    try:
        values = [float(word) for word in re.split(r"[,;\s]+", line.strip())]
    except ValueError:
        return line
    if len(values) == 8:
        left, top = min(values[0::2]), min(values[1::2])
        return left, top, max(values[0::2]) - left, max(values[1::2]) - top
    return tuple(values) if len(values) == 4 else line


def _flags(path: Path, problems: Problems) -> list[bool]:
    """Read 0 and 1, separated by anything; none where there is no file."""
    if not path.is_file():
        return []
    words = re.split(r"[,\s]+", path.read_text(encoding="utf-8").strip())
    if not set(words) <= {"0", "1"}:
        problems.add("unusable annotation", path, "expected 0 and 1")
        return []
    return [word == "1" for word in words]


def _got10k_kind(path: Path) -> str:
    parser = configparser.ConfigParser()
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return ""
    return parser.get("METAINFO", "object_class", fallback="")


def _listed(path: Path) -> list[Path]:
    if not path.is_file():
        raise FileNotFoundError(f"list of videos not found: {path}")
    return [path.parent / name for name in path.read_text(encoding="utf-8").split()]


def _some(paths: list[Path], expected: str) -> list[Path]:
    if not paths:
        raise FileNotFoundError(f"nothing found at {expected}")
    return paths
