"""Running trackers over many videos: in several processes, going on where a run was stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from toolkit.datasets import Video
from toolkit.io.files import acquire
from toolkit.protocols import DEFAULT_RULES, PROTOCOLS, OnePass, Rules, Run, Tracker, run_protocol
from toolkit.results.formats import (
    ResultFiles,
    count_lost,
    is_finished,
    remove_results,
    result_files,
    write_run,
)

#: What may go wrong with one video and not with the next; torch reports full memory so, too.
FAILURES = (ValueError, OSError, RuntimeError, MemoryError, cv2.error)


@dataclass(frozen=True)
class Plan:
    """How a tracker is run over videos, and where the results go.

    Attributes:
        build: Makes the tracker; it is sent to the worker processes, and called for every video.
        protocol: Key of `toolkit.protocols.PROTOCOLS`.
        layout: Key of `toolkit.results.formats.LAYOUTS`.
        folder: Folder of the tracker's results.
        rules: What the protocol leaves open.
        repetitions: Runs over each video.
        overwrite: Run finished videos again.
    """

    build: Callable[[], Tracker]
    protocol: str
    layout: str
    folder: Path
    rules: Rules = DEFAULT_RULES
    repetitions: int = 1
    overwrite: bool = False

    @property
    def restarts(self) -> bool:
        """Whether the protocol counts failures."""
        return PROTOCOLS[self.protocol].restarts

    def files(self, video: str, repetition: int = 1) -> ResultFiles:
        """Paths of the results of a video."""
        return result_files(self.layout, self.folder, video, repetition)

    def is_finished(self, video: Video) -> bool:
        """Tell whether all results of a video are there."""
        numbers = range(1, self.repetitions + 1)
        return all(is_finished(self.files(video.name, r), len(video), r) for r in numbers)

    def lock(self, video: str) -> Path:
        """File that the process which runs a video has locked."""
        dataset = self.folder.parent
        return dataset.parent / ".locks" / dataset.name / f"{self.folder.name}~{video}.lock"


@dataclass(frozen=True)
class Timing:
    """How long a run took."""

    seconds: float
    fps: float
    lost: int | None = None
    """Failures; None where the protocol does not count them."""

    @classmethod
    def of(cls, run: Run, restarts: bool) -> Timing:
        """Timing of a run."""
        return cls(sum(run.seconds), run.fps, run.lost if restarts else None)

    def line(self, video: str) -> str:
        """What PySOT's tools print of a run."""
        if self.lost is None:
            return f"Video: {video:12s} Time: {self.seconds:5.1f}s Speed: {self.fps:3.1f}fps"
        return (
            f"Video: {video:12s} Time: {self.seconds:4.1f}s Speed: {self.fps:3.1f}fps "
            f"Lost: {self.lost:d}"
        )


@dataclass(frozen=True)
class Outcome:
    """What became of a video."""

    name: str
    runs: tuple[Timing, ...] = ()
    """One per repetition that was run."""
    skipped: bool = False
    """Whether all results were there."""
    lost: int = 0
    """Failures in all repetitions, those of earlier runs included."""
    error: str = ""
    taken: bool = False
    """Whether another process is at it."""


def allowed_repetitions(tracker: Any, asked: int | None, most: int) -> int:
    """Number of runs over each video.

    A deterministic tracker runs once, because every run would give the same result.

    Args:
        tracker: May have an attribute ``deterministic``; without one it is deterministic.
        asked: What the user wants; None means as many as the protocol asks for.
        most: What the protocol asks for.

    Raises:
        ValueError: If more are asked for than the protocol knows, or less than one.
    """
    asked = most if asked is None else asked
    if not 1 <= asked <= most:
        raise ValueError(f"repetitions: expected 1 to {most} for this benchmark, got {asked}")
    return 1 if getattr(tracker, "deterministic", True) else asked


def run_video(plan: Plan, video: Video) -> Outcome:
    """Run a tracker over a video as often as planned, and write what is not there yet.

    An error is part of the outcome, so that the other videos go on.
    """
    timings = []
    try:
        if plan.overwrite:
            remove_results(plan.layout, plan.folder, video.name)
        for repetition in range(1, plan.repetitions + 1):
            files = plan.files(video.name, repetition)
            if is_finished(files, len(video), repetition):
                continue
            files.discard()
            run = run_protocol(plan.protocol, plan.build, video, plan.rules)
            write_run(files, plan.layout, run, repetition)
            timings.append(Timing.of(run, plan.restarts))
        return Outcome(video.name, tuple(timings), not timings, lost_in(plan, video.name))
    except FAILURES as error:
        return Outcome(video.name, tuple(timings), error=describe(error))


def run_together(plans: Sequence[Plan], video: Video) -> list[Outcome]:
    """Run several trackers over a video at once, so that each frame is read only once.

    Only one frame is in memory. Results that are there already are not made again; a tracker that
    fails drops out. Several processes may work on the same results: what another one is at is
    left to it, and free again when it ends, in whatever way.

    Args:
        plans: How each of them is run, all by the same protocol; repetitions are not made.
        video: The video.

    Returns:
        One outcome per plan.
    """
    outcomes = {}
    with ExitStack() as held:
        sessions: dict[int, OnePass] = {}
        for index, plan in enumerate(plans):
            lock = acquire(plan.lock(video.name)) if not plan.is_finished(video) else None
            mine = lock is not None and held.enter_context(lock)
            if plan.is_finished(video):  # also by another process, while this one looked
                outcomes[index] = Outcome(video.name, skipped=True)
            elif not mine:
                outcomes[index] = Outcome(video.name, taken=True)
            else:
                sessions[index] = PROTOCOLS[plan.protocol](plan.build, plan.rules)
        outcomes |= _follow(sessions, plans, video)
    return [outcomes[index] for index in range(len(plans))]


def _follow(
    sessions: dict[int, OnePass], plans: Sequence[Plan], video: Video
) -> dict[int, Outcome]:
    """Show the frames to all sessions and write what they say; outcomes by number of the plan."""
    failed: dict[int, Outcome] = {}
    try:
        protocol = next(iter(sessions.values()), None)
        for image, truth in protocol.frames(video) if protocol else ():
            for index in sessions.keys() - failed.keys():
                try:
                    sessions[index].see(image, truth)
                except FAILURES as error:
                    failed[index] = Outcome(video.name, error=describe(error))
    except FAILURES as error:  # the video itself
        return {index: Outcome(video.name, error=describe(error)) for index in sessions}
    return failed | {
        index: _write(plans[index], session, video)
        for index, session in sessions.items()
        if index not in failed
    }


def _write(plan: Plan, session: OnePass, video: Video) -> Outcome:
    try:
        run = session.finish(video)
        write_run(plan.files(video.name), plan.layout, run)
    except FAILURES as error:
        return Outcome(video.name, error=describe(error))
    return Outcome(video.name, (Timing.of(run, plan.restarts),), lost=run.lost)


def lost_in(plan: Plan, video: str) -> int:
    """Failures in the results of a video, over all repetitions; 0 if they are not counted."""
    if not plan.restarts:
        return 0
    numbers = range(1, plan.repetitions + 1)
    return sum(count_lost(plan.files(video, number).regions) for number in numbers)


def describe(error: BaseException) -> str:
    """First line of an error's message."""
    return str(error).splitlines()[0] if str(error) else repr(error)
