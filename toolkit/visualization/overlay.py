"""Boxes, polygons, masks and text on frames (BGR uint8, (H, W, 3)), and results over a video.

Colors are BGR. Functions draw on the frame they are given and return it. Regions without finite
numbers are not drawn, so that absent targets need no special case.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolkit.datasets.video import Video
from toolkit.results.formats import mask_path
from toolkit.results.store import ResultStore

GREEN = (0, 255, 0)  # of ground truth
YELLOW = (0, 255, 255)  # of results
FPS = 25  # of written and shown videos
MASK_WEIGHT = 0.23  # PySOT's demo blends 0.77 frame with 0.23 mask color
_FAR = 30000  # OpenCV draws with 16-bit integers plus fraction bits


def draw_box(
    image: NDArray,
    region: Sequence[float],
    color: tuple[int, int, int] = GREEN,
    linewidth: int = 3,
    label: str | None = None,
) -> NDArray:
    """Draw a box x, y, w, h or a polygon x1, y1, ..., xn, yn in 0-based pixels, with a label."""
    import cv2

    values = np.asarray(region, np.float64).ravel()
    if len(values) < 4 or not np.isfinite(values).all():
        return image
    if len(values) == 4:
        x, y, w, h = values
        values = np.array([x, y, x + w, y, x + w, y + h, x, y + h])
    points = np.rint(np.clip(values.reshape(-1, 2), -_FAR, _FAR)).astype(np.int32)
    cv2.polylines(image, [points], True, color, linewidth)
    if label:
        x, y = points.min(axis=0)
        draw_text(image, label, (int(x), int(y) - 5), color)
    return image


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


def draw_status(image: NDArray, score: float | None = None, fps: float | None = None) -> NDArray:
    """Write the score (0 to 1) and the speed of the tracker in the upper left corner."""
    known = score is not None and np.isfinite(score)
    parts = [f"score {score:.2f}" if known else "", "" if fps is None else f"{fps:.0f} fps"]
    text = "  ".join(filter(None, parts))
    return draw_text(image, text) if text else image


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
    tinted = (1 - weight) * image[inside] + weight * np.array(color)
    image[inside] = np.rint(tinted).astype(np.uint8)
    return image


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
