"""Boxes, polygons, masks and text on frames (BGR uint8, (H, W, 3)), and results over a video.

Colors are BGR. Functions draw on the frame they are given and return it. Regions without finite
numbers are not drawn, so that absent targets need no special case.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.video import Video
from toolkit.results.formats import mask_path
from toolkit.results.store import ResultStore

GREEN = (0, 255, 0)  # of ground truth
YELLOW = (0, 255, 255)  # of results
FPS = 25  # of written and shown videos
MASK_WEIGHT = 0.23  # PySOT's demo blends 0.77 frame with 0.23 mask color
#: Colors of targets: the first is that of PySOT's demo; all differ on screens and in print.
PALETTE = (
    (0, 255, 0),
    (0, 170, 255),
    (255, 144, 30),
    (255, 80, 255),
    (0, 255, 255),
    (255, 255, 0),
    (80, 80, 255),
    (200, 200, 200),
)
_FAR = 30000  # OpenCV draws with 16-bit integers plus fraction bits
_PLATE = (24, 24, 24)
_PLATE_WEIGHT = 0.72
_LOST = (90, 110, 255)
_TINT = 0.4  # share of the color in a mask: more than PySOT's, to be seen on leaves and skies
_LEAST_LABELED = 96  # pixels of the short side; labels would cover what is smaller
_CURVE = 120  # frames that the curve of scores shows


@dataclass(frozen=True)
class Style:
    """What `draw_result` draws beside boxes, masks, polygons and scores."""

    trail: int = 0
    """Frames of the past whose centers are joined by a line."""
    curve: bool = False
    """Whether a panel shows the scores of the last frames."""
    search: bool = False
    """Whether the window that was searched is outlined."""


class History:
    """Centers and scores of the last frames, from which trails and curves are drawn."""

    def __init__(self, length: int = _CURVE) -> None:
        self.length = length
        self.centers: dict[int, deque[tuple[float, float]]] = {}
        self.scores: dict[int, deque[float]] = {}

    def add(self, result: Any) -> None:
        """Remember a result; targets that are gone are forgotten."""
        for past in (self.centers, self.scores):
            for number in past.keys() - result.targets.keys():
                del past[number]
        for number, target in result.targets.items():
            x, y, w, h = target.box
            kept = self.centers.setdefault(number, deque(maxlen=self.length))
            kept.append((x + w / 2, y + h / 2))
            self.scores.setdefault(number, deque(maxlen=self.length)).append(target.score)


def draw_box(
    image: NDArray,
    region: Sequence[float],
    color: tuple[int, int, int] = GREEN,
    linewidth: int = 3,
    label: str | None = None,
) -> NDArray:
    """Draw a box x, y, w, h or a polygon x1, y1, ..., xn, yn in 0-based pixels, with a label."""
    import cv2

    points = _corners(region)
    if points is None:
        return image
    cv2.polylines(image, [points], True, color, linewidth)
    if label:
        x, y = points.min(axis=0)
        draw_text(image, label, (int(x), int(y) - 5), color)
    return image


def _corners(region: Sequence[float]) -> NDArray | None:
    """Return the corners of a region in whole pixels, (N, 2) int32; None if it is not finite."""
    values = np.asarray(region, np.float64).ravel()
    if len(values) < 4 or not np.isfinite(values).all():
        return None
    if len(values) == 4:
        x, y, w, h = values
        values = np.array([x, y, x + w, y, x + w, y + h, x, y + h])
    return np.rint(np.clip(values.reshape(-1, 2), -_FAR, _FAR)).astype(np.int32)


def draw_text(
    image: NDArray,
    text: str,
    position: tuple[int, int] = (10, 25),
    color: tuple[int, int, int] = GREEN,
    scale: float = 0.6,
) -> NDArray:
    """Write a line of text (ASCII alone before OpenCV 5) with a dark rim, readable anywhere.

    It begins at ``position`` x, y, moved into the frame if outside. Scale 1 is about 22 pixels.
    """
    import cv2

    font = cv2.FONT_HERSHEY_SIMPLEX
    (width, height), _ = cv2.getTextSize(text, font, scale, 1)
    x = int(np.clip(position[0], 0, max(0, image.shape[1] - width)))
    y = int(np.clip(position[1], height + 1, max(height + 1, image.shape[0] - 4)))
    # The rim is the same text moved: OpenCV 5 spaces bolder letters differently.
    for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1), (1, 1)):
        cv2.putText(image, text, (x + dx, y + dy), font, scale, (0, 0, 0), 1, cv2.LINE_AA)
    cv2.putText(image, text, (x, y), font, scale, color, 1, cv2.LINE_AA)
    return image


def draw_result(
    image: NDArray,
    result: Any,
    style: Style = Style(),
    history: History | None = None,
    status: str = "",
) -> NDArray:
    """Draw all targets of a frame, each in its color.

    A mask is blended and outlined, a polygon stands in place of the box, which a target without
    mask has; that of a lost target is dashed. The plate above holds its number if there are
    several, its score and whether it is lost. Lines and text grow with the frame.

    Args:
        image: Frame to draw on.
        result: A ``pysot.FrameResult``, or what has its ``targets``.
        style: What else to draw.
        history: What trails and curves are drawn of; it must have this result too.
        status: Text for the upper left corner.
    """
    past = history or History()
    line = line_width(image)
    for number, target in result.targets.items():
        color = PALETTE[number % len(PALETTE)]
        if target.mask is not None:
            _draw_mask(image, target.mask, color, line)
        if style.search and target.search is not None:
            draw_box(image, target.search, _dimmed(color), max(1, line // 3))
        if style.trail:
            _draw_trail(image, list(past.centers.get(number, ()))[-style.trail :], color, line)
        region = target.box if target.polygon is None else target.polygon
        (_draw_dashed if target.lost else draw_box)(image, region, color, line)
    labeled = result.targets.items() if min(image.shape[:2]) >= _LEAST_LABELED else ()
    for number, target in labeled:  # above all lines
        name = f"{number}" if len(result.targets) > 1 else ""
        _label(image, name, target, PALETTE[number % len(PALETTE)])
    if style.curve:
        _draw_curve(image, past.scores)
    return draw_plate(image, status, (0, 0)) if status else image


def _dimmed(color: tuple[int, int, int]) -> tuple[int, ...]:
    return tuple(value * 2 // 3 for value in color)


def line_width(image: NDArray) -> int:
    """Return the width of lines in pixels for a frame."""
    return max(1, round(min(image.shape[:2]) / 260))


def _text_scale(image: NDArray) -> float:
    """Scale of text whose capitals have 2.8 % of the short side, and 8 pixels at least."""
    return max(8.0, 0.028 * min(image.shape[:2])) / 22


def draw_plate(
    image: NDArray,
    text: str,
    position: tuple[int, int],
    color: tuple[int, int, int] = (255, 255, 255),
    above: bool = False,
) -> NDArray:
    """Write a line of text on a dark plate, as large as the frame needs.

    The plate's upper left corner is at ``position`` x, y, or its lower left one with ``above``; it
    is moved into the frame if outside.
    """
    import cv2

    font, scale = cv2.FONT_HERSHEY_SIMPLEX, _text_scale(image)
    thick = max(1, round(1.6 * scale))
    (width, height), base = cv2.getTextSize(text, font, scale, thick)
    pad = max(2, round(6 * scale))
    w, h = width + 2 * pad, height + base + pad
    x = int(np.clip(position[0], 0, max(0, image.shape[1] - w)))
    y = int(np.clip(position[1] - h * above, 0, max(0, image.shape[0] - h)))
    plate = image[y : y + h, x : x + w]
    plate[:] = _tinted(plate, _PLATE, _PLATE_WEIGHT)
    cv2.putText(
        image, text, (x + pad, y + pad // 2 + height), font, scale, color, thick, cv2.LINE_AA
    )
    return image


def _label(image: NDArray, name: str, target: Any, color: tuple[int, int, int]) -> None:
    """Write number, score and state of a target above it."""
    known = np.isfinite(target.score)
    parts = (name, f"{target.score:.2f}" if known else "", "lost" if target.lost else "")
    text = "  ".join(filter(None, parts))
    corners = _corners(target.box if target.polygon is None else target.polygon)
    if not text or corners is None:
        return
    x, y = corners.min(axis=0).tolist()
    draw_plate(image, text, (x, y - 2 * line_width(image)), _LOST if target.lost else color, True)


def _draw_mask(image: NDArray, mask: NDArray, color: tuple[int, int, int], line: int) -> None:
    import cv2

    blend_mask(image, mask, color, _TINT)
    shape = mask.astype(np.uint8)
    contours, _ = cv2.findContours(shape, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(image, contours, -1, color, max(1, line // 2), cv2.LINE_AA)


def _draw_trail(
    image: NDArray, centers: list[tuple[float, float]], color: tuple[int, int, int], line: int
) -> None:
    """Join centers, thicker towards the last one."""
    import cv2

    known = [center for center in centers if np.isfinite(center).all()]
    points = np.rint(np.clip(np.reshape(known, (-1, 2)), -_FAR, _FAR)).astype(int).tolist()
    for index, (start, end) in enumerate(pairwise(points), 1):
        width = max(1, round(1.5 * line * index / len(points)))
        cv2.line(image, start, end, color, width, cv2.LINE_AA)


def _draw_dashed(
    image: NDArray, region: Sequence[float], color: tuple[int, int, int], line: int
) -> None:
    import cv2

    corners = _corners(region)
    if corners is None:
        return
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        count = max(3, round(float(np.linalg.norm(end - start)) / (8 * line)) | 1)
        points = np.rint(np.linspace(start, end, count + 1)).astype(int).tolist()
        for a, b in zip(points[::2], points[1::2], strict=True):
            cv2.line(image, a, b, color, line, cv2.LINE_AA)


def _draw_curve(image: NDArray, scores: Mapping[int, Sequence[float]]) -> None:
    """Draw the scores of the last frames into the lower left corner, from 0 to 1."""
    import cv2

    height, width = round(0.2 * image.shape[0]), round(0.36 * image.shape[1])
    top = image.shape[0] - height
    panel = image[top:, :width]
    panel[:] = _tinted(panel, _PLATE, _PLATE_WEIGHT)
    pad = max(2, height // 12)
    for number, past in scores.items():
        values = np.array(past, np.float64)
        x = pad + (width - 2 * pad) * np.arange(_CURVE - len(values), _CURVE) / (_CURVE - 1)
        y = height - pad - (height - 2 * pad) * np.clip(values, 0, 1)
        points = np.rint(np.stack([x, y], axis=1)[np.isfinite(values)]).astype(np.int32)
        color = PALETTE[number % len(PALETTE)]
        cv2.polylines(panel, [points], False, color, max(1, line_width(image) // 2), cv2.LINE_AA)
    draw_plate(image, "score", (0, top), above=True)


def blend_mask(
    image: NDArray,
    mask: NDArray,
    color: tuple[int, int, int] = GREEN,
    weight: float = MASK_WEIGHT,
) -> NDArray:
    """Tint the pixels of a mask (H, W) with ``weight`` of a color and the rest of the frame.

    Raises:
        ValueError: If mask and frame differ in size.
    """
    if mask.shape != image.shape[:2]:
        raise ValueError(f"a mask of shape {mask.shape} does not fit a frame {image.shape[:2]}")
    inside = mask.astype(bool)
    image[inside] = _tinted(image[inside], color, weight)
    return image


def _tinted(pixels: NDArray, color: tuple[int, int, int], weight: float) -> NDArray:
    return np.rint((1 - weight) * pixels + weight * np.array(color)).astype(np.uint8)


def drawn_frames(video: Video, store: ResultStore) -> Iterator[NDArray]:
    """Yield the frames, BGR uint8 (H, W, 3), with ground truth (green) and result (yellow).

    The first repetition is drawn; masks show in the colors of their labels.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If the result is not of that layout, or has another number of frames.
    """
    files = store.files(video.name)
    if store.layout == "masks":
        yield from _frames_with_masks(video, files.regions)
        return
    regions = store.read(files).regions
    for index, ((image, truth), region) in enumerate(zip(video, regions, strict=True)):
        draw_box(image, truth, GREEN, linewidth=2)
        draw_box(image, region, YELLOW, linewidth=2)
        yield draw_text(image, f"#{index}", color=YELLOW)


def _frames_with_masks(video: Video, folder: Path) -> Iterator[NDArray]:
    from toolkit.io.images import label_colors, read_labels

    colors = label_colors()[:, ::-1]
    for index, (image, _) in enumerate(video):
        labels = read_labels(mask_path(folder, video.img_names[index]), exact=True)
        for label in np.unique(labels[labels > 0]).tolist():
            blend_mask(image, labels == label, tuple(colors[label % 256].tolist()))
        yield draw_text(image, f"#{index}", color=YELLOW)


def write_video(path: Path, frames: Iterator[NDArray]) -> None:
    """Write drawn frames, BGR uint8 (H, W, 3), as a video file; raises OSError if it cannot."""
    from toolkit.io.video_writer import open_video_writer

    with open_video_writer(path, fps=FPS) as sink:
        for image in frames:
            sink.write(image)


def play(title: str, frames: Iterator[NDArray]) -> None:
    """Play drawn frames in a window until their end, or until the user presses q."""
    from toolkit.io.video import Window

    with Window(title, FPS) as window:
        for image in frames:
            if not window.write(image):
                return
