"""Progress bar, log lines and loggers of a training run.

Log lines and tags of numbers are PySOT's, where it has them.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from pysot.datasets.anchor_target import POSITIVE, draw_pair
from pysot.engine.loggers import Loggers
from pysot.models.loss import log_softmax_cls
from pysot.utils.anchor import Grid, decode_boxes, training_anchors

logger = logging.getLogger(__name__)

_AVERAGED = 100  # values in the averages of log lines
_PAIRS = 8  # in a picture
_ANSWER = (0, 0, 255)  # BGR
_FORMAT = "[%(asctime)s-rk{}-%(filename)s#%(lineno)3d] %(message)s"


@contextlib.contextmanager
def log_to(folder: str, rank: int = 0) -> Iterator[None]:
    """Send what the package logs to ``<folder>/logs.txt``, and its warnings to the terminal too.

    Ranks above 0 send only errors, to the terminal. An empty folder means no file.
    """
    terminal = _TerminalHandler(logging.ERROR if rank else logging.WARNING)
    terminal.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    handlers: list[logging.Handler] = [terminal]
    if folder and not rank:
        Path(folder).mkdir(parents=True, exist_ok=True)
        handlers.append(_LogFile(Path(folder) / "logs.txt", encoding="utf-8"))
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


class _LogFile(logging.FileHandler):
    """A log that says once in one line that it cannot be written, and goes on."""

    failed = False

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()

    def handleError(self, record: logging.LogRecord) -> None:
        if not self.failed:
            self.failed = True
            reason = getattr(sys.exc_info()[1], "strerror", None) or "cannot be written"
            tqdm.write(f"WARNING: {self.baseFilename}: {reason}", file=sys.stderr)


class _Sums:
    """Adds up times and losses of steps."""

    def __init__(self) -> None:
        self.steps = 0
        self._totals: Counter[str] = Counter()

    def add(self, values: dict[str, float]) -> None:
        self.steps += 1
        self._totals.update(values)

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


@dataclass(eq=False)
class Monitor:
    """Measures and shows a training run."""

    progress: Any  # the trainer's, which advances it before each `record`
    epochs: int
    steps_per_epoch: int
    pairs_per_step: int  # over all processes
    print_freq: int  # steps between two blocks of log lines
    loggers: Loggers = field(default_factory=Loggers)
    painter: Callable[[nn.Module, dict[str, Any]], NDArray] | None = None  # draws a batch
    picture_freq: int = 0  # steps between two pictures; 0 for none
    log_grads: bool = False  # whether to write the norms of gradients
    show: bool | None = None  # whether to draw a progress bar; None draws one on terminals

    def __post_init__(self) -> None:
        self._lr = self._data_time = 0.0
        self._recent: dict[str, deque[float]] = {}
        self._epoch_sums, self._interval, self._run = _Sums(), _Sums(), _Sums()
        self._bar = tqdm(
            total=self.epochs * self.steps_per_epoch,
            initial=self._steps_done,
            unit="step",
            disable=None if self.show is None else not self.show,
            dynamic_ncols=True,
        )

    @property
    def _step_in_epoch(self) -> int:
        return self.progress.pairs // self.pairs_per_step

    @property
    def _steps_done(self) -> int:
        return self.progress.epoch * self.steps_per_epoch + self._step_in_epoch

    def begin_epoch(self, optimizer: torch.optim.Optimizer) -> None:
        """Announce an epoch and its learning rates."""
        rates = [group["lr"] for group in optimizer.param_groups]
        epoch, self._lr, self._epoch_sums = self.progress.epoch + 1, rates[-1], _Sums()
        self._bar.set_description(f"epoch {epoch}/{self.epochs}")
        logger.info("epoch: %d", epoch)
        for number, rate in enumerate(rates, start=1):
            logger.info("epoch %d lr %s", epoch, rate)
            self._scalars({f"lr/group{number}": rate})

    def watch(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Pass batches on, and measure how long each step waited for its batch."""
        self._start = time.perf_counter()
        for batch in batches:
            self._data_time = time.perf_counter() - self._start
            yield batch
            self._start = time.perf_counter()

    def record(self, numbers: dict[str, float]) -> None:
        """Show a finished step: its losses by name, and ``grad_norm``, if known."""
        losses = {name: value for name, value in numbers.items() if name != "grad_norm"}
        batch_time = time.perf_counter() - self._start
        values = {"batch_time": batch_time, "data_time": self._data_time, **losses}
        for name, value in values.items():
            self._recent.setdefault(name, deque(maxlen=_AVERAGED)).append(value)
        for sums in (self._epoch_sums, self._interval, self._run):
            sums.add(values)
        step = self.progress.step
        self._scalars({"time/data": self._data_time, **values}, step - 1)
        self._bar.set_postfix_str(self._figures(losses), refresh=False)
        self._bar.update()
        if step % self.print_freq == 0:
            self._log_lines()
            self._scalars({"time/data_share": self._interval.data_share})
            self._log("train", self._interval, grad_norm=numbers.get("grad_norm"))
            self._interval = _Sums()

    def record_picture(self, model: nn.Module, batch: dict[str, Any]) -> None:
        """Log a picture of a batch, if one is due and it has images."""
        step, every = self.progress.step, self.picture_freq
        if (
            "search" not in batch
            or not self.loggers.detailed
            or self.painter is None
            or not every
            or step % every
        ):
            return
        self.loggers.image("pairs", self.painter(model, batch)[:, :, ::-1], step)

    def record_gradients(self, model: nn.Module) -> None:
        """Log the norm of every gradient and weight, and of all gradients."""
        if not (self.loggers.detailed and self.log_grads):
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

    def record_scores(self, dataset: str, metrics: dict[str, float | None]) -> None:
        """Record the scores of the tracker after the finished epochs."""
        known = {name: value for name, value in metrics.items() if value is not None}
        self._scalars({f"val/{dataset}/{name}": value for name, value in known.items()})
        place = {"epoch": self.progress.epoch, "step": self.progress.step}
        self.loggers.event("validation", **place, dataset=dataset, **metrics)

    def record_checkpoint(self, path: Path) -> None:
        """Record where the run was saved."""
        self.loggers.event("checkpoint", step=self.progress.step, path=str(path))

    def end_epoch(self) -> str:
        """Log an epoch, and return a line with its mean losses and speed."""
        sums = self._epoch_sums
        losses = {k: v for k, v in sums.means().items() if k.endswith("loss")}
        line = (
            f"epoch {self.progress.epoch + 1}/{self.epochs}: {self._figures(losses)}, "
            f"{sums.pairs_per_second(self.pairs_per_step):.1f} pairs/s, {sums.seconds:.0f} s, "
            f"lr {self._lr:.6f}"
        )
        logger.info(line)
        self._log("epoch", sums, seconds=round(sums.seconds, 3))
        return line

    def summary(self) -> str:
        """Return a line that says how fast the steps of this program were."""
        run, pairs = self._run, self.pairs_per_step
        return (
            f"{run.steps} steps of {pairs} pairs in {run.seconds / 60:.1f} minutes: "
            f"{run.pairs_per_second(pairs):.1f} pairs/s, data wait {run.data_share:.0%}"
        )

    def say(self, text: str) -> None:
        """Print a line without breaking the progress bar."""
        if self.show is not False:
            self._bar.write(text)

    def close(self) -> None:
        """Finish the progress bar and the loggers."""
        self._bar.close()
        self.loggers.close(finished=self.progress.epoch >= self.epochs)

    def _figures(self, losses: dict[str, float]) -> str:
        parts = [f"{name.removesuffix('_loss')} {value:.3f}" for name, value in losses.items()]
        return ", ".join([*parts, f"data wait {self._epoch_sums.data_share:.0%}"])

    def _log(self, event: str, sums: _Sums, **values: Any) -> None:
        losses = {k: v for k, v in sums.means().items() if not k.endswith("_time")}
        self.loggers.event(
            event,
            epoch=self.progress.epoch + 1,
            step=self.progress.step,
            lr=self._lr,
            **losses,
            pairs_per_second=round(sums.pairs_per_second(self.pairs_per_step), 3),
            data_share=round(sums.data_share, 4),
            **values,
        )

    def _scalars(self, values: dict[str, float], step: int | None = None) -> None:
        self.loggers.scalars(values, self.progress.step if step is None else step)

    def _log_lines(self) -> None:
        place = f"Epoch: [{self.progress.epoch + 1}][{self._step_in_epoch}/{self.steps_per_epoch}]"
        means = {name: sum(values) / len(values) for name, values in self._recent.items()}
        cells = [f"\t{k}: {v[-1]:.6f} ({means[k]:.6f})" for k, v in self._recent.items()]
        lines = ["".join(cells[at : at + 2]) for at in range(0, len(cells), 2)]
        logger.info("\n".join([f"{place} lr: {self._lr:.6f}", *lines, ""]))
        done, total = self._steps_done, self.epochs * self.steps_per_epoch
        minutes = int((total - done) * means["batch_time"] / 60)
        days, hours = minutes // 1440, minutes // 60 % 24
        logger.info(
            f"Progress: {done} / {total} [{100 * done // total}%], "
            f"Speed: {means['batch_time']:.3f} s/iter, "
            f"ETA {days}:{hours:02d}:{minutes % 60:02d} (D:H:M)\n"
        )


def as_numbers(losses: dict[str, Tensor]) -> dict[str, float]:
    """Fetch scalar losses from their device in one transfer, the total last."""
    names = sorted(losses, key=lambda name: (name == "total_loss", name))
    values = torch.stack([losses[name].detach().float() for name in names]).tolist()
    return dict(zip(names, values, strict=True))


class PairPainter:
    """Draws pairs of a batch, one below the other.

    Left the template, right the search image with the target's box (green), cells labeled positive
    (blue dots), and the network's best box (red), or without anchors a red cross at its best cell.

    Args:
        stride: Distance of two cells in pixels.
        shapes: Width and height of each anchor, (A, 2), for a network that has any.
    """

    def __init__(self, stride: int, shapes: NDArray | None = None) -> None:
        self._stride, self._shapes = stride, shapes

    def __call__(self, model: nn.Module, batch: dict[str, Any]) -> NDArray:
        """Draw up to 8 pairs, (H, W, 3) BGR uint8; the model stays as it is."""
        some = {key: value[:_PAIRS] for key, value in batch.items() if key != "label_counts"}
        learning = [module for module in model.modules() if module.training]
        model.eval()  # so that batch norm does not change
        with torch.no_grad():
            found = model.predict(model.encode_template(some["template"]), some["search"])
        for module in learning:
            module.training = True
        answers = self._answers(*found[:2], some["search"].shape[-1])
        samples = ({key: value[i] for key, value in some.items()} for i in range(len(answers)))
        rows = [self._row(*pair) for pair in zip(samples, answers, strict=True)]
        return np.concatenate(rows)

    def _answers(self, cls: Tensor, loc: Tensor | None, search_size: int) -> NDArray:
        """Return the best box of each sample, (B, 4) cx, cy, w, h; w and h are 0 without anchors.

        Logits of one or two classes per cell are known, background before target; without
        anchors, others count as none.
        """
        batch, shapes = len(cls), np.zeros((1, 2)) if self._shapes is None else self._shapes
        grid = Grid(cls.shape[-1], self._stride, search_size)
        scores = log_softmax_cls(cls)[..., 1] if cls.shape[1] % 2 == 0 else cls
        best = scores.reshape(batch, -1).argmax(dim=1).cpu().numpy()
        chosen = training_anchors(shapes, grid).reshape(-1, 4)[best % (len(shapes) * grid.size**2)]
        if self._shapes is None:
            return chosen
        deltas = loc.reshape(batch, 4, -1).float().cpu().numpy()[np.arange(batch), :, best]
        return decode_boxes(deltas.T, chosen)

    def _row(self, sample: dict[str, Tensor], answer: NDArray) -> NDArray:
        template, search = (_image(sample[key]) for key in ("template", "search"))
        labels = sample["label_cls"].cpu().numpy() if "label_cls" in sample else None
        bbox = sample["bbox"].numpy() if labels is None or (labels == 1).any() else None
        canvas = draw_pair(template, search, labels, bbox, self._stride, {1: POSITIVE})
        corners = answer[:2] + np.outer((-0.5, 0.5), answer[2:])
        first, second = np.clip(corners, -1e4, 1e4).round().astype(int).tolist()
        drawn = canvas[:, len(template) :]
        if first == second:
            cv2.drawMarker(drawn, first, _ANSWER, cv2.MARKER_CROSS, 9)
        else:
            cv2.rectangle(drawn, first, second, _ANSWER, 1)
        return canvas


def _image(pixels: Tensor) -> NDArray:
    image = pixels.float().clamp(0, 255).byte().cpu().permute(1, 2, 0)
    return np.ascontiguousarray(image.numpy())
