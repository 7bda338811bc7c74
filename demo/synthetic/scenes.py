"""Scenes with chosen difficulties: all movement is a function of time in frames."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from demo.synthetic.figures import JOINTED, RIGID, Figure, Rng, Size, design, grid, noise, texture

Wave = Callable[[float], float]
Path = Callable[[float], NDArray]
_SMOOTH = 7  # frames over which a walk is averaged


@dataclass(frozen=True)
class Effects:
    """How hard a scene is; the defaults are an easy scene with a little of everything."""

    length: tuple[float, float] = (28, 72)  # range of the target's size sqrt(w * h)
    speed: float = 3.0  # pixels per frame
    zoom: float = 1.25  # largest over smallest size in one video
    turn: float = 0.15  # amplitude of the rotation in the picture, in radians
    squeeze: float = 0.08  # amplitude of the logarithm of the aspect ratio
    bend: float = 0.02  # amplitude of the deformation, as a share of the size
    exposure: float = 0.3  # time that the shutter is open, in frames
    light: float = 0.08  # amplitude of the changes in brightness
    pan: float = 1.2  # pixels per frame that the camera moves
    siblings: int = 0  # other actors of the target's design
    cover: float = 0.0  # size of what hides the target in mid-video, relative to it; 0: nothing
    leaves: bool = False  # whether the target leaves the picture and returns
    kinds: tuple[str, ...] = RIGID + JOINTED


_STILL = Effects(zoom=1.0, turn=0.0, squeeze=0.0, bend=0.0)
_CHANGES: dict[str, dict] = {
    "Background Clutters": {"siblings": 3},
    "Deformation": {"bend": 0.12, "kinds": JOINTED},
    "Fast Motion": {"speed": 13.0},
    "Illumination Variation": {"light": 0.3},
    "In-Plane Rotation": {"turn": 1.0},
    "Low Resolution": {"length": (15, 20)},
    "Motion Blur": {"exposure": 1.1, "speed": 9.0},
    "Occlusion": {"cover": 1.35},
    "Out-of-Plane Rotation": {"squeeze": 0.45},
    "Out-of-View": {"leaves": True},
    "Scale Variation": {"zoom": 2.6},
}
ATTRIBUTES = tuple(_CHANGES)  # names of the OTB benchmark


def effects_of(attributes: Sequence[str]) -> Effects:
    """Settings of the named difficulties, of ``ATTRIBUTES``."""
    changes = [_CHANGES[name] for name in sorted(attributes, reverse=True)]  # Fast Motion's wins
    return Effects(**{key: value for change in changes for key, value in change.items()})


@dataclass(frozen=True)
class Actor:
    """A figure and, as functions of time, where it is and how it looks there."""

    figure: Figure
    path: Path  # center of its canvas
    length: Wave  # logarithm of sqrt(w * h)
    angle: Wave  # turn in the picture, in radians
    squeeze: Wave  # logarithm of the factor on its width: a turn out of the picture
    gait: float  # phase of its limbs in radians per frame
    bend: float  # amplitude of the waves that deform it, as a share of its size

    def draw_on(self, image: NDArray, time: float) -> tuple[NDArray, float]:
        """Draw it on a BGR image; its silhouette (H, W) bool and area, also outside the image."""
        canvas = self.figure.pose(self.gait * time, self.bend)
        scale, angle = np.exp(self.length(time)) / self.figure.length, self.angle(time)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        turn *= (scale * np.exp(self.squeeze(time)), scale)
        center, half = self.path(time), np.abs(turn).sum(1) * len(canvas) / 2 + 1
        low = np.clip(np.floor(center - half), 0, np.subtract(image.shape[1::-1], 1)).astype(int)
        high = np.clip(np.ceil(center + half), low + 1, image.shape[1::-1]).astype(int)
        shift = center - low - turn @ np.full(2, (len(canvas) - 1) / 2)
        drawn = cv2.warpAffine(canvas, np.column_stack([turn, shift]), (high - low).tolist())
        window, alpha = (slice(low[1], high[1]), slice(low[0], high[0])), drawn[:, :, 3]
        below = cv2.multiply(image[window], cv2.merge([255 - alpha] * 3), scale=1 / 255)
        image[window] = cv2.add(below, cv2.cvtColor(drawn, cv2.COLOR_BGRA2BGR))
        solid = np.zeros(image.shape[:2], bool)
        solid[window] = alpha >= 128
        return solid, float(np.count_nonzero(canvas[:, :, 3] >= 128) * abs(np.linalg.det(turn)))


class Shot(NamedTuple):
    """A frame and the truth about the K watched actors."""

    image: NDArray  # (H, W, 3) uint8, BGR
    boxes: NDArray  # (K, 4) x, y, w, h, hidden parts included, cut at the border; NaN out of view
    masks: NDArray  # (K, H, W) bool, pixels that nothing hides
    visible: NDArray  # (K,) shares of the silhouettes that can be seen


@dataclass(frozen=True)
class Stage:
    """A scene ready to be shot."""

    size: Size  # of the picture
    background: NDArray  # (H, W, 3) uint8, BGR, larger than the picture
    pan: Path  # corner of the picture on the background
    actors: Sequence[Actor]  # from the farthest to the nearest
    watched: Sequence[int]  # indices of the actors whose boxes and masks are wanted
    exposure: float  # time that the shutter is open, in frames
    light: Wave  # factor on the brightness
    noise: NDArray  # (H, W, 3) float32
    softness: float  # deviation of the lens blur

    def shoot(self, time: float) -> Shot:
        """Take the frame at a time."""
        count = 1 + 2 * int(2.4 * self.exposure)  # instants in the time that the shutter is open
        offsets = self.exposure * (np.arange(count) - count // 2) / count
        images, silhouettes = zip(*[self._instant(time + dt) for dt in offsets], strict=True)
        image = cv2.GaussianBlur(sum(map(np.float32, images)) / count, (0, 0), self.softness)
        image = image * np.float32(self.light(time)) + np.roll(self.noise, round(7919 * time))
        truths = zip(*[_truth(silhouettes[count // 2][i:]) for i in self.watched], strict=True)
        return Shot(np.clip(image, 0, 255).astype(np.uint8), *map(np.stack, truths))

    def _instant(self, time: float) -> tuple[NDArray, list[tuple[NDArray, float]]]:
        middle = self.pan(time) + np.subtract(self.size, 1) / 2
        image = cv2.getRectSubPix(self.background, self.size, middle.tolist())
        return image, [actor.draw_on(image, time) for actor in self.actors]


def _truth(silhouettes: Sequence[tuple[NDArray, float]]) -> tuple[NDArray, NDArray, float]:
    """Box, mask and visible share of the first of some actors, which the others may hide."""
    (solid, area), *nearer = silhouettes
    if np.count_nonzero(solid) < max(1, 0.1 * area):  # less than a tenth inside is out of view
        return np.full(4, np.nan), np.zeros_like(solid), 0.0
    mask = solid & ~np.any([other for other, _ in nearer], axis=0)
    return np.array(cv2.boundingRect(np.uint8(solid)), float), mask, np.count_nonzero(mask) / area


def wave(rng: Rng, amplitude: float, period: tuple, mean: float = 0.0) -> Wave:
    """Draw a slow oscillation, its period from a range in frames."""
    rate, phase = 2 * np.pi / rng.uniform(*period), rng.uniform(0, 2 * np.pi)
    return lambda time: mean + amplitude * np.sin(rate * time + phase)


def wander(rng: Rng, size: Size, duration: int, step: float, margin: float, leaves: bool) -> Path:
    """Draw a walk of ``step`` pixels per frame within margins; one that ``leaves`` comes back."""
    edge = np.minimum(margin, 0.4 * np.asarray(size))
    room = (np.asarray(size) - 2 * edge) * (0.25 if leaves else 1, 1)
    times = np.arange(-_SMOOTH, duration + _SMOOTH)
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.15, len(times)))
    way = np.cumsum(step * np.stack([np.cos(heading), np.sin(heading)], 1), 0)
    way = edge + np.abs((way + rng.uniform(-room, room)) % (2 * room) - room)  # folded at borders
    if leaves:
        gone = np.clip(2 - np.abs(times - duration * rng.uniform(0.4, 0.6)) * 8 / duration, 0, 1)
        way[:, 0] = way[:, 0] * (1 - gone) - 2 * margin * gone
        if rng.random() < 0.5:
            way[:, 0] = size[0] - way[:, 0]
    x, y = cv2.blur(way, (1, _SMOOTH)).T
    return lambda time: np.array([np.interp(time, times, x), np.interp(time, times, y)])


def build_stage(rng: Rng, effects: Effects, size: Size, duration: int, targets: int = 1) -> Stage:
    """Set a scene of ``duration`` frames; only the first of its targets is hidden or leaves."""
    designs = [design(rng, effects.kinds)] * (1 + effects.siblings)
    designs += [design(rng) for _ in range(targets - len(designs))]
    lookalike = rng.random() < 0.3 + 0.2 * effects.siblings
    cast = []
    for figure in designs:
        length = float(np.exp(rng.uniform(*np.log(effects.length))))
        speed, largest = min(effects.speed, 0.3 * length), length * np.sqrt(effects.zoom)
        path = wander(rng, size, duration, speed, 0.6 * largest, effects.leaves and not cast)
        cast.append(_actor(rng, figure, path, length, effects))
    order = rng.permutation(len(cast)).tolist()
    actors, slack = [cast[i] for i in order], round(70 * min(1, effects.pan)) + 1
    pan = wander(rng, (slack, slack), duration, effects.pan, 0, leaves=False)
    if effects.cover:  # stands on the ground where the target passes behind it
        when, hider = duration * rng.uniform(0.35, 0.75), design(rng, ("round", "polygon", "blob"))
        place, length = cast[0].path(when) + pan(when), effects.cover * np.exp(cast[0].length(when))
        actors.append(_actor(rng, hider, lambda time: place - pan(time), length, _STILL))
    return Stage(
        size=size,
        background=_background(rng, (size[0] + slack, size[1] + slack), designs[:lookalike]),
        pan=pan,
        actors=actors,
        watched=[order.index(i) for i in range(targets)],
        exposure=effects.exposure,
        light=wave(rng, effects.light, (30, 90), min(1, 1.1 - effects.light)),
        noise=rng.uniform(1, 6) * rng.standard_normal((*size[::-1], 3), np.float32),
        softness=rng.uniform(0.1, 0.9),
    )


def _actor(rng: Rng, figure: Figure, path: Path, length: float, effects: Effects) -> Actor:
    return Actor(
        figure=figure.painted(rng, np.clip(1.1 * length * np.sqrt(effects.zoom), 16, 160)),
        path=path,
        length=wave(rng, np.log(effects.zoom) / 2, (60, 110), np.log(length)),
        angle=wave(rng, effects.turn, (40, 120)),
        squeeze=wave(rng, effects.squeeze, (40, 90)),
        gait=2 * np.pi / rng.uniform(10, 25),
        bend=effects.bend,
    )


def _background(rng: Rng, size: Size, lookalikes: list[Figure]) -> NDArray:
    """Paint grounds, and clutter that looks like the actors do; (H, W, 3) uint8, BGR."""
    half = (size[0] // 2, size[1] // 2)  # a little out of focus
    image = texture(rng, half, muted=True)
    for _ in range(rng.integers(1, 5)):  # beyond a horizon, in a strip or wall, or on a patch
        u, v = grid(rng, half)
        x, y, w, h = rng.uniform((-0.4, -0.4, 0.01, 0.1), (0.4, 0.4, 0.3, 0.6)) * (half + half)
        patch = noise(rng, half, half[0] / rng.uniform(2, 6))
        wall = np.minimum(w - np.abs(u - x), h - np.abs(v - y))
        inside = (u - x / 2 + 5 * patch, wall, 20 * patch - 10)[rng.integers(3)]
        weight = np.clip(inside + 0.5, 0, 1).astype(np.float32)
        image = cv2.blendLinear(texture(rng, half, muted=True), image, weight, 1 - weight)
    image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    for figure in [design(rng) for _ in range(4)] + lookalikes:
        still = _actor(rng, figure, lambda time: np.zeros(2), 50, replace(_STILL, turn=0.7))
        for place in rng.uniform(0, size, (rng.choice([1, 3, 6]), 2)):
            length = np.log(30) + rng.normal(0, 0.5)
            moves = {"path": lambda time, at=place: at, "length": lambda time, v=length: v}
            replace(still, **moves).draw_on(image, rng.uniform(0, 300))
    return image
