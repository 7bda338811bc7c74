r"""Track one object through a video, a camera or a folder of images.

Without --config, --snapshot and --model the tracker is siamrpn_lite0, which comes with the package.
With a display, the object is chosen with the mouse and the video is shown in a window; q ends it.
Without one, --init-rect is needed and the video is written. What was tracked is written, whatever
ends the run; Ctrl-C is how a camera ends. ``KEY VALUE`` pairs override the configuration.

Examples:
    pysot demo --video clip.mp4
    pysot demo --video frames/ --init-rect 261,48,39,65 --output tracked.mp4 \
        --json boxes.json
    pysot demo --config CONFIG.yaml --snapshot model.pth --video clip.mp4
    pysot demo --model siammask_lite0 --video 0    # a camera
    pysot demo --web --clips videos/    # in a browser; see docs/web.md
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pysot.cli import (
    Parser,
    find_tracker,
    message_of,
    positive,
    progress_bar,
    stop_requests,
)
from pysot.cli.demo_web import add_web_options, check_web_options, serve_page
from pysot.core import RunFailed, StopRequest
from pysot.tracker.tracker_builder import build_tracker, load_network
from pysot.zoo import DEFAULT
from toolkit.io.files import atomic_write
from toolkit.io.video import Frame, FrameSource, Window, open_source, window_available
from toolkit.io.video_writer import open_video_writer
from toolkit.protocols.runner import FAILURES
from toolkit.results.trajectory import Trajectory
from toolkit.visualization.overlay import draw_box, draw_status

_SPEED_MEMORY = 0.9  # share of the past in the speed on screen, so that it can be read


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    add = parser.add_argument
    parser.add_tracker()
    names = ("--video_name", "--video-name", "--video")
    text = "video file, folder of images, camera number or stream URL (default: camera 0)"
    add(*names, default="", metavar="SOURCE", help=text)
    add("--init-rect", type=_parse_rect, metavar="X,Y,W,H", help="the object in the first frame")
    parser.add_output(text="write a video (.mp4 or .avi) instead of showing a window")
    add("--json", type=Path, metavar="FILE", help="write the boxes and scores")
    add("--max-frames", type=positive, metavar="N", help="stop after N frames")
    add_web_options(parser)
    parser.add_overrides()
    args = parser.parse_intermixed_args(argv)
    check_web_options(parser, args)
    return args


def _parse_rect(text: str) -> tuple[float, ...]:
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
    """Track the object, write what was asked for, and print a summary."""
    args = parse_args(argv)
    if args.web:
        serve_page(args)
        return
    config, snapshot = find_tracker(args, model=DEFAULT)
    display = not (args.output and args.init_rect) and window_available()
    if args.init_rect is None and not display:
        raise ValueError("there is no display to draw a box on: give --init-rect x,y,w,h")
    source = open_source(args.video_name or 0)
    title = _title_of(source)
    output = args.output or (None if display else Path(f"{title}_tracked.mp4"))
    _check_outputs(source, output, args.json)
    # one thread: sharing the work of one target costs more than it saves
    tracker = build_tracker(*load_network(config, snapshot, opts=args.opts, threads=1))
    frames = iter(source)
    first = next(frames)
    rect = args.init_rect or _choose_box(title, first)
    frames = islice(chain([first], frames), args.max_frames)
    pace = 0 if source.live else source.fps
    screen = open_video_writer(output, fps=source.fps) if output else Window(title, pace)
    trajectory, written, errors = Trajectory(), [], []
    with stop_requests(hangup=True) as stop:
        with _noting(errors, trajectory):
            with screen, _noting(errors, trajectory):
                bar = progress_bar("track", frames, total=source.num_frames or None)
                frames = takewhile(lambda _: not stop, bar)
                _follow(tracker, rect, frames, trajectory, screen.write)
            written += [output] if output and screen.num_frames else []
        with _noting(errors, trajectory):
            if args.json and trajectory:
                _write_track(args.json, source.name, first.image.shape, trajectory)
                written.append(args.json)
    if trajectory:
        _print_summary(trajectory, written)
    _raise_end(errors, stop, source.live)


def _title_of(source: FrameSource) -> str:
    """Name of a source for file names: ``clip`` of ``a/clip.mp4``."""
    path = source.name.rstrip("/\\").split("?")[0].replace("\\", "/")
    name = path.split("/")[-1].split(".")[0].replace(" ", "_")
    return "".join(c for c in name if c.isalnum() or c in "_-") or "video"


def _check_outputs(source: FrameSource, output: Path | None, boxes: Path | None) -> None:
    """Refuse, before any work, outputs that could not be written in the end."""
    for path in (output, boxes):
        if path is None:
            continue
        if path.exists() and Path(source.name).exists() and path.samefile(source.name):
            raise ValueError(f"{path} is the video itself; choose another name for the output")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() or not os.access(path.parent, os.W_OK):
            raise OSError(f"cannot write {path}: it is a folder, or in a folder closed to you")


def _choose_box(title: str, frame: Frame) -> tuple[float, ...]:
    with Window(title) as window:
        return window.select_box(frame.image)


@contextmanager
def _noting(errors: list[BaseException], trajectory: Trajectory) -> Iterator[None]:
    """Note what ends the block, once a frame was tracked: what there is can still be written."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if not trajectory:
            raise
        errors.append(error)


def _raise_end(errors: Sequence[BaseException], stop: StopRequest, live: bool) -> None:
    """Raise what ended a video before its end; Ctrl-C is how a camera ends."""
    for error in errors:
        if isinstance(error, FAILURES):
            raise RunFailed(message_of(error)) from error
        if not isinstance(error, KeyboardInterrupt):
            raise error
        stop.signal = signal.SIGINT
    if stop and not (live and stop.signal == signal.SIGINT):
        raise RunFailed(f"stopped by {signal.Signals(stop.signal).name}")


def _follow(
    tracker: Any,
    rect: Sequence[float],
    frames: Iterable[Frame],
    trajectory: Trajectory,
    show: Callable[[NDArray, float | None], bool | None],
) -> None:
    """Fill the trajectory and show each frame with its box, score and speed.

    The first frame has ``rect`` (x, y, w, h) and no score; tracking ends if ``show`` returns False.
    """
    pace = 0.0  # seconds per frame, smoothed
    for frame in frames:
        begin = time.perf_counter()
        if frame.index:
            result = tracker.track(frame.image)
        else:
            tracker.init(frame.image, rect)
            result = {"bbox": list(rect), "best_score": None}
        seconds = time.perf_counter() - begin
        box, score = [float(value) for value in result["bbox"]], result["best_score"]
        trajectory.append(box, seconds=seconds, score=math.nan if score is None else score)
        trajectory.frame_names.append(frame.name)
        memory = _SPEED_MEMORY if frame.index > 1 else 0.0  # the first frame is no measure
        pace = memory * pace + (1 - memory) * seconds
        image = draw_box(frame.image, box)
        draw_status(image, score, 1 / max(pace, 1e-9) if frame.index else None)
        if show(image, frame.time) is False:
            return


def _tracking_speed(trajectory: Trajectory) -> float:
    """Tracked frames per second; the first frame is not tracked."""
    return (len(trajectory) - 1) / max(sum(trajectory.seconds[1:]), 1e-9)


def _write_track(path: Path, video: str, shape: Sequence[int], trajectory: Trajectory) -> None:
    """Write boxes and scores as JSON, one line per frame; a score of NaN becomes null."""
    head = {"video": video, "width": shape[1], "height": shape[0]}
    scores = [None if math.isnan(score) else score for score in trajectory.scores]
    rows = zip(trajectory.frame_names, trajectory.regions, scores, strict=True)
    frames = [{"name": name, "bbox": box, "score": score} for name, box, score in rows]
    with atomic_write(path) as file:
        file.write(json.dumps(head)[:-1] + ', "frames": [\n')
        file.write(",\n".join(json.dumps(frame, allow_nan=False) for frame in frames))
        file.write("\n]}\n")


def _print_summary(trajectory: Trajectory, written: Sequence[Path]) -> None:
    scores = trajectory.scores[1:]
    print(
        f"{len(trajectory)} frames, {_tracking_speed(trajectory):.1f} fps (tracker alone), "
        f"mean score {sum(scores) / len(scores) if scores else math.nan:.2f}"
    )
    for path in written:
        print(f"wrote {path}")
