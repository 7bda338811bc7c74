"""Tests a tracker while it is trained, and keeps the best."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pysot.core import RunFailed, StopRequest
from pysot.engine.checkpoint import BEST, BEST_SCORE, average_path, checkpoint_path
from pysot.engine.distributed import Poll, Stopped
from pysot.engine.monitor import Monitor
from pysot.engine.trainer import Trainer, generator_states, set_generators
from pysot.tracker.tracker_builder import TrackerSpec, build_tracker, load_network
from pysot.utils.bbox import initial_rect
from toolkit.datasets import DatasetFactory, find_benchmark, load_videos
from toolkit.evaluation import EVALUATIONS, METRICS, build_evaluation
from toolkit.io.files import atomic_path, atomic_write
from toolkit.io.names import first_line
from toolkit.protocols.one_pass import ProtocolOptions
from toolkit.protocols.runner import Job, allowed_repetitions, run_video
from toolkit.results.store import ResultStore

logger = logging.getLogger(__name__)


@dataclass
class Validation:
    """What to test, how often, and with which settings."""

    dataset: str  # name of the benchmark
    every: int  # epochs between two tests; the last epoch is always tested
    config: str  # the experiment's file
    opts: Sequence[str]  # KEY VALUE pairs that override it
    folder: Path  # receives results and scores
    root: Path  # folder of the benchmark

    def __post_init__(self) -> None:
        self._benchmark = find_benchmark(self.dataset)
        self._key = EVALUATIONS[self._benchmark.evaluation].key

    def after_epoch(
        self, trainer: Trainer, monitor: Monitor, snapshots: Path, stop: StopRequest
    ) -> None:
        """Test the checkpoint of the finished epochs, if it is their turn.

        Every process calls this; the main process works. A test that fails is a warning, and
        ``stop`` ends a test. Training is not affected: the test uses another network, in one
        thread, and random numbers and threads are restored.
        """
        epoch = trainer.progress.epoch
        if epoch % self.every and epoch != trainer.plan.epochs:
            return
        path = (average_path if trainer.average else checkpoint_path)(snapshots, epoch)
        poll = Poll(trainer.group, stop)
        if not trainer.group.is_main_process:
            poll.wait()
            return
        with _training_undisturbed():
            metrics = self._try(path, f"e{epoch:04d}", poll)
        poll.finish()
        if metrics:
            monitor.say(self._keep_best(path, epoch, metrics))
            monitor.record_scores(self.dataset, metrics)

    def _try(self, snapshot: Path, name: str, poll: Poll) -> dict[str, Any] | None:
        """Return the scores of a snapshot; None if it could not be tested."""
        log = self.folder / "log.txt"
        with _log_to(log):
            try:
                return self._test(snapshot, name, poll)
            except Stopped:
                return None
            except Exception as error:  # whatever it is, it must not end days of training
                print(traceback.format_exc())
                reason = first_line(error)
        logger.warning("the test on %s failed: %s; see %s", self.dataset, reason, log)
        return None

    def _test(self, snapshot: Path, name: str, poll: Callable[[], None]) -> dict[str, float | None]:
        """Return the metrics of a snapshot; folder and file of its results are called ``name``."""
        self._run(snapshot, name, poll)
        dataset = DatasetFactory.create_dataset(name=self.dataset, dataset_root=self.root)
        dataset.set_tracker(self.folder / self.dataset, [name])
        evaluation = build_evaluation(dataset)
        for _ in evaluation.evaluate([name]):
            pass
        evaluation.show(evaluation.ranked(evaluation.scored([name])))
        scores = evaluation.as_data([name])
        with atomic_write(self.folder / f"{name}.json") as file:
            json.dump(scores, file, indent=1, allow_nan=False)
            file.write("\n")
        return scores["trackers"][name]["metrics"]

    def _run(self, snapshot: Path, name: str, poll: Callable[[], None]) -> None:
        spec = TrackerSpec.read(self.config, snapshot, self.opts)
        model, cfg = load_network(spec.config, snapshot)

        def build() -> Any:
            tracker = build_tracker(model, cfg)
            track = tracker.track
            tracker.track = lambda image: (poll(), track(image))[1]
            return tracker

        benchmark, videos = self._benchmark, load_videos(self.root, self.dataset)
        store = ResultStore(self.folder / self.dataset / name, benchmark.layout)
        store.record(spec.record(), list(videos), overwrite=True)
        options = ProtocolOptions(initial_rect, mask_threshold=cfg.TRACK.MASK_THERSHOLD)
        repetitions = allowed_repetitions(build(), None, benchmark.repetitions)
        job = Job(build, benchmark.protocol, store, options, repetitions, overwrite=True)
        failed = []
        for video in videos.values():
            result = run_video(job, video)
            print(*result.lines, sep="\n")
            if result.error:
                failed.append(f"{video.name}: {result.error}")
        if failed:
            raise RunFailed(f"{len(failed)} of {len(videos)} videos failed; {'; '.join(failed)}")

    def _keep_best(self, path: Path, epoch: int, metrics: dict[str, float | None]) -> str:
        """Copy the snapshot if it is the best so far; returns a line with the scores."""
        key, value, best = self._key, metrics[self._key], self._best(path.parent, epoch)
        sign = 1 if METRICS[key].higher_is_better else -1
        if value is not None and (best is None or sign * value > sign * best["value"]):
            best = {"dataset": self.dataset, "metric": key, "value": value, "epoch": epoch}
            with atomic_path(path.with_name(BEST)) as temporary:
                shutil.copyfile(path, temporary)
            with atomic_write(path.with_name(BEST_SCORE)) as file:
                json.dump({**best, "checkpoint": path.name}, file, indent=1)
        shown = ", ".join(f"{k} {v:.3f}" for k, v in metrics.items() if v is not None)
        where = f" (best {key} {best['value']:.3f} after epoch {best['epoch']})" if best else ""
        return f"epoch {epoch} on {self.dataset}: {shown}{where}"

    def _best(self, snapshots: Path, epoch: int) -> dict[str, Any] | None:
        try:
            best = json.loads((snapshots / BEST_SCORE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        # of an earlier run in the same folder, or of another benchmark, it says nothing
        same = (best["dataset"], best["metric"]) == (self.dataset, self._key)
        return best if same and best["epoch"] <= epoch else None


@contextlib.contextmanager
def _training_undisturbed() -> Iterator[None]:
    generators, threads = generator_states(), torch.get_num_threads()
    torch.set_num_threads(1)  # as fast for one target, and results do not depend on the machine
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        set_generators(generators)


@contextlib.contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Append to a file what is printed, and what the toolkit warns of."""
    path.parent.mkdir(parents=True, exist_ok=True)
    package = logging.getLogger("toolkit")
    with path.open("a", encoding="utf-8") as file, contextlib.redirect_stdout(file):
        handler = logging.StreamHandler(file)
        package.addHandler(handler)
        try:
            yield
        finally:
            package.removeHandler(handler)
