"""Images of a video that lie elsewhere than its JSON says, found by one rule.

A name may differ from the disk in backslashes, case and separators, in its suffix, in a folder
``img`` or ``color`` that is there or not, and in folders before that of the video: the root may be
one level too high or too low. Other names of the video's folder must be known.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from toolkit.datasets.benchmarks import alike
from toolkit.io.images import IMAGE_SUFFIXES

_BELOW = ("img", "color", "imgs", "images")  # folders of images in that of a video


def locate_images(
    root: Path, names: Sequence[str], video: str, folders: Mapping[str, str]
) -> list[str]:
    """Return absolute paths of images, by the rule above if the first is not where it is named.

    Args:
        root: Folder of the data set.
        names: Paths relative to it.
        video: Folder of the video, for names that have none.
        folders: Other names of folders, by those in ``names``.
    """
    paths = [os.path.join(root, name) for name in names]
    if os.path.exists(paths[0]):
        return paths
    found: dict[str, dict[str, str]] = {}  # by folder of the names: paths by number or stem
    for index, name in enumerate(names):
        folder, _, file = name.replace("\\", "/").rpartition("/")
        if folder not in found:
            parts = [part for part in folder.split("/") if part not in ("", ".")]
            parts = parts if {*parts} - {*_BELOW} else [video, *parts]
            found[folder] = _images_of(root, parts, _key(file), folders)
        if images := found[folder]:
            paths[index] = images.get(_key(file), paths[index])
    return paths


def _images_of(
    root: Path, parts: Sequence[str], image: str, folders: Mapping[str, str]
) -> dict[str, str]:
    """Return the images of the folder that has a certain one, by `_key`; none if several have."""
    listing = cache(_folders)  # which is read often, but may change between calls
    below = [root / name for name in sorted(set(listing(str(root)).values()))]
    for bases in ([root], [root.parent], below):
        found = {}
        for base in bases:
            places = (_walk(str(base), path, listing, folders) for path in _paths(parts))
            images = next((of for of in map(_images, places) if image in of), {})
            found |= {images[image]: images} if images else {}
        if found:
            return next(iter(found.values())) if len(found) == 1 else {}
    return {}


def _paths(parts: Sequence[str]) -> Iterator[list[str]]:
    """Yield paths below which the images may lie; each has the folder that names the video."""
    last = max(i for i, part in enumerate(parts) if part not in _BELOW)
    for first in range(last + 1 if ".." not in parts else 0):
        video = list(parts[first : last + 1])
        yield from ([*video, *parts[last + 1 :]], video, *([*video, name] for name in _BELOW))


def _walk(
    place: str,
    parts: Sequence[str],
    listing: Callable[[str], Mapping[str, str]],
    folders: Mapping[str, str],
) -> str:
    """Go down from a folder by names that are alike; empty if there is no such path."""
    for part in parts:
        there, other = listing(place), folders.get(part, part)
        spellings = (part, alike(part), other, alike(other))
        entry = next(filter(None, map(there.get, spellings)), None)
        if entry is None:
            return ""
        place = os.path.join(place, entry)
    return place


def _images(folder: str) -> dict[str, str]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return {}
    images = (name for name in names if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES)
    return {_key(name): os.path.join(folder, name) for name in images}


def _key(file: str) -> str:
    """What two names of one image share: the number, or the stem in small letters."""
    stem = os.path.splitext(file)[0].lower()
    return str(int(stem)) if stem.isdecimal() else stem


def _folders(place: str) -> dict[str, str]:
    """Return the folders in one by name, and by what is alike in names if it is of one alone."""
    try:
        with os.scandir(place) as entries:  # of many images, of which no names are needed
            names = sorted(entry.name for entry in entries if entry.is_dir())
    except OSError:
        return {}
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(alike(name), []).append(name)
    return {key: of[0] for key, of in found.items() if len(of) == 1} | {n: n for n in names}
