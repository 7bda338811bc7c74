"""Running trackers over many videos, going on where a run was stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import cv2

from toolkit.datasets import Video
from toolkit.io.files import acquire
from toolkit.io.names import first_line
from toolkit.io.pool import Executor
from toolkit.protocols import PROTOCOLS
from toolkit.protocols.one_pass import OnePass, ProtocolOptions, Tracker
from toolkit.results.store import ResultStore
from toolkit.results.trajectory import Trajectory

#: What may go wrong with one video and not with the next; torch reports full memory so, too.
FAILURES = (ValueError, OSError, RuntimeError, MemoryError, cv2.error)


@dataclass(frozen=True)
class Job:
    """How a tracker is run over videos, and where the results go."""

    build: Callable[[], Tracker]  # sent to the worker processes, and called for every video
    protocol: str  # key of `toolkit.protocols.PROTOCOLS`
    store: ResultStore
    options: ProtocolOptions = field(default_factory=ProtocolOptions)
    repetitions: int = 1  # runs over each video
    overwrite: bool = False  # whether finished videos are run again
    timed: bool = True  # whether there is a tracker whose speed says something

    @property
    def restarts(self) -> bool:
        """Whether the protocol counts failures."""
        return PROTOCOLS[self.protocol].restarts

    def session(self) -> OnePass:
        """Return a new object of the protocol, for one video."""
        return PROTOCOLS[self.protocol](self.build, self.options)

    def is_finished(self, video: Video) -> bool:
        """Return whether all results of a video are there."""
        return not any(self.missing(video))

    def missing(self, video: Video) -> Iterator[int]:
        """Yield the numbers of the repetitions whose results are not there, or not whole."""
        for number in self.numbers():
            if not self.store.is_finished(video.name, len(video), number):
                yield number

    def numbers(self) -> range:
        """Return the numbers of the repetitions, from 1."""
        return range(1, self.repetitions + 1)


@dataclass(frozen=True)
class JobResult:
    """What a job did with a video."""

    name: str  # of the video
    lines: tuple[str, ...] = ()  # what PySOT's tools print, one per repetition that was run
    skipped: bool = False  # whether all results were there
    lost: int = 0  # failures in all repetitions, those of earlier runs included
    frames: int = 0  # that were tracked now, in all repetitions
    seconds: float = 0.0  # in the tracker; 0 without one
    error: str = ""  # first line of the message
    locked: bool = False  # whether another process is running it


def allowed_repetitions(tracker: Tracker, asked: int | None, most: int) -> int:
    """Return the number of runs over each video, ``most`` by default.

    It is 1 for a deterministic tracker, which is one without ``deterministic = False``.

    Raises:
        ValueError: If ``asked`` is less than 1 or more than ``most``.
    """
    asked = most if asked is None else asked
    if not 1 <= asked <= most:
        raise ValueError(f"repetitions: expected 1 to {most} for this benchmark, got {asked}")
    return 1 if getattr(tracker, "deterministic", True) else asked


def timing_line(video: str, trajectory: Trajectory, restarts: bool, timed: bool = True) -> str:
    """Return the line that PySOT's tools print for a run; with failures if it restarts.

    A run that is not ``timed`` has neither time nor speed.
    """
    width, lost = (4, f" Lost: {trajectory.lost:d}") if restarts else (5, "")
    seconds = f"{sum(trajectory.seconds):{width}.1f}"
    speed = f" Time: {seconds}s Speed: {trajectory.fps:3.1f}fps" if timed else ""
    return f"Video: {video:12s}{speed}{lost}".rstrip()


def run_video(job: Job, video: Video) -> JobResult:
    """Run a tracker over a video as often as asked for, and write what is not there yet.

    An error is part of the result, so that the other videos go on; a video that another process
    is running is left to it.
    """
    runs = iter(lambda: job.session().run(video), None)  # one per repetition that is missing
    if not job.overwrite and job.is_finished(video):
        return _keep(job, video, (), runs)
    try:
        with acquire(job.store.lock(video.name)) as free:
            # another process may have finished it by now
            if not free:
                return JobResult(video.name, locked=True)
            return _keep(job, video, job.missing(video), runs)
    except FAILURES as error:
        return JobResult(video.name, error=first_line(error))


def run_elsewhere(
    job: Job, videos: Sequence[Video], executor: Executor
) -> Iterator[tuple[int, JobResult]]:
    """Do `run_video` for videos on machines that need not share the results' folder.

    They send back what the tracker did, and this process writes it as soon as it arrives.

    Yields:
        The index of each video and its result; those that are finished first.
    """
    todo = []
    for index, video in enumerate(videos):
        numbers = list(job.numbers() if job.overwrite else job.missing(video))
        if numbers:
            todo.append((index, video, numbers))
        else:
            yield index, _keep(job, video, (), iter(()))
    work = [(video, numbers) for _, video, numbers in todo]
    for place, (trajectories, error) in executor.run(partial(_track, job), work):
        index, video, numbers = todo[place]
        yield index, _keep(job, video, numbers, _returned(trajectories, error))


def _track(job: Job, work: tuple[Video, Sequence[int]]) -> tuple[list[Trajectory], str]:
    """Run a tracker over a video as often as there are numbers, up to an error, if any."""
    video, numbers = work
    trajectories: list[Trajectory] = []
    try:
        for _ in numbers:
            trajectories.append(job.session().run(video))
    except FAILURES as error:
        return trajectories, first_line(error)
    return trajectories, ""


def _returned(trajectories: Iterable[Trajectory], error: str) -> Iterator[Trajectory]:
    yield from trajectories
    raise ValueError(error)


def _keep(job: Job, video: Video, numbers: Iterable[int], runs: Iterator[Trajectory]) -> JobResult:
    """Write a run for each number of a repetition; an error becomes part of the result."""
    lines, store, frames, seconds = [], job.store, 0, 0.0
    try:
        if job.overwrite:
            store.remove(video.name)
        for number in numbers:
            store.discard(video.name, number)
            trajectory = next(runs)
            store.write(video.name, trajectory, number)
            lines.append(timing_line(video.name, trajectory, job.restarts, job.timed))
            frames += len(trajectory) - 1
            seconds += sum(trajectory.seconds) if job.timed else 0.0
        lost = sum(store.count_lost(video.name, n) for n in job.numbers()) if job.restarts else 0
        return JobResult(video.name, tuple(lines), not lines, lost, frames, seconds)
    except FAILURES as error:
        return JobResult(video.name, tuple(lines), error=first_line(error))


def run_together(sessions: Sequence[OnePass], video: Video) -> list[Trajectory | str]:
    """Run several trackers over a video by one protocol, reading each frame only once.

    Returns:
        What each tracker did, or the first line of the error by which it dropped out.
    """
    outcomes: dict[int, Trajectory | str] = {}
    try:
        for image, truth in sessions[0].frames(video):
            for index in set(range(len(sessions))) - outcomes.keys():
                try:
                    sessions[index].step(image, truth)
                except FAILURES as error:
                    outcomes[index] = first_line(error)
    except FAILURES as error:  # the video itself
        return [first_line(error)] * len(sessions)
    return [
        outcomes[index] if index in outcomes else _finish(session, video)
        for index, session in enumerate(sessions)
    ]


def _finish(session: OnePass, video: Video) -> Trajectory | str:
    try:
        return session.finish(video)
    except FAILURES as error:
        return first_line(error)
