"""Boxes, polygons, masks and text on frames (BGR uint8, (H, W, 3)); frames are drawn on in place.

Every function returns the frame it was given. Regions without finite numbers are not drawn, so
that absent targets need no special case.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

GREEN = (0, 255, 0)
MASK_WEIGHT = 0.23  # PySOT's demo blends 0.77 frame with 0.23 mask colour
_FAR = 30000  # OpenCV draws with 16-bit integers plus fraction bits


def draw_box(
    image: NDArray,
    region: Sequence[float],
    color: tuple[int, int, int] = GREEN,
    linewidth: int = 3,
    label: str | None = None,
) -> NDArray:
    """Draw a box x, y, w, h or a polygon x1, y1, ..., xn, yn.

    Args:
        image: Frame to draw on.
        region: 0-based pixels.
        color: BGR.
        linewidth: In pixels.
        label: Text above the region.
    """
    import cv2

    values = np.asarray(region, np.float64).ravel()
    if len(values) < 4 or not np.isfinite(values).all():
        return image
    if len(values) == 4:
        x, y, w, h = values
        values = np.array([x, y, x + w, y, x + w, y + h, x, y + h])
    points = np.rint(np.clip(values.reshape(-1, 2), -_FAR, _FAR)).astype(np.int32)
    cv2.polylines(image, [points], True, color, linewidth)
    if label:
        x, y = points.min(axis=0)
        draw_text(image, label, (int(x), int(y) - 5), color)
    return image


def draw_text(
    image: NDArray,
    text: str,
    position: tuple[int, int] = (10, 25),
    color: tuple[int, int, int] = GREEN,
    scale: float = 0.6,
) -> NDArray:
    """Write a line of text with a dark rim, readable on any background.

    Args:
        image: Frame to draw on.
        text: One line of ASCII.
        position: Left end of the base line, x, y in pixels; moved into the frame if outside.
        color: BGR.
        scale: Size; 1 is about 22 pixels high.
    """
    import cv2

    font = cv2.FONT_HERSHEY_SIMPLEX
    (width, height), _ = cv2.getTextSize(text, font, scale, 1)
    x = int(np.clip(position[0], 0, max(0, image.shape[1] - width)))
    y = int(np.clip(position[1], height + 1, max(height + 1, image.shape[0] - 4)))
    # The rim is the same text moved: OpenCV 5 spaces bolder letters differently.
    for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1), (1, 1)):
        cv2.putText(image, text, (x + dx, y + dy), font, scale, (0, 0, 0), 1, cv2.LINE_AA)
    cv2.putText(image, text, (x, y), font, scale, color, 1, cv2.LINE_AA)
    return image


def draw_status(image: NDArray, score: float | None = None, fps: float | None = None) -> NDArray:
    """Write the score (0 to 1) and the speed of the tracker in the upper left corner."""
    parts = []
    if score is not None and np.isfinite(score):
        parts.append(f"score {score:.2f}")
    if fps is not None:
        parts.append(f"{fps:.0f} fps")
    return draw_text(image, "  ".join(parts)) if parts else image


def blend_mask(
    image: NDArray,
    mask: NDArray,
    color: tuple[int, int, int] = GREEN,
    weight: float = MASK_WEIGHT,
) -> NDArray:
    """Tint the pixels of a mask.

    Args:
        image: Frame to draw on.
        mask: (H, W), true or non-zero on the target.
        color: BGR.
        weight: Share of the colour in the result, 0 to 1.

    Raises:
        ValueError: If mask and frame differ in size.
    """
    if mask.shape != image.shape[:2]:
        raise ValueError(f"a mask of shape {mask.shape} does not fit a frame {image.shape[:2]}")
    inside = mask.astype(bool)
    tinted = (1 - weight) * image[inside] + weight * np.array(color)
    image[inside] = np.rint(tinted).astype(np.uint8)
    return image
