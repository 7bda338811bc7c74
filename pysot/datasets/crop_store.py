"""Reading of training crops, wherever they are stored.

A crop is named by its video, the number of the frame, the name of the track and its kind: "x", the
search crop that training uses; "z", the template crop that PySOT writes too; "m", the mask of the
search crop.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

SUFFIXES = {"x": ".jpg", "z": ".jpg", "m": ".png"}
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


class UnreadableImage(Exception):
    """One image could not be read; the sample is replaced by another."""


class CropFolder:
    """Crops as single files, ``<root>/<video>/<frame %06d>.<track>.<kind>.jpg`` (masks ``.png``).

    Args:
        root: Folder of the crops; it need not exist before the first read.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def path(self, video: str, frame: int, track: str, kind: str = "x") -> Path:
        """Where the file of a crop is, or would be."""
        return self.root / video / f"{frame:06d}.{track}.{kind}{SUFFIXES[kind]}"

    def has(self, video: str, frame: int, track: str, kind: str = "x") -> bool:
        """Whether there is such a crop; says nothing of its content."""
        return self.path(video, frame, track, kind).is_file()

    def read(self, video: str, frame: int, track: str, kind: str = "x") -> NDArray:
        """Read a crop.

        Args:
            video: Its name in the annotations, a folder below the root.
            frame: Number of the frame.
            track: Name of the track in the annotations.
            kind: "x" search crop, "z" template crop, "m" mask of the search crop.

        Returns:
            (H, W, 3) uint8, BGR; a mask is (H, W) uint8, 0 or 255.

        Raises:
            UnreadableImage: If the file is missing, no image, or cut short.
        """
        path = self.path(video, frame, track, kind)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UnreadableImage(f"{path}: {error.strerror}") from error
        return decode_crop(content, kind, str(path))


def open_crops(root: Path) -> CropFolder:
    """Open a store of crops.

    Args:
        root: A folder of crops.
    """
    return CropFolder(Path(root))


def decode_crop(content: bytes, kind: str, name: str) -> NDArray:
    """Decode the file of a crop.

    Args:
        content: The whole file.
        kind: "m" for a mask, anything else for an image.
        name: What to call it in an error.

    Returns:
        (H, W, 3) uint8, BGR; a mask is (H, W) uint8, 0 or 255.

    Raises:
        UnreadableImage: If it is no image, or a JPEG that is cut short (OpenCV would fill the
            missing part with grey, and say so on the terminal).
    """
    if content.startswith(_JPEG_START) and _JPEG_END not in content[-64:]:
        raise UnreadableImage(f"{name}: JPEG file is cut short")
    flag = cv2.IMREAD_GRAYSCALE if kind == "m" else cv2.IMREAD_COLOR
    image = cv2.imdecode(np.frombuffer(content, np.uint8), flag) if content else None
    if image is None:
        raise UnreadableImage(f"{name}: no image that OpenCV can decode")
    return image
