r"""Search for the best settings of a tracker: run it over a set of videos with many of them.

The first trial has the configuration's own values. Settings come from Optuna's TPE sampler, and a
trial ends early when its score is below the median after as many videos. tools/hp_search.py runs
the whole grid of PySOT. A range is KEY=START,STOP or KEY=START,STOP,STEP, without STOP itself.

The best setting goes to RESULTS/DATASET_MODEL.yaml, for --config of every command. The results of
each setting go to RESULTS/DATASET/MODEL_r255_pk-0.050_wi-0.100_lr-0.350, in the files of
tools/test.py. Start the same line again to go on with a search that was stopped, or in several
processes and machines that share --storage.

Examples:
    pysot tune --dataset MyVideos --config CONFIG.yaml --snapshot model.pth
    pysot tune --dataset MyVideos --config CONFIG.yaml --snapshot model.pth \
        --range LR=0.1,0.6 --range SCALE_STEP=1.01,1.1,log --trials 200 --plots
    python tools/hp_search.py --dataset VOT2018 --config CONFIG.yaml --snapshot model.pth \
        --penalty-k 0.02,0.3,0.02 --lr 0.3,0.5,0.02
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pysot.cli import (
    Parser,
    build_executor,
    find_dataset_root,
    find_tracker,
    positive,
    progress_bar,
)
from pysot.core import RunFailed
from pysot.core.config import changes
from pysot.core.registry import TRACKERS
from pysot.tracker.tracker_builder import TrackerSpec
from pysot.tuning.report import draw_plots, write_best
from pysot.tuning.search import DEFAULT, Search, with_setting
from pysot.tuning.space import Range, Setting, folder_name, grid_of, ranges_of
from pysot.tuning.study import SETTING, Study
from toolkit.datasets import Dataset
from toolkit.datasets.benchmarks import BENCHMARKS
from toolkit.datasets.dataset import require_images
from toolkit.evaluation import Evaluation, build_evaluation

TRIALS = 100  # by default, but for grids
_TOGETHER = {"grid": 16}  # trials that share the reading of a video; others learn from each other
_FIRST = 4  # share of the videos that every trial runs: one divided by this
#: PySOT's options for ranges: key, and the range in its grid
_OPTIONS = {
    "penalty_k": ("PENALTY_K", "0.05,0.5,0.05"),
    "lr": ("LR", "0.35,0.5,0.05"),
    "window_influence": ("WINDOW_INFLUENCE", "0.1,0.8,0.05"),
    "search_region": ("INSTANCE_SIZE", ""),
}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    add = parser.add_argument
    parser.add_tracker()
    add("--dataset", required=True, help="name of the set of videos")
    add("--range", action="append", default=[], metavar="KEY=START,STOP[,STEP|,log|,int]",
        dest="ranges",
        help="what to search below TRACK (default: what the tracker declares)")  # fmt: skip
    for name, (key, _) in _OPTIONS.items():
        text = f"TRACK.{key} as START,STOP,STEP or one value"
        add(f"--{name.replace('_', '-')}", metavar="RANGE", help=text)
    parser.add_dataset_root()
    parser.add_output("--results", default=Path("hp_search_result"), text="default: ./%(default)s")
    add("--name", help="MODEL: name of the study and of folders (default: from the snapshot)")
    add("--storage", help="SQLite file (.db), journal file, or URL of the database for the study "
        "(default: a journal, RESULTS/DATASET.journal)")  # fmt: skip
    add("--sampler", choices=("tpe", "random", "grid"), default="tpe", help="of settings")
    add("--trials", type=positive, metavar="N",
        help=f"trials in the study (default: {TRIALS}; a whole grid)")  # fmt: skip
    add("--no-prune", action="store_true", help="run all videos with every setting")
    add("--memory", type=int, default=1024, metavar="MB",
        help="of shared outputs of the network, per process")  # fmt: skip
    add(
        "--overwrite",
        action="store_true",
        help="delete what another snapshot left: its study, results",
    )
    add("--seed", type=int, default=0, help="of the sampler")
    parser.add_executor()
    add("--top", type=positive, default=10, help="settings in the table")
    add("--plots", action="store_true", help="draw history, importances and slices (PNG)")
    parser.add_overrides()
    args = parser.parse_intermixed_args(argv)
    if args.seed < 0 or args.memory < 0:
        parser.error("--seed and --memory must be 0 or more")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Run trials until the study has enough, and print the table of the best."""
    args = parse_args(argv)
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    dataset = Dataset(args.dataset, find_dataset_root(args.dataset, args.dataset_root))
    _check_truth(dataset)
    config, snapshot = find_tracker(args, "config.yaml")
    model = args.name or args.model or snapshot.resolve().name.split(".")[0]
    if Path(model).name != model or not model.strip("."):
        raise ValueError(f"{model!r} cannot begin the name of a folder; choose another --name")
    spec = TrackerSpec.read(config, snapshot, args.opts)
    ranges, settings = _read_space(args, spec)
    spec()  # a tracker that cannot be built fails here, once
    require_images(args.dataset, list(dataset))
    evaluation = build_evaluation(dataset)
    study = _open_study(args, model, dataset, spec, ranges, settings, evaluation)
    failed = _search(args, model, dataset, spec, ranges, study, len(settings), evaluation)
    _summarize(args, model, dataset, spec, study, evaluation)
    if failed:
        raise RunFailed(f"{failed} trials failed; start again to repeat them")


def _check_truth(dataset: Dataset) -> None:
    """Refuse a set by which settings cannot be compared, and warn of one that is held out."""
    if not any(video.mask_names or np.isfinite(video.boxes[1:]).any() for video in dataset):
        wanted = "a search needs the ground truth of later frames"
        raise ValueError(f"{dataset.name} has only first boxes; {wanted}")
    if dataset.name in BENCHMARKS and not dataset.benchmark.validation:
        logging.getLogger(__name__).warning(
            "%s is a test set: scores on it of settings that were chosen by it are too high; tune "
            "on other videos, such as GOT-10k_val, and test here once",
            dataset.name,
        )


def _read_space(args: argparse.Namespace, spec: TrackerSpec) -> tuple[list[Range], list[Setting]]:
    """Return the ranges, and for a grid all settings, of which every value is checked."""
    asked = dict(text.partition("=")[::2] for text in args.ranges)
    given = {key: getattr(args, name) for name, (key, _) in _OPTIONS.items()}
    asked.update({key: text for key, text in given.items() if text is not None})
    grid = args.sampler == "grid"
    usual = {key: text for key, text in _OPTIONS.values() if text} if grid else None
    ranges = ranges_of(TRACKERS.get(spec.cfg.TRACK.TYPE), asked, usual)
    for bound in ("low", "high"):
        with_setting(spec, {found.key: getattr(found, bound) for found in ranges})()
    return ranges, list(grid_of(ranges)) if grid else []


def _open_study(
    args: argparse.Namespace,
    model: str,
    dataset: Dataset,
    spec: TrackerSpec,
    ranges: list[Range],
    settings: list[Setting],
    evaluation: Evaluation,
) -> Study:
    """Open the study of a tracker on a data set; begin it with the configuration's own values."""
    videos = {video.name: [len(video), video.boxes.tolist()] for video in dataset}
    digest = hashlib.sha256(json.dumps(videos).encode()).hexdigest()
    made_with = {"dataset": dataset.name, "videos": digest, "score": evaluation.key}
    study = Study(
        args.storage or str(args.output / f"{dataset.name}.journal"),
        model,
        json.loads(json.dumps({**made_with, **spec.record()})),
        evaluation.higher_is_better,
        args.seed,
        args.sampler,
        settings,
        prune=None if args.no_prune or settings else -(-len(dataset) // _FIRST),
        overwrite=args.overwrite,
    )
    if not settings and not any(DEFAULT in trial.user_attrs for trial in study.begun()):
        track = spec.cfg.TRACK
        study.queue({found.key: track[found.key] for found in ranges}, ranges, **{DEFAULT: True})
    return study


def _search(
    args: argparse.Namespace,
    model: str,
    dataset: Dataset,
    spec: TrackerSpec,
    ranges: list[Range],
    study: Study,
    points: int,
    evaluation: Evaluation,
) -> int:
    """Run the trials that are left; return how many failed."""
    trials = args.trials or points or TRIALS
    trials = min(trials, points) if points else trials
    print(f"Total search number: {trials}", flush=True)
    with progress_bar("search", total=trials, unit="trial") as bar:
        search = Search(
            dataset,
            evaluation,
            spec,
            study,
            ranges,
            args.output / dataset.name,
            model,
            trials,
            together=_TOGETHER.get(args.sampler, 1),
            memory=args.memory * 2**20,
            overwrite=args.overwrite,
            bar=bar,
            lines=bool(points),
        )
        with build_executor(args) as executor:
            search.run(executor)
    return search.failed


def _summarize(
    args: argparse.Namespace,
    model: str,
    dataset: Dataset,
    spec: TrackerSpec,
    study: Study,
    evaluation: Evaluation,
) -> None:
    """Print a table of the best complete settings, and write the best one."""
    complete = study.trials("COMPLETE")
    counts = {state: len(study.trials(state)) for state in ("PRUNED", "RUNNING")}
    text = f"{len(complete)} settings are complete, {counts['PRUNED']} were pruned"
    if counts["RUNNING"]:
        text += f", {counts['RUNNING']} are with other processes: start again if those have died"
    print(text, file=sys.stderr)
    sign = -1 if evaluation.higher_is_better else 1
    ranked = sorted(complete, key=lambda trial: sign * trial.value)
    shown = ranked or (study.trials("PRUNED") if args.sampler == "grid" else [])
    _show_table(args, model, dataset, spec, [trial.user_attrs[SETTING] for trial in shown])
    if not complete:
        print(f"no setting is the best: {evaluation.key} is not defined here", file=sys.stderr)
        return
    best, setting = ranked[0], ranked[0].user_attrs[SETTING]
    print("best: " + " ".join(f"TRACK.{key} {value}" for key, value in setting.items()))
    own = [trial.value for trial in complete if DEFAULT in trial.user_attrs]
    comment = f"{evaluation.key} {best.value:.4f} on {dataset.name}"
    comment += f"; with the configuration's own values {own[0]:.4f}" if own else ""
    stem = args.output / f"{dataset.name}_{model}"
    path = stem.with_name(f"{stem.name}.yaml")
    write_best(path, changes(with_setting(spec, setting).cfg), comment)
    print(f"{path}: {comment}", file=sys.stderr)
    for drawn in draw_plots(study.study, stem, evaluation.key) if args.plots else ():
        print(f"plot: {drawn}", file=sys.stderr)


def _show_table(
    args: argparse.Namespace,
    model: str,
    dataset: Dataset,
    spec: TrackerSpec,
    ranked: Sequence[Setting],
) -> None:
    """Print the scores of the best settings whose results lie here, as pysot eval does."""
    folder, track = args.output / dataset.name, spec.cfg.TRACK
    names = list(dict.fromkeys(folder_name(model, track, setting) for setting in ranked))
    names = [name for name in names if (folder / name).is_dir()][: args.top]
    if not names:
        return
    dataset.set_tracker(folder, names)
    evaluation = build_evaluation(dataset)
    try:
        for _ in evaluation.evaluate(names, args.workers):
            pass
        evaluation.show(names, top=args.top)
    except ValueError as error:
        print(f"cannot score {dataset.name} here: {error}", file=sys.stderr)
