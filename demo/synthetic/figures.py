"""Objects: outlines, jointed where they have limbs, filled with textures."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator
Size = tuple[int, int]  # width and height in pixels
_MARGIN = 1.4  # side of the canvas over that of the object: room for limbs and bending


def palette(rng: Rng, muted: bool) -> NDArray:
    """Draw a color ramp, (256, 1, 3) uint8 BGR; ``muted`` keeps to the hues of backgrounds."""
    knots = int(rng.integers(3, 6))
    base = rng.choice([12, 20, 35, 45, 60, 105, 110]) if muted else rng.uniform(0, 180)
    hue = base + rng.normal(0, 8 if muted else rng.choice([6, 25, 60]), knots)
    saturation = rng.uniform(*(10, 110) if muted else (30, 255)) + rng.normal(0, 20, knots)
    dark, light = np.sort(rng.uniform(20, 245, 2))
    value = np.linspace(dark - 15, light + 15, knots) + rng.normal(0, 10, knots)
    if rng.random() < 0.3:  # surfaces whose dark and light parts do not follow their field
        value = rng.permutation(value)
    hsv = np.stack([hue % 180, np.clip(saturation, 0, 255), np.clip(value, 5, 250)], 1)
    bgr = cv2.cvtColor(hsv[None].astype(np.uint8), cv2.COLOR_HSV2BGR)
    return cv2.resize(bgr, (256, 1), interpolation=cv2.INTER_LINEAR).reshape(256, 1, 3)


def noise(rng: Rng, size: Size, cell: float, decay: float = 0.6) -> NDArray:
    """Sum octaves of smooth noise of unit deviation, the coarsest of ``cell`` pixels: (H, W)."""
    total, weight, power = np.zeros(size[::-1], np.float32), 1.0, 0.0
    while cell >= 2.5:
        coarse = rng.random([int(side / cell) + 2 for side in size[::-1]], np.float32) - 0.5
        total += weight * cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
        power, weight, cell = power + weight**2, weight * decay, cell / 2
    return total * np.float32(4 / np.sqrt(power))


def grid(rng: Rng, size: Size) -> tuple[NDArray, NDArray]:
    """Draw rotated and slightly bent coordinates around the middle, two (H, W) float32 fields."""
    angle = np.float32(rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)]))
    x, y = (np.arange(side, dtype=np.float32) - side / 2 for side in size)
    bent = np.float32(rng.choice([0, 0, 1, 3])) * noise(rng, size, max(size) / 2)
    cos, sin = np.cos(angle), np.sin(angle)
    return cos * x + sin * y[:, None] + bent, cos * y[:, None] - sin * x + bent


def _field(rng: Rng, size: Size) -> NDArray:
    """Draw clouds, patches, a ramp, stripes or checks: (H, W), mostly within -1 and 1."""
    kind = rng.choice(["clouds", "clouds", "patches", "ramp", "stripes", "checks"])
    if kind == "clouds":
        return 0.35 * noise(rng, size, max(size) * rng.uniform(0.08, 0.6), rng.uniform(0.45, 0.85))
    if kind == "patches":  # around random seeds: stones, leaves, camouflage
        empty, seeds = np.full(size[::-1], 255, np.uint8), rng.integers(12, 120)
        empty[rng.integers(0, size[1], seeds), rng.integers(0, size[0], seeds)] = 0
        _, cell = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=1)
        return rng.normal(0, 0.4, cell.max() + 1)[cell]
    u, v = grid(rng, size)
    if kind == "ramp":
        return u / max(size) * rng.uniform(0.4, 1.8)
    side = max(5.0, max(size) / rng.uniform(3, 14))
    if kind == "stripes":
        return 0.6 * np.clip(np.sin(u * (2 * np.pi / side)) * rng.choice([1, 6]), -1, 1)
    row, col = np.floor(u / side).astype(int), np.floor(v / side / rng.uniform(0.5, 2.5))
    table = rng.normal(0, 0.25, (64, 64))
    return table[row % 64, col.astype(int) % 64] + rng.uniform(0, 0.8) * ((row + col) % 2 - 0.5)


def texture(rng: Rng, size: Size, muted: bool, colors: NDArray | None = None) -> NDArray:
    """Draw a field of gray levels in a palette, its own or ``colors``: (H, W, 3) uint8, BGR."""
    field = _field(rng, size) + rng.uniform(0.05, 0.2) * noise(rng, size, 12)
    field += rng.uniform(0.02, 0.15) * rng.standard_normal(field.shape, np.float32)  # grain
    levels = np.clip(field * 127 + 128, 0, 255).astype(np.uint8)
    return cv2.applyColorMap(levels, palette(rng, muted) if colors is None else colors)


class Piece(NamedTuple):
    """An outline (N, 2) in [-1, 1] that shows surface ``slot`` and may swing about a joint."""

    outline: NDArray
    slot: int = 0
    joint: tuple[float, float] = (0.0, 0.0)
    swing: float = 0.0  # amplitude in radians
    phase: float = 0.0


@dataclass(frozen=True)
class Figure:
    """An object. Those of equal shape and palettes are siblings, alike but in their detail."""

    kind: str
    pieces: list[Piece]  # from back to front
    palettes: list[NDArray]
    stretch: NDArray  # factors on x and y
    surfaces: tuple[NDArray, ...] = ()  # (S, S, 3) uint8, painted in the palettes
    light: tuple[float, float] = (0.0, 0.0)  # direction times strength
    length: float = 0.0  # about sqrt(w * h) in pixels

    def painted(self, rng: Rng, side: float) -> "Figure":
        """Paint it, about ``side`` pixels large and lit from above as outdoors."""
        canvas, angle, strength = (
            round(side * _MARGIN),
            rng.uniform(-np.pi, 0),
            rng.uniform(0, 0.015),
        )
        surfaces = tuple(texture(rng, (canvas, canvas), False, p) for p in self.palettes)
        light = (strength * np.cos(angle), strength * np.sin(angle))
        length = canvas / _MARGIN * float(np.sqrt(self.stretch.prod()))
        return replace(self, surfaces=surfaces, light=light, length=length)

    def pose(self, beat: float, bend: float) -> NDArray:
        """Draw it with its limbs at a phase in radians: (S, S, 4) uint8, premultiplied BGRA."""
        color, side = np.zeros_like(self.surfaces[0]), len(self.surfaces[0])
        alpha, relief = np.zeros((2, side, side), np.uint8)
        for piece in self.pieces:
            angle = piece.swing * np.sin(beat + piece.phase)
            turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            outline = ((piece.outline - piece.joint) @ turn + piece.joint) * self.stretch
            outline = outline + bend * np.sin(3 * outline[:, ::-1] + (0.7 * beat, 0.6 * beat))
            corners, mask = (outline / _MARGIN + 1) * side / 2 - 0.5, np.zeros_like(alpha)
            cv2.fillPoly(mask, [np.round(corners * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
            color = cv2.copyTo(self.surfaces[piece.slot], mask, color)
            relief = cv2.copyTo(cv2.blur(mask, (side // 8, side // 8)), mask, relief)
            alpha = cv2.max(alpha, mask)
        slope_x, slope_y = cv2.spatialGradient(cv2.blur(relief, (3, 3)))  # Sobel's
        shade = 1 + self.light[0] * slope_x + self.light[1] * slope_y
        weight = np.clip(shade, 0.35, 1.6) * (alpha * np.float32(1 / 255))
        color = cv2.multiply(color, cv2.merge([weight] * 3), dtype=cv2.CV_8U)
        return cv2.merge([*cv2.split(cv2.min(color, cv2.merge([alpha] * 3))), alpha])


def _ellipse(x: float, y: float, rx: float, ry: float, power: float = 2.0) -> NDArray:
    """Draw an ellipse; a power above 2 makes it a rectangle with round corners."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    unit = np.stack([np.cos(angle), np.sin(angle)], 1)
    return np.sign(unit) * np.abs(unit) ** (2 / power) * (rx, ry) + (x, y)


def _limb(x: float, y: float, x2: float, y2: float, thick: float, *moves: float) -> Piece:
    along = np.array([x2 - x, y2 - y]) / np.hypot(x2 - x, y2 - y) * thick / 2
    across, start, end = along[::-1] * (-1, 1), (x, y) - along / 2, (x2, y2) + along / 2
    outline = np.stack([start - across, start + across, end + across, end - across])
    return Piece(outline, 1, (x, y), *moves)


def _radial(radius: NDArray) -> list[Piece]:
    angle = np.linspace(0, 2 * np.pi, len(radius), endpoint=False)
    return [Piece(np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1))]


def _blob(rng: Rng) -> list[Piece]:
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    waves = [rng.normal(0, 0.22 / k) * np.cos(k * angle + rng.uniform(0, 6)) for k in range(2, 7)]
    return _radial(np.clip(0.8 + np.sum(waves, 0), 0.25, 1.2))


def _walker(rng: Rng) -> list[Piece]:
    leg, arm, step = rng.uniform((0.22, 0.16, 0.25), (0.34, 0.24, 0.6))
    legs = [_limb(0.2 * side, 0.1, 0.2 * side, 0.95, leg, side * step) for side in (-1, 1)]
    arms = [_limb(0.4 * side, -0.5, 0.5 * side, 0.15, arm, -side * step) for side in (-1, 1)]
    torso = Piece(_ellipse(0, -0.2, rng.uniform(0.38, 0.5), 0.45, 3.5))
    return [arms[0], *legs, torso, Piece(_ellipse(0, -0.82, 0.23, 0.2), 2), arms[1]]


def _animal(rng: Rng) -> list[Piece]:
    step, thick = rng.uniform((0.2, 0.14), (0.5, 0.24))
    legs = [_limb(x, 0.2, x, 0.95, thick, step, 7 * x) for x in (-0.5, -0.35, 0.35, 0.5)]
    tail, neck = _limb(-0.65, -0.1, -0.98, -0.5, 0.12, 0.5), _limb(0.5, -0.1, 0.75, -0.4, 0.3)
    body = Piece(_ellipse(0, 0, 0.72, rng.uniform(0.32, 0.48), 2.6))
    return [tail, *legs, neck, body, Piece(_ellipse(0.78, -0.45, 0.26, 0.3), 2)]


def _flyer(rng: Rng) -> list[Piece]:
    wing, beat = np.array([(-0.3, 0), (-0.1, 0.9), (0.3, 0.7), (0.4, 0)]), rng.uniform(0.2, 0.5)
    wings = [Piece(wing * (1, side), 1, (0.0, 0.0), beat * side) for side in (-1, 1)]
    tail = Piece(np.array([(-0.5, 0), (-1, -0.35), (-0.9, 0), (-1, 0.35)]), 2)
    return [*wings, tail, Piece(_ellipse(0.1, 0, 0.9, 0.22))]


_KINDS: dict[str, tuple[Callable[[Rng], list[Piece]], float, float]] = {
    "round": (lambda rng: [Piece(_ellipse(0, 0, 1, 1, rng.choice([2, 2, 3, 5])))], 1, 3),
    "polygon": (lambda rng: _radial(rng.uniform(0.6, 1, int(rng.integers(3, 8)))), 1, 3),
    "star": (lambda rng: _radial(np.tile([1, rng.uniform(0.35, 0.7)], rng.integers(4, 9))), 1, 3),
    "blob": (_blob, 1, 3),
    "walker": (_walker, 0.42, 1.3),
    "animal": (_animal, 1.4, 1.3),
    "flyer": (_flyer, 1, 1.5),
}  # kind -> (pieces, usual width over height, how much that varies)
JOINTED = ("walker", "animal", "flyer")
RIGID = tuple(kind for kind in _KINDS if kind not in JOINTED)


def design(rng: Rng, kinds: tuple[str, ...] = RIGID + JOINTED) -> Figure:
    """Invent an object of one of ``kinds``, with marks on it, not yet painted."""
    kind = kinds[rng.integers(len(kinds))]
    outline, aspect, spread = _KINDS[kind]
    pieces = outline(rng)
    for x, y, rx, ry in rng.uniform((-0.4, -0.4, 0.06, 0.06), (0.4, 0.4, 0.3, 0.3), (4, 4)):
        if rng.random() < 0.5:
            pieces.append(Piece(_ellipse(x, y, rx, ry, rng.choice([2, 6])), rng.integers(1, 3)))
    x = aspect * spread ** rng.uniform(-1, 1)
    palettes = [palette(rng, rng.random() < 0.35) for _ in range(3)]
    return Figure(kind, pieces, palettes, np.array([x, 1]) / max(x, 1))
