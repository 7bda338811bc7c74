"""Scenes with chosen difficulties, and the videos shot of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from toolkit.synthetic.motion import Path, random_wave, wander
from toolkit.synthetic.puppets import JOINTED, RIGID, Design, Puppet, build_puppet, draw_design
from toolkit.synthetic.scenery import paint_background
from toolkit.synthetic.stage import NOISE_SLACK, Actor, Camera, Stage
from toolkit.synthetic.textures import noise

_MAX_STEP = 0.3
"""Way that an object goes from one frame to the next, as a share of its size."""

_MIN_START_VISIBLE = 0.8
"""Share of the target's silhouette that must be seen in the first frame of a video."""


@dataclass(frozen=True)
class Effects:
    """How hard a scene is; the defaults are an easy scene with a little of everything.

    Attributes:
        length: Range of the target's size sqrt(w * h) in pixels.
        speed: Its speed in pixels per frame.
        zoom: Largest over smallest size in one video.
        turn: Amplitude of its rotation in the picture plane, in radians.
        squeeze: Amplitude of the logarithm of its aspect ratio.
        bend: Amplitude of its deformation, as a share of its size.
        exposure: Time that the shutter is open, in frames.
        light: Amplitude of the changes in brightness.
        pan: Amplitude of the camera's movement, as a share of the picture.
        siblings: Other actors of the same design.
        cover: Size of what hides the target in mid-video, relative to it; 0 for nothing.
        leaves: Whether the target leaves the picture and returns.
        jointed: Whether the target has limbs; None for either.
    """

    length: tuple[float, float] = (28, 72)
    speed: float = 3.0
    zoom: float = 1.25
    turn: float = 0.15
    squeeze: float = 0.08
    bend: float = 0.01
    exposure: float = 0.3
    light: float = 0.08
    pan: float = 0.15
    siblings: int = 0
    cover: float = 0.0
    leaves: bool = False
    jointed: bool | None = None


_CHANGES: dict[str, dict] = {
    "Background Clutters": {"siblings": 3},
    "Deformation": {"bend": 0.05, "jointed": True},
    "Fast Motion": {"speed": 13.0},
    "Illumination Variation": {"light": 0.35},
    "In-Plane Rotation": {"turn": 1.0},
    "Low Resolution": {"length": (15, 20)},
    "Motion Blur": {"exposure": 1.1, "speed": 9.0},
    "Occlusion": {"cover": 1.35},
    "Out-of-Plane Rotation": {"squeeze": 0.45},
    "Out-of-View": {"leaves": True},
    "Scale Variation": {"zoom": 2.6},
}
ATTRIBUTES = tuple(_CHANGES)
"""Difficulties that a scene can be given, under the names of the OTB benchmark."""


@dataclass(frozen=True)
class SyntheticVideo:
    """A video of one target with everything that is true of it.

    Attributes:
        frames: (H, W, 3) uint8, BGR, one per frame.
        boxes: (N, 4), x, y, w, h in pixels: the tight box of the target's whole silhouette, hidden
            parts included, clipped to the picture; NaN where less than a tenth of it is inside.
        masks: (N, H, W) bool: the target's pixels that nothing hides.
        attributes: The difficulties it was made with.
    """

    frames: list[NDArray]
    boxes: NDArray
    masks: NDArray
    attributes: tuple[str, ...]


def effects_of(attributes: Sequence[str]) -> Effects:
    """Turn names of difficulties into settings.

    Args:
        attributes: Names from ``ATTRIBUTES``; the harder setting wins where two set the same.

    Returns:
        The settings.

    Raises:
        ValueError: If a name is unknown.
    """
    unknown = [name for name in attributes if name not in _CHANGES]
    if unknown:
        raise ValueError(f"unknown attribute {unknown[0]!r}; known: {', '.join(ATTRIBUTES)}")
    effects = Effects()
    for name in attributes:
        changes = dict(_CHANGES[name])
        if "speed" in changes:
            changes["speed"] = max(changes["speed"], effects.speed)
        effects = replace(effects, **changes)
    return effects


def build_stage(
    rng: np.random.Generator,
    effects: Effects,
    size: tuple[int, int],
    duration: int,
    num_targets: int = 1,
) -> Stage:
    """Set a scene.

    Args:
        rng: Source of randomness; all of the scene comes from it.
        effects: How hard it is for its first target; the others get the same without occluders.
        size: Width and height of the picture.
        duration: Frames it lasts.
        num_targets: Actors to watch; they are the first ``num_targets`` of ``watched``.

    Returns:
        The scene, ready for ``shoot(time)`` with time in [0, duration).
    """
    kinds = {None: RIGID + JOINTED, True: JOINTED, False: RIGID}[effects.jointed]
    design = draw_design(rng, kinds)
    camera = _hold_camera(rng, effects, size)
    designs = [design] * (1 + effects.siblings)
    designs += [draw_design(rng) for _ in range(num_targets - len(designs))]
    cast = [_cast(rng, d, effects, size, duration, main=i == 0) for i, d in enumerate(designs)]
    order = rng.permutation(len(cast)).tolist()
    actors = [cast[i] for i in order]
    if effects.cover:
        actors.append(_occluder(rng, cast[0], camera, effects, duration))
    lookalike = design if rng.random() < (0.9 if effects.siblings else 0.3) else None
    wide = [round(side * (1.15 + 2 * effects.pan)) for side in size]
    return Stage(
        background=cv2.cvtColor(paint_background(rng, *wide, lookalike), cv2.COLOR_BGR2BGRA),
        camera=camera,
        actors=actors,
        watched=[order.index(i) for i in range(num_targets)],
        kinds=[design.kind for design in designs[:num_targets]],
        **_atmosphere(rng, effects, size),
    )


def _hold_camera(rng: np.random.Generator, effects: Effects, size: tuple[int, int]) -> Camera:
    reach = effects.pan * np.asarray(size)
    middle = np.asarray(size) * (1.15 + 2 * effects.pan) / 2
    sway = [random_wave(rng, amount, (90, 240)) for amount in reach]
    shake = [random_wave(rng, rng.uniform(0, 1.2), (5, 14)) for _ in range(2)]

    def pan(time: float) -> NDArray:
        return middle + [slow(time) + quick(time) for slow, quick in zip(sway, shake, strict=True)]

    roll, zoom = random_wave(rng, rng.uniform(0, 0.04)), random_wave(rng, rng.uniform(0, 0.06))
    return Camera(pan, roll, zoom, size)


def _cast(
    rng: np.random.Generator,
    design: Design,
    effects: Effects,
    size: tuple[int, int],
    duration: int,
    main: bool,
) -> Actor:
    """Make an actor and plan its way through the scene."""
    length = float(np.exp(rng.uniform(*np.log(effects.length))))
    largest = length * np.sqrt(effects.zoom)
    puppet = build_puppet(rng, design, float(np.clip(1.1 * largest, 40, 160)))
    leaves = effects.leaves and main
    speed = min(effects.speed, _MAX_STEP * length)
    path = wander(rng, size, duration, speed, 0.6 * largest, leaves)
    return _actor(rng, puppet, path, length, effects)


def _actor(
    rng: np.random.Generator, puppet: Puppet, path: Path, length: float, effects: Effects
) -> Actor:
    zoom = random_wave(rng, np.log(effects.zoom) / 2, (60, 110))
    return Actor(
        puppet=puppet,
        path=path,
        length=replace(zoom, mean=float(np.log(length))),
        angle=random_wave(rng, effects.turn),
        squeeze=random_wave(rng, effects.squeeze, (40, 90)),
        gait=2 * np.pi / rng.uniform(10, 25),
        bend=effects.bend,
        gain=replace(random_wave(rng, effects.light / 2), mean=1.0),
    )


def _occluder(
    rng: np.random.Generator, target: Actor, camera: Camera, effects: Effects, duration: int
) -> Actor:
    """Make a thing that stands in the scene where the target passes behind it."""
    when = duration * rng.uniform(0.35, 0.75)
    matrix = camera.matrix(when)
    place = np.linalg.solve(matrix[:, :2], target.path(when) - matrix[:, 2])
    length = float(np.exp(target.length(when))) * effects.cover
    puppet = build_puppet(rng, draw_design(rng, ("round", "polygon", "blob")), 1.3 * length)
    calm = Effects(zoom=1.0, turn=0.0, squeeze=0.0, bend=0.0)
    return _actor(rng, puppet, camera.follow(place), length, calm)


def _atmosphere(rng: np.random.Generator, effects: Effects, size: tuple[int, int]) -> dict:
    """Light, shadows, lens and sensor of a scene, as arguments of ``Stage``."""
    width, height = size
    cast = rng.uniform(0.9, 1.08, 3)
    common = random_wave(rng, effects.light, (30, 90))
    spread = rng.uniform(1, 6)
    bright = 1.0 if effects.light < 0.3 else 0.75  # leave room, or the lightest frames go white
    cast = cast * bright
    glow = _glow(rng, size, 0.4) if effects.light > 0.3 else None
    shape = height + NOISE_SLACK, width + NOISE_SLACK
    grain = cv2.convertScaleAbs(rng.standard_normal(shape, np.float32), alpha=spread)
    dark = rng.uniform(0.2, 0.55) if rng.random() < 0.5 else 0.0
    return {
        "gains": tuple(
            replace(common, mean=float(c), amplitude=common.amplitude * c) for c in cast
        ),
        "glow": glow,
        "noise": np.dstack([np.roll(grain, (7 * c, 11 * c), (0, 1)) for c in range(3)]),
        "softness": rng.uniform(0, 0.9),
        "shadow": (rng.uniform(-6, 6), rng.uniform(2, 7), dark),
        "exposure": effects.exposure,
    }


def _glow(rng: np.random.Generator, size: tuple[int, int], depth: float) -> NDArray:
    """A field of light and shade that repeats from side to side."""
    width, height = size
    angle = 2 * np.pi * np.arange(width) / width
    lean = noise(rng, 1, height, height / 1.5, 0.5) * 0.5
    bands = np.sin(angle + lean + rng.uniform(0, 6)) + 0.5 * np.sin(2 * angle + lean)
    return (1 + depth * np.clip(1.5 * bands, -1, 1)).astype(np.float32)


def make_video(
    seed: int | Sequence[int],
    num_frames: int = 60,
    attributes: Sequence[str] = (),
    size: tuple[int, int] = (320, 240),
) -> SyntheticVideo:
    """Make a video of one target, the same for the same arguments.

    Args:
        seed: One number, or several to tell streams apart.
        num_frames: Frames to shoot.
        attributes: Difficulties from ``ATTRIBUTES``.
        size: Width and height in pixels.

    Returns:
        The video.

    Raises:
        ValueError: If an attribute is unknown, or the picture has no room for a target.
    """
    stage = _open_scene(seed, effects_of(attributes), size, num_frames)
    shots = [stage.shoot(time) for time in range(num_frames)]
    return SyntheticVideo(
        frames=[shot.image for shot in shots],
        boxes=np.stack([shot.boxes[0] for shot in shots]),
        masks=np.stack([shot.masks[0] for shot in shots]),
        attributes=tuple(attributes),
    )


def _open_scene(
    seed: int | Sequence[int], effects: Effects, size: tuple[int, int], duration: int
) -> Stage:
    """Set scenes until the target of one can be seen in its first frame."""
    for attempt in range(100):
        rng = np.random.default_rng([*np.atleast_1d(seed).tolist(), attempt])
        stage = build_stage(rng, effects, size, duration)
        if stage.shoot(0).visible[0] > _MIN_START_VISIBLE:
            return stage
    raise ValueError(f"no room for a target of {effects.length} pixels in a picture of {size}")


def contact_sheet(frames: Sequence[NDArray], boxes: Sequence[NDArray], columns: int) -> NDArray:
    """Lay frames out in rows with their boxes drawn on them.

    Args:
        frames: (H, W, 3) uint8 images, BGR, all of one size.
        boxes: x, y, w, h of each frame; NaN for none.
        columns: Frames per row.

    Returns:
        The sheet, (rows * H, columns * W, 3) uint8; missing frames are black.
    """
    tiles = []
    for frame, box in zip(frames, boxes, strict=True):
        tile = frame.copy()
        if np.isfinite(box).all():
            x, y, w, h = (int(v) for v in box)
            cv2.rectangle(tile, (x - 1, y - 1), (x + w, y + h), (0, 255, 255), 1)
        tiles.append(tile)
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return np.vstack(rows)
