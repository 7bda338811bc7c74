"""Seconds that ``tools/eval.py`` takes, and how much faster it is than a plain evaluation.

Usage:
    python benchmarks/eval_speed.py [--work DIR] [--only OTB100 VOT2018 VOT2018-15 LaSOT VOT2018-LT]

For each benchmark, results of made trackers are written below ``--work`` (kept for the next run;
by default a temporary folder), then

* the whole command runs as a new process, start included, the median of three;
* in this process, the time goes to annotations, result files (reading and parsing) and scores;
* a part of the set, cut so that the plain version takes seconds, is scored by the plain version of
  plain_eval.py and by ours in turn; both must give the same figures.

Then overlaps in pairs a second, on one core, and what importing toolkit takes. Annotations are the
public ones where PYSOT_SHARED names a folder that has them, else made up in the same size.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import plain_eval
from made_results import annotations, cut, make, quadrilaterals, repeat

from pysot.cli import run
from toolkit.datasets import DatasetFactory
from toolkit.datasets.benchmarks import find_benchmark
from toolkit.evaluation import Evaluation, build_evaluation
from toolkit.utils.region import overlaps

ROOT = Path(__file__).resolve().parents[1]
RUNS = 3
SAME = 1e-6


@dataclass(frozen=True)
class Case:
    """What is scored.

    Attributes:
        dataset: Name of the set.
        num_trackers: Number of trackers.
        part: Videos and frames of each that the plain version scores too, with one tracker.
        plain: ``(annotations, folder of the tracker) -> figures``.
        repetitions: Of each video.
    """

    dataset: str
    num_trackers: int
    part: tuple[int, int]
    plain: Callable[..., dict[str, float]]
    repetitions: int = 1


def plain_reset(records: dict[str, Any], folder: Path) -> dict[str, float]:
    return plain_eval.reset(records, folder, find_benchmark("VOT2018").eao_window)


CASES = {
    "OTB100": Case("OTB100", 5, (10, 1000), plain_eval.one_pass),
    "VOT2018": Case("VOT2018", 5, (4, 200), plain_reset),
    "VOT2018-15": Case("VOT2018", 5, (2, 150), plain_reset, repetitions=15),
    "LaSOT": Case("LaSOT", 3, (4, 2000), plain_eval.one_pass),
    "VOT2018-LT": Case("VOT2018-LT", 5, (2, 300), plain_eval.long_term),
}


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--work", type=Path, help="folder for the made results")
    parser.add_argument("--only", nargs="+", choices=tuple(CASES), default=tuple(CASES))
    return parser.parse_args(argv)


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value


def median_seconds(function: Callable[[], Any], runs: int = RUNS) -> float:
    return statistics.median(timed(function)[0] for _ in range(runs))


def python(*args: str | Path) -> None:
    """Run a new interpreter in the repository."""
    subprocess.run([sys.executable, *args], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def prepare(case: Case, root: Path, records: dict[str, Any], num_trackers: int) -> Path:
    make(root, case.dataset, records, num_trackers)
    repeat(root, case.dataset, case.repetitions)
    return root


def evaluation(case: Case, root: Path) -> Evaluation:
    """Read the annotations and name the trackers."""
    dataset = DatasetFactory.create_dataset(name=case.dataset, dataset_root=root)
    results = root / "results" / case.dataset
    dataset.set_tracker(results, sorted(path.name for path in results.iterdir()))
    return build_evaluation(dataset)


def ours(case: Case, root: Path) -> dict[str, float]:
    """Figures of the only tracker."""
    made = evaluation(case, root)
    return made.scores(made.dataset.tracker_names[0]).metrics


def plain(case: Case, root: Path) -> dict[str, float]:
    """The same by the plain version."""
    records = plain_eval.read_annotations(root / f"{case.dataset}.json")
    return case.plain(records, root / "results" / case.dataset / "tracker0")


def compare(case: Case, root: Path) -> tuple[float, float]:
    """Seconds of the plain version and of ours, in turn, on a part of the set.

    Raises:
        ValueError: If their figures differ.
    """
    ours(case, root)  # what is imported on first use does not count
    before = timed(lambda: ours(case, root))[0]
    seconds, expected = timed(lambda: plain(case, root))
    after, found = timed(lambda: ours(case, root))
    for metric, value in expected.items():
        if not abs(found[metric] - value) <= SAME:
            raise ValueError(f"{case.dataset}: {metric} is {found[metric]}, plainly {value}")
    return seconds, (before + after) / 2


def parts(case: Case, root: Path) -> tuple[float, float, float]:
    """Seconds that annotations, result files and scores take."""
    annotating, made = timed(lambda: evaluation(case, root))
    names = made.dataset.tracker_names
    reading = timed(lambda: [made.gather(name) for name in names])[0]
    all_of_it = timed(lambda: [made.scores(name) for name in names])[0]
    return annotating, reading, all_of_it - reading


def command_seconds(case: Case, root: Path) -> float:
    options = ["-p", root / "results", "-d", case.dataset, "--dataset-root", root]
    return median_seconds(lambda: python(ROOT / "tools" / "eval.py", *options))


def show_cases(work: Path, names: Sequence[str]) -> None:
    """Print a line for each case."""
    columns = ("command/s", "json/s", "files/s", "scores/s", "files", "plain/s", "ours/s", "ratio")
    print(f"{'benchmark':16}{'trackers':>9}" + "".join(f"{column:>11}" for column in columns))
    for name in names:
        case = CASES[name]
        records = annotations(case.dataset)
        whole = prepare(case, work / name, records, case.num_trackers)
        small = prepare(case, work / f"{name}-part", cut(records, *case.part), 1)
        del records
        command = command_seconds(case, whole)
        times = parts(case, whole)
        slow, quick = compare(case, small)
        print(
            f"{name:16}{case.num_trackers:9}{command:11.2f}"
            + "".join(f"{seconds:11.2f}" for seconds in times)
            + f"{times[1] / sum(times):11.0%}{slow:11.2f}{quick:11.3f}{slow / quick:11.0f}",
            flush=True,
        )


def show_overlaps() -> None:
    """Print pairs a second of rectangles and quadrilaterals, ours and plain."""
    rng = np.random.default_rng(0)
    print(f"\n{'overlap of pairs':24}{'plain/s':>12}{'ours/s':>12}{'ratio':>10}")
    for side, count, few in ((60, 100000, 20), (900, 4000, 2)):
        frame = (4 * side, 4 * side)
        pairs = quadrilaterals(rng, count, side)
        boxes = rng.uniform(side, 2 * side, (10 * count, 4))
        kinds = {
            "rectangles": (boxes, boxes + rng.normal(0, side / 10, boxes.shape)),
            "polygons": pairs,
        }
        for kind, (a, b) in kinds.items():
            first = [list(pair) for pair in zip(a[:few].tolist(), b[:few].tolist(), strict=True)]
            slow = timed(lambda: [plain_eval.region_overlap(*p, frame) for p in first])  # noqa: B023
            same = np.array(slow[1]) - overlaps(a[:few], b[:few], frame)
            if not np.abs(same).max() <= SAME:
                raise ValueError(f"{kind} of {side} px: overlaps differ by {np.abs(same).max()}")
            quick = median_seconds(lambda: overlaps(a, b, frame))  # noqa: B023
            rates = few / slow[0], len(a) / quick
            label = f"{kind}, {side} px"
            print(f"{label:24}{rates[0]:12,.0f}{rates[1]:12,.0f}{rates[1] / rates[0]:10,.0f}")


def show_imports() -> None:
    """Print what starting Python and importing takes."""
    print()
    modules = "toolkit, toolkit.datasets, toolkit.evaluation, toolkit.utils"
    for label, line in {
        "python": "pass",
        "numpy": "import numpy",
        "toolkit, all of it": f"import {modules}",
    }.items():
        print(f"{label:24}{median_seconds(lambda: python('-c', line), 7):8.3f} s")  # noqa: B023


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        show_cases(args.work or Path(folder), args.only)
    show_overlaps()
    show_imports()


if __name__ == "__main__":
    run(main)
