"""Images of a video that lie elsewhere than its JSON says, found by one rule.

A name may differ from the disk in backslashes, case and separators, in its suffix, in a folder
``img`` or ``color`` that is there or not, and in folders before that of the video: the root may be
one level too high or too low. Other names of the video's folder must be known.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from toolkit.io.images import IMAGE_SUFFIXES

_BELOW = ("img", "color", "imgs", "images")  # folders of images in that of a video


def locate_images(root: Path, names: Sequence[str], folders: Mapping[str, str]) -> list[str]:
    """Return absolute paths of images, by the rule above if the first is not where it is named.

    Args:
        root: Folder of the data set.
        names: Paths relative to it.
        folders: Other names of folders, by those in ``names``.
    """
    paths = [os.path.join(root, name) for name in names]
    if os.path.exists(paths[0]):
        return paths
    found: dict[str, dict[str, str]] = {}  # by folder of the names: paths by stem
    for index, name in enumerate(names):
        folder, _, file = name.replace("\\", "/").rpartition("/")
        stem = os.path.splitext(file)[0].lower()
        if folder not in found:
            found[folder] = _images_of(root, folder, stem, folders)
        paths[index] = found[folder].get(stem, paths[index])
    return paths


def _images_of(root: Path, folder: str, stem: str, folders: Mapping[str, str]) -> dict[str, str]:
    """Return the images of the first folder with one of that stem, by stem in small letters."""
    listing = cache(_entries)  # which is read often, but may change between calls
    for base, parts in _candidates(root, [part for part in folder.split("/") if part != "."]):
        place = str(base)
        for part in parts:
            there, other = listing(place), folders.get(part, part)
            spellings = (part, _alike(part), other, _alike(other))
            entry = next(filter(None, map(there.get, spellings)), None)
            place = os.path.join(place, entry) if entry else os.devnull
        images = {
            os.path.splitext(entry)[0].lower(): os.path.join(place, entry)
            for entry in listing(place).values()
            if os.path.splitext(entry)[1].lower() in IMAGE_SUFFIXES
        }
        if stem in images:
            return images
    return {}


def _candidates(root: Path, parts: Sequence[str]) -> Iterator[tuple[Path, list[str]]]:
    """Yield folders that exist, and what of the path of a folder to look for below them."""
    last = next((i for i in reversed(range(len(parts))) if parts[i] not in _BELOW), -1)
    if last < 0 or ".." in parts:  # no folder that names the video
        return
    below = (root / entry for entry in sorted(set(_entries(str(root)).values())))
    for base in (root, root.parent, *(path for path in below if path.is_dir())):
        for first in range(last + 1):
            video = list(parts[first : last + 1])
            yield base, [*video, *parts[last + 1 :]]
            yield base, video
            yield from ((base, [*video, name]) for name in _BELOW)


def _entries(folder: str) -> dict[str, str]:
    """Return what is in a folder by its name, and by what is alike if that is one entry alone."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return {}
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(_alike(name), []).append(name)
    return {key: of[0] for key, of in alike.items() if len(of) == 1} | {n: n for n in names}


def _alike(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-").replace(" ", "-")
