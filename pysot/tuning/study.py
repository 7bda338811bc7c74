"""A study of Optuna that processes and machines share, any of which may die."""

from __future__ import annotations

import logging
import os
import re
import threading
import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from functools import cache
from pathlib import Path
from time import monotonic, sleep
from types import ModuleType
from typing import Any

import numpy as np

from pysot.core import RunFailed
from pysot.tuning.space import Range, Setting
from toolkit.io.files import is_running, machine_id
from toolkit.io.names import first_line
from toolkit.io.packages import load_package

logger = logging.getLogger(__name__)

STARTUP = 5  # complete trials before any is pruned
BEAT = 20.0  # seconds between signs of life
GRACE = 180.0  # seconds without one after which a process of another machine is dead
ATTEMPTS = 3  # runs of a setting that end with their process

SETTING = "setting"  # of a trial: what it is run with
_RECORD, _OWNER, _ATTEMPT = "pysot", "owner", "attempt"
#: In the errors of a database of which another process is making the tables.
_MAKING = ("already exists", "UNIQUE constraint", "duplicate key", "locked")
_SQLITE = (".db", ".sqlite", ".sqlite3")


@cache
def optuna() -> ModuleType:
    """Import Optuna; ``ValueError`` names the extra if it is missing."""
    module = load_package("optuna", "optuna", "a search for settings needs")
    module.logging.set_verbosity(module.logging.ERROR)
    warnings.filterwarnings("ignore", category=module.exceptions.ExperimentalWarning)
    return module


def open_storage(place: str) -> Any:
    """Open a storage of studies.

    Args:
        place: A URL of a database as SQLAlchemy takes it, or of Redis; or a path, to a database of
            SQLite if it ends in ``.db`` or ``.sqlite``, else to a journal file, which may lie on a
            network's file system.

    Raises:
        ValueError: If there is no usable storage.
    """
    library = optuna()
    journal = library.storages.journal
    try:
        if place.startswith("redis"):
            return library.storages.JournalStorage(journal.JournalRedisBackend(place))
        if "://" not in place and Path(place).suffix not in _SQLITE:
            return library.storages.JournalStorage(_journal_file(Path(place)))
        url = place if "://" in place else f"sqlite:///{_made(Path(place))}"
        return _database(url)
    except Exception as error:  # each database has errors of its own
        text = f"--storage {place} cannot be used: {first_line(error)}"
        raise ValueError(without_password(text)) from error


def without_password(text: str) -> str:
    """Return a text as messages may show it, without the passwords of URLs."""
    return re.sub(r"(://[^:@/\s]*):[^@\s]*@", r"\1:***@", text)


def _database(url: str) -> Any:
    options = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    for _ in range(5):
        try:
            return optuna().storages.RDBStorage(url, engine_kwargs=options)
        except Exception as error:
            if not any(text in str(error) for text in _MAKING):
                raise
            sleep(1)
    return optuna().storages.RDBStorage(url, engine_kwargs=options)


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _journal_file(path: Path) -> Any:
    """Open a journal, without the beginning of an entry that a full disk or a crash left."""
    journal = optuna().storages.journal
    lock = journal.JournalFileOpenLock(str(_made(path)))
    backend = journal.JournalFileBackend(str(path), lock)
    with open(path, "rb+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        if size and file.read() != b"\n":
            lock.acquire()
            try:
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
            finally:
                lock.release()
    return backend


class _OtherStudy(ValueError):
    """A study is of something else."""


class Study:
    """The trials of one search; all methods are for one thread.

    A trial of a process that died is failed, and its setting queued again: at once where the
    process ran on this machine, elsewhere when it has given no sign of life for `GRACE` seconds,
    by the clock of the process that waits.

    Args:
        place: See `open_storage`.
        name: Of the study in the storage.
        made_with: What the scores depend on, as JSON.
        maximize: Whether higher scores are better.
        seed: Of the sampler, in the process that begins the study; one that joins or resumes it
            draws other numbers, so that it repeats none.
        sampler: ``tpe`` or ``random``.
        grid: All settings there are, instead of a sampler.
        prune: Videos after which a trial below the median may end; None: no trial does.
        overwrite: Whether a study of that name of something else is deleted.

    Raises:
        ValueError: If the storage cannot be used, or has a study of that name of something else.
    """

    def __init__(
        self,
        place: str,
        name: str,
        made_with: Mapping[str, Any],
        maximize: bool = True,
        seed: int = 0,
        sampler: str = "tpe",
        grid: Sequence[Setting] = (),
        prune: int | None = 1,
        overwrite: bool = False,
    ) -> None:
        self.place, self.name = without_password(place), name
        self._grid = bool(grid)
        library, storage = optuna(), open_storage(place)
        with self._answering(ValueError):
            self.study = self._open(storage, made_with, maximize, overwrite)
        never = library.pruners.NopPruner()
        self.study.pruner = never if prune is None else _pruner(prune)
        self.owner = f"{machine_id()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._seen: dict[str, tuple[Any, float]] = {}
        with self._answering():
            self.study.set_user_attr(_RECORD, dict(made_with))
            self.study.set_user_attr(f"{_OWNER} {self.owner}", 0)
            joined = sum(key.startswith(_OWNER) for key in self.study.user_attrs)
        entropy = [seed] if joined == 1 else [seed, int(self.owner.rpartition("-")[2], 16)]
        number = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        samplers = {"tpe": _tpe, "random": library.samplers.RandomSampler}
        self.study.sampler = _grid_sampler(grid, number) if grid else samplers[sampler](seed=number)

    def _open(
        self, storage: Any, made_with: Mapping[str, Any], maximize: bool, overwrite: bool
    ) -> Any:
        library = optuna()
        options = {"study_name": self.name, "storage": storage}
        direction = "maximize" if maximize else "minimize"
        study = library.create_study(direction=direction, load_if_exists=True, **options)
        noted = study.user_attrs.get(_RECORD)
        if noted == made_with or not (noted or study.get_trials(deepcopy=False)):
            return study
        if not overwrite:
            other = _difference(noted or {}, made_with)
            raise _OtherStudy(
                f"study {self.name!r} in {self.place} is of another {other}; keep both with --name "
                "or --storage, or replace it with --overwrite"
            )
        library.delete_study(**options)
        return library.create_study(direction=direction, **options)

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Give signs of life during the block."""
        ended = threading.Event()

        def beat() -> None:
            count = 0
            while not ended.wait(BEAT):
                count += 1
                try:
                    self.study.set_user_attr(f"{_OWNER} {self.owner}", count)
                except Exception as error:  # the next report of a score says so, too
                    logger.debug("no sign of life: %s", error)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def trials(self, *states: str) -> list[Any]:
        """Return the trials in these states, such as ``COMPLETE``, or all."""
        kinds = tuple(optuna().trial.TrialState[state] for state in states) or None
        with self._answering():
            return self.study.get_trials(deepcopy=False, states=kinds)

    def begun(self) -> list[Any]:
        """Return the trials that have not failed."""
        return self.trials("COMPLETE", "PRUNED", "RUNNING", "WAITING")

    def count(self) -> int:
        """Return their number; a point of a grid that two processes took at once counts once."""
        found = self.begun()
        if self._grid:
            return len({str(trial.user_attrs.get(SETTING, trial.number)) for trial in found})
        return len(found)

    def queue(self, setting: Setting, ranges: Iterable[Range], **notes: Any) -> None:
        """Let some process run a setting next, which may lie outside of the ranges."""
        distributions = {found.key: _distribution(found, setting[found.key]) for found in ranges}
        self._add(setting, distributions, {**notes, SETTING: setting})

    def ask(self, ranges: Iterable[Range]) -> tuple[Any, Setting]:
        """Return a new trial and its setting: one that is queued, or the sampler's choice."""
        with self._answering():
            trial = self.study.ask()
            trial.set_user_attr(_OWNER, self.owner)
            queued = trial.user_attrs.get(SETTING, {})
            setting = {}
            for found in ranges:
                within = _distribution(found, queued.get(found.key))
                setting[found.key] = found.snap(_suggest(trial, found.key, within))
            setting |= queued
            trial.set_user_attr(SETTING, setting)
            return trial, setting

    def report(self, trial: Any, score: float, videos: int) -> bool:
        """Note the score over the first videos; return whether the trial shall end."""
        if np.isnan(score):
            return False
        with self._answering():
            try:
                trial.report(score, videos)
            except optuna().exceptions.UpdateFinishedTrialError:  # taken for dead
                return True
            return trial.should_prune()

    def tell(self, trial: Any, score: float | None, state: str) -> None:
        """End a trial as ``COMPLETE``, ``PRUNED`` or ``FAIL``, unless another process did."""
        value = score if state == "COMPLETE" else None
        kind = optuna().trial.TrialState[state]
        with self._answering():
            self.study.tell(trial, value, kind, skip_if_finished=True)

    def revive(self) -> int:
        """Fail the trials of dead processes and queue their settings; return how many."""
        library, revived = optuna(), 0
        for trial in self.trials("RUNNING"):
            owner = trial.user_attrs.get(_OWNER, f"trial {trial.number}")
            if not self._is_dead(owner):
                continue
            with self._answering():
                try:
                    self.study.tell(trial.number, state=library.trial.TrialState.FAIL)
                except (ValueError, library.exceptions.UpdateFinishedTrialError):
                    continue  # another process was faster
            attempt = trial.user_attrs.get(_ATTEMPT, 1)
            if SETTING in trial.user_attrs and attempt < ATTEMPTS:
                notes = {**trial.user_attrs, _ATTEMPT: attempt + 1}
                del notes[_OWNER]
                self._add(trial.params, trial.distributions, notes)
                revived += 1
        return revived

    def _add(self, params: Setting, distributions: Mapping[str, Any], notes: Any) -> None:
        trial = optuna().trial.create_trial(
            state=optuna().trial.TrialState.WAITING,
            params=dict(params),
            distributions=dict(distributions),
            user_attrs=dict(notes),
        )
        with self._answering():
            self.study.add_trial(trial)

    def _is_dead(self, owner: str) -> bool:
        if owner == self.owner:
            return False
        machine, process, *_ = [*owner.split("-"), ""]
        if machine == machine_id() and process.isdecimal() and not is_running(int(process)):
            return True
        with self._answering():
            beat = self.study.user_attrs.get(f"{_OWNER} {owner}")
        seen, since = self._seen.get(owner, (None, None))
        if since is None or beat != seen:
            self._seen[owner] = beat, monotonic()
            return False
        return monotonic() - since > GRACE

    @contextmanager
    def _answering(self, kind: type[Exception] = RunFailed) -> Iterator[None]:
        """Turn the errors of a storage, of which each has its own, into one line."""
        try:
            yield
        except (_OtherStudy, optuna().exceptions.UpdateFinishedTrialError):
            raise
        except Exception as error:
            raise kind(
                f"the storage {self.place} does not answer or is damaged ({first_line(error)}); "
                "what is finished is kept"
            ) from error


def _pruner(first: int) -> Any:
    """Return a pruner that ends a trial whose score is below the median of complete trials.

    Both are over the same videos. Optuna's own takes the best score that the trial had after any
    number of videos instead of the last one, so that an easy first video would save it.
    """
    library = optuna()

    class LastScorePruner(library.pruners.MedianPruner):
        def prune(self, study: Any, trial: Any) -> bool:
            last = copy(trial)
            step = trial.last_step
            last.intermediate_values = {step: trial.intermediate_values[step]}
            return super().prune(study, last)

    return LastScorePruner(n_startup_trials=STARTUP, n_warmup_steps=first)


def _tpe(seed: int) -> Any:
    return optuna().samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)


def _grid_sampler(settings: Sequence[Setting], seed: int) -> Any:
    """Return a sampler of the settings that no process has run, in the order of the seed.

    Optuna's own must count the trials itself, and cannot go on in several processes by ``ask``.
    """
    library = optuna()
    mixed = [settings[i] for i in np.random.default_rng(seed).permutation(len(settings))]

    class GridPoints(library.samplers.BaseSampler):
        left, chosen = mixed, mixed[0]

        def before_trial(self, study: Any, trial: Any) -> None:
            if trial.params:  # it was queued
                return
            states = [state for state in library.trial.TrialState if state.name != "FAIL"]
            known = [other.params for other in study.get_trials(deepcopy=False, states=states)]
            self.left = [setting for setting in self.left if setting not in known]
            self.chosen = self.left.pop(0) if self.left else mixed[0]

        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return {}

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
            return {}

        def sample_independent(self, study: Any, trial: Any, name: str, within: Any) -> float:
            return self.chosen[name]

    return GridPoints()


def _distribution(found: Range, value: float | None = None) -> Any:
    """Return Optuna's form of a range, widened to hold a value."""
    distributions = optuna().distributions
    low, high, step = found.low, found.high, found.step
    if value is not None and value not in found.values:
        low, high, step = min(low, value), max(high, value), None
    step = None if found.log else step
    if found.whole:
        return distributions.IntDistribution(int(low), int(high), found.log, int(step or 1))
    return distributions.FloatDistribution(float(low), float(high), found.log, step)


def _suggest(trial: Any, key: str, within: Any) -> float:
    suggest = trial.suggest_int if isinstance(within.low, int) else trial.suggest_float
    steps = {} if within.log else {"step": within.step}
    return suggest(key, within.low, within.high, log=within.log, **steps)


def _difference(noted: Any, wanted: Mapping[str, Any], name: str = "") -> str:
    """Return the dotted name of the first key in which two records differ."""
    for key in {**noted, **wanted}:
        old, new = noted.get(key), wanted.get(key)
        if isinstance(old, dict) and isinstance(new, dict) and old != new:
            return _difference(old, new, f"{name}{key}.")
        if old != new:
            return f"{name}{key}"
    return name.rstrip(".")
