"""Reading frames."""

import os

import numpy as np
from numpy.typing import NDArray

_ORIENTATION, _FIRST_TURNED = 0x0112, 5  # EXIF: orientations 5 to 8 lie on their side


def read_image(path: str | os.PathLike) -> NDArray:
    """Read an image of any depth and channel count as BGR uint8, (H, W, 3).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not an image, or is one that ends too early.
    """
    # Scoring needs no image, and OpenCV is slow to load: only those who look at frames pay.
    import cv2

    data = np.fromfile(path, np.uint8)
    # OpenCV 4 fills the rest of a JPEG that was cut off with grey and says nothing, as does
    # cv2.imread of OpenCV 5.
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image is None or _is_cut_jpeg(data):
        raise ValueError(f"cannot decode the image {os.fspath(path)} ({len(data)} bytes)")
    return image


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """Width and height of an image in pixels, as `read_image` would give it.

    With Pillow installed only the head of the file is read; then the rest of it may be damaged.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not an image.
    """
    try:
        from PIL import Image
    except ImportError:
        height, width = read_image(path).shape[:2]
        return width, height
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(_ORIENTATION, 1) >= _FIRST_TURNED
            return image.size[::-1] if turned else image.size
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot read the image {os.fspath(path)}: {error}") from None


def _is_cut_jpeg(data: NDArray) -> bool:
    """Whether a JPEG lacks its end marker; some cameras write padding behind it."""
    content = data.tobytes()
    return content.startswith(b"\xff\xd8") and b"\xff\xd9" not in content[-4096:]
