r"""Accuracy and speed of our trackers, OpenCV's, a static box and NanoTrackV3 on the same frames.

Usage:
    python benchmarks/against_opencv.py
    python benchmarks/against_opencv.py --model siamrpn_lite0 siamfc_lite0 --threads 2 \
        --dataset DAVIS_rect --dataset-root /data/davis2016_val --nanotrack nanotrackv3.pth
    python benchmarks/against_opencv.py TRACK.LR 0.4 --config CONFIG.yaml --snapshot model.pth \
        --dataset UAV123_10fps_half --dataset-root /data/uav --videos boat1 truck4_1

Any data set that `pysot test` knows, by default the built-in one (tools/make_synthetic.py); of one
with polygons, the boxes around them. Every tracker starts on the very box of the first frame and
runs to the end, one video after the other, all trackers in turn over each. AUC is the mean over the
videos of the area under the success curve (OTB), as `pysot eval` has it; the halves are those of
the videos in alphabetical order. Times are those of a tracked frame in the tracker, without reading
it: the median, and frames per second over all. KEY VALUE pairs come first and are for our trackers.

OpenCV's MIL cannot be seeded: its AUC differs from run to run.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pysot.cli import (  # noqa: E402 - not installed
    Parser,
    find_dataset_root,
    find_tracker,
    positive,
    progress_bar,
    run,
)
from pysot.core import RunFailed  # noqa: E402
from pysot.tracker import opencv  # noqa: E402
from pysot.tracker.foreign import ForeignSpec  # noqa: E402
from pysot.tracker.tracker_builder import build_tracker, load_network  # noqa: E402
from pysot.zoo import DEFAULT, find_pretrained  # noqa: E402
from toolkit.datasets import Dataset, Video  # noqa: E402
from toolkit.datasets.benchmarks import OPE  # noqa: E402
from toolkit.datasets.dataset import require_images  # noqa: E402
from toolkit.evaluation import build_evaluation  # noqa: E402
from toolkit.io.names import first_line  # noqa: E402
from toolkit.protocols.one_pass import StaticTracker  # noqa: E402
from toolkit.protocols.runner import FAILURES, Job  # noqa: E402
from toolkit.results.store import ResultStore  # noqa: E402

OPENCV = ("MIL", "CSRT", "KCF")
NANOTRACK = ROOT / "examples" / "plugins" / "nanotrack" / "config.yaml"
COLUMNS = ("AUC", "first half", "second half", "ms a frame", "frames/s")

Build = Callable[[], Any]


def main(argv: Sequence[str] | None = None) -> None:
    """Run all trackers and print a table."""
    args = parse_args(argv)
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    dataset = load_dataset(args)
    trackers = dict(named_trackers(args))
    with TemporaryDirectory() as folder:
        dataset.set_tracker(folder, list(trackers))
        evaluation = build_evaluation(dataset)
        evaluation.check_ground_truth()
        seconds = track_all(dataset, trackers)
        scores = {name: evaluation.scores(name).videos for name in trackers}
    frames = sum(map(len, dataset))
    print(f"{len(dataset)} videos of {args.dataset}, {frames} frames, threads: {args.threads}")
    print(f"torch {torch.__version__}, OpenCV {cv2.__version__}\n")
    print(f"{'':28}" + "".join(f"{column:>13}" for column in COLUMNS))
    for name, of_videos in scores.items():
        aucs = [of_videos[video.name]["success"] for video in dataset]
        print(f"{name:28}" + "".join(f"{cell:>13}" for cell in cells(aucs, seconds[name])))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--dataset", default="Synthetic", help="name of the data set (default: %(default)s)")
    parser.add_dataset_root()
    add("--videos", nargs="+", metavar="NAME", help="of the data set (default: all)")
    add("--model", nargs="+", metavar="NAME", help=f"weights by name (default: {DEFAULT})")
    parser.add_config(required=False)
    add("--snapshot", type=Path, help="weights of --config, or an exported folder")
    add("--opencv", nargs="*", default=OPENCV, choices=OPENCV, help="default: all")
    add("--nanotrack", type=Path, metavar="WEIGHTS", help="published weights of NanoTrackV3")
    add("--threads", type=positive, default=1, metavar="N", help="default: %(default)s")
    parser.add_overrides()
    return parser.parse_intermixed_args(argv)


def load_dataset(args: argparse.Namespace) -> Dataset:
    """Read the videos that the command line names, to be scored by the success of boxes.

    Raises:
        OSError: If there is no such data set, or it has no images.
        ValueError: If it has no such video, or masks in place of boxes.
    """
    root = find_dataset_root(args.dataset, args.dataset_root)
    try:
        dataset = Dataset(args.dataset, root)
    except FileNotFoundError as error:
        hint = "; tools/make_synthetic.py makes it" if args.dataset == "Synthetic" else ""
        raise FileNotFoundError(f"{error}{hint}") from None
    if dataset.benchmark.protocol == "masks":
        raise ValueError(f"--dataset {args.dataset}: expected a set with boxes, it has masks")
    if unknown := sorted(set(args.videos or ()) - set(dataset.videos)):
        there = ", ".join(dataset.videos)
        raise ValueError(f"--videos: no video {unknown[0]!r} in {args.dataset}; there are {there}")
    wanted = args.videos or list(dataset.videos)
    dataset.videos = {name: video for name, video in dataset.videos.items() if name in wanted}
    dataset.benchmark = replace(OPE, has_absent=dataset.benchmark.has_absent)
    require_images(args.dataset, list(dataset))
    return dataset


def named_trackers(args: argparse.Namespace) -> Iterator[tuple[str, Build]]:
    """Yield name and builder of each tracker; a line says which ones are not installed."""
    own = bool(args.config or args.snapshot)
    for name in args.model or ([] if own else [DEFAULT]):
        yield Path(name).stem, ours(args, *find_pretrained(name), args.opts)
    if own:
        source = argparse.Namespace(config=args.config, snapshot=args.snapshot, model=None)
        config, weights = find_tracker(source)
        yield weights.name.split(".")[0], ours(args, config, weights, args.opts)
    for kind in args.opencv:
        try:
            getattr(opencv, kind)()
        except ImportError as error:
            print(f"without OpenCV's {kind}: {error}", file=sys.stderr)
            continue
        yield f"OpenCV {kind}", ForeignSpec.read(f"{opencv.__name__}:{kind}")
    yield "static box", StaticTracker
    if args.nanotrack:
        yield "NanoTrackV3", ours(args, NANOTRACK, args.nanotrack, [])
    else:
        print("without NanoTrackV3: --nanotrack names its weights", file=sys.stderr)


def ours(args: argparse.Namespace, config: Path | None, weights: Path, opts: list[str]) -> Build:
    """Load a network; return what builds a tracker of it."""
    return partial(build_tracker, *load_network(config, weights, opts=opts, threads=args.threads))


def track_all(dataset: Dataset, trackers: dict[str, Build]) -> dict[str, list[float]]:
    """Track all videos, write the boxes; return the seconds of all tracked frames by tracker."""
    jobs = {
        name: Job(build, "one_pass", ResultStore(dataset.tracker_path / name, OPE.layout))
        for name, build in trackers.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    with progress_bar("track", total=len(jobs) * sum(map(len, dataset))) as bar:
        for video in dataset:
            for name, job in jobs.items():
                seconds[name] += track(name, job, video)
                bar.update(len(video))
    return seconds


def track(name: str, job: Job, video: Video) -> list[float]:
    """Track a video and write the boxes; return the seconds of all frames but the first.

    Raises:
        RunFailed: If the tracker or the video fails.
    """
    try:
        trajectory = job.session().run(video)
    except FAILURES as error:
        raise RunFailed(f"{name} on {video.name}: {first_line(error)}") from error
    job.store.write(video.name, trajectory)
    return trajectory.seconds[1:]


def cells(aucs: Sequence[float], seconds: Sequence[float]) -> list[str]:
    """Return a row of the table from the AUC of each video and the seconds of each frame."""
    middle = (len(aucs) + 1) // 2
    parts = (aucs, aucs[:middle], aucs[middle:])
    means = [f"{np.mean(part):.3f}" if part else "-" for part in parts]
    if not seconds:
        return [*means, "-", "-"]
    pace = len(seconds) / max(sum(seconds), 1e-9)
    return [*means, f"{1000 * np.median(seconds):.2f}", f"{pace:.1f}"]


if __name__ == "__main__":
    run(main)
