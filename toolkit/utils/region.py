"""Regions of the VOT challenges and their overlap, under the names PySOT uses.

A region is a list of numbers: 4 are a rectangle x, y, w, h, one is a code (start, failure,
skipped frame), any other count is a polygon x1, y1, ..., xn, yn; 0-based pixels, floats.

The overlap is that of the VOT toolkit up to 2019, which draws both regions on a pixel grid with
all borders inclusive: vertices are rounded (halves away from zero), each row is filled between
the truncated crossings of the outline, and the shared pixels are divided by all pixels. An
integer w x h rectangle thus has (w + 1)(h + 1) pixels, so overlaps of small boxes come out a
little high (0.01 for 30-pixel boxes); published VOT numbers depend on it. Regions without a
pixel of their own, and regions with a NaN or infinite coordinate, overlap nothing.

The work is done by a compiled module where it was built, else by NumPy with the same results.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from enum import IntEnum
from types import ModuleType
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from toolkit.io import compiled_or_not

_UNBOUNDED = float(np.finfo(np.float32).max)
_MAX_TEXT = 100  # characters that vot_float2str may return


class RegionType(IntEnum):
    """Kinds of region; ``EMTPY`` and ``RECTANGEL`` are PySOT's spelling."""

    EMTPY = 0
    SPECIAL = 1
    RECTANGEL = 2
    POLYGON = 3
    MASK = 4
    EMPTY = 0
    RECTANGLE = 2


class _Numbers:
    """Four numbers with the names of their fields."""

    _names: ClassVar[tuple[str, ...]]

    def __str__(self) -> str:
        names = zip(self._names, self.get(), strict=True)
        return " ".join(f"{name}: {value:.3f}" for name, value in names)

    def get(self) -> tuple[float, float, float, float]:
        """Return all four numbers, in the order of the constructor."""
        return astuple(self)


@dataclass(eq=False)
class RegionBounds(_Numbers):
    """Limits of a frame in pixels: rows from top to bottom, columns from left to right."""

    top: float = -_UNBOUNDED
    bottom: float = _UNBOUNDED
    left: float = -_UNBOUNDED
    right: float = _UNBOUNDED
    _names = ("top", "bottom", "left", "reight")  # as PySOT prints them

    def set(self, top: float, bottom: float, left: float, right: float) -> None:
        """Replace all four limits."""
        self.top, self.bottom, self.left, self.right = top, bottom, left, right


@dataclass(eq=False)
class Rectangle(_Numbers):
    """An upright box: top-left corner x, y and size width, height in pixels."""

    x: float = 0
    y: float = 0
    width: float = 0
    height: float = 0
    _names = ("x", "y", "width", "height")

    def set(self, x: float, y: float, width: float, height: float) -> None:
        """Replace all four values."""
        self.x, self.y, self.width, self.height = x, y, width, height


class Polygon:
    """A closed outline, given as the flat list x1, y1, ..., xn, yn in pixels."""

    def __init__(self, points: Sequence[float]) -> None:
        if len(points) % 2:
            raise ValueError(f"a polygon needs x, y pairs, got {len(points)} numbers")
        self.points = [float(value) for value in points]

    def __str__(self) -> str:
        pairs = zip(self.points[::2], self.points[1::2], strict=True)
        return " ".join(f"({x:.3f} {y:.3f})" for x, y in pairs)

    def get(self) -> list[float]:
        """Return x1, y1, ..., xn, yn."""
        return list(self.points)


def overlaps(
    regions1: ArrayLike, regions2: ArrayLike, bounds: Sequence[float] | None = None
) -> NDArray:
    """Overlap (N,) of regions pair by pair; NaN where neither region covers a pixel.

    Args:
        regions1: (N, 4) rectangles x, y, w, h or (N, 2K) polygons, in pixels.
        regions2: (N, 4) rectangles or (N, 2L) polygons.
        bounds: Pixels outside do not count: (width, height), or (top, bottom, left, right) in
            PySOT's order. None is no limit.

    Raises:
        ValueError: If the arrays are not two-dimensional, of one length, and 4 or more wide.
    """
    regions1, regions2 = _as_regions(regions1), _as_regions(regions2)
    if len(regions1) != len(regions2):
        raise ValueError(f"{len(regions1)} regions cannot be paired with {len(regions2)}")
    out = np.zeros(len(regions1), np.float32)
    if not len(out):
        return out.astype(np.float64)
    limits = _limits(bounds)
    if regions1.shape[1] == regions2.shape[1] == 4:
        _backend().rect_overlaps(regions1, regions2, limits, out)
    else:
        polygons1, polygons2 = _as_polygons(regions1), _as_polygons(regions2)
        _backend().polygon_overlaps(polygons1, polygons2, limits, out)
    return out.astype(np.float64)


def vot_overlap(
    polygon1: Sequence[float], polygon2: Sequence[float], bounds: Sequence[float] | None = None
) -> float:
    """Overlap of two regions; NaN if one is a code or neither covers a pixel; see `overlaps`."""
    return vot_overlap_traj([polygon1], [polygon2], bounds)[0]


def vot_overlap_traj(
    polygons1: Sequence[Sequence[float]],
    polygons2: Sequence[Sequence[float]],
    bounds: Sequence[float] | None = None,
) -> list[float]:
    """Overlap of two trajectories frame by frame; see `vot_overlap`.

    Raises:
        ValueError: If the trajectories differ in length.
    """
    if len(polygons1) != len(polygons2):
        raise ValueError(f"{len(polygons1)} regions cannot be paired with {len(polygons2)}")
    result = np.full(len(polygons1), np.nan)
    groups = defaultdict(list)
    for i, (a, b) in enumerate(zip(polygons1, polygons2, strict=True)):
        groups[len(a), len(b)].append(i)
    for (size1, size2), frames in groups.items():
        if 1 in (size1, size2):
            continue
        if min(size1, size2) < 4:  # a single point or nothing
            result[frames] = 0.0
            continue
        a, b = ([polygons[i] for i in frames] for polygons in (polygons1, polygons2))
        result[frames] = overlaps(a, b, bounds)
    return result.tolist()


def vot_float2str(template: str, value: float) -> str:
    """Format a number in single precision by a C format of one float, such as ``"%.4f"``.

    Raises:
        ValueError: If the template does not format exactly one float in at most 100 characters.
    """
    try:
        with np.errstate(over="ignore"):
            text = template % float(np.float32(value))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{template!r} is not the format of one float: {error}") from None
    if len(text) > _MAX_TEXT:
        raise ValueError(f"{template!r} gives {len(text)} characters, at most {_MAX_TEXT} fit")
    return text


def _backend() -> ModuleType:
    return compiled_or_not("toolkit.utils._region", "toolkit.utils._region_numpy")


def _as_regions(regions: ArrayLike) -> NDArray:
    array = np.ascontiguousarray(regions, np.float64)
    if array.size == 0:
        return array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] < 4:
        raise ValueError(f"regions need the shape (N, 4) or (N, 2K), got {array.shape}")
    return array


def _as_polygons(regions: NDArray) -> NDArray:
    """Corners in single precision, (N, 2K); an odd last number is dropped, as in PySOT."""
    if regions.shape[1] == 4:
        x, y, w, h = regions.T
        with np.errstate(over="ignore", invalid="ignore"):  # infinite boxes
            regions = np.stack([x, y, x + w, y, x + w, y + h, x, y + h], axis=1)
    even = regions[:, : regions.shape[1] // 2 * 2]
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(even, np.float32)


def _limits(bounds: Sequence[float] | None) -> NDArray:
    """Top, bottom, left, right as (4,) float32; any other length is no limit, as in PySOT."""
    if bounds is not None and len(bounds) == 2:
        width, height = bounds
        return np.array([0, height, 0, width], np.float32)
    if bounds is not None and len(bounds) == 4:
        return np.array(bounds, np.float32)
    return np.array([-_UNBOUNDED, _UNBOUNDED] * 2, np.float32)
