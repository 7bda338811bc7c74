"""Running the trials of a study over the videos of a data set."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from pysot.core import RunFailed
from pysot.tracker.tracker_builder import TrackerSpec
from pysot.tuning.outputs import SharedOutputs
from pysot.tuning.space import Range, Setting, folder_name
from pysot.tuning.study import Study
from pysot.utils.bbox import initial_rect
from toolkit.datasets import Dataset, Video
from toolkit.evaluation import Evaluation
from toolkit.io.issues import IssueLog
from toolkit.io.pool import Executor
from toolkit.protocols import PROTOCOLS
from toolkit.protocols.one_pass import ProtocolOptions
from toolkit.protocols.runner import run_together, timing_line
from toolkit.results.store import ResultStore
from toolkit.results.trajectory import Trajectory

DEFAULT = "default"  # note of the trial with the configuration's own values

Task = tuple[tuple[Setting, ...], Video]


@dataclass(frozen=True)
class Work:
    """Runs settings over a video; sent to worker processes."""

    spec: TrackerSpec
    protocol: str  # key of `toolkit.protocols.PROTOCOLS`
    memory: int  # bytes of outputs of the network to keep; 0: none is shared

    def __call__(self, task: Task) -> list[Trajectory | str]:
        """Return what the tracker did with each setting, or an error."""
        settings, video = task
        sessions = []
        for setting in settings:
            spec = with_setting(self.spec, setting)
            options = ProtocolOptions(initial_rect, spec.cfg.TRACK.MASK_THERSHOLD)
            sessions.append(PROTOCOLS[self.protocol](self._builder(spec), options))
        return run_together(sessions, video)

    def _builder(self, spec: TrackerSpec) -> Callable[[], Any]:
        if not self.memory:
            return spec
        return lambda: _outputs(self.spec, self.memory).attach(spec())


@lru_cache(maxsize=1)
def _outputs(spec: TrackerSpec, memory: int) -> SharedOutputs:
    """Return what the settings share in this process."""
    return SharedOutputs(memory)


def with_setting(spec: TrackerSpec, setting: Setting) -> TrackerSpec:
    """Return a tracker with other values of ``TRACK``."""
    return spec.with_settings(*(x for key, v in setting.items() for x in (f"TRACK.{key}", v)))


@dataclass
class _Run:
    """A trial, its results so far, and their score."""

    trial: Any
    setting: Setting
    store: ResultStore
    runs: dict[str, list] = field(default_factory=dict)
    score: float = math.nan
    running: bool = True


@dataclass
class _Group:
    """Trials that run together: each video is read once, and outputs are shared."""

    members: list[_Run]
    sent: int = 0  # videos
    scored: int = 0
    arrived: set[int] = field(default_factory=set)

    @property
    def running(self) -> list[_Run]:
        return [run for run in self.members if run.running]


class Search:
    """Takes trials from a study, runs them video by video, and reports their scores.

    The videos come in one order, drawn once for all, so that scores after as many videos are over
    the same ones; sorted by name, the first ones are often alike. A trial has one video in work at
    a time, so that it can be pruned after each. Results are files as `pysot test` writes them, in
    a folder for each setting; what is there already is not run again.

    Args:
        dataset: With ground truth.
        spec: The tracker.
        study: Where settings come from and scores go.
        ranges: Of the settings.
        folder: Of all results of the data set.
        model: Beginning of the folders' names.
        trials: Number of trials in the study, those of other processes included.
        bar: Progress over the trials; has ``write(line, file)`` and ``update()``.
        together: Trials that run together.
        memory: See `Work`.
        overwrite: Whether results of another snapshot are replaced.
        lines: Whether each run has a line, as in PySOT; else each trial.
    """

    def __init__(
        self,
        dataset: Dataset,
        evaluation: Evaluation,
        spec: TrackerSpec,
        study: Study,
        ranges: Sequence[Range],
        folder: Path,
        model: str,
        trials: int,
        bar: Any,
        together: int = 1,
        memory: int = 0,
        overwrite: bool = False,
        lines: bool = False,
    ) -> None:
        self.dataset, self.evaluation = dataset, evaluation
        self.spec, self.study, self.ranges = spec, study, ranges
        self.folder, self.model, self.trials = folder, model, trials
        self.together, self.overwrite = together, overwrite
        self.bar, self.lines = bar, lines
        self.videos = in_fixed_order(dataset)
        self.work = Work(spec, dataset.benchmark.protocol, memory)
        self.failed = 0  # trials of this process
        self._groups: list[_Group] = []
        self._sent: dict[int, tuple[_Group, int, list[_Run]]] = {}  # by number of the task
        self._count = 0  # tasks

    def run(self, executor: Executor) -> None:
        """Run trials until the study has enough.

        Raises:
            RunFailed: If the configuration's own setting fails, or the storage.
        """
        with self.study.alive():
            while (first := next(tasks := self._tasks(), None)) is not None:
                self._drain(executor, chain([first], tasks))

    def _drain(self, executor: Executor, tasks: Iterator[Task]) -> None:
        first = self._count - 1  # it was taken already
        for index, outcomes in executor.run(self.work, tasks):
            group, number, members = self._sent.pop(first + index)
            for member, outcome in zip(members, outcomes, strict=True):
                self._keep(member, self.videos[number], outcome)
            group.arrived.add(number)
            self._score(group)

    def _tasks(self) -> Iterator[Task]:
        """Yield what shall run next, as long as there is anything."""
        while (group := self._next_group()) is not None:
            number, video = group.sent, self.videos[group.sent]
            group.sent += 1
            todo = [r for r in group.running if not r.store.is_finished(video.name, len(video))]
            if todo:
                self._sent[self._count] = group, number, todo
                self._count += 1
                yield tuple(run.setting for run in todo), video
            else:
                group.arrived.add(number)
                self._score(group)

    def _next_group(self) -> _Group | None:
        """Return trials that have no video in work, if need be new ones, else those with fewest."""
        self._groups = [group for group in self._groups if group.running]
        waiting = [group for group in self._groups if group.sent < len(self.videos)]
        best = min(waiting, key=lambda group: group.sent - group.scored, default=None)
        if best is not None and best.sent == best.scored:
            return best
        return self._new_group() or best

    def _new_group(self) -> _Group | None:
        self.study.revive()
        queued = len(self.study.trials("WAITING"))
        left = max(0, self.trials - self.failed - self.study.count()) + queued
        members = [self._ask() for _ in range(min(self.together, left))]
        if not members:
            return None
        self._groups.append(_Group(members))
        return self._groups[-1]

    def _ask(self) -> _Run:
        trial, setting = self.study.ask(self.ranges)
        spec = with_setting(self.spec, setting)
        name = folder_name(self.model, self.spec.cfg.TRACK, setting)
        store = ResultStore(self.folder / name, self.dataset.benchmark.layout)
        run = _Run(trial, setting, store)
        try:
            store.record(spec.record(), list(self.dataset.videos), self.overwrite)
        except (ValueError, OSError):
            self.study.tell(trial, None, "FAIL")
            raise
        return run

    def _keep(self, run: _Run, video: Video, outcome: Trajectory | str) -> None:
        """Write what a tracker did; an error ends its trial."""
        name = run.store.folder.name
        if not isinstance(outcome, str):
            try:
                if not run.store.is_finished(video.name, len(video)):  # by another process
                    run.store.discard(video.name)
                    run.store.write(video.name, outcome)
            except OSError as error:
                outcome = str(error)
        if isinstance(outcome, str):
            self.bar.write(f"error: {name}: {video.name}: {outcome}", file=sys.stderr)
            self._end(run, "FAIL")
            if DEFAULT in run.trial.user_attrs:
                raise RunFailed(f"the configuration's own setting fails: {video.name}: {outcome}")
        elif self.lines:
            restarts = PROTOCOLS[self.work.protocol].restarts
            self.bar.write(timing_line(video.name, outcome, restarts), file=sys.stdout)

    def _score(self, group: _Group) -> None:
        """Score the trials of a group after each video whose results are there."""
        while group.scored in group.arrived:
            video = self.videos[group.scored]
            group.scored += 1
            for run in group.running:
                files = run.store.find(video.name)
                run.runs[video.name] = self.evaluation.read_runs(
                    run.store, files, video, IssueLog()
                )
                run.score = self.evaluation.partial_score(run.runs)
                self._judge(run)

    def _judge(self, run: _Run) -> None:
        """End a trial if it is complete, or its score is too low."""
        number, last = len(run.runs), len(run.runs) == len(self.videos)
        low = self.study.report(run.trial, run.score, number)
        if last:
            self._end(run, "PRUNED" if math.isnan(run.score) else "COMPLETE")
        elif low and DEFAULT not in run.trial.user_attrs:
            self._end(run, "PRUNED")

    def _end(self, run: _Run, state: str) -> None:
        if not run.running:
            return
        run.running = False
        self.failed += state == "FAIL"
        self.study.tell(run.trial, run.score, state)
        self.bar.update()
        if not self.lines:
            note = "" if state == "COMPLETE" else f", {state.lower()} after {len(run.runs)} videos"
            values = " ".join(f"{key} {value}" for key, value in run.setting.items())
            score = f"{self.evaluation.key} {run.score:.3f}"
            self.bar.write(f"trial {run.trial.number}: {score}{note}: {values}", file=sys.stdout)


def in_fixed_order(dataset: Dataset) -> list[Video]:
    """Return the videos in an order that looks random, but is the same for all searches."""
    videos = list(dataset)
    return [videos[i] for i in np.random.default_rng(0).permutation(len(videos))]
