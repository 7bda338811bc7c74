"""Labels: what a network should answer at every anchor, cell or pixel; and pictures of them.

A anchors per cell, R response side, S side of the search image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pysot.utils.anchor import Grid
from pysot.utils.bbox import IoU, center2corner, corner2center

POSITIVE, NEGATIVE, BOX = (255, 160, 0), (0, 0, 255), (0, 255, 0)  # BGR, in pictures


@dataclass(eq=False, repr=False)
class AnchorTarget:
    """Labels anchors by their overlap with the target (Faster R-CNN section 3.1; SiamRPN)."""

    anchors: NDArray  # (A, R, R, 4) as cx, cy, w, h in pixels of the search image
    stride: int  # distance of two cells in pixels
    search_size: int  # S
    thr_high: float  # overlap above which an anchor is positive
    thr_low: float  # overlap below which an anchor is negative
    pos_num: int  # at most so many positives per pair
    total_num: int  # at most total_num - pos_num negatives per pair
    neg_num: int  # at most so many negatives in a pair that shows two different targets
    neg_reach: int = 3  # they are at most so many cells from the other target; 0: anywhere

    def __post_init__(self) -> None:
        self._centers = np.moveaxis(self.anchors, -1, 0).astype(np.float32)  # (4, A, R, R)
        self._corners = np.stack(center2corner(self._centers))

    def __call__(
        self, target: Sequence[float], rng: np.random.Generator, neg: bool = False
    ) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        """Label a search image with an object at x1, y1, x2, y2.

        With ``neg`` that is another object than the template's, and only cells within ``neg_reach``
        are labeled, as background. ``rng`` draws which anchors are kept where there are too many.

        Returns:
            ``cls`` (A, R, R) int64: 1 target, 0 background, -1 ignored; ``delta`` (4, A, R, R)
            float32: dx, dy, dw, dh of every anchor; ``weight`` (A, R, R) float32, which sums to
            1 over the positives; ``overlap`` (A, R, R) float32.
        """
        box = corner2center(np.asarray(target, dtype=np.float64))
        if neg:
            return self._negative(box, rng)
        delta = self._deltas(box)
        overlap = np.asarray(IoU(self._corners, np.asarray(target, np.float32)), np.float32)
        cls = np.full(overlap.shape, -1, dtype=np.int64)
        positive = _draw(np.nonzero(overlap > self.thr_high), self.pos_num, rng)
        negative = _draw(np.nonzero(overlap < self.thr_low), self.total_num - self.pos_num, rng)
        cls[positive], cls[negative] = 1, 0
        weight = np.zeros(overlap.shape, dtype=np.float32)
        weight[positive] = 1.0 / (len(positive[0]) + 1e-6)
        return cls, delta, weight, overlap

    def labels(
        self, target: Sequence[float], rng: np.random.Generator, neg: bool = False
    ) -> dict[str, NDArray]:
        """Return ``label_cls``, ``label_loc`` and ``label_loc_weight``; see :meth:`__call__`."""
        cls, delta, weight, _ = self(target, rng, neg)
        return {"label_cls": cls, "label_loc": delta, "label_loc_weight": weight}

    def _deltas(self, box: Sequence[float]) -> NDArray:
        cx, cy, w, h = self._centers
        tcx, tcy, tw, th = (np.float32(value) for value in box)
        return np.stack([(tcx - cx) / w, (tcy - cy) / h, np.log(tw / w), np.log(th / h)])

    def _negative(
        self, box: Sequence[float], rng: np.random.Generator
    ) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        shape = self._centers.shape[1:]
        rows, columns = self._cells(box[1]), self._cells(box[0])
        near = np.full(shape, not self.neg_reach)
        near[:, rows, columns] = True
        cls = np.full(shape, -1, dtype=np.int64)
        cls[_draw(np.nonzero(near), self.neg_num, rng)] = 0
        zeros = np.zeros(shape, dtype=np.float32)
        return cls, np.zeros((4, *shape), dtype=np.float32), zeros, zeros.copy()

    def _cells(self, center: float) -> slice:
        """Cells within reach of a coordinate; rounding as the published models were trained."""
        size = self._centers.shape[-1]
        offset = np.ceil((center - self.search_size // 2) / self.stride + 0.5)
        cell = size // 2 + int(offset)
        first, last = cell - self.neg_reach, cell + self.neg_reach + 1
        return slice(max(0, first), max(0, min(size, last)))


def _draw(cells: tuple[NDArray, ...], limit: int, rng: np.random.Generator) -> tuple[NDArray, ...]:
    """Keep at most ``limit`` of the index tuples ``np.nonzero`` returned."""
    count = len(cells[0])
    if count <= limit:
        return cells
    order = np.arange(count)
    rng.shuffle(order)
    return tuple(axis[order[:limit]] for axis in cells)


class CenterTarget:
    """Labels the cells near the target's center (SiamFC; Bertinetto et al., 2016, equation 4).

    The paper keeps the target in the middle of every search image. Here search images are shifted,
    and the label map moves with the target: a cell is positive whose center is at most ``radius``
    pixels from that of the target.
    """

    def __init__(self, grid: Grid, radius: float = 16) -> None:
        self._centers, self._radius = grid.line, radius

    def labels(
        self, target: Sequence[float], rng: np.random.Generator, neg: bool = False
    ) -> dict[str, NDArray]:
        """Return ``label_cls`` (1, R, R) int64: 1 target, 0 background; see :class:`AnchorTarget`.

        All cells have a label, ``rng`` draws none. A target that was shifted beyond the outermost
        cells by more than the radius has no positive cell.
        """
        cx, cy, _, _ = corner2center(np.asarray(target, dtype=np.float64))
        distance = np.hypot(self._centers[None, :] - cx, self._centers[:, None] - cy)
        near = (distance <= self._radius) & (not neg)
        return {"label_cls": near.astype(np.int64)[None]}


def mask_labels(mask: NDArray | None, label_cls: NDArray, size: int) -> dict[str, NDArray]:
    """Label the mask of one search image (SiamMask, section 3.2).

    A cell's mask is learned where one of its anchors is positive, and only if the target's mask,
    (S, S) and above 0 on it, is known; so a pair of different targets, which has no positive
    anchor, teaches none.

    Returns:
        ``label_mask`` (S, S) int8: 1 target, -1 background; ``label_mask_weight`` (R, R) float32:
        1 where the cell's mask is learned, else 0.
    """
    if mask is None:
        nothing = np.zeros(label_cls.shape[1:], np.float32)
        return {"label_mask": np.full((size, size), -1, np.int8), "label_mask_weight": nothing}
    positive = (label_cls == 1).any(axis=0)
    return {
        "label_mask": np.where(mask > 0, 1, -1).astype(np.int8),
        "label_mask_weight": positive.astype(np.float32),
    }


def draw_pair(
    template: NDArray,
    search: NDArray,
    labels: NDArray | None,
    bbox: Sequence[float] | None,
    stride: int,
    colors: Mapping[int, tuple[int, int, int]],
) -> NDArray:
    """Draw a template beside its search image, uint8 BGR, with the target's box and labeled cells.

    ``search`` is drawn upon. ``labels`` are (A, R, R), if there are any, ``bbox`` is x1, y1, x2, y2
    in pixels of the search image, ``stride`` the distance of two cells. Cells get dots in the color
    of their label.
    """
    if labels is not None:
        line = Grid(labels.shape[-1], stride, len(search)).line.astype(int).tolist()
        for value, color in colors.items():
            for row, column in np.argwhere((labels == value).any(axis=0)):
                cv2.circle(search, (line[column], line[row]), 1, color, -1)
    if bbox is not None:
        x1, y1, x2, y2 = np.asarray(bbox).round().astype(int).tolist()
        cv2.rectangle(search, (x1, y1), (x2, y2), BOX, 1)
    canvas = np.zeros((len(search), template.shape[1] + search.shape[1], 3), np.uint8)
    canvas[: len(template), : template.shape[1]] = template
    canvas[:, template.shape[1] :] = search
    return canvas
