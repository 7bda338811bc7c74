"""Random changes to a training crop and the box in it.

Images are BGR, (H, W, 3); boxes are ``Corner`` (x1, y1, x2, y2) in 0-based pixels of the image.
Randomness comes from the generator that is passed in, and from nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pysot.core.registry import AUGMENTATIONS
from pysot.core.settings import VideoKeys
from pysot.datasets.crop_store import EncodedCrop
from pysot.utils.bbox import Corner

# Principal components of RGB color in natural images (AlexNet, section 4.1), as rows.
_COLOR_AXES = np.array(
    [
        [-0.55919361, 0.98062831, -0.41940627],
        [1.72091413, 0.19879334, -1.82968581],
        [4.64467907, 4.73710203, 4.88324118],
    ]
)
_BLUR_SIZES = np.arange(5, 46, 2)
_AROUND = 2  # pixels
_FLAT = 12  # range of values below which a row or column of pixels is padding
_LEAST = 64  # rows or columns that are left, at least


@AUGMENTATIONS.register("default")
@dataclass(frozen=True)
class Augmentation:
    """Strengths and probabilities of the changes; keys of ``DATASET.TEMPLATE`` and ``.SEARCH``.

    ``shift`` is the largest displacement in pixels of the crop, ``scale`` the largest relative
    change of size, per axis; ``blur``, ``flip`` (left to right) and ``color`` are probabilities.
    """

    shift: float = 0.0
    scale: float = 0.0
    blur: float = 0.0
    flip: float = 0.0
    color: float = 0.0

    def __call__(
        self,
        image: NDArray,
        box: Corner,
        size: int,
        rng: np.random.Generator,
        gray: bool = False,
    ) -> tuple[NDArray, Corner]:
        """Cut size x size pixels out of a crop, its target in the center, and change them.

        The steps are gray (if asked for: the caller decides for both images of a pair), scale and
        shift in one warp, color, blur, flip. The order of the draws is PySOT's too.

        Returns:
            Image (size, size, 3), float32, values of about 0..255 (a color offset is not
            clipped), and the target in it.
        """
        window = draw_window(image.shape[:2], size, self.scale, self.shift, rng)
        image = _cut_window(_to_gray(image) if gray else image, window, size).astype(np.float32)
        image, offset, box, _ = self._change(image, box, None, window, size, rng)
        return image - offset, box

    def in_bytes(
        self,
        image: NDArray | EncodedCrop,
        box: Corner,
        mask: NDArray | None,
        size: int,
        rng: np.random.Generator,
        gray: bool = False,
    ) -> tuple[NDArray, NDArray, Corner, NDArray | None]:
        """Do the same with 8 bits per value, and decode only the part of the crop that is shown.

        A mask, (H, W) uint8 or None, moves as the image does, and changes no draw.

        Returns:
            Image (size, size, 3) uint8; the color (3,) float32 to subtract from it, after which it
            is the image of :meth:`__call__`, but for a blur being rounded to whole values; the
            target; the mask (size, size), each value from the nearest pixel, 0 beyond the crop.
        """
        window = draw_window(image.shape[:2], size, self.scale, self.shift, rng)
        part, shown = _part_of(image, window)
        part = _cut_window(_to_gray(part) if gray else part, shown, size)
        return self._change(part, box, mask, window, size, rng)

    def _change(
        self,
        image: NDArray,
        box: Corner,
        mask: NDArray | None,
        window: Corner,
        size: int,
        rng: np.random.Generator,
    ) -> tuple[NDArray, NDArray, Corner, NDArray | None]:
        """Do what comes after the warp of the image; a blur leaves the color offset as it is."""
        if mask is not None:
            mask = _cut_window(mask, window, size, cv2.INTER_NEAREST)
        box = _box_in_window(box, window, size)
        offset = _color_offset(rng) if self.color > rng.random() else np.zeros(3, np.float32)
        if self.blur > rng.random():
            image = motion_blur(image, rng)
        if self.flip and self.flip > rng.random():
            image, box = mirror(image, box)
            mask = None if mask is None else cv2.flip(mask, 1)
        return image, offset, box, mask


@AUGMENTATIONS.register("video")
@dataclass(frozen=True)
class VideoAugmentation(Augmentation, VideoKeys):
    """What happens to a target in video: it moves, its light changes, and the camera is a poor one.

    ``shift`` is the largest displacement in pixels of the result, ``scale`` the largest change of
    size as a logarithm; ``color``, ``blur`` and ``flip`` are probabilities, as in its base. The
    other fields are explained where they are declared.
    """

    def __call__(
        self,
        image: NDArray,
        box: Corner,
        size: int,
        rng: np.random.Generator,
        gray: bool = False,
    ) -> tuple[NDArray, Corner]:
        """Return the image of :meth:`in_bytes` as float32, and the target in it."""
        image, _, box, _ = self.in_bytes(image, box, None, size, rng, gray)
        return image.astype(np.float32), box

    def in_bytes(
        self,
        image: NDArray | EncodedCrop,
        box: Corner,
        mask: NDArray | None,
        size: int,
        rng: np.random.Generator,
        gray: bool = False,
    ) -> tuple[NDArray, NDArray, Corner, NDArray | None]:
        """Cut size x size pixels out of a crop and change them; the color to subtract is 0.

        See the method of the base, which has other draws.
        """
        window = self._window(image.shape[:2], size, rng)
        if self.reflect and self.reflect > rng.random():
            image = _reflected(image[0:, 0:])
        part, shown = _part_of(image, window)
        part = _cut_window(part, shown, size)
        mask = None if mask is None else _cut_window(mask, window, size, cv2.INTER_NEAREST)
        box = _box_in_window(box, window, size)
        if self.flip > rng.random():
            part, box = mirror(part, box)
            mask = None if mask is None else cv2.flip(mask, 1)
        part = self._colored(part, rng, gray)
        return self._recorded(part, rng), np.zeros(3, np.float32), box, mask

    def _window(self, shape: tuple[int, int], size: int, rng: np.random.Generator) -> Corner:
        """Draw the part of a crop that is shown; it does not go beyond the crop's border."""
        limits = np.array([shape[1], shape[0]], dtype=float)
        scale, aspect = rng.uniform(-self.scale, self.scale), rng.uniform(-self.aspect, self.aspect)
        zoom = np.exp([scale + aspect / 2, scale - aspect / 2])
        sides = np.minimum((size - 1) / zoom, limits - 1)
        far = self.shift * (0.5 if self.near > rng.random() else 1.0)
        low = limits // 2 - sides / 2 - rng.uniform(-far, far, 2) * sides / (size - 1)
        low = np.clip(low, 0, limits - 1 - sides)
        return Corner(*low, *(low + sides))

    def _colored(self, image: NDArray, rng: np.random.Generator, gray: bool) -> NDArray:
        """Change light and colors, by one table of values for each channel."""
        values = np.arange(256, dtype=np.float32)[:, None].repeat(3, axis=1)
        if self.light > rng.random():
            contrast = math.exp(rng.uniform(-self.contrast, self.contrast))
            mean = sum(cv2.mean(image)[:3]) / 3
            values = (values - mean) * contrast + mean
            values += rng.uniform(-self.brightness, self.brightness)
        saturation = 1.0
        if self.color > rng.random():
            values = np.clip(values, 0, 255) * np.exp(rng.uniform(-self.tint, self.tint, 3))
            if rng.random() < 0.5:
                saturation += rng.uniform(-self.saturation, self.saturation)
        if (self.gray > rng.random()) or gray:
            saturation = 0.0
        table = np.clip(values, 0, 255).round().astype(np.uint8)[None]
        image = cv2.LUT(image, table)
        if saturation == 1:
            return image
        return cv2.addWeighted(image, saturation, _to_gray(image), 1 - saturation, 0)

    def _recorded(self, image: NDArray, rng: np.random.Generator) -> NDArray:
        """Blur an image, lower its resolution, add noise and compress it, each perhaps."""
        if self.blur > rng.random():
            length = int(rng.integers(3, self.blur_length + 1))
            image = cv2.filter2D(image, -1, line_kernel(length, rng.uniform(0, np.pi)))
        if self.low_resolution > rng.random():
            factor = rng.uniform(self.reduction, max(self.reduction, 0.7))
            size = image.shape[1], image.shape[0]
            small = tuple(max(8, int(side * factor)) for side in size)
            image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
            image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        if self.noise > rng.random():
            deviation = rng.uniform(self.deviation / 5, self.deviation)
            noise = rng.standard_normal(image.shape, dtype=np.float32) * deviation
            image = cv2.add(image, noise.round().astype(np.int16), dtype=cv2.CV_8U)
        if self.jpeg > rng.random():
            quality = int(rng.integers(self.quality, 81))
            file = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            image = cv2.imdecode(file, cv2.IMREAD_COLOR)
        return image


def inner_part(image: NDArray) -> tuple[slice, slice]:
    """Find rows and columns of a crop, (H, W, 3) uint8, between those of one color at its borders.

    These show what is beyond the original image. Of small images all are returned.
    """
    parts = [slice(0, side) for side in image.shape[:2]]
    for _ in range(2):  # a column of the image lies between two of padding
        for axis in (1, 0):
            part = image[tuple(parts)]
            ends = (cv2.reduce(part, 1 - axis, kind) for kind in (cv2.REDUCE_MAX, cv2.REDUCE_MIN))
            spread = cv2.absdiff(*ends).reshape(-1, image.shape[2]).max(axis=-1)
            inner = np.flatnonzero(spread > _FLAT)
            if len(inner) > _LEAST:
                cut = 2 * (len(inner) < len(spread))  # JPEG mixes it with the image
                first = parts[axis].start
                parts[axis] = slice(first + inner[0] + cut, first + inner[-1] + 1 - cut)
    return tuple(parts)


def _reflected(image: NDArray) -> NDArray:
    """Replace the padding of a crop by the mirror image of what is beside it."""
    rows, columns = inner_part(image)
    edges = rows.start, image.shape[0] - rows.stop, columns.start, image.shape[1] - columns.stop
    return cv2.copyMakeBorder(image[rows, columns], *map(int, edges), cv2.BORDER_REFLECT_101)


def line_kernel(length: int, angle: float) -> NDArray:
    """Make a filter that averages along a line: of ``length`` pixels, ``angle`` in radians."""
    side, half = length | 1, (length - 1) / 2
    kernel = np.zeros((side, side), np.float32)
    steps = np.linspace(-half, half, 2 * length)
    columns = np.round(side // 2 + steps * np.cos(angle)).astype(int)
    rows = np.round(side // 2 + steps * np.sin(angle)).astype(int)
    np.add.at(kernel, (rows, columns), 1 / len(steps))
    return kernel


def draw_window(
    shape: tuple[int, int], size: int, scale: float, shift: float, rng: np.random.Generator
) -> Corner:
    """Draw the part of a crop, (height, width), that becomes an input of ``size`` pixels per side.

    An undisturbed window spans ``size - 1`` pixels around the crop's center (side // 2); no window
    goes beyond the crop's border. Draws are made only for what is above 0.
    """
    limits = np.array([shape[1], shape[0]], dtype=float)
    center, sides = limits // 2, np.full(2, size - 1.0)
    if scale:
        factors = np.array([1 + (rng.random() * 2 - 1) * scale for _ in range(2)])
        sides = sides * np.minimum(factors, limits / sides)
    low, high = center - sides / 2, center + sides / 2
    if shift:
        moves = np.array([(rng.random() * 2 - 1) * shift for _ in range(2)])
        moves = np.maximum(-low, np.minimum(limits - 1 - high, moves))
        low, high = low + moves, high + moves
    return Corner(low[0], low[1], high[0], high[1])


def _cut_window(
    image: NDArray, window: Corner, size: int, interpolation: int = cv2.INTER_LINEAR
) -> NDArray:
    """Warp a window to (size, size); its corners become the centers of the corner pixels."""
    x_zoom = (size - 1) / (window.x2 - window.x1)
    y_zoom = (size - 1) / (window.y2 - window.y1)
    matrix = np.array([[x_zoom, 0, -x_zoom * window.x1], [0, y_zoom, -y_zoom * window.y1]])
    is_color = image.ndim == 3 and image.dtype == np.uint8
    if is_color:  # OpenCV warps four channels in half the time of three, to the same values
        image = cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)
    image = cv2.warpAffine(
        image, matrix, (size, size), flags=interpolation, borderMode=cv2.BORDER_CONSTANT
    )
    return cv2.cvtColor(image, cv2.COLOR_BGRA2BGR) if is_color else image


def _part_of(image: NDArray | EncodedCrop, window: Corner) -> tuple[NDArray, Corner]:
    """Cut out what a window shows, and a little more to interpolate; move the window into it."""
    height, width = image.shape[:2]
    x1, y1 = (max(0, math.floor(low) - _AROUND) for low in (window.x1, window.y1))
    x2, y2 = math.ceil(window.x2) + 1 + _AROUND, math.ceil(window.y2) + 1 + _AROUND
    part = image[y1 : min(height, y2), x1 : min(width, x2)]
    return part, Corner(window.x1 - x1, window.y1 - y1, window.x2 - x1, window.y2 - y1)


def _box_in_window(box: Corner, window: Corner, size: int) -> Corner:
    """Express a box of the crop in pixels of the warped window."""
    x_scale = (window.x2 - window.x1) / (size - 1)
    y_scale = (window.y2 - window.y1) / (size - 1)
    return Corner(
        (box.x1 - window.x1) / x_scale,
        (box.y1 - window.y1) / y_scale,
        (box.x2 - window.x1) / x_scale,
        (box.y2 - window.y1) / y_scale,
    )


def _to_gray(image: NDArray) -> NDArray:
    """Remove the colors of a BGR image; it keeps three channels."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def _color_offset(rng: np.random.Generator) -> NDArray:
    """Draw a color, (3,) float32 in BGR, to subtract from every pixel."""
    return (_COLOR_AXES @ rng.standard_normal(3))[::-1].astype(np.float32)


def motion_blur(image: NDArray, rng: np.random.Generator) -> NDArray:
    """Average along a column and a row of pixels, with random weights w and 1 - w.

    This equals a filter whose kernel is a cross, at the cost of two box filters.
    """
    size = int(rng.choice(_BLUR_SIZES))
    weight = rng.random()
    column = cv2.boxFilter(image, cv2.CV_32F, (1, size))
    row = cv2.boxFilter(image, cv2.CV_32F, (size, 1))
    depth = cv2.CV_8U if image.dtype == np.uint8 else cv2.CV_32F
    return cv2.addWeighted(column, weight, row, 1 - weight, 0, dtype=depth)


def mirror(image: NDArray, box: Corner) -> tuple[NDArray, Corner]:
    """Mirror an image and its box from left to right: pixel 0 becomes pixel W - 1."""
    last = image.shape[1] - 1
    return cv2.flip(image, 1), Corner(last - box.x2, box.y1, last - box.x1, box.y2)
