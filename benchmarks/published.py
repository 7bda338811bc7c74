"""Compare our scores of published result files with the numbers their authors print.

    python benchmarks/published.py [SHARED]

SHARED (default: the environment's PYSOT_SHARED, else ../shared) holds annotation JSONs in
``data/benchmarks/<SET>`` and result archives ``<SET>.tar.xz`` in ``data/results`` or in
``golden/toolkit/real/results.tar.xz``, in PySOT's layout. Ends with 1 if a number does not come
out to the digits it was printed with.
"""

import argparse
import logging
import os
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pysot.cli import run
from toolkit.datasets import DatasetFactory
from toolkit.evaluation import METRICS, build_evaluation

SHARED = Path(__file__).resolve().parents[2] / "shared"
NANO = "SiamTrackers, NanoTrack/README.md"


@dataclass(frozen=True)
class Published:
    """Numbers of one tracker.

    Attributes:
        dataset: Name of the set.
        tracker: Folder of its results.
        values: Published value by metric, as printed.
        source: Where they are printed.
        results: Set whose folder holds the results, if not this one.
        incomplete: Policy for frames without a result that the authors used.
        tolerance: Difference that is explained by another tool, see ``source``.
    """

    dataset: str
    tracker: str
    values: dict[str, str]
    source: str
    results: str = ""
    incomplete: str = "lost"
    tolerance: float = 0.0


PUBLISHED = (
    Published(
        "VOT2018",
        "DaSiamRPN",
        {"eao": "0.3827", "accuracy": "0.59", "robustness": "0.28"},
        "DaSiamRPN, README.md (MATLAB toolkit)",
    ),
    Published("VOT2018", "LightTrack", {"eao": "0.418"}, NANO),
    Published("VOT2018", "SiamAPN", {"eao": "0.248"}, NANO),
    Published("VOT2019", "LightTrack", {"eao": "0.328"}, NANO),
    Published("VOT2019", "SiamAPN++", {"eao": "0.234"}, NANO),
    Published(
        "CVPR13",
        "C-COT",
        {"success": "0.67689", "precision": "0.90795"},
        # OTB's MATLAB tool takes the ground truth for the first box and treats invalid boxes
        # otherwise; the former alone gives 0.676875.
        "C-COT, README of 2016-09-22 (MATLAB toolkit)",
        results="OTB100",
        tolerance=3e-5,
    ),
    Published("OTB100", "C-COT", {"op50": "0.824"}, "ECO (Danelljan et al., 2017), OP on OTB-2015"),
    Published(
        "OTB100",
        "STRUCK",
        {"success": "0.462", "precision": "0.640"},
        "SiamTrackers (ClifBar has 329 of 472 rows there, the rest left out)",
        incomplete="skip",
    ),
    Published("DTB70", "LightTrack", {"success": "0.591", "precision": "0.766"}, NANO),
    Published("DTB70", "SiamAPN", {"success": "0.585", "precision": "0.786"}, NANO),
    Published("UAV123_10fps", "AutoTrack", {"success": "0.477", "precision": "0.671"}, "AutoTrack"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; returns how many numbers differ."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(os.environ.get("PYSOT_SHARED", SHARED))
    parser.add_argument("shared", metavar="SHARED", nargs="?", type=Path, default=default)
    shared = parser.parse_args(argv).shared
    logging.basicConfig(format="note: %(message)s", level=logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        unpack(shared, Path(folder))
        rows = [row for entry in PUBLISHED for row in compare(entry, shared, Path(folder))]
    print(f"{'set':<13} {'tracker':<11} {'metric':<11} {'published':>9} {'ours':>9} {'diff.':>9}")
    for entry, metric, value in rows:
        published = entry.values[metric]
        difference = f"{value - float(published):+.5f}"
        label = METRICS[metric].label
        print(
            f"{entry.dataset:<13} {entry.tracker:<11} {label:<11} {published:>9} {value:>9.5f} "
            f"{difference:>9} {'' if agrees(value, published, entry.tolerance) else '  DIFFERS'}"
        )
    return sum(not agrees(value, of.values[metric], of.tolerance) for of, metric, value in rows)


def unpack(shared: Path, folder: Path) -> None:
    """Unpack the archives that `PUBLISHED` needs, those of ``data/results`` over the others."""
    wanted = {f"{entry.results or entry.dataset}/{entry.tracker}/" for entry in PUBLISHED}
    archives = [shared / "golden" / "toolkit" / "real" / "results.tar.xz"]
    archives += [shared / "data" / "results" / f"{entry.dataset}.tar.xz" for entry in PUBLISHED]
    for path in dict.fromkeys(archives):
        if path.is_file():
            with tarfile.open(path) as archive:
                chosen = [m for m in archive if any(m.name.startswith(part) for part in wanted)]
                archive.extractall(folder, chosen, filter="data")


def compare(
    entry: Published, shared: Path, results: Path
) -> Iterable[tuple[Published, str, float]]:
    """Score a tracker; yields the entry, a metric of it and our value."""
    name = entry.results or entry.dataset
    root = shared / "data" / "benchmarks" / name
    dataset = DatasetFactory.create_dataset(name=entry.dataset, dataset_root=root)
    dataset.set_tracker(results / name, [entry.tracker])
    metrics = build_evaluation(dataset, entry.incomplete).scores(entry.tracker).metrics
    return [(entry, metric, metrics[metric]) for metric in entry.values]


def agrees(value: float, published: str, tolerance: float = 0.0) -> bool:
    """Whether a value rounds to what was printed, or is as close to it as ``tolerance``."""
    digits = len(published.partition(".")[2])
    return f"{value:.{digits}f}" == published or abs(value - float(published)) <= tolerance


if __name__ == "__main__":
    run(lambda: sys.exit(1 if main() else 0))
