r"""Run a tracker over a benchmark and write one result file per video.

Usage:
    python tools/test.py --dataset OTB100 --config CONFIG.yaml --snapshot model.pth
    python tools/test.py --dataset OTB100 --config CONFIG.yaml --snapshot model.pth \
        --video Basketball --vis --overwrite TRACK.LR 0.35
    python tools/test.py --dataset Synthetic --static
    python tools/test.py --dataset DAVIS_rect --dataset-root /data/davis2016_val --static

The results of TRACKER (the snapshot's file name up to its first dot, or --name) go to
RESULTS/DATASET/TRACKER; tools/eval.py scores them. A run that was stopped goes on where it was:
videos with a complete result are skipped. ``KEY VALUE`` pairs override the configuration.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from pysot.core.config import load_config
from pysot.tracker.tracker_builder import build_tracker, load_network
from pysot.utils.bbox import initial_rect
from pysot.utils.cli import RunFailed, run
from toolkit.datasets import Video, find_benchmark, find_root, load_videos
from toolkit.protocols import PROTOCOLS
from toolkit.results import LAYOUTS, read_boxes, result_path, write_boxes
from toolkit.utils.files import atomic_write
from toolkit.video_io import VideoSink, Window, window_available
from toolkit.visualization.overlay import GREEN, draw_box, draw_text

logger = logging.getLogger("test")

TESTING_DATASET = Path(__file__).resolve().parents[1] / "testing_dataset"
RECORD = ".run.json"
STATIC = "static"

# sections of a configuration that change a tracker's boxes
_SETTINGS = ("BACKBONE", "ADJUST", "RPN", "MASK", "REFINE", "ANCHOR", "TRACK")
_YELLOW = (0, 255, 255)
_VIS_FPS = 25
# what may go wrong with one video and not with the next; torch reports full memory as RuntimeError
_FAILURES = (ValueError, OSError, RuntimeError, MemoryError, cv2.error)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--dataset", required=True, help="name of the benchmark, and of its JSON file")
    add("--dataset-root", type=Path, help="folder of that file (default: testing_dataset/DATASET)")
    add("--config", default="", help="configuration of the tracker")
    add("--snapshot", type=Path, help="its weights")
    add("--static", action="store_true", help="no tracker: repeat the first box, as a baseline")
    add("--video", default="", help="only this video")
    add("--results", type=Path, default=Path("results"), help="default: ./results")
    add("--name", help="name of the tracker in the results (default: from the snapshot)")
    add("--overwrite", action="store_true", help="run finished videos again")
    add("--workers", type=int, default=1, help="processes; the results are the same")
    add("--vis", action="store_true", help="show the results, or without a display as --vis-dir")
    add("--vis-dir", type=Path, help="write VIS_DIR/VIDEO.mp4 (ground truth green, result yellow)")
    add("opts", nargs="*", metavar="KEY VALUE", help="override the configuration")
    args = parser.parse_intermixed_args(argv)
    if not args.static and not (args.config and args.snapshot):
        parser.error("a tracker needs --config and --snapshot (or try --static)")
    if args.workers < 1:
        parser.error(f"--workers {args.workers}: must be at least 1")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tracker over the videos and report every one of them."""
    args = parse_args(argv)
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    benchmark = find_benchmark(args.dataset)
    if benchmark.protocol not in PROTOCOLS or benchmark.layout not in LAYOUTS:
        raise ValueError(
            f"{args.dataset} needs the protocol {benchmark.protocol!r} and results laid out as "
            f"{benchmark.layout!r}; there are: {', '.join((*PROTOCOLS, *LAYOUTS))}"
        )
    root = args.dataset_root or find_root(args.dataset, TESTING_DATASET)
    videos = load_videos(root, args.dataset)
    selected = select_videos(videos, args.video, args.dataset)
    recipe = read_recipe(args)
    load_tracker(recipe)  # what is wrong with it shows here, not in every video
    folder = args.results / args.dataset / tracker_name(args)
    settings = Settings(recipe, benchmark.protocol, benchmark.layout, folder, args.overwrite)
    show = args.vis and not args.vis_dir and window_available()
    if args.vis_dir or (args.vis and not show):
        vis_root = args.results.with_name(f"{args.results.name}_vis")
        vis_dir = args.vis_dir or vis_root / args.dataset / folder.name
        settings = replace(settings, vis_dir=vis_dir)
    claim_folder(settings, list(videos))
    position = {name: number for number, name in enumerate(videos, start=1)}
    report(run_all(settings, selected, args.workers), selected, position, settings, show)


# ------------------------------------------------------------------------------------- tracker


@dataclass(frozen=True)
class Recipe:
    """All that a process needs to build the tracker; equal recipes give equal boxes."""

    config: str = ""
    snapshot: Path | None = None
    opts: tuple[str, ...] = ()
    digest: str = STATIC
    """SHA-256 of the weights: a file may change between two runs of one process."""


class StaticTracker:
    """The baseline that any tracker must beat: the target never moves."""

    def init(self, image: NDArray, bbox: Sequence[float]) -> None:
        """Take over the first box (x, y, w, h); the frame is not looked at."""
        self.bbox = list(bbox)

    def track(self, image: NDArray) -> dict[str, Any]:
        """Return the first box again."""
        return {"bbox": self.bbox}


def read_recipe(args: argparse.Namespace) -> Recipe:
    """Collect what the command line says of the tracker.

    Raises:
        OSError: If the snapshot cannot be read.
        ValueError: If a static baseline is given a configuration.
    """
    if args.static:
        if args.config or args.snapshot or args.opts:
            raise ValueError("--static takes no --config, --snapshot or overrides")
        return Recipe()
    if not args.snapshot.is_file():
        raise FileNotFoundError(f"checkpoint not found: {args.snapshot}")
    digest = hashlib.sha256(args.snapshot.read_bytes()).hexdigest()
    return Recipe(args.config, args.snapshot, tuple(args.opts), digest)


@lru_cache(maxsize=1)
def load_tracker(recipe: Recipe) -> Any:
    """Build the tracker, once in each process.

    Raises:
        OSError: If a file is missing.
        ValueError: If configuration or snapshot is unusable.
    """
    torch.set_num_threads(1)  # as fast for one target, and workers do not fight for cores
    cv2.setNumThreads(1)
    if recipe.snapshot is None:
        return StaticTracker()
    return build_tracker(*load_network(recipe.config, recipe.snapshot, opts=recipe.opts))


def tracker_name(args: argparse.Namespace) -> str:
    """Name of the tracker in the results: PySOT's rule, unless the user chose one.

    Raises:
        ValueError: If it cannot be the name of a folder.
    """
    default = STATIC if args.static else args.snapshot.name.split(".")[0]
    name = default if args.name is None else args.name
    if name in ("", ".", "..") or Path(name).name != name:
        raise ValueError(f"{name!r} cannot name a tracker's folder; choose another with --name")
    return name


# ------------------------------------------------------------------------------------- results


@dataclass(frozen=True)
class Settings:
    """How videos are run, and where the results go."""

    recipe: Recipe
    protocol: str
    layout: str
    folder: Path
    overwrite: bool = False
    vis_dir: Path | None = None

    def result(self, video: str) -> Path:
        """Path of a video's result file."""
        return result_path(self.layout, self.folder, video)


def claim_folder(settings: Settings, videos: Sequence[str]) -> None:
    """Note in the results folder what its results are made with, and refuse to mix two trackers.

    Snapshots of two experiments often have the same name, and finished videos are skipped: without
    the note the results of one could pass for those of the other.

    Raises:
        ValueError: If the folder holds results of another snapshot or other settings.
        OSError: If it cannot be written.
    """
    record = _record(settings.recipe)
    path = settings.folder / RECORD
    stale = _read_record(path) not in (None, record)
    finished = [name for name in videos if settings.result(name).exists()]
    if stale and finished and not settings.overwrite:
        raise ValueError(
            f"{settings.folder} holds results of another snapshot or of other settings (its "
            f"{RECORD} says which); keep both with --name, or replace them with --overwrite"
        )
    for name in finished if stale else ():
        settings.result(name).unlink()
    with atomic_write(path) as file:
        json.dump(record, file, indent=1)
        file.write("\n")


def _record(recipe: Recipe) -> dict[str, Any]:
    if recipe.snapshot is None:
        return {"tracker": STATIC}
    cfg = load_config(recipe.config, recipe.opts)
    record = {"sha256": recipe.digest, "settings": {key: cfg[key] for key in _SETTINGS}}
    return json.loads(json.dumps(record))  # tuples become lists, as they will when read back


def _read_record(path: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError):
        return json.loads(path.read_text(encoding="utf-8"))
    return None


def select_videos(videos: dict[str, Video], name: str, dataset: str) -> list[Video]:
    """Return the video of that name, or all if it is empty.

    Raises:
        ValueError: If there is none; the message lists names that are near.
    """
    if not name:
        return list(videos.values())
    if name in videos:
        return [videos[name]]
    near = get_close_matches(name, videos, n=5, cutoff=0.5)
    near = near or get_close_matches(name.lower(), videos, n=5, cutoff=0.3) or list(videos)[:5]
    raise ValueError(f"no video {name!r} in {dataset}; names near to it: {', '.join(near)}")


# ------------------------------------------------------------------------------------- running


@dataclass(frozen=True)
class Outcome:
    """What became of a video."""

    name: str
    seconds: float = 0.0
    fps: float = 0.0
    skipped: bool = False
    error: str = ""


def run_video(settings: Settings, video: Video) -> Outcome:
    """Run the tracker over a video, write its result and, if asked for, draw it.

    An error is part of the outcome, so that the other videos go on.
    """
    path = settings.result(video.name)
    try:
        outcome = Outcome(video.name, skipped=True)
        if settings.overwrite or not is_finished(path, len(video)):
            path.unlink(missing_ok=True)
            tracker = load_tracker(settings.recipe)
            done = PROTOCOLS[settings.protocol](tracker, video, initial_rect(video.gt_traj[0]))
            write_boxes(path, done.boxes)
            outcome = Outcome(video.name, sum(done.seconds), done.fps)
        if settings.vis_dir:
            picture = settings.vis_dir / f"{video.name}.mp4"
            if not (outcome.skipped and picture.exists()):
                write_video(picture, video, path)
    except _FAILURES as error:
        return Outcome(video.name, error=str(error).splitlines()[0] if str(error) else repr(error))
    return outcome


def is_finished(path: Path, num_frames: int) -> bool:
    """Tell whether a result file is there with one line per frame."""
    if not path.is_file():
        return False
    return len(path.read_bytes().splitlines()) == num_frames


def run_all(settings: Settings, videos: Sequence[Video], workers: int) -> Iterator[Outcome]:
    """Run the videos and yield their outcomes in the same order.

    Raises:
        RunFailed: If a worker process dies; the results written so far stay.
    """
    if workers == 1:
        yield from (run_video(settings, video) for video in videos)
        return
    # forking a process that has threads may hang, and CUDA does not survive it
    context = get_context("spawn")
    quiet = (signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends an idle worker without a traceback
    pool = ProcessPoolExecutor(min(workers, len(videos)), context, signal.signal, quiet)
    try:
        futures: list[Future[Outcome]] = [pool.submit(_run_in_worker, settings, v) for v in videos]
        for future in futures:
            yield future.result()
    except BrokenProcessPool as error:
        raise RunFailed(
            "a worker process died, perhaps for lack of memory; start again with fewer --workers, "
            "finished videos are kept"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _run_in_worker(settings: Settings, video: Video) -> Outcome:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # time to remove temporary files
    try:
        return run_video(settings, video)
    except KeyboardInterrupt:
        os._exit(130)  # else the pool would go on with the next video that is queued
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def report(
    outcomes: Iterator[Outcome],
    videos: Sequence[Video],
    position: dict[str, int],
    settings: Settings,
    show: bool,
) -> None:
    """Print a line per video as PySOT does, with a progress bar, and the failures.

    Args:
        outcomes: One per video.
        videos: In the same order.
        position: Number of each video in the whole benchmark, from 1.
        settings: Where the results lie.
        show: Play each result in a window.

    Raises:
        RunFailed: If a video failed.
    """
    failed, skipped = [], 0
    total = sum(map(len, videos))
    with tqdm(total=total, desc="test", unit="frame", ncols=100, leave=False, disable=None) as bar:
        for video, outcome in zip(videos, outcomes, strict=True):
            skipped += outcome.skipped
            if outcome.error:
                failed.append(video.name)
                bar.write(f"error: {video.name}: {outcome.error}", file=sys.stderr)
            elif not outcome.skipped:
                bar.write(_line(position[video.name], outcome), file=sys.stdout)
            if show and not outcome.error:
                play_video(video, settings.result(video.name))
            bar.update(len(video))
    if skipped:
        print(f"{skipped} finished videos skipped (--overwrite runs them again)", file=sys.stderr)
    print(f"results: {settings.folder}", file=sys.stderr)
    if settings.vis_dir:
        print(f"videos: {settings.vis_dir}", file=sys.stderr)
    if failed:
        raise RunFailed(f"{len(failed)} of {len(videos)} videos failed: {', '.join(failed)}")


def _line(number: int, outcome: Outcome) -> str:
    return (
        f"({number:3d}) Video: {outcome.name:12s} "
        f"Time: {outcome.seconds:5.1f}s Speed: {outcome.fps:3.1f}fps"
    )


# ------------------------------------------------------------------------------------- pictures


def drawn_frames(video: Video, result: Path) -> Iterator[NDArray]:
    """Yield the frames, BGR uint8 (H, W, 3), with ground truth (green) and result (yellow)."""
    boxes = read_boxes(result)
    for index, ((image, gt), box) in enumerate(zip(video, boxes, strict=True)):
        draw_box(image, gt, GREEN, linewidth=2)
        draw_box(image, box, _YELLOW, linewidth=2)
        yield draw_text(image, f"#{index}", color=_YELLOW)


def write_video(path: Path, video: Video, result: Path) -> None:
    """Write a video file of a result.

    Raises:
        OSError: If it cannot be written.
    """
    with VideoSink(path, _VIS_FPS) as sink:
        for image in drawn_frames(video, result):
            sink.write(image)


def play_video(video: Video, result: Path) -> None:
    """Play a result in a window until its end, or until the user presses q."""
    with Window(video.name) as window:
        for image in drawn_frames(video, result):
            if not window.show(image, 1000 // _VIS_FPS):
                return


if __name__ == "__main__":
    run(main)
