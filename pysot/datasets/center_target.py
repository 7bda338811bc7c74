"""Where a similarity map should be high: the labels of a head without boxes. R response side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pysot.utils.bbox import corner2center


class CenterTarget:
    """Labels the cells near the target's centre (SiamFC; Bertinetto et al., 2016, equation 4).

    The paper keeps the target in the middle of every search image, so that one label map serves
    all. Here search images are shifted, and the map moves with the target: a cell is positive
    whose centre is at most ``radius`` pixels from that of the target, in Euclidean distance.
    Unshifted, this is the paper's map.

    Args:
        size: R.
        stride: Distance of two cells in pixels.
        search_size: Side of the search image in pixels; its middle is the middle cell's centre.
        radius: In pixels of the search image.
    """

    def __init__(self, size: int, stride: int, search_size: int, radius: float = 16) -> None:
        self._centers = search_size // 2 + (np.arange(size) - size // 2) * float(stride)
        self._radius = radius

    def labels(
        self, target: Sequence[float], rng: np.random.Generator, neg: bool = False
    ) -> dict[str, NDArray]:
        """Label one search image.

        Args:
            target: Box of the target as x1, y1, x2, y2 in pixels of the search image.
            rng: Not used: all cells have a label, none are drawn.
            neg: Whether the box is another object than the template's; then nothing is positive.

        Returns:
            ``label_cls`` (1, R, R) int64: 1 target, 0 background. A target that was shifted
            beyond the outermost cells by more than the radius has no positive cell.
        """
        cx, cy, _, _ = corner2center(np.asarray(target, dtype=np.float64))
        distance = np.hypot(self._centers[None, :] - cx, self._centers[:, None] - cy)
        near = (distance <= self._radius) & (not neg)
        return {"label_cls": near.astype(np.int64)[None]}
