"""Score the result files of trackers, whatever the benchmark's protocol is.

Needs the JSON of the data set, but neither torch nor, except for mask sequences, its images.

--model NAME scores the results that `pysot test --model NAME` wrote, in the folder NAME, and prints
the published scores below.

Examples:
    pysot eval -p results -d OTB100                     # every tracker in results/OTB100
    pysot eval -p results -d VOT2018 -t 'siam*' -s      # some of them, video by video
    pysot eval -p results -d VOT2018 --model siamrpn_r50_l234_dwxcorr
    pysot eval -p results -d UAV123 --json scores.json --plot plots
    pysot eval -p results -d LaSOT --bootstrap 2000 --compare siamrpn siammask
    pysot eval -p results -d OTB100 --csv scores.csv --latex table.tex --report page
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatch
from functools import partial
from itertools import chain
from pathlib import Path

from pysot.cli import Parser, find_dataset_root, positive, progress_bar
from pysot.core import RunFailed
from toolkit.datasets import BENCHMARKS, Dataset
from toolkit.evaluation import INCOMPLETE, Evaluation, build_evaluation
from toolkit.evaluation.tables import (
    VIDEO_TABLE_LIMIT,
    comparison_table,
    csv_text,
    interval_table,
    latex_table,
)
from toolkit.io.files import atomic_write
from toolkit.io.names import UniqueNames

logger = logging.getLogger("eval")

COMPARE_SAMPLES = 2000  # unless --bootstrap says how many


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; None takes that of the process."""
    parser = Parser(__doc__)
    add = parser.add_argument
    known = ", ".join(BENCHMARKS)
    add("--tracker_path", "-p", type=Path, required=True, help="folder with <DATASET>/<TRACKER>/")
    add("--dataset", "-d", required=True, help=f"{known}, or any set in their JSON format")
    parser.add_workers("-n")
    add("--tracker_prefix", "-t", default="", help="only trackers that begin so; may hold * and ?")
    add("--model", metavar="NAME", help="only the results of these published weights")
    add("--show_video_level", "-s", action="store_true", help="also print a table of the videos")
    parser.add_dataset_root()
    add("--json", type=Path, metavar="FILE", help="write all scores, curves and problems")
    text = "write one row per tracker, video, metric and so on"
    add("--csv", type=Path, metavar="FILE", help=text)
    add("--latex", type=Path, metavar="FILE", help="write the table of trackers for a paper")
    add("--report", type=Path, metavar="DIR", help="write DIR/index.html, a page of all scores")
    add("--plot", type=Path, metavar="DIR", help="write every plot that applies")
    add("--plot-format", choices=("png", "pdf", "svg"), default="png", help="of the plots")
    add("--top", type=positive, default=20, help="trackers in the table, best first")
    add("--color", choices=("auto", "always", "never"), default="auto", help="red for low scores")
    policies = "; ".join(f"{name}: {text}" for name, text in INCOMPLETE.items())
    add("--incomplete", choices=tuple(INCOMPLETE), default="lost", help=policies)
    add("--strict", action="store_true", help="the same as --incomplete error")
    add("--strict-gt", action="store_true", help="absent targets are no precision hits")
    add("--bootstrap", type=int, default=0, metavar="N", help="95 %% intervals from N samples")
    add("--compare", nargs=2, metavar=("A", "B"), help="test trackers A and B on the same samples")
    args = parser.parse_args(argv)
    if args.bootstrap < 0:
        parser.error("--bootstrap takes numbers from 0")
    if args.model and args.tracker_prefix:
        parser.error("--model names the only tracker; leave out --tracker_prefix")
    if args.strict:
        args.incomplete = "error"
    return args


def find_trackers(tracker_path: Path, dataset: str, prefix: str) -> list[str]:
    """Names of the trackers with results, sorted.

    Raises:
        OSError: If there is none, saying what was looked for and what is there.
    """
    folder = tracker_path / dataset
    if not tracker_path.is_dir():
        if tracker_path.exists():
            raise NotADirectoryError(f"no results: {tracker_path} is not a folder")
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


def _known_scores(name: str, dataset: str) -> list[str]:
    from pysot.zoo import find_model  # slow to import, by urllib

    return find_model(name).scores(dataset)


def _only(name: str, trackers: Sequence[str]) -> list[str]:
    """Return that tracker alone: names of other models may begin with its name."""
    if name not in trackers:
        raise FileNotFoundError(f"no results of {name}; {_hint(name, trackers)}")
    return [name]


def _folders(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if entry.is_dir())


def _hint(wanted: str, there: Sequence[str]) -> str:
    if not there:
        return "it holds no folder of results"
    near = get_close_matches(wanted, there, n=3) if wanted else []
    listed = ", ".join(there[:10]) + (f" and {len(there) - 10} more" if len(there) > 10 else "")
    return (f"did you mean {' or '.join(near)}? " if near else "") + f"there is: {listed}"


def score(evaluation: Evaluation, trackers: Sequence[str], num_workers: int) -> list[str]:
    """Score all trackers that have results; returns their names, best first."""
    progress = evaluation.evaluate(trackers, num_workers)
    if sys.stderr.isatty():  # importing tqdm takes as long as many scores
        progress = progress_bar("eval", progress, total=len(trackers), unit="it")
    for _ in progress:
        pass
    return evaluation.ranked(evaluation.scored(trackers))


def write_json(path: Path, evaluation: Evaluation, trackers: Sequence[str]) -> None:
    """Write every figure, curve and problem of the trackers, in the order given."""
    with atomic_write(path) as file:
        json.dump(evaluation.as_data(trackers), file, indent=1, allow_nan=False)
        file.write("\n")


def write_csv(path: Path, evaluation: Evaluation, trackers: Sequence[str]) -> None:
    """Write one row per value; see `csv_text`."""
    scores = {name: evaluation.scores(name) for name in trackers}
    with atomic_write(path) as file:
        file.write(csv_text(evaluation.dataset.name, scores))


def write_latex(path: Path, evaluation: Evaluation, trackers: Sequence[str]) -> None:
    """Write the table of trackers, in the order given; see `latex_table`."""
    values = {name: evaluation.scores(name).metrics for name in trackers}
    with atomic_write(path) as file:
        file.write(latex_table(values, evaluation.ranked_metrics))


def write_plots(
    folder: Path, evaluation: Evaluation, trackers: Sequence[str], suffix: str = "png"
) -> None:
    """Write every plot that applies to the data set as ``<folder>/<DATASET>_<name>.<suffix>``."""
    from toolkit.report.figures import attribute_plots, main_plots
    from toolkit.visualization import save_figure

    by_attribute = attribute_plots(evaluation, trackers, ("success", "precision"))
    names = UniqueNames()
    for plot in chain(main_plots(evaluation, trackers), by_attribute):
        name = names.add(f"{evaluation.dataset.name}_{plot.name}")
        save_figure(plot.figure, folder / f"{name}.{suffix}")


def write_page(folder: Path, evaluation: Evaluation, trackers: Sequence[str]) -> None:
    """Write the page ``<folder>/index.html``."""
    from toolkit.report import write_report

    write_report(folder, evaluation, trackers)


def write_outputs(
    args: argparse.Namespace, evaluation: Evaluation, trackers: Sequence[str]
) -> None:
    """Write all that was asked for; raises RunFailed if an optional package is missing."""
    for path, write in (
        (args.json, write_json),
        (args.csv, write_csv),
        (args.latex, write_latex),
        (args.report, write_page),
        (args.plot, partial(write_plots, suffix=args.plot_format)),
    ):
        try:
            if path:
                write(path, evaluation, trackers)
        except ImportError as error:
            raise RunFailed(str(error)) from error


def print_statistics(
    args: argparse.Namespace, evaluation: Evaluation, trackers: Sequence[str]
) -> None:
    """Print confidence intervals and the comparison, if they were asked for."""
    if args.bootstrap:
        scores = {name: evaluation.scores(name) for name in trackers[: args.top]}
        print("\n" + interval_table(scores))
    if args.compare:
        samples = args.bootstrap or COMPARE_SAMPLES
        print("\n" + comparison_table(*args.compare, evaluation.compare(*args.compare, samples)))


def _check_compared(names: Sequence[str], there: Sequence[str], kind: str = "") -> None:
    for name in names:
        if name not in there:
            raise ValueError(f"--compare: no {kind}tracker {name!r}; {_hint(name, sorted(there))}")


def _note_what_is_not_shown(args: argparse.Namespace, num_trackers: int) -> None:
    if num_trackers > args.top:
        logger.warning("the table shows %d of %d trackers (--top)", args.top, num_trackers)
    if args.show_video_level and num_trackers > VIDEO_TABLE_LIMIT:
        text = "no table of the videos for %d trackers, at most %d fit; choose some with -t"
        logger.warning(text, num_trackers, VIDEO_TABLE_LIMIT)


def main(argv: Sequence[str] | None = None) -> None:
    """Score, print the tables, and write what was asked for."""
    args = parse_args(argv)
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    known = _known_scores(args.model, args.dataset) if args.model else []
    trackers = find_trackers(args.tracker_path, args.dataset, args.model or args.tracker_prefix)
    if args.model:
        trackers = _only(args.model, trackers)
    _check_compared(args.compare or (), trackers)
    root = find_dataset_root(args.dataset, args.dataset_root)
    dataset = Dataset(args.dataset, root)
    dataset.set_tracker(args.tracker_path / args.dataset, trackers)
    evaluation = build_evaluation(dataset, args.incomplete, args.strict_gt)
    scored = score(evaluation, trackers, args.workers)
    _check_compared(args.compare or (), scored, "scored ")
    color = {"auto": None, "always": True, "never": False}[args.color]
    evaluation.show(scored, args.show_video_level, args.top, color)
    _note_what_is_not_shown(args, len(scored))
    for line in known:
        print(line)
    if args.bootstrap:
        evaluation.add_intervals(scored, args.bootstrap)
    print_statistics(args, evaluation, scored)
    write_outputs(args, evaluation, scored)
