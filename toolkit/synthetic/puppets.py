"""Objects: silhouettes made of pieces, painted with textures, jointed where they have limbs.

A ``Design`` says what an object looks like (pieces and colours); ``build_puppet`` paints it. Two
puppets of one design are siblings: alike in shape and colours, different in the detail of their
textures. Images are premultiplied BGRA, uint8, so that warping and blurring keep borders right.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from toolkit.synthetic.textures import palette, texture

_MARGIN = 1.4  # canvas side over the longer side of the object: room for limbs and bending
_SHIFT = 4  # fractional bits of polygon corners


@dataclass(frozen=True)
class Piece:
    """One filled outline of an object.

    Attributes:
        outline: Corners, (N, 2) as x, y in [-1, 1] across the object.
        slot: Which of the object's surfaces it shows.
        joint: The point x, y it swings about; none for a rigid piece.
        swing: Amplitude of that swing in radians.
        phase: Phase of that swing in radians.
    """

    outline: NDArray
    slot: int = 0
    joint: tuple[float, float] | None = None
    swing: float = 0.0
    phase: float = 0.0


@dataclass(frozen=True)
class Design:
    """What an object looks like.

    Attributes:
        pieces: From the rearmost to the foremost.
        colours: One palette per slot; see ``textures.palette``.
        stretch: Factors on x and y that set the aspect ratio; the larger one is 1.
        kind: What sort of thing it is, of ``RIGID`` and ``JOINTED``.
    """

    pieces: tuple[Piece, ...]
    colours: tuple[NDArray, ...]
    stretch: tuple[float, float]
    kind: str


@dataclass(frozen=True)
class Layer:
    """Pieces that move together: a canvas (S, S, 4) and how it swings about a joint in pixels."""

    image: NDArray
    joint: tuple[float, float] | None
    swing: float
    phase: float


@dataclass(frozen=True)
class Puppet:
    """A painted object that can take a pose.

    Attributes:
        layers: From the rearmost to the foremost.
        length: Geometric mean of the object's width and height on the canvas, in pixels.
    """

    layers: tuple[Layer, ...]
    length: float

    def pose(self, beat: float) -> NDArray:
        """Draw the object with its limbs where they are at a phase of its movement.

        Args:
            beat: Phase in radians; 2 pi is one full swing.

        Returns:
            The canvas, (S, S, 4) uint8, premultiplied BGRA.
        """
        canvas = None
        for layer in self.layers:
            image = layer.image if layer.joint is None else _swung(layer, beat)
            canvas = image.copy() if canvas is None else blend_over(canvas, image)
        return canvas


def _swung(layer: Layer, beat: float) -> NDArray:
    degrees = np.degrees(layer.swing * np.sin(beat + layer.phase))
    matrix = cv2.getRotationMatrix2D(layer.joint, degrees, 1.0)
    return cv2.warpAffine(layer.image, matrix, layer.image.shape[1::-1])


def blend_over(below: NDArray, above: NDArray) -> NDArray:
    """Lay a premultiplied BGRA image over another image of the same size.

    Args:
        below: (H, W, 3) BGR or (H, W, 4) premultiplied BGRA, uint8.
        above: (H, W, 4) premultiplied BGRA, uint8.

    Returns:
        The result, shaped as ``below``.
    """
    channels = below.shape[2]
    keep = cv2.merge([cv2.bitwise_not(above[:, :, 3])] * channels)
    rest = cv2.multiply(below, keep, scale=1 / 255)
    return cv2.add(rest, np.ascontiguousarray(above[:, :, :channels]))


# ------------------------------------------------------------------------------------ outlines


def _ellipse(cx: float, cy: float, rx: float, ry: float, power: float = 2.0) -> NDArray:
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    cos, sin = np.cos(angle), np.sin(angle)
    x = np.sign(cos) * np.abs(cos) ** (2 / power)  # power above 2: a rectangle with round corners
    y = np.sign(sin) * np.abs(sin) ** (2 / power)
    return np.stack([cx + rx * x, cy + ry * y], 1)


def _stroke(start: tuple[float, float], end: tuple[float, float], thickness: float) -> NDArray:
    a, b = np.asarray(start, float), np.asarray(end, float)
    along = (b - a) / (np.linalg.norm(b - a) + 1e-9)
    across = np.array([-along[1], along[0]]) * thickness / 2
    tip = along * thickness / 4
    return np.stack([a - tip - across, a - tip + across, b + tip + across, b + tip - across])


def _round(rng: np.random.Generator) -> list[Piece]:
    return [Piece(_ellipse(0, 0, 1, 1, rng.choice([2, 2, 3, 5])))]


def _polygon(rng: np.random.Generator) -> list[Piece]:
    corners = int(rng.integers(3, 8))
    angle = (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) * (2 * np.pi / corners)
    radius = rng.uniform(0.7, 1, corners)
    return [Piece(np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1))]


def _star(rng: np.random.Generator) -> list[Piece]:
    points = int(rng.integers(4, 9))
    angle = np.arange(2 * points) * (np.pi / points)
    radius = np.where(np.arange(2 * points) % 2, rng.uniform(0.35, 0.7), 1.0)
    return [Piece(np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1))]


def _blob(rng: np.random.Generator) -> list[Piece]:
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    waves = [rng.normal(0, 0.22 / k) * np.cos(k * angle + rng.uniform(0, 6)) for k in range(2, 7)]
    radius = np.clip(0.8 + np.sum(waves, 0), 0.25, 1.2)
    return [Piece(np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1))]


def _letter(rng: np.random.Generator) -> list[Piece]:
    grid = [(x, y) for x in (-0.8, 0, 0.8) for y in (-0.8, 0, 0.8)]
    stops = [grid[i] for i in rng.permutation(9)[: rng.integers(4, 6)]]
    thickness = rng.uniform(0.3, 0.5)
    return [Piece(_stroke(a, b, thickness)) for a, b in pairwise(stops)]


def _cluster(rng: np.random.Generator) -> list[Piece]:
    count = int(rng.integers(3, 7))
    spots = zip(rng.uniform(-0.6, 0.6, (count, 2)), rng.uniform(0.3, 0.6, count), strict=True)
    return [Piece(_ellipse(x, y, r, r), slot=int(rng.integers(0, 2))) for (x, y), r in spots]


def _figure(rng: np.random.Generator) -> list[Piece]:
    """A walker: legs, torso, arms, head."""
    hip, shoulder = 0.1, -0.5
    leg, arm = rng.uniform(0.22, 0.34), rng.uniform(0.16, 0.24)
    step = rng.uniform(0.25, 0.6)
    legs = [
        Piece(_stroke((0.18 * side, hip), (0.2 * side, 0.95), leg), 1, (0.18 * side, hip), step, ph)
        for side, ph in ((-1, 0.0), (1, np.pi))
    ]
    arms = [
        Piece(_stroke((x, shoulder), (x * 1.2, 0.15), arm), slot, (x, shoulder), step, ph)
        for x, ph, slot in ((-0.42, np.pi, 0), (0.42, 0.0, 0))
    ]
    torso = Piece(_ellipse(0, -0.2, rng.uniform(0.38, 0.5), 0.45, 3.5))
    head = Piece(_ellipse(0, -0.82, rng.uniform(0.2, 0.26), 0.2), 2)
    return [arms[0], *legs, torso, head, arms[1]]


def _animal(rng: np.random.Generator) -> list[Piece]:
    """A walker on four legs, with a tail."""
    step, thick = rng.uniform(0.2, 0.5), rng.uniform(0.14, 0.24)
    feet = [(-0.5, 0.0), (-0.35, np.pi), (0.35, np.pi / 2), (0.5, 3 * np.pi / 2)]
    legs = [Piece(_stroke((x, 0.2), (x, 0.95), thick), 1, (x, 0.2), step, ph) for x, ph in feet]
    tail = Piece(_stroke((-0.65, -0.1), (-0.98, -0.5), 0.12), 0, (-0.65, -0.1), 0.5, 0.0)
    body = Piece(_ellipse(0, 0, 0.72, rng.uniform(0.32, 0.48), 2.6))
    head = Piece(_ellipse(0.78, -0.45, 0.26, 0.3), 2)
    neck = Piece(_stroke((0.5, -0.1), (0.75, -0.4), 0.3), 0)
    return [tail, *legs, neck, body, head]


def _vehicle(rng: np.random.Generator) -> list[Piece]:
    """Body, cabin with window, two wheels."""
    front, back = rng.uniform(0.2, 0.7), rng.uniform(-0.9, -0.4)
    cabin = np.array([(back, -0.1), (back + 0.2, -0.8), (front - 0.2, -0.8), (front, -0.1)])
    window = (cabin - cabin.mean(0)) * 0.7 + cabin.mean(0)
    body = _ellipse(0, 0.2, 1, 0.45, 4)
    wheels = [_ellipse(x, 0.65, 0.22, 0.33) for x in (-0.55, 0.55)]
    hubs = [_ellipse(x, 0.65, 0.1, 0.15) for x in (-0.55, 0.55)]
    return [
        Piece(cabin),
        Piece(window, 1),
        Piece(body),
        *(Piece(wheel, 2) for wheel in wheels),
        *(Piece(hub, 1) for hub in hubs),
    ]


def _flyer(rng: np.random.Generator) -> list[Piece]:
    """Body with a tail and two beating wings."""
    beat = rng.uniform(0.2, 0.5)
    wings = [
        Piece(
            np.array([(-0.3, 0), (-0.1, side * rng.uniform(0.8, 1)), (0.3, side * 0.7), (0.4, 0)]),
            1,
            (0.0, 0.0),
            beat * side,
            0.0,
        )
        for side in (-1, 1)
    ]
    tail = Piece(np.array([(-0.5, 0), (-1, -0.35), (-0.9, 0), (-1, 0.35)]), 1)
    return [*wings, tail, Piece(_ellipse(0.1, 0, 0.8, 0.22)), Piece(_ellipse(0.75, 0, 0.2, 0.2), 2)]


_KINDS: dict[str, tuple[Callable[[np.random.Generator], list[Piece]], float]] = {
    "round": (_round, 3.0),
    "polygon": (_polygon, 3.0),
    "star": (_star, 3.0),
    "blob": (_blob, 3.0),
    "letter": (_letter, 2.0),
    "cluster": (_cluster, 2.0),
    "figure": (_figure, 0.0),
    "animal": (_animal, 0.0),
    "vehicle": (_vehicle, 0.0),
    "flyer": (_flyer, 1.5),
}  # name -> (pieces, largest aspect ratio; 0: as its kind has it)
_NATURAL_STRETCH = {"figure": (0.42, 1.0), "animal": (1.0, 0.7), "vehicle": (1.0, 0.5)}
RIGID = ("round", "polygon", "star", "blob", "letter", "cluster", "vehicle")
JOINTED = ("figure", "animal", "flyer")


def draw_design(rng: np.random.Generator, kinds: tuple[str, ...] = RIGID + JOINTED) -> Design:
    """Invent an object.

    Args:
        rng: Source of randomness.
        kinds: Names to choose from, of ``RIGID`` and ``JOINTED``.

    Returns:
        Its design: outline, marks on it, colours and aspect ratio.
    """
    kind = kinds[rng.integers(len(kinds))]
    outline, aspect = _KINDS[kind]
    pieces = outline(rng)
    if rng.random() < 0.7:
        pieces = pieces + [_mark(rng, piece) for piece in _largest(pieces, int(rng.integers(1, 5)))]
    return Design(
        tuple(pieces),
        tuple(palette(rng, rng.random() < 0.35) for _ in range(3)),
        _stretch(rng, kind, aspect),
        kind,
    )


def _stretch(rng: np.random.Generator, kind: str, aspect: float) -> tuple[float, float]:
    if not aspect:
        x, y = np.array(_NATURAL_STRETCH[kind]) * rng.uniform(0.85, 1.15, 2)
    else:
        x, y = aspect ** rng.uniform(-0.5, 0.5), 1.0
        x, y = x, 1 / x
    return x / max(x, y), y / max(x, y)


def _largest(pieces: list[Piece], count: int) -> list[Piece]:
    rigid = [piece for piece in pieces if piece.joint is None]
    by_area = sorted(rigid, key=lambda piece: -np.ptp(piece.outline, axis=0).prod())
    return by_area[:1] * count


def _mark(rng: np.random.Generator, piece: Piece) -> Piece:
    """Draw an emblem, patch or bar on a piece."""
    low, span = piece.outline.min(0), np.ptp(piece.outline, axis=0)
    x, y = low + span * rng.uniform(0.25, 0.75, 2)
    rx, ry = span * rng.uniform(0.06, 0.22, 2)
    if rng.random() < 0.5:
        outline = _ellipse(x, y, rx, ry, rng.choice([2, 6]))
    else:
        end = (x + span[0] * rng.uniform(-0.3, 0.3), y + span[1] * rng.uniform(-0.3, 0.3))
        outline = _stroke((x, y), end, float(span.min()) * rng.uniform(0.08, 0.2))
    return replace(piece, outline=outline, slot=int(rng.integers(1, 3)))


# ------------------------------------------------------------------------------------ painting


def build_puppet(rng: np.random.Generator, design: Design, side: float) -> Puppet:
    """Paint an object.

    Args:
        rng: Source of randomness, for the detail of its surfaces.
        design: What it looks like.
        side: Longer side of the object on the canvas, in pixels.

    Returns:
        The painted object.
    """
    canvas = round(side * _MARGIN)
    used = sorted({piece.slot for piece in design.pieces})
    surfaces = {i: texture(rng, canvas, canvas, colours=design.colours[i]) for i in used}
    light = _light(rng)
    layers: list[Layer] = []
    for pieces in _moving_together(design.pieces):
        image = np.zeros((canvas, canvas, 4), np.uint8)
        for piece in pieces:
            _paint(image, piece, design.stretch, surfaces[piece.slot], light)
        first = pieces[0]
        joint = None if first.joint is None else _to_canvas(first.joint, design.stretch, canvas)
        layers.append(Layer(image, joint, first.swing, first.phase))
    return Puppet(tuple(layers), _length(layers))


def _light(rng: np.random.Generator) -> tuple[float, float]:
    angle, strength = rng.uniform(-np.pi, 0), rng.uniform(0, 1.6)  # from above, as outdoors
    return strength * np.cos(angle), strength * np.sin(angle)


def _moving_together(pieces: tuple[Piece, ...]) -> list[list[Piece]]:
    groups: list[list[Piece]] = []
    for piece in pieces:
        if groups and piece.joint is None and groups[-1][0].joint is None:
            groups[-1].append(piece)
        else:
            groups.append([piece])
    return groups


def _to_canvas(point: NDArray | tuple, stretch: tuple[float, float], canvas: int) -> tuple:
    scaled = np.asarray(point) * stretch * (canvas / _MARGIN / 2) + (canvas - 1) / 2
    return tuple(float(v) for v in scaled)


def _paint(
    image: NDArray,
    piece: Piece,
    stretch: tuple[float, float],
    surface: NDArray,
    light: tuple[float, float],
) -> None:
    """Fill one piece on a canvas with its surface, shaded as if it bulged towards the viewer."""
    canvas = image.shape[0]
    corners = piece.outline * stretch * (canvas / _MARGIN / 2) + (canvas - 1) / 2
    reach = max(3, int(np.ptp(corners, axis=0).min() * 0.35)) | 1
    low = np.maximum(np.floor(corners.min(0)).astype(int) - reach, 0)
    high = np.ceil(corners.max(0)).astype(int) + reach + 1
    place = image[low[1] : high[1], low[0] : high[0]]
    alpha = np.zeros(place.shape[:2], np.uint8)
    fixed = np.round((corners - low) * 2**_SHIFT).astype(np.int32)
    cv2.fillPoly(alpha, [fixed], 255, lineType=cv2.LINE_AA, shift=_SHIFT)
    weight = cv2.merge([_shading(alpha, reach, light) * (alpha * np.float32(1 / 255))] * 3)
    surface = surface[low[1] : high[1], low[0] : high[0]]
    colour = np.minimum(cv2.multiply(surface, weight, dtype=cv2.CV_8U), alpha[:, :, None])
    place[:] = blend_over(place, np.dstack([colour, alpha]))


def _shading(alpha: NDArray, reach: int, light: tuple[float, float]) -> NDArray:
    """Brightness of a silhouette whose blurred alpha is taken for a relief; float32, about 1."""
    height = cv2.blur(cv2.blur(alpha, (reach, reach)), (reach, reach)).astype(np.float32)
    slope_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=light[0] * reach / 1024)
    slope_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=light[1] * reach / 1024)
    return np.clip(1 + slope_x + slope_y, 0.35, 1.6)


def _length(layers: list[Layer]) -> float:
    alpha = np.max([layer.image[:, :, 3] for layer in layers], axis=0)
    _, _, width, height = cv2.boundingRect((alpha >= 128).astype(np.uint8))
    return float(np.sqrt(max(width, 1) * max(height, 1)))
