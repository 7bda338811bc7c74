r"""Track one object through a video, a camera or a folder of images.

Usage:
    python tools/demo.py --config CONFIG.yaml --snapshot model.pth --video clip.mp4
    python tools/demo.py --config CONFIG.yaml --snapshot model.pth --video frames/ \
        --init-rect 261,48,39,65 --output tracked.mp4 --json boxes.json
    python tools/demo.py --config CONFIG.yaml --snapshot model.pth --video 0    # a camera

With a display, the object is chosen with the mouse and the video is shown in a window; q ends it.
Without one, --init-rect is needed and the video is written. ``KEY VALUE`` pairs override the
configuration.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from tqdm import tqdm

from pysot.cli.arguments import Parser, positive
from pysot.core.errors import RunFailed
from pysot.tracker.tracker_builder import build_tracker, load_network
from toolkit.io.files import atomic_write
from toolkit.io.video import (
    CutShortError,
    Frame,
    FrameSource,
    VideoSink,
    Window,
    open_source,
    window_available,
)
from toolkit.visualization.overlay import draw_box, draw_status

_SPEED_MEMORY = 0.9  # share of the past in the speed on screen, so that it can be read


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    add = parser.add_argument
    parser.add_config()
    add("--snapshot", required=True, type=Path, help="its weights")
    add(
        "--video_name",
        "--video-name",
        "--video",
        default="",
        metavar="SOURCE",
        help="video file, folder of images, camera number or stream URL (default: camera 0)",
    )
    add("--init-rect", type=parse_rect, metavar="X,Y,W,H", help="the object in the first frame")
    parser.add_output(text="write a video (.mp4 or .avi) instead of showing a window")
    add("--json", type=Path, metavar="FILE", help="write the boxes and scores")
    add("--max-frames", type=positive, metavar="N", help="stop after N frames")
    parser.add_overrides()
    return parser.parse_intermixed_args(argv)


def parse_rect(text: str) -> tuple[float, ...]:
    """Read ``x,y,w,h`` in 0-based pixels; w and h are positive.

    Raises:
        argparse.ArgumentTypeError: If it is something else.
    """
    try:
        box = tuple(float(part) for part in text.replace(",", " ").split())
    except ValueError:
        box = ()
    if len(box) != 4 or not all(map(math.isfinite, box)) or min(box[2:]) <= 0:
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected x,y,w,h, finite numbers with positive w and h"
        )
    return box


def main(argv: Sequence[str] | None = None) -> None:
    """Track the object and say what came of it."""
    args = parse_args(argv)
    display = window_available()
    if args.init_rect is None and not display:
        raise ValueError("there is no display to draw a box on: give --init-rect x,y,w,h")
    source = open_source(args.video_name or 0)
    title = title_of(source)
    output = args.output or (None if display else Path(f"{title}_tracked.mp4"))
    check_outputs(source, output, args.json)
    tracker = load_tracker(args.config, args.snapshot, args.opts)
    frames = iter(source)
    first = next(frames)
    rect = args.init_rect or choose_box(title, first)
    frames = islice(chain([first], frames), args.max_frames)
    track = Track(source)
    problem = ""
    # the screen is left first and takes its name then: what follows speaks of finished files
    with VideoSink(output, source.fps) if output else Screen(title, source) as screen:
        try:
            follow(tracker, rect, frames, track, screen.write)
        except CutShortError as error:
            problem = str(error)  # what there was of the video is still worth having
        except KeyboardInterrupt:
            if not source.live or not track.boxes:
                raise
    if args.json:
        write_track(args.json, track)
    print_summary(track, [path for path in (output, args.json) if path])
    if problem:
        raise RunFailed(problem)


def title_of(source: FrameSource) -> str:
    """Name of a source that may be part of a file name: ``clip`` of ``a/clip.mp4``."""
    path = source.name.rstrip("/\\").split("?")[0].replace("\\", "/")
    name = path.split("/")[-1].split(".")[0].replace(" ", "_")
    return "".join(c for c in name if c.isalnum() or c in "_-") or "video"


def check_outputs(source: FrameSource, output: Path | None, boxes: Path | None) -> None:
    """Refuse, before any work, what could not be written in the end.

    Raises:
        ValueError: If the output would replace the input, or both outputs are one file.
        OSError: If a folder cannot be made or written.
    """
    for path in (output, boxes):
        if path is None:
            continue
        if path.exists() and Path(source.name).exists() and path.samefile(source.name):
            raise ValueError(f"{path} is the video itself; choose another name for the output")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() or not os.access(path.parent, os.W_OK):
            raise OSError(f"cannot write {path}: it is a folder, or in a folder closed to you")


def load_tracker(config: str, snapshot: Path, opts: Sequence[str]) -> Any:
    """Build a tracker on the device that the configuration wants.

    Raises:
        OSError: If a file is missing.
        ValueError: If configuration or snapshot is unusable.
    """
    torch.set_num_threads(1)  # sharing the work of one target costs more than it saves
    return build_tracker(*load_network(config, snapshot, opts=opts))


def choose_box(title: str, frame: Frame) -> tuple[float, ...]:
    """Let the user draw a box x, y, w, h with the mouse.

    Raises:
        ValueError: If none was drawn.
    """
    with Window(title) as window:
        return window.select_box(frame.image)


class Screen:
    """A window that takes frames as a `VideoSink` does, at the speed of the video.

    Args:
        title: Text of its title bar.
        source: Whose speed to keep; a live source sets its own.
    """

    def __init__(self, title: str, source: FrameSource) -> None:
        self._window = Window(title)
        self._interval = 0.0 if source.live else 1 / source.fps
        self._shown = 0.0

    def __enter__(self) -> Screen:
        self._window.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._window.__exit__(*error)

    def write(self, image: NDArray) -> bool:
        """Show a frame, BGR uint8 (H, W, 3); False if the user wants no more."""
        wait = self._interval - (time.perf_counter() - self._shown)
        go_on = self._window.show(image, round(1000 * wait))
        self._shown = time.perf_counter()
        return go_on


# ------------------------------------------------------------------------------------ tracking


@dataclass
class Track:
    """What the tracker said, one entry per frame."""

    source: FrameSource
    size: tuple[int, int] = (0, 0)
    """Width and height of the frames in pixels."""
    names: list[str] = field(default_factory=list)
    boxes: list[list[float]] = field(default_factory=list)
    """x, y, w, h in 0-based pixels; the first is the one it was started on."""
    scores: list[float | None] = field(default_factory=list)
    """0 to 1; None for the first frame."""
    seconds: list[float] = field(default_factory=list)
    """Time in the tracker; reading and drawing are not included."""

    @property
    def fps(self) -> float:
        """Tracked frames per second; the first frame is not tracked."""
        return (len(self.boxes) - 1) / max(sum(self.seconds[1:]), 1e-9)

    @property
    def mean_score(self) -> float:
        """Mean score of the tracked frames; NaN if there is none."""
        scores = [score for score in self.scores if score is not None]
        return sum(scores) / len(scores) if scores else math.nan


def follow(
    tracker: Any,
    rect: Sequence[float],
    frames: Iterable[Frame],
    track: Track,
    show: Callable[[NDArray], bool | None],
) -> None:
    """Track through the frames and show each one with its box, score and speed.

    Args:
        tracker: With ``init`` and ``track``.
        rect: x, y, w, h in the first frame.
        frames: At least one.
        track: Where to note what comes out.
        show: Takes a drawn frame, BGR uint8 (H, W, 3); False ends the run.

    Raises:
        ValueError: If the box does not fit the first frame, or a frame is unusable.
    """
    count = track.source.num_frames or None
    pace = 0.0  # seconds per frame, smoothed
    for frame in tqdm(frames, "track", count, unit="frame", leave=False, ncols=100, disable=None):
        begin = time.perf_counter()
        if frame.index:
            result = tracker.track(frame.image)
        else:
            tracker.init(frame.image, rect)
            result = {"bbox": list(rect), "best_score": None}
            track.size = frame.image.shape[1], frame.image.shape[0]
        seconds = time.perf_counter() - begin
        track.names.append(frame.name)
        track.boxes.append([float(value) for value in result["bbox"]])
        track.scores.append(result["best_score"])
        track.seconds.append(seconds)
        memory = _SPEED_MEMORY if frame.index > 1 else 0.0  # the first frame is no measure
        pace = memory * pace + (1 - memory) * seconds
        image = draw_box(frame.image, result["bbox"])
        draw_status(image, result["best_score"], 1 / max(pace, 1e-9) if frame.index else None)
        if show(image) is False:
            return


# -------------------------------------------------------------------------------------- output


def write_track(path: Path, track: Track) -> None:
    """Write boxes and scores as JSON, one line per frame.

    Raises:
        OSError: If the file cannot be written.
    """
    head = {"video": track.source.name, "width": track.size[0], "height": track.size[1]}
    rows = zip(track.names, track.boxes, track.scores, strict=True)
    frames = [{"name": name, "bbox": box, "score": score} for name, box, score in rows]
    with atomic_write(path) as file:
        file.write(json.dumps(head)[:-1] + ', "frames": [\n')
        file.write(",\n".join(json.dumps(frame, allow_nan=False) for frame in frames))
        file.write("\n]}\n")


def print_summary(track: Track, written: Sequence[Path]) -> None:
    """Say how many frames were tracked, how fast and how surely, and which files there are."""
    print(
        f"{len(track.boxes)} frames, {track.fps:.1f} fps (tracker alone), "
        f"mean score {track.mean_score:.2f}"
    )
    for path in written:
        print(f"wrote {path}")
