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
    start, reach = rng.uniform(edge, size - edge), step * KNOT_FRAMES
    if not leaves:
        return spline(np.stack(_walk(rng, start, count, reach, edge, size - edge)))
    before = max(1, int(count * rng.uniform(0.35, 0.5)))
    left = rng.random() < 0.5
    start[0] = 2 * margin if left else size[0] - 2 * margin
    beyond = -1.5 * margin if left else size[0] + 1.5 * margin
    coming = _walk(rng, start, before, reach, edge, size - edge)[::-1]  # so that it ends there
    outside = [np.array([beyond, start[1]])] * 2
    after = _walk(rng, start, count - before - 2, reach, edge, size - edge)
    return spline(np.stack([*coming, *outside, *after]))


def _walk(
    rng: np.random.Generator,
    start: NDArray,
    count: int,
    reach: float,
    low: NDArray,
    high: NDArray,
) -> list[NDArray]:
    """Draw way points that lie ``reach`` pixels apart within bounds."""
    knots = [start]
    heading = rng.uniform(-np.pi, np.pi)
    while len(knots) < count:
        heading, knot = _next_knot(rng, knots[-1], heading, reach, low, high)
        knots.append(knot)
    return knots


def _next_knot(
    rng: np.random.Generator,
    knot: NDArray,
    heading: float,
    reach: float,
    low: NDArray,
    high: NDArray,
) -> tuple[float, NDArray]:
    """Go on within bounds, turning as little as that allows; anywhere if they are too tight."""
    for spread in np.linspace(0.4, np.pi, 20):
        angle = heading + rng.normal(0, spread)
        ahead = knot + reach * np.array([np.cos(angle), np.sin(angle)])
        if (ahead >= low).all() and (ahead <= high).all():
            return angle, ahead
    return heading, rng.uniform(low, high)
