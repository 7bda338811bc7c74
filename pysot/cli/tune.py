r"""Search for the best settings of a tracker: run it over a benchmark with many of them.

Usage:
    python tools/hp_search.py --dataset OTB100 --config CONFIG.yaml --snapshot model.pth
    python tools/hp_search.py --dataset VOT2018 --config CONFIG.yaml --snapshot model.pth \
        --penalty-k 0.02,0.3,0.02 --lr 0.3,0.5,0.02 --random 100 --workers 4

A range is START,STOP,STEP without STOP itself (NumPy's arange), or one value. The results of each
setting go to RESULTS/DATASET/MODEL_r255_pk-0.050_wi-0.100_lr-0.350, in the files of tools/test.py;
tools/eval.py -p hp_search_result scores them, too. The table at the end has the best settings that
are complete. Several processes, also of several machines, may work in one folder: start the same
line again. A search that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from pysot.cli import Parser, find_dataset_root, find_tracker, positive, progress_bar
from pysot.core import RunFailed
from pysot.tracker.tracker_builder import TrackerSpec
from pysot.utils.bbox import initial_rect
from toolkit.datasets import Dataset, Video
from toolkit.datasets.dataset import require_images
from toolkit.evaluation import build_evaluation
from toolkit.io.pool import run_parallel
from toolkit.protocols.one_pass import ProtocolOptions
from toolkit.protocols.runner import Job, JobResult, run_together
from toolkit.results.store import ResultStore

TOGETHER = 16  # settings that share the reading of a video; more would lose more in a crash
MAX_SETTINGS = 1_000_000  # more would fill the memory

Work = tuple[list[Job], Video]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    add = parser.add_argument
    parser.add_tracker()
    add("--dataset", required=True, help="name of the benchmark")
    add("--penalty-k", default="0.05,0.5,0.05", help="TRACK.PENALTY_K (default: %(default)s)")
    add("--lr", default="0.35,0.5,0.05", help="TRACK.LR (default: %(default)s)")
    add("--window-influence", default="0.1,0.8,0.05", help="default: %(default)s")
    add("--search-region", default="255,256,8", help="TRACK.INSTANCE_SIZE (default: %(default)s)")
    parser.add_dataset_root()
    parser.add_output("--results", default=Path("hp_search_result"), text="default: ./%(default)s")
    add("--name", help="MODEL in the names of the folders (default: from the snapshot)")
    add("--overwrite", action="store_true", help="delete what another snapshot left in them")
    add("--random", type=positive, metavar="N", help="only N settings, drawn at random")
    add("--seed", type=int, default=0, help="which ones --random draws (default: %(default)s)")
    parser.add_workers()
    add("--top", type=positive, default=10, help="settings in the table (default: %(default)s)")
    parser.add_overrides()
    return parser.parse_intermixed_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run all settings over all videos and print the table of the best."""
    args = parse_args(argv)
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    settings = _choose(_read_grid(args), args.random, args.seed)
    print(f"Total search number: {len(settings)}", flush=True)
    dataset = Dataset(args.dataset, find_dataset_root(args.dataset, args.dataset_root))
    _check_truth(dataset)
    spec = TrackerSpec.read(*find_tracker(args, "config.yaml"), args.opts)
    spec()  # a tracker that cannot be built fails here, once
    jobs = _make_jobs(args, dataset, spec, settings)
    pending = (v for v in dataset if not all(job.is_finished(v) for job in jobs.values()))
    require_images(args.dataset, list(pending))
    record = spec.record()
    for setting, job in jobs.items():
        track = {**record["settings"]["TRACK"], **setting.track()}
        made_with = {**record, "settings": {**record["settings"], "TRACK": track}}
        job.store.record(made_with, list(dataset.videos), args.overwrite)
    failed = _search(list(jobs.values()), list(dataset), args.workers)
    best = _summarize(dataset, jobs, args)
    if best is not None:
        print(f"best: {' '.join(map(str, best.overrides()))}")
    if failed:
        raise RunFailed(f"{failed} runs failed; start again to repeat them")


@dataclass(frozen=True)
class Setting:
    """One point of the search."""

    instance_size: int
    penalty_k: float
    window_influence: float
    lr: float

    def folder(self, model: str) -> str:
        """Return the name of the folder of its results, as in PySOT."""
        return (
            f"{model}_r{self.instance_size}_pk-{self.penalty_k:.3f}"
            f"_wi-{self.window_influence:.3f}_lr-{self.lr:.3f}"
        )

    def track(self) -> dict[str, Any]:
        """Return its values in the section TRACK of a configuration."""
        return {
            "PENALTY_K": self.penalty_k,
            "WINDOW_INFLUENCE": self.window_influence,
            "LR": self.lr,
            "INSTANCE_SIZE": self.instance_size,
        }

    def overrides(self) -> list[Any]:
        """Return ``KEY, VALUE, ...`` as the tools take them."""
        return [item for key, value in self.track().items() for item in (f"TRACK.{key}", value)]


def _read_grid(args: argparse.Namespace) -> list[Setting]:
    """Return all settings of the ranges on the command line."""
    option = f"--search-region {args.search_region}"
    sizes = _read_range(option)
    if any(size != int(size) or size < 1 for size in sizes):
        raise ValueError(f"{option}: expected whole numbers of pixels")
    ranges = [list(map(int, sizes))]
    for name in ("penalty_k", "window_influence", "lr"):
        option = f"--{name.replace('_', '-')} {getattr(args, name)}"
        values = _read_range(option)
        if len({f"{value:.3f}" for value in values}) < len(values):
            raise ValueError(f"{option}: folders tell only three decimals; take larger steps")
        ranges.append(values)
    if (number := prod(map(len, ranges))) > MAX_SETTINGS:
        raise ValueError(f"the ranges hold {number} settings; expected {MAX_SETTINGS} at most")
    return [Setting(*numbers) for numbers in product(*ranges)]


def _read_range(option: str) -> list[float]:
    """Return the values of ``--name START,STOP,STEP``, without STOP, or ``--name VALUE``."""
    try:
        numbers = [float(part) for part in option.split(" ", 1)[1].split(",")]
    except ValueError:
        numbers = []
    if not np.isfinite(numbers).all() or len(numbers) not in (1, 3):
        raise ValueError(f"{option}: expected START,STOP,STEP or one number")
    if len(numbers) == 1:
        return numbers
    start, stop, step = numbers
    if step <= 0 or stop <= start:
        raise ValueError(f"{option}: holds no value; expected START < STOP and STEP > 0")
    if (stop - start) / step > MAX_SETTINGS:
        raise ValueError(f"{option}: holds more than {MAX_SETTINGS} values")
    return np.arange(start, stop, step).tolist()


def _choose(settings: list[Setting], number: int | None, seed: int) -> list[Setting]:
    """Return all settings, or some at random, the same ones for the same seed."""
    if number is None or number >= len(settings):
        return settings
    chosen = np.random.default_rng(seed).choice(len(settings), number, replace=False)
    return [settings[index] for index in sorted(chosen.tolist())]


def _check_truth(dataset: Dataset) -> None:
    """Refuse a set by which settings cannot be compared."""
    if not any(video.mask_names or np.isfinite(video.boxes[1:]).any() for video in dataset):
        wanted = "a search needs the ground truth of later frames"
        raise ValueError(f"{dataset.name} has only first boxes; {wanted}")


def _make_jobs(
    args: argparse.Namespace, dataset: Dataset, spec: TrackerSpec, settings: Sequence[Setting]
) -> dict[Setting, Job]:
    """Return how the tracker is run with each setting, and where the results go."""
    model = args.name or args.model or args.snapshot.name.split(".")[0]
    if Path(model).name != model:
        raise ValueError(f"{model!r} cannot begin the name of a folder; choose another --name")
    benchmark, parent = dataset.benchmark, args.output / args.dataset
    options = ProtocolOptions(initial_rect, spec.cfg.TRACK.MASK_THERSHOLD)
    return {
        setting: Job(
            spec.with_settings(*setting.overrides()),
            benchmark.protocol,
            ResultStore(parent / setting.folder(model), benchmark.layout),
            options,
            overwrite=args.overwrite,
        )
        for setting in settings
    }


def _search(jobs: list[Job], videos: Sequence[Video], workers: int) -> int:
    """Run what is not there yet, print a line per run, and return the number of failed runs.

    Processes that share the work begin with different settings. What another process has locked is
    tried again in the end, for that process may have died.
    """
    jobs = [jobs[index] for index in np.random.default_rng().permutation(len(jobs))]
    groups = [jobs[i : i + TOGETHER] for i in range(0, len(jobs), TOGETHER)]
    waiting: list[Work] = [(group, video) for group in groups for video in videos]
    failed, locked = 0, []
    while waiting:
        locked, progress = [], False
        for (group, video), results in _follow(waiting, workers):
            others = [job for job, result in zip(group, results, strict=True) if result.locked]
            progress |= len(others) < len(results)
            failed += sum(bool(result.error) for result in results)
            locked += [(others, video)] if others else []
        waiting = locked if progress else []
    if locked:
        number = sum(len(group) for group, _ in locked)
        print(f"{number} runs are with other processes; they are not in the table", file=sys.stderr)
    return failed


def _follow(work: list[Work], workers: int) -> Iterator[tuple[Work, list[JobResult]]]:
    """Run groups of settings, print a line for every run, and yield the results of each group."""
    total = sum(len(group) * len(video) for group, video in work)
    bar = progress_bar("search", total=total)
    with bar:
        done = run_parallel(_run_group, work, workers)
        for (group, video), results in zip(work, done, strict=True):
            for job, result in zip(group, results, strict=True):
                for line in result.lines:
                    bar.write(line, file=sys.stdout)
                if result.error:
                    text = f"error: {job.store.folder.name}: {video.name}: {result.error}"
                    bar.write(text, file=sys.stderr)
            bar.update(len(group) * len(video))
            yield (group, video), results


def _run_group(work: Work) -> list[JobResult]:
    return run_together(*work)


def _summarize(
    dataset: Dataset, jobs: dict[Setting, Job], args: argparse.Namespace
) -> Setting | None:
    """Print a table of the best complete settings; return the best one, if its score is defined."""
    complete = {
        job.store.folder.name: setting
        for setting, job in jobs.items()
        if all(job.is_finished(video) for video in dataset)
    }
    print(f"{len(complete)} of {len(jobs)} settings are complete", file=sys.stderr)
    if not complete:
        return None
    dataset.set_tracker(args.output / args.dataset, list(complete))
    evaluation = build_evaluation(dataset)
    try:
        for _ in evaluation.evaluate(list(complete), args.workers):
            pass
        evaluation.show(list(complete), top=args.top)
    except ValueError as error:
        print(f"cannot score {args.dataset} here: {error}", file=sys.stderr)
        return None
    best = evaluation.ranked(list(complete))[0]
    if np.isfinite(evaluation.scores(best).metrics[evaluation.key]):
        return complete[best]
    print(f"no setting is the best: {evaluation.key} is not defined here", file=sys.stderr)
    return None
