"""Reading frames."""

import os

import numpy as np
from numpy.typing import NDArray


def read_image(path: str | os.PathLike) -> NDArray:
    """Read an image of any depth and channel count as BGR uint8, (H, W, 3).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not an image, or a JPEG that ends too early (OpenCV would
            fill the rest with grey and say nothing).
    """
    # Scoring needs no image, and OpenCV is slow to load: only those who look at frames pay.
    import cv2

    data = np.fromfile(path, np.uint8)
    image = None
    if len(data) and not _is_cut_off(data.tobytes()):
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"cannot decode the image {os.fspath(path)} ({len(data)} bytes)")
    return image


def _is_cut_off(data: bytes) -> bool:
    """Tell whether the last scan of a JPEG has no end marker; compressed data holds neither."""
    is_jpeg = data.startswith(b"\xff\xd8")
    return is_jpeg and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
