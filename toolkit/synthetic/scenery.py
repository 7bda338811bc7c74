"""Backgrounds: grounds of several textures, lines, and clutter that looks like the objects do."""

import cv2
import numpy as np
from numpy.typing import NDArray

from toolkit.synthetic.puppets import Design, Puppet, blend_over, build_puppet, draw_design
from toolkit.synthetic.textures import add_grain, noise, palette, texture

_BANK = 4  # different objects among the clutter of one background
_BANK_SIDE = 60


def paint_background(
    rng: np.random.Generator, width: int, height: int, lookalike: Design | None = None
) -> NDArray:
    """Paint a background.

    Args:
        rng: Source of randomness.
        width: Width in pixels.
        height: Height in pixels.
        lookalike: A design to put among the clutter too.

    Returns:
        (height, width, 3) uint8, BGR.
    """
    image = texture(rng, width // 2, height // 2, muted=True)  # half size: a little out of focus
    for _ in range(rng.integers(1, 4)):
        _lay_ground(rng, image)
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    image = add_grain(rng, image)
    for _ in range(rng.integers(0, 4)):
        _draw_lines(rng, image)
    designs = [draw_design(rng) for _ in range(_BANK)] + ([lookalike] if lookalike else [])
    bank = [build_puppet(rng, design, _BANK_SIDE) for design in designs]
    for _ in range(int(rng.choice([6, 14, 28]))):
        _lay_clutter(rng, image, bank[rng.integers(len(bank))])
    return image


def _lay_ground(rng: np.random.Generator, image: NDArray) -> None:
    """Cover a part of the image with another surface: a ground, a wall, a patch."""
    height, width = image.shape[:2]
    shape = rng.choice(["horizon", "wall", "patch"])
    if shape == "horizon":
        rough = noise(rng, width, 1, width / 3, 0.6)[0] * rng.uniform(0, 8)
        slope = rng.uniform(-0.2, 0.2) * np.arange(width)
        edge = rng.uniform(0.3, 0.7) * height + slope + rough
        mask = _step(np.arange(height, dtype=np.float32)[:, None] - edge.astype(np.float32))
    elif shape == "wall":
        mask = np.zeros((height, width), np.uint8)
        corners = rng.uniform(0.15, 0.6) * np.array([width, height])
        x, y = rng.uniform(0, (width, height))
        box = cv2.boxPoints(((x, y), tuple(corners), rng.normal(0, 12)))
        cv2.fillPoly(mask, [np.round(box * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    else:
        field = noise(rng, width, height, width / rng.uniform(2, 6), 0.5)
        mask = _step((field - rng.uniform(0, 1)) * 20)
    surface = texture(rng, width, height, muted=True)
    cut = cv2.merge([cv2.multiply(c, mask, scale=1 / 255) for c in cv2.split(surface)] + [mask])
    image[:] = blend_over(image, cut)


def _step(distance: NDArray) -> NDArray:
    """Alpha of an edge from signed distances in pixels."""
    return cv2.convertScaleAbs(np.clip(distance + 0.5, 0, 1), alpha=255)


def _draw_lines(rng: np.random.Generator, image: NDArray) -> None:
    """Draw wires, kerbs or branches across the image."""
    height, width = image.shape[:2]
    colour = palette(rng, muted=True)[rng.integers(256), 0].tolist()
    start, end = rng.uniform(0, (width, height), (2, 2))
    along = np.linspace(0, 1, 12)[:, None]
    sag = rng.normal(0, 12) * np.sin(np.pi * along) + rng.normal(0, 3, (12, 2)) * rng.integers(2)
    points = np.round((start + along * (end - start) * 1.5 + sag) * 16).astype(np.int32)
    cv2.polylines(image, [points], False, colour, int(rng.integers(1, 7)), cv2.LINE_AA, 4)


def _lay_clutter(rng: np.random.Generator, image: NDArray, puppet: Puppet) -> None:
    """Put a still object somewhere on the image, small ones more often than large ones."""
    height, width = image.shape[:2]
    scale = np.exp(rng.uniform(np.log(0.25), np.log(1.8)))
    canvas = puppet.pose(rng.uniform(0, 6))
    if rng.random() < 0.5:
        canvas = cv2.flip(canvas, 1)
    side = max(8, round(canvas.shape[0] * scale))
    small = cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA)
    turned = cv2.getRotationMatrix2D((side / 2, side / 2), rng.normal(0, 40), 1)
    small = cv2.warpAffine(small, turned, (side, side))
    small[:, :, :3] = cv2.convertScaleAbs(small[:, :, :3], alpha=rng.uniform(0.6, 1.1))
    if side >= min(width, height):
        return
    x, y = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
    place = image[y : y + side, x : x + side]
    place[:] = blend_over(place, small)
