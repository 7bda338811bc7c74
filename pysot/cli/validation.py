"""Tests a tracker during its training with tools/test.py and tools/eval.py, and keeps the best."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pysot.engine.checkpoint import average_path, checkpoint_path
from pysot.engine.run import Run
from toolkit.datasets import find_benchmark
from toolkit.evaluation import EVALUATIONS, METRICS
from toolkit.io.files import atomic_path, atomic_write

logger = logging.getLogger("pysot.tools.validation")

BEST, BEST_SCORE = "checkpoint_best.pth", "best.json"
TOOLS = Path(__file__).resolve().parents[2] / "tools"

_OF_LAUNCHERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass
class Validation:
    """What to test, how often, and with which settings.

    Attributes:
        dataset: Name of the benchmark.
        every: Epochs between two tests; the last epoch is always tested.
        config: The experiment's file.
        opts: KEY VALUE pairs that override it.
        folder: Where results and scores go.
        root: Folder of the benchmark; None for the usual one.
    """

    dataset: str
    every: int
    config: str
    opts: Sequence[str]
    folder: Path
    root: Path | None = None

    def __post_init__(self) -> None:
        self.key = EVALUATIONS[find_benchmark(self.dataset).evaluation].key

    def after_epoch(self, run: Run, epoch: int) -> None:
        """Test the checkpoint after ``epoch`` finished epochs, if it is its turn.

        Every process of a run calls this; the first one works. A test that fails is a warning.
        """
        if epoch % self.every and epoch != run.epochs:
            return
        name, snapshots = f"e{epoch:04d}", run.snapshots.folder
        path = checkpoint_path(snapshots, epoch)
        if run.trainer.average is not None:
            path = average_path(snapshots, epoch)
        for command in self.commands(path, name):
            if not self._finished(run, command):
                return
        if run.trainer.ranks.is_first:
            report = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
            self._note(run, epoch, path, report["trackers"][name]["metrics"])

    def commands(self, snapshot: Path, name: str) -> Iterator[list[str]]:
        """The command lines that test and score a snapshot."""
        root = ["--dataset-root", str(self.root)] if self.root else []
        both = ["--dataset", self.dataset, *root]
        python, results = [sys.executable], str(self.folder)
        yield [
            *python,
            str(TOOLS / "test.py"),
            *both,
            *("--config", self.config, "--snapshot", str(snapshot)),
            *("--results", results, "--name", name, "--overwrite"),
            *self.opts,
        ]
        scores = str(self.folder / f"{name}.json")
        eval_tool = [*python, str(TOOLS / "eval.py"), *both]
        yield [*eval_tool, "-p", results, "-t", name, "--json", scores]

    def _finished(self, run: Run, command: list[str]) -> bool:
        """Run a command in the first process; the others learn how it went."""
        ranks, process = run.trainer.ranks, None
        if ranks.is_first:
            self.folder.mkdir(parents=True, exist_ok=True)
            log = (self.folder / "log.txt").open("a", encoding="utf-8")
            free = {k: v for k, v in os.environ.items() if k not in _OF_LAUNCHERS}
            process = subprocess.Popen(command, stdout=log, stderr=log, env=free)
            log.close()
        while True:
            done = process is not None and process.poll() is not None
            done, stop = ranks.any([done, bool(run.stop)])
            if done or stop:
                break
            time.sleep(0.2)
        if process is not None and process.poll() is None:
            process.terminate()
            process.wait()
        good = ranks.share(process is not None and process.returncode == 0)
        if not good and not stop:
            logger.warning("the test on %s failed, see %s", self.dataset, self.folder / "log.txt")
        return good

    def _note(self, run: Run, epoch: int, path: Path, metrics: dict[str, Any]) -> None:
        value, best = metrics[self.key], self._best(run)
        if value is not None and (best is None or self._better(value, best["value"])):
            best = {"dataset": self.dataset, "metric": self.key, "value": value, "epoch": epoch}
            self._keep(run.snapshots.folder, path, best)
        shown = ", ".join(f"{k} {v:.3f}" for k, v in metrics.items() if v is not None)
        where = (
            f" (best {self.key} {best['value']:.3f} after epoch {best['epoch']})" if best else ""
        )
        run.monitor.say(f"epoch {epoch} on {self.dataset}: {shown}{where}")
        run.monitor.record_score(self.dataset, epoch, metrics)

    def _better(self, value: float, best: float) -> bool:
        return value > best if METRICS[self.key].higher_is_better else value < best

    def _best(self, run: Run) -> dict[str, Any] | None:
        try:
            best = json.loads((run.snapshots.folder / BEST_SCORE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        # of an earlier run in the same folder, or of another benchmark, it says nothing
        same = (best["dataset"], best["metric"]) == (self.dataset, self.key)
        return best if same and best["epoch"] <= run.epoch else None

    def _keep(self, snapshots: Path, path: Path, best: dict[str, Any]) -> None:
        with atomic_path(snapshots / BEST) as temporary:
            shutil.copyfile(path, temporary)
        with atomic_write(snapshots / BEST_SCORE) as file:
            json.dump({**best, "checkpoint": path.name}, file, indent=1)
