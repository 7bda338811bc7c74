"""How much a search gains from outputs of the network that its settings share.

    python benchmarks/search_speed.py --dataset MyVideos --config CONFIG.yaml --snapshot model.pth

Runs the same search with and without them, in turn, checks that all result files are equal, and
prints the seconds of each, their ratio, and the share of outputs that the network did not have to
compute, which is what larger networks gain: once with Optuna's sampler, one trial after the other,
and once over a grid, 16 settings at a time.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pysot.cli import run, tune
from pysot.tuning import outputs, search

GRID = ["--penalty-k", "0.05,0.3,0.05", "--lr", "0.2,0.5,0.1", "--window-influence", "0.3,0.5,0.1"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=2)
    args, command = parser.parse_known_args()
    last: list[outputs.SharedOutputs] = []
    search.SharedOutputs = lambda limit: last.append(outputs.SharedOutputs(limit)) or last[-1]
    searches = {"tpe": [], "grid": ["--sampler", "grid", *GRID]}
    for name, options in searches.items():
        options = [*command, "--trials", str(args.trials), "--no-prune", *options]
        times: dict[str, list[float]] = {"0": [], "1024": []}
        for _ in range(args.rounds):
            left = []
            for memory, found in times.items():
                with tempfile.TemporaryDirectory() as folder:
                    found.append(seconds([*options, "--memory", memory, "--output", folder]))
                    left.append(results(Path(folder)))
            if left[0] != left[1]:
                raise ValueError(f"{name}: shared outputs change results")
        alone, shared = (min(found) for found in times.values())
        print(
            f"{name}, {args.trials} trials: alone {alone:.1f} s, shared {shared:.1f} s: ratio "
            f"{alone / shared:.2f}, {100 * share(last[-1]):.0f} % of the outputs",
            flush=True,
        )


def share(found: outputs.SharedOutputs) -> float:
    return found.hits / (found.hits + found.misses)


def seconds(command: list[str]) -> float:
    search._outputs.cache_clear()
    begin = time.process_time()  # of this process alone: others may use the machine
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        tune.main(command)
    return time.process_time() - begin


def results(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.txt")}


if __name__ == "__main__":
    run(main)
