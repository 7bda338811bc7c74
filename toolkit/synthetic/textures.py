"""Surfaces like those in natural images: noise, stripes, checks, cells, coloured by palettes.

A texture is a field of grey levels (what varies where) looked up in a palette (which colours it
takes), times fine grain. Everything is drawn from the generator that is passed in.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Field = Callable[[np.random.Generator, int, int], NDArray]

_LEVELS = 256

_FINEST = 2.5
"""Features under this size in pixels are left to the grain, which is cheaper to make."""


def palette(rng: np.random.Generator, muted: bool) -> NDArray:
    """Draw a colour ramp around a few related hues.

    Args:
        rng: Source of randomness.
        muted: Whether to keep to the greys, browns, greens and blues of most backgrounds.

    Returns:
        (256, 1, 3) uint8, BGR: the colour of every grey level.
    """
    knots = int(rng.integers(3, 6))
    base = rng.choice([12, 20, 35, 45, 60, 105, 110]) if muted else rng.uniform(0, 180)
    hue = base + rng.normal(0, 8 if muted else rng.choice([6, 25, 60]), knots)
    saturation = rng.uniform(10, 110) if muted else rng.uniform(30, 255)
    dark, light = np.sort(rng.uniform(20, 245, 2)) + np.array([-15, 15])
    value = np.linspace(dark, light, knots) + rng.normal(0, 10, knots)
    if rng.random() < 0.3:  # surfaces whose dark and light parts do not follow their texture
        value = rng.permutation(value)
    spread = saturation + rng.normal(0, 20, knots)
    hsv = np.stack([hue % 180, np.clip(spread, 0, 255), np.clip(value, 5, 250)], 1)
    bgr = cv2.cvtColor(hsv[None].astype(np.uint8), cv2.COLOR_HSV2BGR)[0]
    at = np.linspace(0, knots - 1, _LEVELS)
    ramp = np.stack([np.interp(at, np.arange(knots), bgr[:, c]) for c in range(3)], 1)
    return ramp.astype(np.uint8)[:, None]


def noise(rng: np.random.Generator, width: int, height: int, cell: float, decay: float) -> NDArray:
    """Sum octaves of smooth noise, each half as coarse as the one before.

    Args:
        rng: Source of randomness.
        width: Width of the field in pixels.
        height: Height of the field in pixels.
        cell: Size in pixels of the coarsest features.
        decay: Weight of an octave relative to the one before; about 0.5 looks natural.

    Returns:
        (height, width) float32 of mean about 0 and deviation about 1.
    """
    total = np.zeros((height, width), np.float32)
    weight, power = 1.0, 0.0
    while cell >= _FINEST:
        grid = (int(height / cell) + 2, int(width / cell) + 2)
        coarse = rng.random(grid, dtype=np.float32) - 0.5
        smooth = cv2.INTER_CUBIC if cell > 6 else cv2.INTER_LINEAR
        total += weight * cv2.resize(coarse, (width, height), interpolation=smooth)
        power += weight**2
        weight, cell = weight * decay, cell / 2
    return total * np.float32(4 / np.sqrt(power))


def _to_levels(field: NDArray, contrast: float = 45) -> NDArray:
    return cv2.convertScaleAbs(np.clip(field * contrast + 128, 0, 255))


def _clouds(rng: np.random.Generator, width: int, height: int) -> NDArray:
    cell = max(width, height) * rng.uniform(0.08, 0.6)
    return _to_levels(noise(rng, width, height, cell, rng.uniform(0.45, 0.85)))


def _stripes(rng: np.random.Generator, width: int, height: int) -> NDArray:
    rows, _ = _grid(rng, width, height)
    period = max(5.0, max(width, height) / rng.uniform(3, 14))
    wave = np.sin(rows * (2 * np.pi / period))
    if rng.random() < 0.6:  # painted stripes have edges, folds and furrows have none
        wave = np.clip(wave * 6, -1, 1)
    return _to_levels(wave + 0.3 * noise(rng, width, height, period, 0.6), 80)


def _checks(rng: np.random.Generator, width: int, height: int) -> NDArray:
    rows, cols = _grid(rng, width, height)
    side = max(5.0, max(width, height) / rng.uniform(3, 12))
    row, col = np.floor(rows / side), np.floor(cols / (side * rng.uniform(0.5, 2.5)))
    table = rng.normal(0, 0.35, (64, 64)).astype(np.float32)
    chess = rng.uniform(0, 1.2) * ((row + col) % 2 - 0.5)
    shade = table[row.astype(int) % 64, col.astype(int) % 64] + chess
    joint = (rows / side - row < 0.08) * np.float32(rng.uniform(-1, 1))
    return _to_levels(shade + joint + 0.12 * noise(rng, width, height, side, 0.7), 90)


def _grid(rng: np.random.Generator, width: int, height: int) -> tuple[NDArray, NDArray]:
    """Rotated and slightly warped coordinates, two (height, width) float32 fields in pixels."""
    angle = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)])
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    x = np.arange(width, dtype=np.float32)[None]
    y = np.arange(height, dtype=np.float32)[:, None]
    bent = rng.choice([0, 0, 1, 3]) * noise(rng, width, height, max(width, height) / 2, 0.4)
    return cos * x + sin * y + bent, cos * y - sin * x + bent


def _cells(rng: np.random.Generator, width: int, height: int) -> NDArray:
    """Patches around random seeds: stones, leaves, camouflage."""
    count = int(rng.integers(12, 120))
    empty = np.full((height, width), 255, np.uint8)
    empty[rng.integers(0, height, count), rng.integers(0, width, count)] = 0
    distance, label = cv2.distanceTransformWithLabels(
        empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    shade = rng.normal(0, 1, count + 1).astype(np.float32)[label]
    dome = rng.uniform(-0.8, 0.8) * distance / (distance.mean() + 1)
    return _to_levels(shade + dome + 0.2 * noise(rng, width, height, 12, 0.7))


def _speckles(rng: np.random.Generator, width: int, height: int) -> NDArray:
    cell = max(3.0, max(width, height) * rng.uniform(0.03, 0.15))
    field = noise(rng, width, height, cell, 0.4)
    spots = np.clip((field - rng.uniform(-0.6, 0.8)) * 5, -1, 1)
    return _to_levels(spots + 0.4 * noise(rng, width, height, 4 * cell, 0.7), 70)


def _ramp(rng: np.random.Generator, width: int, height: int) -> NDArray:
    rows, _ = _grid(rng, width, height)
    slope = (rows - rows.mean()) / max(width, height) * rng.uniform(1, 5)
    return _to_levels(slope + rng.uniform(0.05, 0.4) * noise(rng, width, height, 24, 0.8))


_FIELDS: tuple[Field, ...] = (_clouds, _stripes, _checks, _cells, _speckles, _ramp)
_OF_OBJECTS = (0.22, 0.18, 0.14, 0.14, 0.12, 0.20)
_OF_BACKGROUNDS = (0.40, 0.06, 0.12, 0.14, 0.10, 0.18)


def texture(
    rng: np.random.Generator,
    width: int,
    height: int,
    muted: bool = False,
    colours: NDArray | None = None,
) -> NDArray:
    """Draw one textured surface.

    Args:
        rng: Source of randomness.
        width: Width in pixels.
        height: Height in pixels.
        muted: Whether it belongs to a background: in its colours, and without grain.
        colours: A palette to keep to; drawn where it is not given.

    Returns:
        (height, width, 3) uint8, BGR.
    """
    field = _FIELDS[rng.choice(len(_FIELDS), p=_OF_BACKGROUNDS if muted else _OF_OBJECTS)]
    ramp = palette(rng, muted) if colours is None else colours
    surface = cv2.applyColorMap(field(rng, width, height), ramp)
    return surface if muted else add_grain(rng, surface)


def add_grain(rng: np.random.Generator, surface: NDArray) -> NDArray:
    """Add detail of the size of a pixel to a surface.

    Args:
        rng: Source of randomness.
        surface: (H, W, 3) uint8.

    Returns:
        The same surface with grain of a random strength.
    """
    height, width = surface.shape[:2]
    grain = np.frombuffer(rng.bytes(height * width), np.uint8).reshape(height, width)
    grain = cv2.blur(grain, (3, 3))
    grain = cv2.convertScaleAbs(grain, alpha=rng.uniform(0.05, 0.3))
    lighter, darker = cv2.merge([grain] * 3), cv2.merge([cv2.flip(grain, -1)] * 3)
    return cv2.subtract(cv2.add(surface, lighter), darker)
