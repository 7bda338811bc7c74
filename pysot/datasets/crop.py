"""Training crops in PySOT's format: each object in the middle of a 511-pixel square.

A data set is a folder of crops and one annotation file. An object in a frame of a video has the
crops ``<root>/<video>/<frame %06d>.<track %02d>.x.jpg`` (search, 511 pixels), ``.z.jpg`` (template,
127 pixels) and, where it is known, ``.m.png`` (mask of the search crop); the annotation is
``{video: {track: {frame: [x1, y1, x2, y2]}}}``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from toolkit.io.files import write_bytes

TEMPLATE_SIZE = 127
SEARCH_SIZE = 511
CONTEXT_AMOUNT = 0.5

_TILE = 2  # 16-pixel columns between the restart markers of a JPEG


@dataclass(frozen=True)
class CropForm:
    """What is written for an object in a frame, beside its mask."""

    size: int = SEARCH_SIZE  # side of the search crop in pixels
    template: bool = True  # whether to write the template crop too: PySOT does, and never reads it
    # whether the search crop has restart markers, by which a part of it can be decoded alone; its
    # pixels are the same, its file is about a tenth larger
    tiles: bool = False

    @property
    def jpeg_options(self) -> tuple[int, ...]:
        """Flags of ``cv2.imencode``; without tiles OpenCV's defaults, as PySOT has them."""
        return (cv2.IMWRITE_JPEG_RST_INTERVAL, _TILE) if self.tiles else ()


Annotation = dict[str, dict[str, dict[str, list[float]]]]
"""Video -> track -> frame -> box (x1, y1, x2, y2) in pixels of the original image."""


def crop_pair(
    image: NDArray, box_xyxy: Sequence[float], padding: Sequence[float] | None = None
) -> tuple[NDArray, NDArray]:
    """Cut the template (127, 127, 3) and search crop (511, 511, 3) of an object in a BGR image.

    The template shows a square of side sqrt((w + c)(h + c)), c = (w + h) / 2, around the object
    (SiamFC, section 2.4, with context amount 0.5); the search crop shows 511 / 127 as much.
    ``padding`` is the color outside the image, in place of the image's mean.

    Raises:
        ValueError: If the image is not (H, W, 3) uint8 or the box is not finite or has no area.
    """
    check_box(box_xyxy)
    fill = cv2.mean(image)[:3] if padding is None else padding
    image = _four_channels(image)
    return tuple(_crop(image, box_xyxy, size, fill) for size in (TEMPLATE_SIZE, SEARCH_SIZE))


def check_box(box_xyxy: Sequence[float]) -> None:
    """Raise ValueError unless a box x1, y1, x2, y2 is finite and has an area."""
    x1, y1, x2, y2 = (float(v) for v in box_xyxy)
    if not (np.isfinite([x1, y1, x2, y2]).all() and x2 > x1 and y2 > y1):
        raise ValueError(f"box {list(box_xyxy)} has no area; expected x1 < x2 and y1 < y2")


def _four_channels(image: NDArray) -> NDArray:
    """Add a channel: OpenCV warps four in less than half the time that it takes for three."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"expected a (H, W, 3) uint8 image, got {image.shape} {image.dtype}")
    return cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)


def _crop(image: NDArray, box_xyxy: Sequence[float], size: int, fill: Sequence[float]) -> NDArray:
    """Warp the square around a box of a BGRA image."""
    crop = cv2.warpAffine(
        image,
        _square(box_xyxy, size),
        (size, size),
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(*(float(v) for v in fill), 0.0),
    )
    return cv2.cvtColor(crop, cv2.COLOR_BGRA2BGR)


def _square(box_xyxy: Sequence[float], size: int) -> NDArray:
    """Affine map of the square around a box; its corners fall on the middles of corner pixels."""
    x1, y1, x2, y2 = (float(v) for v in box_xyxy)
    context = CONTEXT_AMOUNT * (x2 - x1 + y2 - y1)
    side = float(np.sqrt((x2 - x1 + context) * (y2 - y1 + context)))
    side = side * size / TEMPLATE_SIZE
    scale = (size - 1) / side
    shift = [-scale * (c - side / 2) for c in ((x1 + x2) / 2, (y1 + y2) / 2)]
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])


def crop_mask(mask: NDArray, box_xyxy: Sequence[float], size: int = SEARCH_SIZE) -> NDArray:
    """Cut a mask, (H, W), as :func:`crop_pair` cuts the search crop: (size, size) uint8, 0 or 255.

    Each value is that of the nearest pixel; it is 0 outside the image.
    """
    binary = np.where(mask, np.uint8(255), np.uint8(0))
    return cv2.warpAffine(binary, _square(box_xyxy, size), (size, size), flags=cv2.INTER_NEAREST)


def crop_name(frame: int, track: int | str, kind: str) -> str:
    """Name of a crop's file, for example ``000012.00.x.jpg``; masks end in ``.png``.

    ``track`` is the object's number in the video, or its name in the annotations. ``kind`` is "x"
    for the search crop, "z" for the template, "m" for the search crop's mask.
    """
    name = track if isinstance(track, str) else f"{track:02d}"
    return f"{frame:06d}.{name}.{kind}.{'png' if kind == 'm' else 'jpg'}"


def write_crops(
    folder: Path,
    image: NDArray,
    boxes_xyxy: Mapping[int, Sequence[float]],
    frame: int,
    masks: Mapping[int, NDArray] | None = None,
    form: CropForm = CropForm(),
) -> None:
    """Write the crops of all objects in one frame, (H, W, 3) uint8 BGR, to a folder, which is made.

    Templates and masks that are there of these objects, and not wanted or known now, are removed.
    ``boxes_xyxy`` and ``masks`` have the tracks' numbers as keys; masks may be missing.

    Raises:
        OSError: If a file cannot be written.
        ValueError: If the image or a box is unusable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    padding = cv2.mean(image)[:3]
    image = _four_channels(image)
    for track, box in boxes_xyxy.items():
        check_box(box)
        template, masked = (folder / crop_name(frame, track, kind) for kind in "zm")
        if form.template:
            write_image(template, _crop(image, box, TEMPLATE_SIZE, padding))
        else:
            template.unlink(missing_ok=True)
        if masks and track in masks:
            mask = crop_mask(masks[track], box, form.size)
            write_image(masked, mask, (cv2.IMWRITE_PNG_BILEVEL, 1))
        else:
            masked.unlink(missing_ok=True)
        crop = _crop(image, box, form.size, padding)
        write_image(folder / crop_name(frame, track, "x"), crop, form.jpeg_options)


def write_image(path: Path, image: NDArray, options: Sequence[int] = ()) -> None:
    """Write an image, (H, W) or (H, W, 3) uint8 BGR, whole or not at all, as its suffix says.

    ``options`` are flags of ``cv2.imencode``.

    Raises:
        OSError: If the file cannot be written.
    """
    encoded, data = cv2.imencode(path.suffix, image, list(options))
    if not encoded:
        raise OSError(f"{path}: OpenCV cannot encode an image of shape {image.shape}")
    write_bytes(path, data.tobytes())


def write_annotation(path: Path, annotation: Annotation) -> None:
    """Write an annotation file, and its folder: indented by 4, keys sorted."""
    write_bytes(path, json.dumps(annotation, indent=4, sort_keys=True).encode())
