r"""Run a tracker over a benchmark and write the results of every video.

The results of TRACKER (the snapshot's file name up to its first dot, the name of the model, or
--name) go to RESULTS/DATASET/TRACKER; tools/eval.py scores them, tools/make_submission.py packs
them for a server. The benchmark says how videos are run: once, or (VOT) again after each failure,
or (DAVIS) with a mask of every object. A run that was stopped goes on where it was: videos with
complete results are skipped. ``KEY VALUE`` pairs override the configuration.

Examples:
    pysot test --dataset OTB100 --config CONFIG.yaml --snapshot model.pth
    pysot test --dataset VOT2018 --config CONFIG.yaml --snapshot model.pth --workers 4
    pysot test --dataset OTB100 --config CONFIG.yaml --snapshot model.pth \
        --video Basketball --vis --overwrite TRACK.LR 0.35
    pysot test --dataset VOT2018 --model siamrpn_r50_l234_dwxcorr
    pysot test --dataset Synthetic --static
    pysot test --dataset DAVIS_rect --dataset-root /data/davis2016_val --static
    pysot test --dataset OTB100 --tracker pysot.tracker.opencv:MIL
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

from pysot.cli import (
    Parser,
    build_executor,
    command_line,
    find_dataset_root,
    find_tracker,
    progress_bar,
)
from pysot.core import RunFailed
from pysot.tracker.conditions import conditions_of
from pysot.tracker.foreign import ForeignSpec
from pysot.tracker.tracker_builder import TrackerSpec
from pysot.utils.bbox import initial_rect
from toolkit.datasets import Video, find_benchmark, load_videos
from toolkit.datasets.dataset import require_images
from toolkit.io.names import first_line
from toolkit.io.pool import Executor
from toolkit.io.video import window_available
from toolkit.protocols.one_pass import ProtocolOptions, StaticTracker
from toolkit.protocols.runner import (
    FAILURES,
    Job,
    JobResult,
    allowed_repetitions,
    run_elsewhere,
    run_video,
)
from toolkit.results.runs import Conditions, note_video, read_runs
from toolkit.results.store import ResultStore
from toolkit.visualization.overlay import drawn_frames, play, write_video

logger = logging.getLogger("test")

STATIC = "static"


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--dataset", required=True, help="name of the benchmark, and of its JSON file")
    parser.add_dataset_root()
    parser.add_tracker()
    add("--static", action="store_true", help="no tracker: repeat the first box, as a baseline")
    add(
        "--tracker",
        metavar="MODULE:FACTORY",
        help="any tracker: a function or class, also of a file path/file.py:factory, that makes an "
        "object with init(image, bbox) and track(image) or update(image)",
    )
    add("--video", default="", help="only this video")
    parser.add_output("--results", default=Path("results"), text="default: ./%(default)s")
    add("--name", help="name of the tracker in the results (default: from the snapshot)")
    add("--overwrite", action="store_true", help="run finished videos again")
    add(
        "--repetitions",
        type=int,
        help="runs over each video for a tracker that is not deterministic (default: as many as "
        "the benchmark asks for); one that is runs once, as its results would all be the same",
    )
    parser.add_executor()
    add("--vis", action="store_true", help="show the results, or without a display as --vis-dir")
    add("--vis-dir", type=Path, help="write VIS_DIR/VIDEO.mp4 (ground truth green, result yellow)")
    parser.add_overrides()
    return parser.parse_intermixed_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tracker over the videos and report every one of them."""
    args = parse_args(argv)
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    spec = _read_spec(args)
    videos = load_videos(find_dataset_root(args.dataset, args.dataset_root), args.dataset)
    numbered = _select_videos(videos, args.video, args.dataset)
    tracker = (spec or StaticTracker)()  # one that cannot be built fails here, once
    job = _make_job(args, spec, tracker)
    conditions = _conditions(args, spec, tracker)
    pending = (v for v in numbered.values() if args.overwrite or not job.is_finished(v))
    require_images(args.dataset, list(pending))
    vis_dir, show = _picture_places(args, job.store.folder.name)
    record = {"tracker": STATIC} if spec is None else spec.record()
    with build_executor(args) as executor:
        job.store.record(record, list(videos), args.overwrite)
        if not args.overwrite:
            _warn_of_other_conditions(job.store.folder, list(videos), conditions)
        results = _run(job, numbered, executor, vis_dir, show, conditions)
    _summarize(job, results, vis_dir)
    _print_speed_and_next_step(args, job, [video.name for video in numbered.values()])
    _raise_failures(results)


def _read_spec(args: argparse.Namespace) -> TrackerSpec | ForeignSpec | None:
    """Read the tracker that the command line names; None for the static baseline."""
    named = [option for option in ("static", "tracker") if getattr(args, option)]
    if not named:
        return TrackerSpec.read(*find_tracker(args), args.opts)
    if len(named) > 1 or args.config or args.snapshot or args.model or args.opts:
        others = "--config, --snapshot, --model, overrides or other tracker"
        raise ValueError(f"--{named[0]} takes no {others}")
    return ForeignSpec.read(args.tracker) if args.tracker else None


def _make_job(
    args: argparse.Namespace, spec: TrackerSpec | ForeignSpec | None, tracker: Any
) -> Job:
    """Decide how the videos are run; ``tracker`` is one that the spec built."""
    benchmark = find_benchmark(args.dataset)
    build: Callable[[], Any] = spec or StaticTracker
    repetitions = allowed_repetitions(tracker, args.repetitions, benchmark.repetitions)
    if repetitions < (args.repetitions or 1):
        print("this tracker is deterministic: it runs once over each video", file=sys.stderr)
    options = ProtocolOptions(initial_rect)
    if isinstance(spec, TrackerSpec):
        options = replace(options, mask_threshold=spec.cfg.TRACK.MASK_THERSHOLD)
    store = ResultStore(args.output / args.dataset / _tracker_name(args), benchmark.layout)
    timed = spec is not None
    return Job(build, benchmark.protocol, store, options, repetitions, args.overwrite, timed)


def _conditions(
    args: argparse.Namespace, spec: TrackerSpec | ForeignSpec | None, tracker: Any
) -> Conditions:
    """Describe the run for the page of scores."""
    named = args.model or args.tracker or STATIC
    if isinstance(spec, TrackerSpec) and not args.model:
        named = " ".join(map(str, filter(None, (args.config, args.snapshot.name))))
    settings = " ".join([named, *args.opts])
    conditions = conditions_of(tracker, settings, args.workers)
    if spec is None:
        return replace(conditions, device="")
    return conditions if args.executor == "local" else replace(conditions, device=args.executor)


def _warn_of_other_conditions(folder: Path, videos: list[str], conditions: Conditions) -> None:
    for run in read_runs(folder, videos):
        if differences := conditions.differences(run.conditions):
            text = "%s: %d finished videos were run otherwise (now %s): their speed is told apart"
            logger.warning(text, folder, run.videos, "; ".join(differences))


def _tracker_name(args: argparse.Namespace) -> str:
    """Return the tracker's name in the results: PySOT's rule, unless the user chose one."""
    given = STATIC if args.static else (args.tracker or "").rpartition(":")[2] or args.model
    default = given or args.snapshot.name.split(".")[0]
    name = default if args.name is None else args.name
    if name in ("", ".", "..") or Path(name).name != name:
        raise ValueError(f"{name!r} cannot name a tracker's folder; choose another with --name")
    return name


def _select_videos(videos: dict[str, Video], name: str, dataset: str) -> dict[int, Video]:
    """Return the video of that name, or all if it is empty, by number from 1."""
    numbered = dict(enumerate(videos.values(), 1))
    if not name or name in videos:
        return {n: video for n, video in numbered.items() if name in ("", video.name)}
    near = get_close_matches(name, videos, n=5, cutoff=0.5)
    near = near or get_close_matches(name.lower(), videos, n=5, cutoff=0.3) or list(videos)[:5]
    raise ValueError(f"no video {name!r} in {dataset}; names near to it: {', '.join(near)}")


def _picture_places(args: argparse.Namespace, tracker: str) -> tuple[Path | None, bool]:
    """Return the folder for drawn videos, if any, and whether a window shows the results."""
    show = args.vis and not args.vis_dir and window_available()
    if args.vis_dir or not args.vis or show:
        return args.vis_dir, show
    return args.output.with_name(f"{args.output.name}_vis") / args.dataset / tracker, False


def _run(
    job: Job,
    videos: dict[int, Video],
    executor: Executor,
    vis_dir: Path | None,
    show: bool,
    conditions: Conditions,
) -> list[JobResult]:
    """Run the tracker over videos by number, with a line per run as in PySOT, or an error.

    Videos that another process is running come last, for that process may have died.
    """
    results: dict[int, JobResult] = {}
    with progress_bar("test", total=sum(map(len, videos.values()))) as bar:
        todo = videos
        while todo:
            for number, result in _results(job, todo, executor, vis_dir):
                results[number] = result
                _report(bar, number, videos[number], result)
                if result.lines and not result.error:
                    name, seconds = result.name, result.seconds
                    note_video(job.store.folder, name, conditions, result.frames, seconds)
                if show and not (result.error or result.locked):
                    play(result.name, drawn_frames(videos[number], job.store))
            locked = {n: video for n, video in todo.items() if results[n].locked}
            todo = locked if len(locked) < len(todo) else {}
    return [results[number] for number in videos]


def _report(bar: Any, number: int, video: Video, result: JobResult) -> None:
    """Print what was done with a video."""
    for line in result.lines:
        bar.write(f"({number:3d}) {line}", file=sys.stdout)
    if result.error:
        bar.write(f"error: {video.name}: {result.error}", file=sys.stderr)
    bar.update(0 if result.locked else len(video))


def _results(
    job: Job, videos: dict[int, Video], executor: Executor, vis_dir: Path | None
) -> Iterator[tuple[int, JobResult]]:
    """Yield the result of every video by number; those from other machines are drawn here."""
    numbers, run = list(videos), list(videos.values())
    if executor.remote:
        done = run_elsewhere(job, run, executor)
        done = ((index, _draw(job, vis_dir, run[index], result)) for index, result in done)
    else:
        done = executor.run(partial(_run_and_draw, job, vis_dir), run)
    for index, result in done:
        yield numbers[index], result


def _run_and_draw(job: Job, vis_dir: Path | None, video: Video) -> JobResult:
    """Run the tracker over a video and, if asked for, draw the result of its first run."""
    return _draw(job, vis_dir, video, run_video(job, video))


def _draw(job: Job, vis_dir: Path | None, video: Video, result: JobResult) -> JobResult:
    if vis_dir is None or result.error or result.locked:
        return result
    drawn = vis_dir / f"{video.name}.mp4"
    try:
        if not (result.skipped and drawn.exists()):
            write_video(drawn, drawn_frames(video, job.store))
    except FAILURES as error:
        return replace(result, error=first_line(error))
    return result


def _summarize(job: Job, results: Sequence[JobResult], vis_dir: Path | None) -> None:
    """Print sums over the videos."""
    if locked := sum(result.locked for result in results):
        print(f"{locked} videos are with other processes, which finish them", file=sys.stderr)
    elif job.restarts:
        print(f"{job.store.folder.name} total lost: {sum(result.lost for result in results):d}")
    if skipped := sum(result.skipped for result in results):
        print(f"{skipped} finished videos skipped (--overwrite runs them again)", file=sys.stderr)
    print(f"results: {job.store.folder}", file=sys.stderr)
    if vis_dir:
        print(f"videos: {vis_dir}", file=sys.stderr)


def _print_speed_and_next_step(args: argparse.Namespace, job: Job, videos: Sequence[str]) -> None:
    """Print the speed over the videos, for each way in which they were run, and what to type."""
    folder = job.store.folder
    for run in read_runs(folder, videos):
        if run.fps is not None:
            over = f"{run.frames} frames of {run.videos} video" + "s" * (run.videos > 1)
            text = f"speed: {run.fps:.1f} frames per second in the tracker, over {over}, on"
            print(text, run.conditions.device, file=sys.stderr)
    server = find_benchmark(args.dataset).has_server
    command, words = "submit" if server else "eval", ("-p", args.output, "-d", args.dataset)
    line = command_line(command, *words, "-t", folder.name, root=args.dataset_root)
    print(f"{'pack' if server else 'score'}: {line}", file=sys.stderr)


def _raise_failures(results: Sequence[JobResult]) -> None:
    if failed := [result.name for result in results if result.error]:
        raise RunFailed(f"{len(failed)} of {len(results)} videos failed: {', '.join(failed)}")
