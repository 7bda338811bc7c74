"""Score the result files of trackers: success, precision and normalised precision.

Needs the JSON of the data set, but neither its images nor torch.

    python tools/eval.py -p results -d OTB100                     every tracker in results/OTB100
    python tools/eval.py -p results -d OTB100 -t 'siam*' -s       some of them, video by video
    python tools/eval.py -p results -d UAV123 --json scores.json --plot plots
"""

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatch
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tqdm import tqdm

from pysot.utils.cli import RunFailed, run
from toolkit.datasets import BENCHMARKS, Dataset, DatasetFactory, find_root
from toolkit.evaluation import INCOMPLETE, OPEBenchmark
from toolkit.evaluation.report import ranked, tracker_data
from toolkit.utils.files import atomic_write
from toolkit.utils.statistics import ERROR_THRESHOLDS, IOU_THRESHOLDS, NORM_ERROR_THRESHOLDS
from toolkit.visualization import draw_success_precision, save_figure

logger = logging.getLogger("eval")

TESTING_DATASET = Path(__file__).resolve().parents[1] / "testing_dataset"
VIDEO_TABLE_LIMIT = 9  # trackers that fit side by side


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; None takes that of the process."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    known = ", ".join(BENCHMARKS)
    add("--tracker_path", "-p", type=Path, required=True, help="folder with <DATASET>/<TRACKER>/")
    add("--dataset", "-d", required=True, help=f"{known}, or any set in their JSON format")
    add("--num", "-n", type=int, default=1, help="worker processes (default: 1)")
    add("--tracker_prefix", "-t", default="", help="only trackers that begin so; may hold * and ?")
    add("--show_video_level", "-s", action="store_true", help="also print a table of the videos")
    add("--dataset-root", type=Path, help="folder of <DATASET>.json (default: testing_dataset/..)")
    add("--json", type=Path, metavar="FILE", help="write all scores, curves and problems")
    add("--plot", type=Path, metavar="DIR", help="write the plots as PNG")
    add("--top", type=int, default=20, help="trackers in the table, best first (default: 20)")
    add("--color", choices=("auto", "always", "never"), default="auto", help="red for low scores")
    policies = "; ".join(f"{name}: {text}" for name, text in INCOMPLETE.items())
    add("--incomplete", choices=tuple(INCOMPLETE), default="lost", help=f"{policies}")
    add("--strict-gt", action="store_true", help="absent targets are no precision hits")
    return parser.parse_args(argv)


def find_trackers(tracker_path: Path, dataset: str, prefix: str) -> list[str]:
    """Names of the trackers with results, sorted; stray files are no trackers.

    Raises:
        FileNotFoundError: If there is none, saying what was looked for and what is there.
    """
    folder = tracker_path / dataset
    if not tracker_path.is_dir():
        raise FileNotFoundError(f"no results: the folder {tracker_path} does not exist")
    if not folder.is_dir():
        there = _folders(tracker_path)
        raise FileNotFoundError(f"no results: there is no folder {folder}; {_hint(dataset, there)}")
    there = _folders(folder)
    names = [name for name in there if name.startswith(prefix) or fnmatch(name, f"{prefix}*")]
    if not names:
        hint = _hint(prefix, there)
        raise FileNotFoundError(f"no results: no tracker in {folder} is like '{prefix}*'; {hint}")
    return names


def _folders(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if entry.is_dir())


def _hint(wanted: str, there: Sequence[str]) -> str:
    if not there:
        return "it holds no folder of results"
    near = get_close_matches(wanted, there, n=3) if wanted else []
    listed = ", ".join(there[:10]) + (f" and {len(there) - 10} more" if len(there) > 10 else "")
    return (f"did you mean {' or '.join(near)}? " if near else "") + f"there is: {listed}"


def score(benchmark: OPEBenchmark, trackers: Sequence[str], num_workers: int) -> list[str]:
    """Score all trackers that have results; returns their names, best first.

    Raises:
        ValueError: If none has.
    """
    scored = [name for name in trackers if benchmark.has_results(name)]
    for name in sorted(set(trackers) - set(scored)):
        if scored:
            logger.warning("%s: no result for any video, left out", name)
        else:
            benchmark.scores(name)  # raises, and says what it looked for
    progress = benchmark.evaluate(scored, num_workers)
    for _ in tqdm(progress, "eval", len(scored), ncols=100, leave=False, disable=None):
        pass
    return ranked(benchmark.eval_success(scored))


def write_json(path: Path, benchmark: OPEBenchmark, trackers: Sequence[str]) -> None:
    """Write every figure, curve and problem of the trackers, in the order given."""
    dataset = benchmark.dataset
    report = {
        "dataset": dataset.name,
        "protocol": dataset.benchmark.protocol,
        "num_videos": len(dataset),
        "num_frames": sum(map(len, dataset)),
        "incomplete": benchmark.incomplete,
        "strict_gt": benchmark.strict,
        "thresholds": {
            "success": IOU_THRESHOLDS.round(2).tolist(),
            "precision": ERROR_THRESHOLDS.tolist(),
            "norm_precision": NORM_ERROR_THRESHOLDS.tolist(),
        },
        "trackers": {name: _tracker_report(benchmark, name) for name in trackers},
    }
    with atomic_write(path) as file:
        json.dump(report, file, indent=1, allow_nan=False)
        file.write("\n")


def _tracker_report(benchmark: OPEBenchmark, name: str) -> dict[str, object]:
    scores = benchmark.scores(name)
    return tracker_data(scores.curves, benchmark.dataset.attr, scores.problems)


def write_plots(folder: Path, dataset: Dataset, returns: Mapping[str, Mapping]) -> list[Path]:
    """Draw success, precision and normalised precision as ``<folder>/<DATASET>_<metric>.png``."""
    figures = draw_success_precision(
        returns["success"],
        dataset.name,
        list(dataset.videos),
        "ALL",
        returns["precision"],
        returns["norm_precision"],
        show=False,
    )
    paths = [folder / f"{dataset.name}_{metric}.png" for metric in figures]
    for figure, path in zip(figures.values(), paths, strict=True):
        save_figure(figure, path)
    return paths


def _note_what_is_not_shown(args: argparse.Namespace, num_trackers: int) -> None:
    if num_trackers > args.top:
        logger.warning("the table shows %d of %d trackers (--top)", args.top, num_trackers)
    if args.show_video_level and num_trackers > VIDEO_TABLE_LIMIT:
        logger.warning(
            "no table of the videos for %d trackers, at most %d fit; choose some with -t",
            num_trackers,
            VIDEO_TABLE_LIMIT,
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Score, print the tables, and write what was asked for."""
    args = parse_args(argv)
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    trackers = find_trackers(args.tracker_path, args.dataset, args.tracker_prefix)
    root = args.dataset_root or find_root(args.dataset, TESTING_DATASET)
    dataset = DatasetFactory.create_dataset(name=args.dataset, dataset_root=root)
    if dataset.benchmark.evaluation != "ope":
        raise ValueError(
            f"{args.dataset} needs the evaluation {dataset.benchmark.evaluation!r}; there is: ope"
        )
    dataset.set_tracker(args.tracker_path / args.dataset, trackers)
    benchmark = OPEBenchmark(dataset, args.incomplete, args.strict_gt)
    scored = score(benchmark, trackers, args.num)
    returns = {
        "success": benchmark.eval_success(scored),
        "precision": benchmark.eval_precision(scored),
        "norm_precision": benchmark.eval_norm_precision(scored),
    }
    shown = [returns[m] if m in dataset.benchmark.metrics else None for m in returns]
    color = {"auto": None, "always": True, "never": False}[args.color]
    benchmark.show_result(*shown, args.show_video_level, top=args.top, color=color)
    _note_what_is_not_shown(args, len(scored))
    if args.json:
        write_json(args.json, benchmark, scored)
    if args.plot:
        try:
            write_plots(args.plot, dataset, returns)
        except ModuleNotFoundError as error:
            raise RunFailed(str(error)) from error


if __name__ == "__main__":
    run(main)
