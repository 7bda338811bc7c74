"""What is seen of a training run: progress bar, log lines, TensorBoard, and JSON for programs.

Log lines and TensorBoard tags are PySOT's, where it has them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

logger = logging.getLogger(__name__)

_AVERAGED = 100  # values in the averages of log lines
_FORMAT = "[%(asctime)s-rk{}-%(filename)s#%(lineno)3d] %(message)s"


@contextlib.contextmanager
def log_to(folder: str, rank: int = 0) -> Iterator[None]:
    """Send what the package logs to ``<folder>/logs.txt``, and its warnings to the terminal too.

    Args:
        folder: Made if missing; empty for no file.
        rank: Number of this process; only the first one logs, unless it is an error.

    Raises:
        OSError: If the file cannot be written.
    """
    terminal = _TerminalHandler(logging.ERROR if rank else logging.WARNING)
    terminal.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    handlers: list[logging.Handler] = [terminal]
    if folder and not rank:
        Path(folder).mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(Path(folder) / "logs.txt", encoding="utf-8"))
        handlers[-1].setFormatter(logging.Formatter(_FORMAT.format(rank)))
    package = logging.getLogger("pysot")
    level = package.level
    package.setLevel(logging.INFO)
    for handler in handlers:
        package.addHandler(handler)
    try:
        yield
    finally:
        package.setLevel(level)
        for handler in handlers:
            package.removeHandler(handler)
            handler.close()


class _TerminalHandler(logging.Handler):
    """Writes above the progress bar instead of through it."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def open_writer(folder: str, step: int = 0) -> Any:
    """Open a TensorBoard writer.

    Args:
        folder: Empty for none.
        step: Of the run; what a run that went on from here has written beyond it, is hidden.

    Returns:
        A ``tensorboardX.SummaryWriter``; None without a folder, or without the package, which
        is then named in a warning.
    """
    if not folder:
        return None
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        logger.warning("no TensorBoard files: tensorboardX is missing (pip install pysot[train])")
        return None
    return SummaryWriter(folder, purge_step=step or None)


class Records:
    """Appends to ``<folder>/log.jsonl``: one JSON object per line, with ``event`` and ``time``.

    Args:
        folder: Made if missing; empty for no file.
    """

    def __init__(self, folder: str = "") -> None:
        self._path = Path(folder) / "log.jsonl" if folder else None

    def add(self, event: str, **values: Any) -> None:
        """Write a line; numbers that are not finite become null. A full disk is a warning."""
        if self._path is None:
            return
        line = json.dumps(_finite({"event": event, "time": round(time.time(), 3), **values}))
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            logger.warning("%s: %s", self._path, error.strerror)


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
    }


class _Sums:
    """Adds up times and losses of steps."""

    def __init__(self) -> None:
        self.steps = 0
        self._totals: dict[str, float] = {}

    def add(self, values: dict[str, float]) -> None:
        self.steps += 1
        for name, value in values.items():
            self._totals[name] = self._totals.get(name, 0.0) + value

    def means(self) -> dict[str, float]:
        return {name: total / self.steps for name, total in self._totals.items()}

    @property
    def seconds(self) -> float:
        return self._totals.get("batch_time", 0.0)

    @property
    def data_share(self) -> float:
        return self._totals.get("data_time", 0.0) / max(self.seconds, 1e-9)

    def pairs_per_second(self, batch: int) -> float:
        return self.steps * batch / max(self.seconds, 1e-9)


class Monitor:
    """Measures and shows a training run.

    Args:
        epochs: Epochs of the whole run.
        steps_per_epoch: Training steps in each.
        batch_size: Pairs per step, over all processes.
        print_freq: Steps between two blocks of log lines.
        done: Steps of the schedule that are behind the run when it begins.
        step: Training steps of the run so far.
        writer: A TensorBoard writer, or None.
        records: Where JSON goes.
        show: Whether to draw a progress bar; None draws one on terminals.
    """

    def __init__(
        self,
        epochs: int,
        steps_per_epoch: int,
        batch_size: int,
        print_freq: int = 20,
        done: int = 0,
        step: int = 0,
        writer: Any = None,
        records: Records | None = None,
        show: bool | None = None,
    ) -> None:
        self.step, self.records = step, records or Records()
        self._epochs, self._steps, self._batch = epochs, steps_per_epoch, batch_size
        self._print_freq, self._writer, self._show = print_freq, writer, show
        self._epoch, self._step_in_epoch, self._lr = 0, 0, 0.0
        self._recent: dict[str, deque[float]] = {}
        self._epoch_sums, self._interval, self._run = _Sums(), _Sums(), _Sums()
        self._data_time = 0.0
        self._bar = tqdm(
            total=epochs * steps_per_epoch,
            initial=done,
            unit="step",
            disable=None if show is None else not show,
            dynamic_ncols=True,
        )

    def begin_epoch(
        self, epoch: int, optimizer: torch.optim.Optimizer, step_in_epoch: int = 0
    ) -> None:
        """Announce an epoch (counted from 0), its learning rates and the steps already done."""
        rates = [group["lr"] for group in optimizer.param_groups]
        self._epoch, self._step_in_epoch, self._lr = epoch, step_in_epoch, rates[-1]
        self._epoch_sums = _Sums()
        self._bar.set_description(f"epoch {epoch + 1}/{self._epochs}")
        logger.info("epoch: %d", epoch + 1)
        for number, rate in enumerate(rates, start=1):
            logger.info("epoch %d lr %s", epoch + 1, rate)
            self._scalars({f"lr/group{number}": rate})

    def watch(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Pass batches on, and measure how long each step waited for its batch."""
        self._start = time.perf_counter()
        for batch in batches:
            self._data_time = time.perf_counter() - self._start
            yield batch
            self._start = time.perf_counter()

    def record(self, numbers: dict[str, float]) -> None:
        """Take note of a finished step: its losses by name, and ``grad_norm``, if known."""
        losses = {name: value for name, value in numbers.items() if name != "grad_norm"}
        batch_time = time.perf_counter() - self._start
        values = {"batch_time": batch_time, "data_time": self._data_time, **losses}
        for name, value in values.items():
            self._recent.setdefault(name, deque(maxlen=_AVERAGED)).append(value)
        for sums in (self._epoch_sums, self._interval, self._run):
            sums.add(values)
        self._scalars({"time/data": self._data_time, **values})
        self.step += 1
        self._step_in_epoch += 1
        self._bar.set_postfix_str(self._figures(losses), refresh=False)
        self._bar.update()
        if self.step % self._print_freq == 0:
            self._log_lines()
            self._scalars({"time/data_share": self._interval.data_share})
            self._record("train", self._interval, grad_norm=numbers.get("grad_norm"))
            self._interval = _Sums()

    def record_picture(self, tag: str, image: NDArray) -> None:
        """Write an image to TensorBoard: (H, W, 3) BGR uint8."""
        if self._writer is None:
            return
        try:
            self._writer.add_image(tag, image[:, :, ::-1], self.step, dataformats="HWC")
        except ImportError:
            logger.warning("no pictures in TensorBoard: Pillow is missing (pysot[train])")

    def record_gradients(self, model: nn.Module) -> None:
        """Write the norm of every gradient and weight, and of their sums, to TensorBoard."""
        if self._writer is None:
            return
        squares = {"tot": 0.0, "feature": 0.0, "rpn": 0.0}
        for name, parameter in model.named_parameters():
            if parameter.grad is None:
                continue
            grad, weight = parameter.grad.norm().item(), parameter.detach().norm().item()
            path = name.replace(".", "/")
            self._scalars({f"grad_all/{path}": grad, f"weight_all/{path}": weight})
            self._scalars({f"w-g/{path}": weight / (1e-20 + grad)})
            squares["tot"] += grad**2
            squares["feature" if name.startswith("backbone.") else "rpn"] += grad**2
        self._scalars({f"grad/{part}": total**0.5 for part, total in squares.items()})

    def record_score(self, dataset: str, epoch: int, metrics: dict[str, float | None]) -> None:
        """Take note of the scores of the tracker after ``epoch`` epochs."""
        known = {name: value for name, value in metrics.items() if value is not None}
        self._scalars({f"val/{dataset}/{name}": value for name, value in known.items()})
        self.records.add("validation", epoch=epoch, step=self.step, dataset=dataset, **metrics)

    def end_epoch(self) -> str:
        """Close an epoch.

        Returns:
            One line for a person: mean losses, pairs per second, share of waiting for data.
        """
        sums = self._epoch_sums
        losses = {k: v for k, v in sums.means().items() if k.endswith("loss")}
        line = (
            f"epoch {self._epoch + 1}/{self._epochs}: {self._figures(losses)}, "
            f"{sums.pairs_per_second(self._batch):.1f} pairs/s, {sums.seconds:.0f} s, "
            f"lr {self._lr:.6f}"
        )
        logger.info(line)
        self._record("epoch", sums, seconds=round(sums.seconds, 3))
        return line

    def summary(self) -> str:
        """Say in one line how fast the steps of this program were."""
        run = self._run
        return (
            f"{run.steps} steps of {self._batch} pairs in {run.seconds / 60:.1f} minutes: "
            f"{run.pairs_per_second(self._batch):.1f} pairs/s, data wait {run.data_share:.0%}"
        )

    def say(self, text: str) -> None:
        """Print a line without breaking the progress bar."""
        if self._show is not False:
            self._bar.write(text)

    def close(self) -> None:
        """Finish the progress bar and the TensorBoard file."""
        self._bar.close()
        if self._writer is not None:
            self._writer.close()

    def _figures(self, losses: dict[str, float]) -> str:
        parts = [f"{name.removesuffix('_loss')} {value:.3f}" for name, value in losses.items()]
        return ", ".join([*parts, f"data wait {self._epoch_sums.data_share:.0%}"])

    def _record(self, event: str, sums: _Sums, **values: Any) -> None:
        losses = {k: v for k, v in sums.means().items() if not k.endswith("_time")}
        self.records.add(
            event,
            epoch=self._epoch + 1,
            step=self.step,
            lr=self._lr,
            **losses,
            pairs_per_second=round(sums.pairs_per_second(self._batch), 3),
            data_share=round(sums.data_share, 4),
            **values,
        )

    def _scalars(self, values: dict[str, float]) -> None:
        if self._writer is not None:
            for tag, value in values.items():
                self._writer.add_scalar(tag, value, self.step)

    def _log_lines(self) -> None:
        place = f"Epoch: [{self._epoch + 1}][{self._step_in_epoch}/{self._steps}]"
        cells = [
            f"\t{name}: {values[-1]:.6f} ({sum(values) / len(values):.6f})"
            for name, values in self._recent.items()
        ]
        lines = ["".join(cells[at : at + 2]) for at in range(0, len(cells), 2)]
        logger.info("\n".join([f"{place} lr: {self._lr:.6f}", *lines, ""]))
        times = self._recent["batch_time"]
        logger.info(self._progress(sum(times) / len(times)))

    def _progress(self, seconds_per_step: float) -> str:
        done, total = self._epoch * self._steps + self._step_in_epoch, self._epochs * self._steps
        minutes = int((total - done) * seconds_per_step / 60)
        days, hours = minutes // 1440, minutes // 60 % 24
        return (
            f"Progress: {done} / {total} [{100 * done // total}%], "
            f"Speed: {seconds_per_step:.3f} s/iter, "
            f"ETA {days}:{hours:02d}:{minutes % 60:02d} (D:H:M)\n"
        )


def as_numbers(losses: dict[str, Tensor]) -> dict[str, float]:
    """Fetch scalar losses from their device in one transfer, the total last."""
    names = sorted(losses, key=lambda name: (name == "total_loss", name))
    values = torch.stack([losses[name].detach().float() for name in names]).tolist()
    return dict(zip(names, values, strict=True))
