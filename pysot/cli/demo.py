r"""Track objects through a video, a camera or a folder of images.

Without --config, --snapshot and --model the tracker is siamrpn_lite0, which comes with the package.
With a display, the first object is drawn with the mouse and the video shows in a window, whose keys
are: space pauses, n goes on by one frame; a adds an object, 0 to 9 choose one, r draws its box
again, d drops it; t, c and s show trail, score curve and search window; q ends it. Without a
display, boxes must be given, and the video is written. What was tracked is written, whatever ends
the run; Ctrl-C is how a camera ends. ``KEY VALUE`` pairs override the configuration.

Examples:
    pysot demo --video clip.mp4
    pysot demo --video sample:bigbuckbunny --init-rect 325,340,85,120 --output bunny.mp4
    pysot demo --video frames/ --init-rect 261,48,39,65 --init-rect 100,50,30,60 \
        --output tracked.mp4 --json tracks.json --mot tracks.txt
    pysot demo --video frames/ --boxes first_boxes.csv --coco tracks.json --gif tracked.gif
    pysot demo --config CONFIG.yaml --snapshot model.pth --video clip.mp4
    pysot demo --model siammask_lite0 --video 0 --masks masks    # a camera
    pysot demo --web --clips videos/    # in a browser; see docs/web.md
"""

from __future__ import annotations

import argparse
import math
import os
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
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
from pysot.tracker.api import MultiTracker
from pysot.tracker.session import FrameResult, Session, smoothed
from pysot.tracker.tracker_builder import build_tracker, load_network
from pysot.zoo import DEFAULT
from toolkit.io.first_boxes import FirstBox, read_first_boxes
from toolkit.io.gif import GifSink
from toolkit.io.video import Frame, FrameSource, Window, open_source, window_available
from toolkit.io.video_writer import VideoSink, open_video_writer
from toolkit.protocols.runner import FAILURES
from toolkit.results.tracks import Tracks
from toolkit.visualization.overlay import History, Style, draw_result

_TRAIL = 30  # frames, of the key
_KEYS = "space go on, n step, a add, 0-9 choose, r redraw, d drop, t c s show more, q quit"

#: What writes an output, by the name of its option.
_WRITERS = {
    "json": Tracks.write_json,
    "mot": Tracks.write_mot,
    "coco": Tracks.write_coco,
    "masks": Tracks.write_masks,
}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    add = parser.add_argument
    parser.add_tracker()
    names = ("--video_name", "--video-name", "--video")
    text = "video file, folder of images, camera number, stream URL or sample:NAME"
    add(*names, default="", metavar="SOURCE", help=f"{text} (default: camera 0)")
    text = "an object in the first frame; may be repeated"
    add("--init-rect", type=_parse_rect, metavar="X,Y,W,H", action="append", default=[], help=text)
    text = "first boxes of objects: lines of x,y,w,h, MOT's text, a table with names, COCO's JSON"
    add("--boxes", type=Path, metavar="FILE", help=text)
    add("--trail", type=positive, default=0, metavar="N", help="show the way of the last N frames")
    add("--score-curve", action="store_true", help="show the scores of the last frames")
    add("--search-window", action="store_true", help="show where the tracker searches")
    parser.add_output(text="write a video (.mp4 or .avi) instead of showing a window")
    add("--gif", type=Path, metavar="FILE", help="write an animated GIF, too")
    add("--json", type=Path, metavar="FILE", help="write boxes, scores, polygons and masks")
    add("--mot", type=Path, metavar="FILE", help="write boxes as the text of MOTChallenge")
    add("--coco", type=Path, metavar="FILE", help="write boxes and masks as COCO's JSON")
    text = "write masks as DIR/VIDEO/FRAME.png, as YouTube-VOS and DAVIS have them"
    add("--masks", type=Path, metavar="DIR", help=text)
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
    """Track the objects, write what was asked for, and print a summary."""
    args = parse_args(argv)
    if args.web:
        serve_page(args)
        return
    config, snapshot = find_tracker(args, model=DEFAULT)
    source = open_source(args.video_name) if args.video_name else None  # a wrong name comes first
    starts, display = _starts(args)
    source = open_source(0) if source is None else source
    outputs = _outputs(args, source, display)
    # one thread: sharing the work of one target costs more than it saves
    model, cfg = load_network(config, snapshot, opts=args.opts, threads=1)
    session = Session(MultiTracker(lambda: build_tracker(model, cfg)))
    frames = iter(source)
    first = next(frames)
    starts = starts or [FirstBox(0, _choose_box(_title_of(source), first))]
    frames = islice(chain([first], frames), args.max_frames)
    tracks = Tracks(source.name, first.image.shape[1::-1])
    errors: list[BaseException] = []
    written: list[Path] = []
    with stop_requests(hangup=True) as stop:
        bar = progress_bar("track", frames, total=source.num_frames or None)
        frames = takewhile(lambda _: not stop, bar)
        view = _view(args, source, outputs, session, stop)
        with _noting(errors, tracks):
            with view, _noting(errors, tracks):
                _follow(session, starts, frames, tracks, view)
            written += [sink.path for sink in view.sinks if sink.num_frames]
        written += _write(outputs, tracks, errors)
    if tracks:
        _print_summary(tracks, written)
    _raise_end(errors, stop, source.live)


def _starts(args: argparse.Namespace) -> tuple[list[FirstBox], bool]:
    """Return the boxes that are given, and whether a window is to be opened."""
    starts = [FirstBox(0, rect) for rect in args.init_rect]
    starts += read_first_boxes(args.boxes) if args.boxes else []
    display = not (args.output and starts) and window_available()
    if not starts and not display:
        raise ValueError("there is no display to draw a box on: give --init-rect x,y,w,h")
    return starts, display


def _outputs(args: argparse.Namespace, source: FrameSource, display: bool) -> dict[str, Path]:
    """Return what is written, by the name of its option; refuse what could not be."""
    named = {name: getattr(args, name) for name in ("output", "gif", *_WRITERS)}
    paths = {name: path for name, path in named.items() if path}
    title = _title_of(source)
    if not display:
        paths.setdefault("output", Path(f"{title}_tracked.mp4"))
    if args.masks:
        paths["masks"] = args.masks / title
    if len({os.path.abspath(path) for path in paths.values()}) < len(paths):
        raise ValueError("two of the outputs have the same name")
    for name, path in paths.items():
        _check_output(source, path, folder=name == "masks")
    return paths


def _check_output(source: FrameSource, path: Path, folder: bool) -> None:
    """Refuse, before any work, an output that could not be written in the end."""
    if path.exists() and Path(source.name).exists() and path.samefile(source.name):
        raise ValueError(f"{path} is the video itself; choose another name for the output")
    path.parent.mkdir(parents=True, exist_ok=True)
    if folder and path.is_dir():
        if any(inside.suffix != ".png" for inside in path.iterdir()):
            raise OSError(f"cannot write {path}: it holds other files than masks")
    elif path.is_dir() or not os.access(path.parent, os.W_OK):
        raise OSError(f"cannot write {path}: it is a folder, or in a folder closed to you")


def _write(
    outputs: Mapping[str, Path], tracks: Tracks, errors: list[BaseException]
) -> Iterator[Path]:
    """Write the files beside the video, each whatever becomes of the others; yield their paths."""
    for name, write in _WRITERS.items():
        if name not in outputs or not tracks:
            continue
        with _noting(errors, tracks):
            write(tracks, outputs[name])
            yield outputs[name]


def _title_of(source: FrameSource) -> str:
    """Name of a source for file names: ``clip`` of ``a/clip.mp4``."""
    path = source.name.rstrip("/\\").split("?")[0].replace("\\", "/")
    name = path.split("/")[-1].split(".")[0].replace(" ", "_")
    return "".join(c for c in name if c.isalnum() or c in "_-") or "video"


def _choose_box(title: str, frame: Frame) -> tuple[float, ...]:
    with Window(title) as window:
        return window.select_box(frame.image)


@contextmanager
def _noting(errors: list[BaseException], tracks: Tracks) -> Iterator[None]:
    """Note what ends the block, once a frame was tracked: what there is can still be written."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if not tracks:
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


@dataclass
class _View:
    """Shows and writes frames with what was found in them, and does what the user asks for."""

    session: Session
    window: Window | None
    sinks: Sequence[VideoSink | GifSink]
    style: Style
    stop: StopRequest
    history: History = field(default_factory=History)
    stack: ExitStack = field(default_factory=ExitStack)
    paused: bool = False
    chosen: int = 0
    pace: float = math.nan
    """Seconds per frame, smoothed."""

    def __enter__(self) -> None:
        for screen in (self.window, *self.sinks):
            if screen is not None:
                self.stack.enter_context(screen)

    def __exit__(self, *error: Any) -> bool | None:
        return self.stack.__exit__(*error)

    def show(self, result: FrameResult) -> bool:
        """Show the next frame; return whether the user goes on."""
        self.history.add(result)
        if result.index:  # the first frame is no measure
            self.pace = smoothed(self.pace, result.seconds)
        image = self._drawn()
        for sink in self.sinks:
            sink.write(image, result.time)
        if self.window is None:
            return True
        return self.window.write(image, result.time) and self._obey(self.window)

    def _drawn(self) -> NDArray:
        result = self.session.result
        status = _KEYS if self.paused else _status(result.index, 1 / max(self.pace, 1e-9))
        return draw_result(result.image.copy(), result, self.style, self.history, status)

    def _obey(self, window: Window) -> bool:
        """Do what was asked for; while paused, wait. Returns whether the user goes on."""
        while window.key != "n":
            self._act(window.key, window)
            if not self.paused:
                return True
            if self.stop or not window.pause(self._drawn()):
                return False
        self.paused = True
        return True

    def _act(self, key: str, window: Window) -> None:
        targets = self.session.result.targets
        if key == " ":
            self.paused = not self.paused
        elif key.isdecimal() and int(key) in targets:
            self.chosen = int(key)
        elif key == "a" or (key == "r" and self.chosen in targets):
            self._draw_box(window, None if key == "a" else self.chosen)
        elif key == "d" and self.chosen in targets:
            self.session.drop(self.chosen)
            self.chosen = max(self.session.result.targets, default=0)
        elif key == "t":
            self.style = replace(self.style, trail=0 if self.style.trail else _TRAIL)
        elif key == "c":
            self.style = replace(self.style, curve=not self.style.curve)
        elif key == "s":
            self.style = replace(self.style, search=not self.style.search)

    def _draw_box(self, window: Window, number: int | None) -> None:
        """Let the user draw the box of a target, or of a new one; without a box nothing changes."""
        try:
            box = window.select_box(self.session.result.image)
        except ValueError:
            return
        if number is None:
            self.chosen = self.session.add(box)
        else:
            self.session.restart(number, box)


def _view(
    args: argparse.Namespace,
    source: FrameSource,
    outputs: Mapping[str, Path],
    session: Session,
    stop: StopRequest,
) -> _View:
    window, sinks = None, []
    if "output" in outputs:
        sinks.append(open_video_writer(outputs["output"], fps=source.fps))
    else:
        window = Window(_title_of(source), 0 if source.live else source.fps)
    if "gif" in outputs:
        sinks.append(GifSink(outputs["gif"], source.fps))
    style = Style(args.trail, args.score_curve, args.search_window)
    return _View(session, window, sinks, style, stop)


def _status(index: int, fps: float) -> str:
    """Return what stands in the corner of a frame; NaN fps of the first one are left out."""
    digits = 0 if fps >= 10 else 1
    return f"#{index}" if math.isnan(fps) else f"#{index}  {fps:.{digits}f} fps"


def _follow(
    session: Session,
    starts: Sequence[FirstBox],
    frames: Iterable[Frame],
    tracks: Tracks,
    view: _View,
) -> None:
    """Track, note and show each frame, until the user has enough."""
    for frame in frames:
        session.step(frame)
        for start in starts:
            if start.frame == frame.index:
                session.add(start.box)
        tracks.add(session.result)
        going = view.show(session.result)
        tracks.add(session.result)  # as the user left it
        if not going:
            return


def _print_summary(tracks: Tracks, written: Sequence[Path]) -> None:
    scores = tracks.scores
    print(
        f"{len(tracks)} frames, {tracks.fps:.1f} fps (tracker alone), "
        f"mean score {sum(scores) / len(scores) if scores else math.nan:.2f}"
    )
    for path in written:
        print(f"wrote {path}")
