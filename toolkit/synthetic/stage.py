"""What a camera sees of actors before a background, with the exact outline of each actor.

Positions are in pixels of the picture; the background has its own pixels and moves under the
camera.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from toolkit.synthetic.motion import Path, Wave
from toolkit.synthetic.puppets import Puppet, blend_over

_SOLID = 128
"""Alpha from which a pixel belongs to an object."""

NOISE_SLACK = 32
"""Pixels by which the noise is wider and higher than the picture."""

_SHORTEST_BLUR, _LONGEST_BLUR = 2.0, 31.0
"""Pixels; shorter smears cannot be seen, and longer ones are cut."""

_MIN_INSIDE = 0.1
"""Share of a silhouette inside the picture under which its actor counts as out of view."""


@dataclass(frozen=True)
class Camera:
    """A hand-held camera before a flat background.

    Attributes:
        pan: Point of the background in the middle of the picture, over time.
        roll: Turn in radians over time.
        zoom: Logarithm of the magnification over time.
        size: Width and height of the picture.
    """

    pan: Path
    roll: Wave
    zoom: Wave
    size: tuple[int, int]

    def matrix(self, time: float) -> NDArray:
        """The (2, 3) affine map from the background to the picture at a time."""
        scale, angle = np.exp(self.zoom(time)), self.roll(time)
        cos, sin = scale * np.cos(angle), scale * np.sin(angle)
        turn = np.array([[cos, -sin], [sin, cos]])
        shift = (np.asarray(self.size) - 1) / 2 - turn @ self.pan(time)
        return np.column_stack([turn, shift])

    def follow(self, point: NDArray) -> Path:
        """The path in the picture of a point (x, y) that stands on the background."""
        return lambda time: self.matrix(time) @ np.append(point, 1.0)


@dataclass(frozen=True)
class Actor:
    """A puppet and how it moves; every attribute but the first is a function of time.

    Attributes:
        puppet: What it looks like.
        path: Centre of its canvas in the picture.
        length: Logarithm of its size sqrt(w * h) in pixels.
        angle: Turn in the picture plane, in radians.
        squeeze: Logarithm of its width over its own: a turn out of the plane.
        gait: Phase of its limbs in radians per frame (``mean``), oscillating.
        bend: Amplitude of the waves that deform it, as a share of its canvas.
        gain: Brightness factor.
    """

    puppet: Puppet
    path: Path
    length: Wave
    angle: Wave
    squeeze: Wave
    gait: float
    bend: float
    gain: Wave


@dataclass(frozen=True)
class Stamp:
    """An actor drawn at a time: an image and its place in the picture.

    Attributes:
        image: Premultiplied BGRA, (h, w, 4) uint8, blurred by motion.
        solid: Pixels of the sharp silhouette, (h, w) bool.
        corner: x, y of the image's upper left pixel, possibly outside the picture.
    """

    image: NDArray
    solid: NDArray
    corner: tuple[int, int]


@dataclass(frozen=True)
class Shot:
    """One frame and what is true of it.

    Attributes:
        image: (H, W, 3) uint8, BGR.
        boxes: (K, 4), x, y, w, h of each watched actor's whole silhouette, hidden parts included,
            clipped to the picture; NaN where less than a tenth of it is inside.
        masks: (K, H, W) bool, its pixels that nothing hides.
        visible: (K,) shares of its whole silhouette that can be seen.
    """

    image: NDArray
    boxes: NDArray
    masks: NDArray
    visible: NDArray


def draw_actor(actor: Actor, time: float, exposure: float) -> Stamp:
    """Draw an actor, whole, wherever it is.

    Args:
        actor: The actor.
        time: Middle of the exposure, in frames.
        exposure: Time that the shutter is open, in frames.

    Returns:
        Its image, silhouette and place.
    """
    canvas = _bent(actor.puppet.pose(actor.gait * time), actor.bend, time)
    scale = np.exp(actor.length(time)) / actor.puppet.length
    if scale < 0.75:  # bilinear warping alone would alias
        side = max(2, round(canvas.shape[0] * scale))
        scale *= canvas.shape[0] / side
        canvas = cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA)
    velocity = (actor.path(time + 0.5) - actor.path(time - 0.5)) * exposure
    centre = actor.path(time)
    matrix, corner, extent = _placement(actor, time, scale, canvas.shape[0], centre, velocity)
    image = cv2.warpAffine(canvas, matrix, extent)
    solid = image[:, :, 3] >= _SOLID
    image[:, :, :3] = cv2.convertScaleAbs(image[:, :, :3], alpha=actor.gain(time))
    return Stamp(_smeared(image, velocity), solid, corner)


def _bent(canvas: NDArray, bend: float, time: float) -> NDArray:
    """Deform a canvas by two travelling sine waves."""
    if bend == 0:
        return canvas
    side = canvas.shape[0]
    line = np.arange(side, dtype=np.float32)
    wave = 2 * np.pi * line / side
    shift_x = bend * side * np.sin(1.3 * wave + 0.23 * time)
    shift_y = bend * side * np.sin(1.7 * wave + 0.17 * time + 1)
    map_x = (line[None] + shift_x[:, None]).astype(np.float32)
    map_y = (line[:, None] + shift_y[None]).astype(np.float32)
    return cv2.remap(canvas, map_x, map_y, cv2.INTER_LINEAR)


def _placement(
    actor: Actor, time: float, scale: float, side: int, centre: NDArray, velocity: NDArray
) -> tuple[NDArray, tuple[int, int], tuple[int, int]]:
    """Affine map from the canvas to the stamp, the stamp's corner and its size."""
    angle, squeeze = actor.angle(time), np.exp(actor.squeeze(time))
    cos, sin = np.cos(angle), np.sin(angle)
    turn = scale * np.array([[cos * squeeze, -sin], [sin * squeeze, cos]])
    half = np.abs(turn).sum(1) * side / 2 + np.minimum(np.abs(velocity), _LONGEST_BLUR) / 2 + 1
    corner = np.floor(centre - half).astype(int)
    extent = np.ceil(centre + half).astype(int) - corner + 1
    shift = centre - corner - turn @ np.full(2, (side - 1) / 2)
    return np.column_stack([turn, shift]), tuple(corner.tolist()), tuple(extent.tolist())


def _smeared(image: NDArray, velocity: NDArray) -> NDArray:
    """Blur an image along a straight movement, given in pixels."""
    length = min(float(np.hypot(*velocity)), _LONGEST_BLUR)
    if length < _SHORTEST_BLUR:
        return image
    side = 2 * int(np.ceil(length / 2)) + 1
    kernel = np.zeros((side, side), np.uint8)
    reach = velocity / np.hypot(*velocity) * length / 2
    ends = [np.round((side // 2 + sign * reach) * 16).astype(int).tolist() for sign in (-1, 1)]
    cv2.line(kernel, *ends, 255, lineType=cv2.LINE_AA, shift=4)
    kernel = kernel.astype(np.float32) / kernel.sum()
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT)


@dataclass(frozen=True)
class Stage:
    """A scene ready to be shot.

    Attributes:
        background: (H, W, 4) uint8, BGRA, larger than the picture. (OpenCV warps four channels in
            less than half the time that it takes for three; the fourth is not used.)
        camera: What is seen of it.
        actors: From the farthest to the nearest.
        watched: Indices of the actors whose boxes and masks are wanted.
        exposure: Time that the shutter is open, in frames.
        shadow: Offset x, y in pixels of the actors' shadows, and their darkness in [0, 1].
        gains: Brightness of the B, G and R channels over time.
        glow: (h, w) float32 field of light that drifts over the picture; 1 is neutral.
        noise: (H, W, 3) uint8 strength of sensor noise, larger than the picture by ``NOISE_SLACK``.
        softness: Deviation in pixels of the lens blur.
        kinds: What sort of thing each watched actor is, where that is known.
    """

    background: NDArray
    camera: Camera
    actors: Sequence[Actor]
    watched: Sequence[int]
    exposure: float
    shadow: tuple[float, float, float]
    gains: tuple[Wave, Wave, Wave]
    glow: NDArray | None
    noise: NDArray
    softness: float
    kinds: Sequence[str] = ()

    def shoot(self, time: float) -> Shot:
        """Take the frame at a time, in frames."""
        image = self._shoot_background(time)
        stamps = [draw_actor(actor, time, self.exposure) for actor in self.actors]
        for stamp in stamps:
            self._lay_shadow(image, stamp)
            _paste(image, stamp)
        boxes, masks, visible = [], [], []
        for i in self.watched:
            box, mask, share = _annotate(stamps[i], stamps[i + 1 :], self.camera.size)
            boxes.append(box), masks.append(mask), visible.append(share)
        developed = self._develop(image, time)
        return Shot(developed, np.stack(boxes), np.stack(masks), np.array(visible))

    def _shoot_background(self, time: float) -> NDArray:
        matrix = self.camera.matrix(time)
        image = cv2.warpAffine(
            self.background, matrix, self.camera.size, borderMode=cv2.BORDER_REFLECT
        )
        point = np.append(self.camera.pan(time), 1.0)
        before, after = (self.camera.matrix(time + dt) @ point for dt in (-0.5, 0.5))
        return _smeared(cv2.cvtColor(image, cv2.COLOR_BGRA2BGR), (after - before) * self.exposure)

    def _lay_shadow(self, image: NDArray, stamp: Stamp) -> None:
        x, y, dark = self.shadow
        if dark == 0:
            return
        corner = (stamp.corner[0] + round(x), stamp.corner[1] + round(y))
        there, here = _overlap(corner, stamp.solid.shape, self.camera.size)
        if there is None:
            return
        soft = cv2.blur(stamp.image[:, :, 3], (7, 7))[here]
        keep = cv2.bitwise_not(cv2.convertScaleAbs(soft, alpha=dark))
        image[there] = cv2.multiply(image[there], cv2.merge([keep] * 3), scale=1 / 255)

    def _develop(self, image: NDArray, time: float) -> NDArray:
        """Apply light, lens and sensor."""
        height, width = image.shape[:2]
        if self.glow is not None:
            drift = np.float32([[1, 0, -2.5 * time % width], [0, 1, 0]])
            light = cv2.warpAffine(self.glow, drift, (width, height), borderMode=cv2.BORDER_WRAP)
            image = cv2.multiply(image, cv2.merge([light] * 3), dtype=cv2.CV_8U)
        ramp = np.arange(256)[:, None] * np.array([gain(time) for gain in self.gains])
        image = cv2.LUT(image, np.clip(ramp, 0, 255).astype(np.uint8).reshape(256, 1, 3))
        if self.softness > 0.3:
            image = cv2.GaussianBlur(image, (0, 0), self.softness)
        return cv2.subtract(cv2.add(image, self._noise(time)), self._noise(time + 0.5))

    def _noise(self, time: float) -> NDArray:
        """A part of the noise, another one in every frame."""
        width, height = self.camera.size
        x, y = (round(time * prime) % (NOISE_SLACK + 1) for prime in (7919, 1201))
        return self.noise[y : y + height, x : x + width]


def _overlap(
    corner: tuple[int, int], shape: tuple[int, int], size: tuple[int, int]
) -> tuple[tuple | None, tuple | None]:
    """Where a patch lies in the picture, and which part of the patch that is, as index pairs."""
    x0, y0 = max(corner[0], 0), max(corner[1], 0)
    x1, y1 = min(corner[0] + shape[1], size[0]), min(corner[1] + shape[0], size[1])
    if x0 >= x1 or y0 >= y1:
        return None, None
    there = slice(y0, y1), slice(x0, x1)
    here = slice(y0 - corner[1], y1 - corner[1]), slice(x0 - corner[0], x1 - corner[0])
    return there, here


def _paste(image: NDArray, stamp: Stamp) -> None:
    there, here = _overlap(stamp.corner, stamp.solid.shape, image.shape[1::-1])
    if there is not None:
        image[there] = blend_over(image[there], stamp.image[here])


def _annotate(
    stamp: Stamp, nearer: Sequence[Stamp], size: tuple[int, int]
) -> tuple[NDArray, NDArray, float]:
    """Box of the silhouette within the picture, mask of its visible pixels, and their share."""
    mask = np.zeros(size[::-1], np.uint8)
    there, here = _overlap(stamp.corner, stamp.solid.shape, size)
    total = int(stamp.solid.sum())
    if there is None or stamp.solid[here].sum() < max(1, _MIN_INSIDE * total):
        return np.full(4, np.nan), mask.astype(bool), 0.0
    mask[there] = stamp.solid[here]
    box = np.array(cv2.boundingRect(mask), float)
    for other in nearer:
        there, here = _overlap(other.corner, other.solid.shape, size)
        if there is not None:
            mask[there] &= ~other.solid[here]
    return box, mask.astype(bool), float(mask.sum() / total)
