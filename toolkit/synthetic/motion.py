"""Smooth functions of time that say where things are: closed form, so that any frame can be drawn.

Time is counted in frames and may be fractional.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Path = Callable[[float], NDArray]
"""Time in frames -> position (x, y) in pixels."""

KNOT_FRAMES = 8
"""Frames between two way points of a path."""


@dataclass(frozen=True)
class Wave:
    """A slow oscillation: mean + amplitude * sin(rate * t + phase)."""

    amplitude: float
    rate: float
    phase: float
    mean: float = 0.0

    def __call__(self, time: float) -> float:
        """Value at a time in frames."""
        return self.mean + self.amplitude * float(np.sin(self.rate * time + self.phase))


def random_wave(
    rng: np.random.Generator, amplitude: float, period: tuple[float, float] = (40, 120)
) -> Wave:
    """Draw an oscillation around zero.

    Args:
        rng: Source of randomness.
        amplitude: Its amplitude.
        period: Range of its period, in frames.

    Returns:
        The oscillation, at a random phase.
    """
    return Wave(amplitude, 2 * np.pi / rng.uniform(*period), rng.uniform(0, 2 * np.pi))


def spline(knots: NDArray) -> Path:
    """Run a Catmull-Rom spline through way points ``KNOT_FRAMES`` apart in time.

    Args:
        knots: Way points, (K, 2), K >= 2; the first is reached at time 0.

    Returns:
        The path; it rests at its ends.
    """
    padded = np.concatenate([knots[:1], knots, knots[-1:], knots[-1:]])

    def position(time: float) -> NDArray:
        at = float(np.clip(time / KNOT_FRAMES, 0, len(knots) - 1))
        i = min(int(at), len(knots) - 2)
        u = at - i
        p0, p1, p2, p3 = padded[i : i + 4]
        bend = 2 * p0 - 5 * p1 + 4 * p2 - p3 + u * (3 * p1 - p0 - 3 * p2 + p3)
        return p1 + 0.5 * u * (p2 - p0 + u * bend)

    return position


def wander(
    rng: np.random.Generator,
    size: tuple[int, int],
    duration: int,
    step: float,
    margin: float,
    leaves: bool = False,
) -> Path:
    """Draw a walk that stays in the picture, or leaves it once and returns.

    Args:
        rng: Source of randomness.
        size: Width and height of the picture.
        duration: Frames it lasts.
        step: Speed in pixels per frame.
        margin: Distance that the way points keep from the border, in pixels.
        leaves: Whether it goes far enough beyond a border, in mid-walk, to be out of sight.

    Returns:
        The walk.
    """
    count = duration // KNOT_FRAMES + 2
    edge = np.minimum(margin, np.asarray(size) * 0.4)
    knots = [rng.uniform(edge, size - edge)]
    while len(knots) < count:
        options = rng.uniform(edge, size - edge, (12, 2))
        far = np.linalg.norm(options - knots[-1], axis=1)
        knots.append(options[np.argmin(np.abs(far - step * KNOT_FRAMES))])
    if leaves:
        _send_out(rng, knots, size, margin)
    return spline(np.stack(knots))


def _send_out(
    rng: np.random.Generator, knots: list[NDArray], size: tuple[int, int], margin: float
) -> None:
    """Move two way points in mid-walk beyond the nearest border on the left or right."""
    middle = int(len(knots) * rng.uniform(0.4, 0.6))
    left = knots[middle - 1][0] < size[0] / 2
    beyond = -1.5 * margin if left else size[0] + 1.5 * margin
    for i in (middle, middle + 1):
        knots[i] = np.array([beyond, knots[middle - 1][1] + rng.uniform(-10, 10)])
    inside = 2 * margin if left else size[0] - 2 * margin
    knots[middle - 1] = np.array([inside, knots[middle - 1][1]])
    if middle + 2 < len(knots):
        knots[middle + 2] = np.array([inside, knots[middle][1]])
