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

from pysot.datasets.crop_pack import PackReader, from_npy, is_pack, pack_crops
from pysot.datasets.jpeg_tiles import cut_tiles, read_header
from toolkit.io.images import is_cut_jpeg

SUFFIXES = {"x": ".jpg", "z": ".jpg", "m": ".png"}
_JPEG_START = b"\xff\xd8"


class UnreadableImage(Exception):
    """One image could not be read; the sample is replaced by another."""


class EncodedCrop:
    """A crop that is decoded where it is looked at: ``crop[y1:y2, x1:x2]`` gives that part.

    Pixels are those that decoding the whole file would give. Only the part is decoded, if the file
    has restart markers (``CropForm.tiles``).

    Args:
        content: The whole file.
        name: What to call it in an error.

    Raises:
        UnreadableImage: If it is no image, or a JPEG that is cut short.
    """

    def __init__(self, content: bytes, name: str) -> None:
        self._content, self._name, self._image = content, name, None
        check_whole(content, name)
        self._header = read_header(content) if content.startswith(_JPEG_START) else None
        if self._header is None or self._header.tile is None:
            self._image = decode_crop(content, "x", name)
            self.shape = self._image.shape
        else:
            self.shape = (self._header.height, self._header.width, 3)

    def __getitem__(self, place: tuple[slice, slice]) -> NDArray:
        """Decode the part ``[y1:y2, x1:x2]``, 0 <= y1 < y2 <= H, 0 <= x1 < x2 <= W; no steps."""
        y1, y2, _ = place[0].indices(self.shape[0])
        x1, x2, _ = place[1].indices(self.shape[1])
        if self._image is None:
            cut = cut_tiles(self._content, self._header, x1, y1, x2, y2)
            if cut is None:
                raise UnreadableImage(f"{self._name}: JPEG file lacks restart markers")
            file, left, top = cut
            image = decode_crop(file.data, "x", self._name)
            return image[y1 - top : y2 - top, x1 - left : x2 - left]
        return self._image[y1:y2, x1:x2]


class Crops:
    """A store of crops; see :class:`CropFolder` and :class:`CropPack`.

    Args:
        root: Folder of the store.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def has(self, video: str, frame: int, track: str, kind: str = "x") -> bool:
        """Whether there is such a crop; says nothing of its content."""
        raise NotImplementedError

    def content(self, video: str, frame: int, track: str, kind: str = "x") -> bytes:
        """Read the file of a crop as it is, see :meth:`read`."""
        raise NotImplementedError

    def path(self, video: str, frame: int, track: str, kind: str = "x") -> Path:
        """Where the file of a crop is or would be, were it alone; names it in messages."""
        return self.root / crop_file(video, frame, track, kind)

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
        content = self.content(video, frame, track, kind)
        return decode_crop(content, kind, str(self.path(video, frame, track, kind)))

    def open(self, video: str, frame: int, track: str) -> EncodedCrop | NDArray:
        """Read a search crop without decoding it, where it is not decoded yet; see :meth:`read`."""
        content = self.content(video, frame, track)
        return EncodedCrop(content, str(self.path(video, frame, track)))


class CropFolder(Crops):
    """Crops as single files, ``<root>/<video>/<frame %06d>.<track>.<kind>.jpg``; masks ``.png``."""

    def has(self, video: str, frame: int, track: str, kind: str = "x") -> bool:
        """Whether there is such a file."""
        return self.path(video, frame, track, kind).is_file()

    def content(self, video: str, frame: int, track: str, kind: str = "x") -> bytes:
        """Read the file of a crop as it is, see :meth:`read`."""
        path = f"{self.root}/{crop_file(video, frame, track, kind)}"
        try:
            with open(path, "rb", buffering=0) as file:
                return file.read()
        except OSError as error:
            raise UnreadableImage(f"{path}: {error.strerror}") from error


class CropPack(Crops):
    """Crops in a few large files; see ``pysot.datasets.crop_pack``.

    Raises:
        ValueError: If the pack is incomplete.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._reader = PackReader(self.root)
        self._has_decoded = self._reader.decoded

    def has(self, video: str, frame: int, track: str, kind: str = "x") -> bool:
        """Whether there is such a crop in the pack."""
        found = self._reader.find(crop_file(video, frame, track, kind))
        return found is not None or self._decoded(video, frame, track, kind) is not None

    def _decoded(self, video: str, frame: int, track: str, kind: str = "x") -> NDArray | None:
        if kind != "x" or not self._has_decoded:
            return None
        found = self._reader.find(f"{video}/{frame:06d}.{track}.x.npy")
        return None if found is None else from_npy(found)

    def read(self, video: str, frame: int, track: str, kind: str = "x") -> NDArray:
        """Read a crop; see ``Crops.read``."""
        decoded = self._decoded(video, frame, track, kind)
        return super().read(video, frame, track, kind) if decoded is None else decoded.copy()

    def open(self, video: str, frame: int, track: str) -> EncodedCrop | NDArray:
        """Look at a search crop; it must not be written to. See ``Crops.open``."""
        decoded = self._decoded(video, frame, track)
        return super().open(video, frame, track) if decoded is None else decoded

    def content(self, video: str, frame: int, track: str, kind: str = "x") -> bytes:
        """Read the file of a crop as it is, see :meth:`read`."""
        found = self._reader.find(crop_file(video, frame, track, kind))
        if found is None:
            raise UnreadableImage(f"{self.path(video, frame, track, kind)}: not in the pack")
        return bytes(found)


def open_crops(root: Path) -> CropFolder | CropPack:
    """Open a store of crops.

    Args:
        root: A folder of crops, or of a pack.

    Raises:
        ValueError: If a pack is incomplete.
    """
    return CropPack(Path(root)) if is_pack(Path(root)) else CropFolder(Path(root))


def pack_decoded(source: Path, target: Path, **options: int) -> int:
    """Pack a folder of crops with its search crops decoded; see ``pack_crops``.

    Raises:
        UnreadableImage: If a crop cannot be decoded.
    """
    return pack_crops(source, target, decode=lambda c, name: decode_crop(c, "x", name), **options)


def crop_file(video: str, frame: int, track: str, kind: str = "x") -> str:
    """Path of a crop's file below the root."""
    return f"{video}/{frame:06d}.{track}.{kind}{SUFFIXES[kind]}"


def check_whole(content: bytes, name: str) -> None:
    """Raise UnreadableImage for a JPEG file that is cut short.

    OpenCV would fill the missing part with grey, and say so on the terminal.
    """
    if is_cut_jpeg(content):
        raise UnreadableImage(f"{name}: JPEG file is cut short")


def decode_crop(content: bytes | memoryview, kind: str, name: str) -> NDArray:
    """Decode the file of a crop.

    Args:
        content: The whole file.
        kind: "m" for a mask, anything else for an image.
        name: What to call it in an error.

    Returns:
        (H, W, 3) uint8, BGR; a mask is (H, W) uint8, 0 or 255.

    Raises:
        UnreadableImage: If it is no image, or a JPEG that is cut short.
    """
    if isinstance(content, bytes):
        check_whole(content, name)
    flag = cv2.IMREAD_GRAYSCALE if kind == "m" else cv2.IMREAD_COLOR
    image = cv2.imdecode(np.frombuffer(content, np.uint8), flag) if len(content) else None
    if image is None:
        raise UnreadableImage(f"{name}: no image that OpenCV can decode")
    return image
