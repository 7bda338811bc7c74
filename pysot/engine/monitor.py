"""What a person sees of a training run: progress bar, log lines, TensorBoard.

Log lines and TensorBoard tags are PySOT's.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

logger = logging.getLogger(__name__)

_AVERAGED = 100  # values in the averages of log lines
_FORMAT = "[%(asctime)s-rk0-%(filename)s#%(lineno)3d] %(message)s"


@contextlib.contextmanager
def log_to(folder: str) -> Iterator[None]:
    """Send what the package logs to ``<folder>/logs.txt``, and its warnings to the terminal too.

    Args:
        folder: Made if missing; empty for no file.

    Raises:
        OSError: If the file cannot be written.
    """
    terminal = _TerminalHandler(logging.WARNING)
    terminal.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    handlers: list[logging.Handler] = [terminal]
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(Path(folder) / "logs.txt", encoding="utf-8"))
        handlers[-1].setFormatter(logging.Formatter(_FORMAT))
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


def open_writer(folder: str) -> Any:
    """Open a TensorBoard writer.

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
    return SummaryWriter(folder)


class Monitor:
    """Measures and shows a training run.

    Args:
        epochs: Epochs of the whole run.
        steps_per_epoch: Training steps in each.
        batch_size: Pairs per step.
        print_freq: Steps between two blocks of log lines.
        first_epoch: Epoch to begin with, counted from 0.
        step: Training steps of the run so far.
        writer: A TensorBoard writer, or None.
        show: Whether to draw a progress bar; None draws one on terminals.
    """

    def __init__(
        self,
        epochs: int,
        steps_per_epoch: int,
        batch_size: int,
        print_freq: int = 20,
        first_epoch: int = 0,
        step: int = 0,
        writer: Any = None,
        show: bool | None = None,
    ) -> None:
        self.step = step
        self._epochs, self._steps, self._batch = epochs, steps_per_epoch, batch_size
        self._print_freq, self._writer = print_freq, writer
        self._epoch, self._step_in_epoch, self._lr = first_epoch, 0, 0.0
        self._recent: dict[str, deque[float]] = {}
        self._sums: dict[str, float] = {}
        self._data_time = 0.0
        self._bar = tqdm(
            total=epochs * steps_per_epoch,
            initial=first_epoch * steps_per_epoch,
            unit="step",
            disable=None if show is None else not show,
            dynamic_ncols=True,
        )

    def begin_epoch(self, epoch: int, optimizer: torch.optim.Optimizer) -> None:
        """Announce an epoch (counted from 0) and its learning rates."""
        rates = [group["lr"] for group in optimizer.param_groups]
        self._epoch, self._step_in_epoch, self._lr = epoch, 0, rates[-1]
        self._sums = {}
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

    def record(self, losses: dict[str, float]) -> None:
        """Take note of a finished step: its losses by name."""
        batch_time = time.perf_counter() - self._start
        values = {"batch_time": batch_time, "data_time": self._data_time, **losses}
        for name, value in values.items():
            self._recent.setdefault(name, deque(maxlen=_AVERAGED)).append(value)
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._scalars({"time/data": self._data_time, **values})
        self.step += 1
        self._step_in_epoch += 1
        self._bar.set_postfix_str(self._figures(losses), refresh=False)
        self._bar.update()
        if self.step % self._print_freq == 0:
            self._log_lines()

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

    def end_epoch(self) -> str:
        """Close an epoch.

        Returns:
            One line for a person: mean losses, pairs per second, share of waiting for data.
        """
        steps = max(1, self._step_in_epoch)
        losses = {k: v / steps for k, v in self._sums.items() if k.endswith("loss")}
        seconds = self._sums.get("batch_time", 0.0)
        speed = self._step_in_epoch * self._batch / max(seconds, 1e-9)
        line = (
            f"epoch {self._epoch + 1}/{self._epochs}: {self._figures(losses)}, "
            f"{speed:.1f} pairs/s, {seconds:.0f} s, lr {self._lr:.6f}"
        )
        logger.info(line)
        return line

    def say(self, text: str) -> None:
        """Print a line without breaking the progress bar."""
        self._bar.write(text)

    def close(self) -> None:
        """Finish the progress bar and the TensorBoard file."""
        self._bar.close()
        if self._writer is not None:
            self._writer.close()

    def _figures(self, losses: dict[str, float]) -> str:
        shown = {name.removesuffix("_loss"): value for name, value in losses.items()}
        share = self._sums["data_time"] / max(self._sums["batch_time"], 1e-9) if self._sums else 0
        parts = [f"{name} {value:.3f}" for name, value in shown.items()]
        return ", ".join([*parts, f"data wait {share:.0%}"])

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
