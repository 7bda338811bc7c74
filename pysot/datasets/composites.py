"""Composites: objects cut out of masked crops and pasted over other images, drawn on demand.

A scene is a video of one object, its frames are crops as preparation cuts them: the target in the
middle of 511 pixels, at the scale of a 127-pixel template. A frame is a pure function of (seed,
scene, frame), and nothing is kept on disk. Other objects around the target, some of them its likes,
teach a tracker to tell it from those (DaSiamRPN, Zhu et al., 2018, section 3.2); so still images
train it that would else be a pair of the same picture.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pysot.datasets.annotation import Annotations
from pysot.datasets.augmentation import inner_part, line_kernel
from pysot.datasets.crop import SEARCH_SIZE, TEMPLATE_SIZE
from pysot.datasets.crop_store import UnreadableImage, file_stamp
from pysot.datasets.dataset import Crop, TrainingSet, box_in_crop, crop_at, generator
from toolkit.datasets.reading import folders_below
from toolkit.io.images import list_images, mask_box, read_image

_TRACK = "00"
_VERSION = 1  # goes up when the same settings draw other pictures
_PLAN, _SCENE, _BACKGROUND = 0, 1, 2  # first words of seeds
_WHOLE = -1  # frame of what all frames of a scene have in common
_PAD = 3  # transparent pixels around what is cut out
_FEWEST = 60  # pixels of an object
_SIDE = 640  # pixels; larger backgrounds are reduced to it when they are read
_CACHE = 48 << 20  # bytes of decoded cut-outs, and as many of backgrounds, in each process


@dataclass(frozen=True)
class Look:
    """What is drawn; keys of a row ``TYPE: composites``, where they are explained."""

    distractors: int = 3
    likes: float = 0.4
    occluders: float = 0.3
    hidden: float = 0.5
    shared: float = 0.5
    rotation: float = 0.2
    scale: float = 0.2
    aspect: float = 0.12
    light: float = 0.25
    blur: float = 0.15
    low_resolution: float = 0.2
    smallest: float = 0.1
    largest: float = 0.36


class _CutOut(NamedTuple):
    image: NDArray  # (h, w, 4) uint8: BGR times alpha, alpha
    hull: NDArray  # (N, 2) float32: convex hull x, y of the middles of its pixels

    @property
    def side(self) -> float:
        """Geometric mean of width and height in pixels."""
        return float(np.sqrt(np.prod(np.ptp(self.hull, axis=0) + 1)))


class _Layer(NamedTuple):
    image: NDArray  # as that of a cut-out
    x: int  # of its first pixel in the crop
    y: int

    @property
    def shape(self) -> NDArray:
        """Where it is opaque, (h, w) bool."""
        return self.image[..., 3] > 127


class _Recent:
    """The last results of a function of one number, up to a number of bytes."""

    def __init__(self, make: Callable[[Any], Any], limit: int = _CACHE) -> None:
        self._make, self._left = make, limit
        self._known: OrderedDict[Any, tuple[Any, int]] = OrderedDict()

    def __call__(self, key: Any) -> Any:
        if key not in self._known:
            made = self._make(key)
            size = (made.image if isinstance(made, _CutOut) else made).nbytes
            self._known[key], self._left = (made, size), self._left - size
            while self._left < 0 and len(self._known) > 1:
                self._left += self._known.popitem(last=False)[1][1]
        self._known.move_to_end(key)
        return self._known[key][0]


class _Objects:
    """What can be cut out of a training set: objects with masks, and for each its boxes' rows."""

    def __init__(self, subset: TrainingSet) -> None:
        known = subset.annotations
        tracks = np.repeat(np.arange(len(known.tracks)), np.diff(known.first_row))
        kept = []
        for row, track in enumerate(tracks.tolist()):
            crop = crop_at(subset, track, row)
            if subset.crops.has(crop.video, crop.frame, crop.track, "m"):
                kept.append(row)
        self.subset, self.rows = subset, np.array(kept, dtype=np.int64)
        self._tracks = tracks[self.rows]
        self.first = np.append(np.unique(self._tracks, return_index=True)[1], len(kept))
        self.cut_out = _Recent(self._cut_out)

    def __len__(self) -> int:
        return len(self.first) - 1

    def crop(self, place: int) -> Crop:
        """Return the crop at a place of ``rows``."""
        return crop_at(self.subset, int(self._tracks[place]), int(self.rows[place]))

    def pick(self, objects: NDArray, shares: NDArray) -> NDArray:
        """Return a place of each object, the share of its places that come before it."""
        first, end = self.first[objects], self.first[objects + 1]
        return first + (shares * (end - first)).astype(np.int64)

    def draw(self, rng: np.random.Generator) -> int:
        """Draw an object, then one of its places."""
        return int(self.pick(rng.integers(len(self)), rng.random()))

    def stamps(self) -> Iterator[str]:
        """Yield a text for each box, and its files, that changes with them."""
        return (self.crop(place).stamp() for place in range(len(self.rows)))

    def _cut_out(self, place: int) -> _CutOut:
        crop = self.crop(place)
        image = crop.open()
        mask = crop.mask(image.shape[:2])
        if mask is None or np.count_nonzero(mask) < _FEWEST:
            path = crop.crops.path(crop.video, crop.frame, crop.track, "m")
            raise UnreadableImage(f"{path}: no object of {_FEWEST} pixels or more to cut out")
        x, y, w, h = mask_box(mask)
        top, left = max(0, y - _PAD), max(0, x - _PAD)
        part = slice(top, y + h + _PAD), slice(left, x + w + _PAD)
        solid = np.where(mask[part], np.float32(1), np.float32(0))  # thin parts stay, too
        alpha = np.maximum(solid, cv2.GaussianBlur(solid, (3, 3), 0) - 0.1)[..., None]
        colors = np.concatenate([image[part] * alpha, 255 * alpha], axis=2)
        hull = cv2.convexHull(cv2.findNonZero(mask[part])).reshape(-1, 2).astype(np.float32)
        return _CutOut(np.round(colors).astype(np.uint8), hull)


class Backgrounds:
    """Images to paste on: those of folders, and crops of training sets without their padding."""

    def __init__(self, sources: Sequence[TrainingSet | Path]) -> None:
        self._sources = [
            source if isinstance(source, TrainingSet) else _images_below(source)
            for source in sources
        ]
        self._image = _Recent(self._read)

    def draw(self, rng: np.random.Generator) -> NDArray:
        """Draw a source, then an image, (H, W, 3) uint8 BGR, of it.

        Raises:
            UnreadableImage: If it cannot be read.
        """
        number = int(rng.integers(len(self._sources)))
        source = self._sources[number]
        count = len(source) if isinstance(source, list) else len(source.annotations.frames)
        return self._image((number, int(rng.integers(count))))

    def stamps(self) -> Iterator[str]:
        """Yield texts that change with the images."""
        for source in self._sources:
            if isinstance(source, list):
                yield from (f"{path} {file_stamp(path)}" for path in source)
            else:
                rows = range(len(source.annotations.frames))
                tracks = map(source.annotations.track_of, rows)
                yield from (
                    crop_at(source, *place).stamp() for place in zip(tracks, rows, strict=True)
                )

    def _read(self, key: tuple[int, int]) -> NDArray:
        source = self._sources[key[0]]
        if isinstance(source, TrainingSet):
            crop = crop_at(source, source.annotations.track_of(key[1]), key[1])
            image = crop.open()[0:, 0:]
            return np.ascontiguousarray(image[inner_part(image)])
        try:
            image = read_image(source[key[1]])
        except (OSError, ValueError) as error:
            raise UnreadableImage(str(error)) from None
        zoom = min(1, _SIDE / max(image.shape[:2]))
        return image if zoom == 1 else _resized(image, zoom, zoom)


def _images_below(root: Path) -> list[Path]:
    images = [path for folder in folders_below(root) for path in list_images(folder)]
    if not images:
        raise FileNotFoundError(f"{root}: found no images to paste on")
    return images


class Composites:
    """Crops of drawn scenes, with masks; the same methods as ``CropFolder``.

    Videos are named by the numbers of their scenes.
    """

    def __init__(
        self,
        name: str,
        sets: Sequence[TrainingSet],
        backgrounds: Backgrounds,
        scenes: int,
        frames: int,
        templates: int,
        seed: int,
        look: Look,
    ) -> None:
        """Plan the scenes.

        Args:
            name: Stands in place of a folder.
            sets: Where targets and other objects come from; one that is there twice is drawn twice
                as often.
            backgrounds: What is behind them.
            scenes: Number of videos.
            frames: Frames of each.
            templates: So many first frames have no distractors and no occluders.
            seed: Another one makes other scenes.
            look: What is drawn.

        Raises:
            ValueError: If a set has no masks.
        """
        self.root, self._seed, self._templates, self._look = Path(name), seed, templates, look
        self._frames, self._backgrounds = frames, backgrounds
        known = {id(subset): _Objects(subset) for subset in sets}
        self._objects = [known[id(subset)] for subset in sets]
        for objects in self._objects:
            if not len(objects):
                root = objects.subset.crops.root
                text = f"{objects.subset.name} has no masks (<frame>.<track>.m.png) in {root}"
                raise ValueError(f"DATASET.{name}.CUTOUTS: {text}; objects are cut out by them")
        self._plan(scenes)

    def _plan(self, scenes: int) -> None:
        """Draw the targets, their angles and sizes; those of a scene depend on no later one."""
        draws = generator(self._seed, _PLAN).random((scenes, 2 + 3 * self._frames))
        self._set = (draws[:, 0] * len(self._objects)).astype(int)
        share, aspect, angle = np.split(draws[:, 2:], 3, axis=1)
        look = self._look
        self._angles = look.rotation * 2 * (2 * angle - 1)
        self._angles[:, : self._templates] /= 2
        self._places = np.zeros(share.shape, np.int64)
        sizes = np.ones((*share.shape, 2))
        for number, objects in enumerate(self._objects):
            own = self._set == number
            chosen = (draws[own, 1] * len(objects)).astype(int)[:, None]
            self._places[own] = objects.pick(np.broadcast_to(chosen, share[own].shape), share[own])
            known = objects.subset.annotations.sizes
            sizes[own] = known[objects.rows[self._places[own]]]
        stretch = np.exp(look.aspect * (2 * aspect - 1) / 2)
        w, h = sizes[..., 0] * stretch, sizes[..., 1] / stretch
        cos, sin = np.cos(self._angles), np.sin(self._angles)  # a turned ellipse's box
        self.sizes = np.stack([np.hypot(w * cos, h * sin), np.hypot(w * sin, h * cos)], axis=-1)

    def annotations(self) -> Annotations:
        """Return the boxes of all frames, for a :class:`TrainingSet`."""
        scenes, frames = self._places.shape
        return Annotations(
            videos=tuple(f"{scene:06d}" for scene in range(scenes)),
            tracks=(_TRACK,) * scenes,
            first_track=np.arange(scenes + 1),
            first_row=np.arange(scenes + 1) * frames,
            frames=np.tile(np.arange(frames), scenes),
            sizes=self.sizes.reshape(-1, 2),
            category_names=(),
            categories=np.full(scenes, -1),
        )

    def has(self, video: str, frame: int, track: str, kind: str = "x") -> bool:
        """Return whether there is such a crop."""
        inside = video.isdecimal() and int(video) < len(self._places) and 0 <= frame < self._frames
        return inside and track == _TRACK and kind in ("x", "m")

    def path(self, video: str, frame: int, track: str, kind: str = "x") -> str:
        """Return a name for messages."""
        return f"{self.root}/{video}/{frame:06d}.{track}.{kind}"

    def stamp(self, video: str, frame: int, track: str, kind: str = "x") -> str:
        """Return a text that is another one as soon as anything that is drawn has changed."""
        return self._stamp if self.has(video, frame, track, kind) else ""

    @cached_property
    def _stamp(self) -> str:
        parts = [repr((_VERSION, self._seed, self._frames, self._templates, self._look))]
        sources = (*self._objects, self._backgrounds)
        text = "\0".join(chain(parts, *(source.stamps() for source in sources)))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def target(self, video: str, track: str) -> tuple[Path, str, str]:
        """Return what is equal for crops of one object alone: that of the crops it is cut from."""
        scene = int(video)
        return self._objects[self._set[scene]].crop(int(self._places[scene, 0])).target

    def open(self, video: str, frame: int, track: str) -> _Rendered:
        """Return a crop of which the parts that are looked at are drawn."""
        return _Rendered(self._scene(video, frame, track))

    def read(self, video: str, frame: int, track: str, kind: str = "x") -> NDArray:
        """Draw a crop, (511, 511, 3) uint8 BGR, or its target's mask, (511, 511) uint8, 0 or 255.

        The mask is that of what is to be seen.

        Raises:
            UnreadableImage: If an image that it is made of cannot be read.
        """
        picture = _Rendered(self._scene(video, frame, track))
        return picture.mask() if kind == "m" else picture[0:, 0:]

    def _scene(self, video: str, frame: int, track: str) -> Callable[[], _Picture]:
        if not self.has(video, frame, track):
            raise UnreadableImage(f"{self.path(video, frame, track)}: no such scene or frame")
        return lambda: self._picture(int(video), frame)

    def _picture(self, scene: int, frame: int) -> _Picture:
        rng, look = self._draws(_SCENE, scene, frame), self._look
        reduced = rng.uniform(0.3, 0.8) if rng.random() < look.low_resolution else 1.0
        flip = self._draws(_SCENE, scene, _WHOLE).random() < 0.5
        target, box = self._target(scene, frame, flip ^ (rng.random() < 0.1), rng)
        easy = frame < self._templates
        shown = 0 if easy else int(rng.integers(look.distractors + 1))
        others = [self._distractor(scene, box, rng) for _ in range(shown)]
        occluder = None
        if not easy and rng.random() < look.occluders:
            occluder = self._occluder(box, rng)
            occluder = occluder if _covered(target, occluder) <= look.hidden else None
        layers = [
            _reduced(layer, reduced) if layer else None for layer in (*others, target, occluder)
        ]
        background = partial(self._background, scene, frame, reduced)
        return _Picture(background, [*filter(None, layers)], layers[-2], layers[-1])

    def _background(self, scene: int, frame: int, reduced: float) -> NDArray:
        """Draw what is behind the objects: that of the scene or one of the frame's own."""
        whole, rng = (self._draws(_BACKGROUND, scene, place) for place in (_WHOLE, frame))
        look, mirrored = self._look, whole.random() < 0.5
        size = whole.uniform(*np.log([look.smallest, look.largest]))
        share = np.exp(size + rng.uniform(-look.scale, look.scale))
        way = whole.uniform(0.3, 0.7, 2), whole.uniform(-0.3, 0.3, 2)
        middle = way[0] + way[1] * frame / self._frames + rng.uniform(-0.05, 0.05, 2)
        image = self._backgrounds.draw(whole if rng.random() < look.shared else rng)
        return _place(image, middle, share, reduced, mirrored)

    def _draws(self, kind: int, scene: int, frame: int) -> np.random.Generator:
        return generator(self._seed, kind, scene, frame + 1)

    def _target(
        self, scene: int, frame: int, flip: bool, rng: np.random.Generator
    ) -> tuple[_Layer, NDArray]:
        """Draw the target, its size exactly the annotated one; also return x1, y1, x2, y2."""
        cut = self._objects[self._set[scene]].cut_out(int(self._places[scene, frame]))
        box = np.array(box_in_crop((SEARCH_SIZE, SEARCH_SIZE), self.sizes[scene, frame]))
        linear = _turned(self._angles[scene, frame], flip)
        linear *= ((box[2:] - box[:2]) / _extent(cut, linear))[:, None]
        layer = _warped(cut, linear, (box[:2] + box[2:]) / 2, _gains(rng, self._look.light))
        return self._blurred(layer, rng), box

    def _distractor(self, scene: int, box: NDArray, rng: np.random.Generator) -> _Layer:
        """Draw another object near the target, or one that is like it but of other light."""
        look = self._look
        if rng.random() < look.likes:
            objects, gains = self._objects[self._set[scene]], _gains(rng, look.light, least=0.1)
            place = int(rng.choice(self._places[scene]))
        else:
            objects, gains = self._any(rng), _gains(rng, look.light)
            place = objects.draw(rng)
        side, angle = np.sqrt(np.prod(box[2:] - box[:2])), rng.uniform(0, 2 * np.pi)
        far = side * rng.uniform(0.9, 2.0) * np.array([np.cos(angle), np.sin(angle)])
        scale = side * np.exp(rng.uniform(-0.5, 0.4))
        layer = self._other(
            objects.cut_out(place), scale, (box[:2] + box[2:]) / 2 + far, gains, rng
        )
        return self._blurred(layer, rng)

    def _occluder(self, box: NDArray, rng: np.random.Generator) -> _Layer:
        """Draw an object over a border of the target."""
        cut, size = (objects := self._any(rng)).cut_out(objects.draw(rng)), box[2:] - box[:2]
        away = rng.uniform(-0.3, 0.3, 2)
        away[rng.integers(2)] = rng.choice([-1, 1]) * rng.uniform(0.35, 0.6)
        side = np.sqrt(size.prod()) * rng.uniform(0.4, 0.8)
        gains = _gains(rng, self._look.light)
        return self._other(cut, side, (box[:2] + box[2:]) / 2 + away * size, gains, rng)

    def _other(
        self, cut: _CutOut, side: float, center: NDArray, gains: NDArray, rng: np.random.Generator
    ) -> _Layer:
        spread = self._look.rotation * 2
        linear = _turned(rng.uniform(-spread, spread), bool(rng.random() < 0.5)) * side / cut.side
        stretch = np.exp(rng.uniform(-1, 1) * self._look.aspect)
        return _warped(cut, linear * [[stretch], [1 / stretch]], center, gains)

    def _any(self, rng: np.random.Generator) -> _Objects:
        return self._objects[rng.integers(len(self._objects))]

    def _blurred(self, layer: _Layer, rng: np.random.Generator) -> _Layer:
        """Blur an object along the way it moves, perhaps."""
        length, angle = int(rng.integers(3, 12)), rng.uniform(0, np.pi)
        if rng.random() >= self._look.blur:
            return layer
        wide = cv2.copyMakeBorder(layer.image, *(length,) * 4, cv2.BORDER_CONSTANT, value=0)
        wide = cv2.filter2D(wide, -1, line_kernel(length, angle))
        return _Layer(wide, layer.x - length, layer.y - length)


class _Picture(NamedTuple):
    background: Callable[[], NDArray]  # (511, 511, 3) uint8
    layers: list[_Layer]  # from the back to the front
    target: _Layer
    occluder: _Layer | None


class _Rendered:
    """A crop of a scene: ``crop[y1:y2, x1:x2]`` draws that part; see ``EncodedCrop``."""

    shape = (SEARCH_SIZE, SEARCH_SIZE, 3)

    def __init__(self, picture: Callable[[], _Picture]) -> None:
        self._picture = picture

    def __getitem__(self, place: tuple[slice, slice]) -> NDArray:
        picture = self._picture()
        (y1, y2, _), (x1, x2, _) = (part.indices(SEARCH_SIZE) for part in place)
        image = picture.background()[y1:y2, x1:x2]
        for layer in picture.layers:
            there, part = _overlap(image.shape, layer, x1, y1)
            colors = layer.image[part].astype(np.float32)
            kept = 1 - colors[..., 3:] / 255
            image[there] = np.minimum(image[there] * kept + colors[..., :3] + 0.5, 255)
        return image

    def mask(self) -> NDArray:
        """Draw the mask of what is to be seen of the target."""
        picture = self._picture()
        mask = np.zeros(self.shape[:2], np.uint8)
        for layer, value in ((picture.target, 255), (picture.occluder, 0)):
            if layer is not None:
                there, part = _overlap(self.shape, layer, 0, 0)
                mask[there][layer.shape[part]] = value
        return mask


def _resized(image: NDArray, x_zoom: float, y_zoom: float) -> NDArray:
    size = max(1, round(image.shape[1] * x_zoom)), max(1, round(image.shape[0] * y_zoom))
    shrinks = min(x_zoom, y_zoom) < 0.6
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _place(
    image: NDArray, middle: NDArray, share: float, reduced: float, mirrored: bool
) -> NDArray:
    """Lay a background so that a point of it (a share of its sides) is in the crop's middle.

    The target's side is ``share`` of its own. Beyond it is its mean color, or its mirror image.
    """
    zoom = TEMPLATE_SIZE / 2 / share / np.sqrt(image.shape[0] * image.shape[1])
    if reduced < 1:
        small = _resized(image, zoom * reduced, zoom * reduced)
        image = _resized(small, 1 / reduced, 1 / reduced)
    else:
        image = _resized(image, zoom, zoom)
    height, width = image.shape[:2]
    x, y = (np.clip(middle, 0.1, 0.9) * [width, height]).astype(int) - SEARCH_SIZE // 2
    canvas = image[max(0, y) : y + SEARCH_SIZE, max(0, x) : x + SEARCH_SIZE]
    edges = (
        max(0, -y),
        max(0, y + SEARCH_SIZE - height),
        max(0, -x),
        max(0, x + SEARCH_SIZE - width),
    )
    kind = cv2.BORDER_REFLECT_101 if mirrored else cv2.BORDER_CONSTANT
    return cv2.copyMakeBorder(canvas, *map(int, edges), kind, value=cv2.mean(image)[:3])


def _turned(angle: float, flip: bool) -> NDArray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if flip else 1.0, 1.0])


def _extent(cut: _CutOut, linear: NDArray) -> NDArray:
    """Width and height of a cut-out after a linear map, pixels counted as squares."""
    return np.ptp(cut.hull @ linear.T, axis=0) + np.abs(linear).sum(axis=1)


def _gains(rng: np.random.Generator, light: float, least: float = 0.0) -> NDArray:
    """Draw factors (4,) on blue, green, red and alpha, which stays; ``least`` of change or more."""
    change = rng.uniform(-light, light)
    change += np.copysign(least, change)
    return np.append(np.exp(change + rng.uniform(-0.2, 0.2, 3) * (light + least)), 1.0)


def _warped(cut: _CutOut, linear: NDArray, center: NDArray, gains: NDArray) -> _Layer:
    """Draw a cut-out with its box around ``center``, which counts pixels by their corners."""
    points = cut.hull @ linear.T
    low, high = points.min(axis=0), points.max(axis=0)
    shift = center - 0.5 - (low + high) / 2
    margin = _PAD * np.abs(linear).sum(axis=1)
    first = np.floor(low + shift - margin).astype(int)
    width, height = (np.ceil(high + shift + margin).astype(int) - first + 1).tolist()
    matrix = np.column_stack([linear, shift - first])
    image = cv2.warpAffine(cut.image, matrix, (width, height), flags=cv2.INTER_LINEAR)
    lut = np.clip(np.arange(256)[:, None] * gains, 0, 255).round().astype(np.uint8)[None]
    return _Layer(cv2.LUT(image, lut.reshape(1, 256, 4)), int(first[0]), int(first[1]))


def _reduced(layer: _Layer, factor: float) -> _Layer:
    """Lower the resolution of a layer by a factor."""
    if factor == 1:
        return layer
    height, width = layer.image.shape[:2]
    small = _resized(layer.image, factor, factor)
    return layer._replace(image=cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def _overlap(
    shape: Sequence[int], layer: _Layer, x: int, y: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a layer lies in a part of the crop that begins at x, y, and what of it lies there."""
    there, part = [], []
    for side, length, first in zip(
        shape, layer.image.shape, (layer.y - y, layer.x - x), strict=False
    ):
        low, high = min(max(first, 0), side), max(0, min(side, first + length))
        high = max(low, high)
        there.append(slice(low, high))
        part.append(slice(low - first, high - first))
    return tuple(there), tuple(part)


def _covered(target: _Layer, other: _Layer) -> float:
    """Share of a layer that another one hides."""
    shape = target.shape
    there, part = _overlap(shape.shape, other, target.x, target.y)
    return float((shape[there] & other.shape[part]).sum() / max(1, shape.sum()))
