"""Where the numbers of a training run go: TensorBoard, JSON lines, Weights & Biases, MLflow.

``TRAIN.LOGGERS`` names entries of ``pysot.core.registry.LOGGERS``: classes derived from `Logger`,
called with a `Run`.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pysot.core.registry import LOGGERS
from toolkit.io.files import atomic_write
from toolkit.io.names import first_line
from toolkit.io.packages import load_package

logger = logging.getLogger(__name__)

_SPARE = 1 << 20  # bytes of a disk below which TensorBoard files end
_BATCH = 900  # metrics sent to MLflow together, which takes 1000 at most
_PARAMS, _LONGEST = 100, 500  # parameters it takes together, and characters of one
_PAUSE = 5.0  # seconds between two batches that are not full


@dataclass(frozen=True)
class Run:
    """A training run, as a logger needs to know it."""

    folder: str  # of logs
    step: int = 0  # steps taken before: above 0 for a run that goes on
    name: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)


class Logger:
    """Where numbers of a run go; a logger overrides what it keeps.

    Raise ValueError, OSError or ImportError where it cannot begin: the run ends in one line. After
    an error of any other method the run goes on without the logger.
    """

    detailed = False  # whether it takes scalars and images: computing some takes time

    def __init__(self, run: Run) -> None:
        self.run = run

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Take numbers of a step by their tags, such as ``cls_loss``."""

    def image(self, tag: str, image: NDArray, step: int) -> None:
        """Take a picture, (H, W, 3) RGB uint8."""

    def event(self, name: str, values: Mapping[str, Any]) -> None:
        """Take a summary: ``train``, ``epoch``, ``validation`` or ``checkpoint``."""

    def close(self, finished: bool) -> None:
        """End the log of a run that was trained to its end, or stopped before."""


class Loggers:
    """Several loggers; one that fails is left out from then on, with a warning."""

    def __init__(self, loggers: Mapping[str, Logger] | None = None) -> None:
        self._loggers = dict(loggers or {})

    @property
    def detailed(self) -> bool:
        """Whether any takes scalars and images."""
        return any(one.detailed for one in self._loggers.values())

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """See `Logger.scalars`."""
        self._each("scalars", values, step)

    def image(self, tag: str, image: NDArray, step: int) -> None:
        """See `Logger.image`."""
        self._each("image", tag, image, step)

    def event(self, name: str, **values: Any) -> None:
        """See `Logger.event`."""
        self._each("event", name, values)

    def close(self, finished: bool) -> None:
        """See `Logger.close`."""
        self._each("close", finished)

    def _each(self, method: str, *arguments: Any) -> None:
        for name, one in list(self._loggers.items()):
            try:
                getattr(one, method)(*arguments)
            except Exception as error:  # of any package
                del self._loggers[name]
                logger.warning(
                    "TRAIN.LOGGERS: %s ends, training goes on: %s", name, first_line(error)
                )


def open_loggers(names: Iterable[str], run: Run) -> Loggers:
    """Open the loggers that ``TRAIN.LOGGERS`` names; none without a folder.

    Raises:
        ValueError: If a name is unknown, or a logger cannot begin.
    """
    kinds = {name: LOGGERS.get(name) for name in names}
    found = {}
    for kept in () if run.step or not run.folder else Path(run.folder).glob(".*_run"):
        kept.unlink()  # the id of an earlier run, see _kept_id
    for name, kind in kinds.items() if run.folder else ():
        try:
            found[name] = kind(run)
        except Exception as error:  # of any package
            Loggers(found).close(finished=False)
            raise ValueError(f"TRAIN.LOGGERS: {name} cannot begin: {first_line(error)}") from error
    return Loggers(found)


@LOGGERS.register("tensorboard")
class TensorBoard(Logger):
    """TensorBoard files with PySOT's tags, and pictures of pairs.

    Without the package or room on the disk there are none, with a warning. What an earlier run
    wrote beyond the step is hidden.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._writer: Any = None
        try:
            package = load_package("tensorboardX", "tensorboardX", "TensorBoard files need")
        except ImportError as error:
            logger.warning("%s", error)
            return
        Path(run.folder).mkdir(parents=True, exist_ok=True)
        if _has_room(run.folder):
            self._writer = package.SummaryWriter(run.folder, purge_step=run.step or None)

    @property
    def detailed(self) -> bool:
        """Whether there are files."""
        return self._writer is not None

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write numbers, while there is room."""
        if self._writer is not None and not _has_room(self.run.folder):
            self.close(finished=False)
        if self._writer is not None:
            for tag, value in values.items():
                self._writer.add_scalar(tag, value, step)

    def image(self, tag: str, image: NDArray, step: int) -> None:
        """Write a picture, if Pillow is there."""
        try:
            if self._writer is not None:
                self._writer.add_image(tag, image, step, dataformats="HWC")
        except ImportError:
            logger.warning("no pictures in TensorBoard: they need Pillow: pip install Pillow")

    def close(self, finished: bool) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _has_room(folder: str | Path) -> bool:
    """Whether a writer can go on, with a warning if not: tensorboardX waits for ever then."""
    room = shutil.disk_usage(folder).free >= _SPARE
    if not room:
        logger.warning("%s: No space left on device; no more TensorBoard files", folder)
    return room


@LOGGERS.register("jsonl")
class JsonLines(Logger):
    """Appends events as JSON lines with ``event`` and ``time`` to ``log.jsonl``.

    A run that goes on first moves what was written after its step to ``log.cut.jsonl``.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._path = Path(run.folder) / "log.jsonl"
        self._failed = False
        try:
            if self._path.exists():
                _cut(self._path, run.step or math.inf)
        except OSError as error:
            self._warn(error)

    def event(self, name: str, values: Mapping[str, Any]) -> None:
        """Write a line; numbers that are not finite become null. A full disk is a warning."""
        values = {"event": name, "time": round(time.time(), 3), **values}
        for key, value in values.items():
            if isinstance(value, float) and not math.isfinite(value):
                values[key] = None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")
        except OSError as error:
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        if not self._failed:
            self._failed = True
            logger.warning("%s: %s", self._path, error.strerror)


def _cut(path: Path, step: float) -> None:
    """Move what follows the last record up to a step from a log to ``log.cut.jsonl``."""
    lines = path.read_bytes().splitlines(keepends=True)
    kept = len(lines)
    while kept and not _is_until(lines[kept - 1], step):
        kept -= 1
    if kept < len(lines):
        with path.with_name("log.cut.jsonl").open("ab") as file:
            file.write(b"".join(lines[kept:]).rstrip() + b"\n")
        os.truncate(path, sum(map(len, lines[:kept])))
    if kept and not lines[kept - 1].endswith(b"\n"):
        with path.open("ab") as file:
            file.write(b"\n")


def _is_until(line: bytes, step: float) -> bool:
    try:
        return json.loads(line).get("step", 0) <= step
    except (ValueError, AttributeError, TypeError):
        return False


def _kept_id(run: Run, kind: str, make: Callable[[], str]) -> str:
    """Return the id of the run that goes on, as kept in its folder, or make and keep a new one."""
    path = Path(run.folder) / f".{kind}_run"
    if path.is_file():
        return path.read_text("utf-8").strip()
    new = make()
    with atomic_write(path) as file:
        file.write(f"{new}\n")
    return new


@LOGGERS.register("wandb")
class WeightsAndBiases(Logger):
    """A run of Weights & Biases, which its variables ``WANDB_...`` describe."""

    detailed = True

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._wandb = load_package("wandb", "wandb", "it needs")
        Path(run.folder).mkdir(parents=True, exist_ok=True)
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "pysot",
            name=os.environ.get("WANDB_NAME") or run.name or None,
            id=_kept_id(run, "wandb", lambda: uuid.uuid4().hex[:8]),
            resume="allow",
            dir=run.folder,
            config=dict(run.config),
            settings=self._wandb.Settings(console="off"),
        )
        self._first = self._run.step  # of a run that goes on, it has the steps before

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Send numbers that it has not got yet."""
        if step >= self._first:
            self._run.log(dict(values), step=step)

    def image(self, tag: str, image: NDArray, step: int) -> None:
        """Send a picture."""
        self.scalars({tag: self._wandb.Image(image)}, step)

    def close(self, finished: bool) -> None:
        """Wait until all is sent."""
        self._run.finish(exit_code=0 if finished else 1)


@LOGGERS.register("mlflow")
class MLflow(Logger):
    """A run of MLflow, on the server or in the file that ``MLFLOW_TRACKING_URI`` names."""

    detailed = True

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._mlflow = load_package("mlflow", "mlflow-skinny", "it needs")
        self._client = self._mlflow.MlflowClient()
        self._id = _kept_id(run, "mlflow", partial(self._create, run))
        self._client.update_run(self._id, status="RUNNING")
        known = self._client.get_metric_history(self._id, "total_loss") if run.step else ()
        self._first = max((metric.step for metric in known), default=-1) + 1
        self._waiting: list[Any] = []
        self._sent = time.monotonic()

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Send numbers that it has not got yet, some hundred together."""
        if step < self._first:
            return
        now, metric = int(time.time() * 1000), self._mlflow.entities.Metric
        self._waiting += [metric(tag, float(value), now, step) for tag, value in values.items()]
        if len(self._waiting) >= _BATCH or time.monotonic() - self._sent > _PAUSE:
            self._send()

    def image(self, tag: str, image: NDArray, step: int) -> None:
        """Send a picture."""
        if step >= self._first:
            self._client.log_image(self._id, image, key=tag, step=step)

    def close(self, finished: bool) -> None:
        """Send the rest and end the run."""
        self._send()
        self._client.set_terminated(self._id, "FINISHED" if finished else "KILLED")

    def _send(self) -> None:
        for at in range(0, len(self._waiting), _BATCH):
            self._client.log_batch(self._id, metrics=self._waiting[at : at + _BATCH])
        self._waiting, self._sent = [], time.monotonic()

    def _create(self, run: Run) -> str:
        client, name = self._client, os.environ.get("MLFLOW_EXPERIMENT_NAME") or "pysot"
        known = client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else client.create_experiment(name)
        new = client.create_run(experiment, run_name=run.name or None).info.run_id
        parameter = self._mlflow.entities.Param
        items = [parameter(key, str(value)[:_LONGEST]) for key, value in _flat(run.config)]
        for at in range(0, len(items), _PARAMS):
            client.log_batch(new, params=items[at : at + _PARAMS])
        return new


def _flat(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a configuration by keys as ``TRAIN.EPOCH``."""
    for key, value in section.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
