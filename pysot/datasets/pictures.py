"""Pictures of training pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

POSITIVE, NEGATIVE, BOX = (255, 160, 0), (0, 0, 255), (0, 255, 0)  # BGR


def draw_pair(
    template: NDArray,
    search: NDArray,
    labels: NDArray,
    bbox: Sequence[float] | None,
    stride: int,
    colors: Mapping[int, tuple[int, int, int]],
) -> NDArray:
    """Draw a template beside its search image, with the target's box and the labeled cells.

    Args:
        template: (T, T, 3) uint8 BGR.
        search: (S, S, 3) uint8 BGR; drawn upon.
        labels: (A, R, R), see ``PairDataset``.
        bbox: x1, y1, x2, y2 in pixels of the search image; None for no box.
        stride: Distance of two cells in pixels.
        colors: BGR, by the label of the cells that get a dot of it.

    Returns:
        (S, T + S, 3) uint8 BGR.
    """
    first = len(search) // 2 - labels.shape[-1] // 2 * stride
    for value, color in colors.items():
        for row, column in np.argwhere((labels == value).any(axis=0)):
            center = (int(first + column * stride), int(first + row * stride))
            cv2.circle(search, center, 1, color, -1)
    if bbox is not None:
        x1, y1, x2, y2 = np.asarray(bbox).round().astype(int).tolist()
        cv2.rectangle(search, (x1, y1), (x2, y2), BOX, 1)
    canvas = np.zeros((len(search), template.shape[1] + search.shape[1], 3), np.uint8)
    canvas[: len(template), : template.shape[1]] = template
    canvas[:, template.shape[1] :] = search
    return canvas
