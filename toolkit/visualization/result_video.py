"""Results drawn on the frames of their video, in a file or in a window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from numpy.typing import NDArray

from toolkit.datasets.video import Video
from toolkit.io.video import VideoSink, Window
from toolkit.results.formats import mask_path
from toolkit.results.store import ResultStore
from toolkit.visualization.overlay import GREEN, blend_mask, draw_box, draw_text

YELLOW = (0, 255, 255)
FPS = 25


def drawn_frames(video: Video, store: ResultStore) -> Iterator[NDArray]:
    """Yield the frames, BGR uint8 (H, W, 3), with ground truth (green) and result (yellow).

    Args:
        video: The video.
        store: The tracker's results, of which the first repetition is drawn. Masks show in the
            colours of their labels.

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
    from toolkit.io.labels import label_colors, read_labels

    colors = label_colors()[:, ::-1]
    for index, (image, _) in enumerate(video):
        labels = read_labels(mask_path(folder, video.img_names[index]))
        for label in sorted(set(labels.ravel().tolist()) - {0}):
            blend_mask(image, labels == label, tuple(colors[label % 256].tolist()))
        yield draw_text(image, f"#{index}", color=YELLOW)


def write_video(path: Path, frames: Iterator[NDArray]) -> None:
    """Write drawn frames, BGR uint8 (H, W, 3), as a video file.

    Raises:
        OSError: If it cannot be written.
    """
    with VideoSink(path, FPS) as sink:
        for image in frames:
            sink.write(image)


def play(title: str, frames: Iterator[NDArray]) -> None:
    """Play drawn frames in a window until their end, or until the user presses q."""
    with Window(title, FPS) as window:
        for image in frames:
            if not window.write(image):
                return
