"""One step of training, and what may go wrong in it."""

from __future__ import annotations

import contextlib
import inspect
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pysot.core.errors import RunFailed
from pysot.datasets.dataset import TrainingDataError
from pysot.engine.distributed import Ranks, peers
from pysot.engine.monitor import as_numbers
from pysot.engine.optim import OptimizerPlan, begin_epoch

logger = logging.getLogger(__name__)

COUNTS = "label_counts"
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
REDUCTIONS = ("sum", "mean")

_LARGEST_LOSS = 1e4
_MAX_SKIPPED_IN_A_ROW = 30


class Faults:
    """Counts what went wrong in a run, and stops it where too much did.

    All processes of a run give it the same news, so that they decide alike.

    Args:
        max_bad_images: Different training images that may be unreadable.
        bad_images: Those that were so far, each with the reason.
        skipped_steps: Steps that were not taken so far.
    """

    def __init__(
        self, max_bad_images: int, bad_images: tuple[str, ...] = (), skipped_steps: int = 0
    ) -> None:
        self.bad_images = dict.fromkeys(bad_images)
        self.skipped_steps = skipped_steps
        self._max_bad_images = max_bad_images
        self._skipped_in_a_row = 0

    def check_images(self, messages: Sequence[str], hopeless: bool = False) -> None:
        """Take note of images that workers replaced.

        Args:
            messages: Path and reason of each.
            hopeless: Whether there is a batch for which no sample could be made.

        Raises:
            TrainingDataError: If there are more than allowed, or no sample could be made.
        """
        for message in messages:
            if message not in self.bad_images:
                self.bad_images[message] = None
                logger.warning("unreadable training image %d: %s", len(self.bad_images), message)
        if len(self.bad_images) > self._max_bad_images or hopeless:
            raise TrainingDataError(
                f"{len(self.bad_images)} training images could not be read, "
                f"{self._max_bad_images} are allowed (TRAIN.MAX_BAD_IMAGES); the last one: "
                f"{next(reversed(self.bad_images), 'none')}"
            )

    def accepts(self, total: float, grad_norm: float = 0.0) -> bool:
        """Tell whether a step may be taken: its numbers are finite, and the loss not above 1e4.

        Raises:
            RunFailed: If too many steps in a row may not.
        """
        if math.isfinite(total) and total <= _LARGEST_LOSS and math.isfinite(grad_norm):
            return True
        self.skipped_steps += 1
        self._skipped_in_a_row += 1
        logger.warning("step skipped, its loss is %s and its gradient %s", total, grad_norm)
        if self._skipped_in_a_row >= _MAX_SKIPPED_IN_A_ROW:
            raise RunFailed(
                f"training diverged: the loss of {self._skipped_in_a_row} steps in a row is not "
                f"finite or above {_LARGEST_LOSS:g}; a lower TRAIN.BASE_LR may help"
            )
        return False

    def taken(self) -> None:
        """Take note of a step that was taken."""
        self._skipped_in_a_row = 0


@dataclass(frozen=True)
class StepSettings:
    """How a step is taken.

    Attributes:
        grad_clip: Largest norm of all gradients together.
        grad_reduce: What becomes of the gradients of the parts of a step, which are the batches of
            all processes and accumulated batches: their ``sum`` or their ``mean``.
        precision: A key of ``PRECISIONS``: numbers of the forward pass.
        ema_decay: Of the running average of the weights; 0 for none.
        log_grads: Whether the monitor hears of the gradients.

    Raises:
        ValueError: If a name is unknown.
    """

    grad_clip: float = 10.0
    grad_reduce: str = "sum"
    precision: str = "fp32"
    ema_decay: float = 0.0
    log_grads: bool = False

    def __post_init__(self) -> None:
        for key, value, known in (
            ("GRAD_REDUCE", self.grad_reduce, REDUCTIONS),
            ("PRECISION", self.precision, PRECISIONS),
        ):
            if value not in known:
                raise ValueError(f"TRAIN.{key}: unknown {value!r}; known: {', '.join(known)}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"TRAIN.EMA is {self.ema_decay}; expected 0, or a decay below 1")


class Trainer:
    """A model, its optimiser, and the step that changes both.

    All processes of a run make the same calls, and hold the same weights after each of them.

    Args:
        model: Maps a batch to a dict of losses with ``total_loss``.
        plan: What learns when.
        settings: How a step is taken.
        ranks: The processes.
        device: Of the model.

    Raises:
        ValueError: If the device cannot compute in the precision.
    """

    def __init__(
        self,
        model: nn.Module,
        plan: OptimizerPlan,
        settings: StepSettings,
        ranks: Ranks,
        device: torch.device,
    ) -> None:
        self.model, self.plan, self.settings = model, plan, settings
        self.ranks, self.device = ranks, device
        self.optimizer: torch.optim.SGD | None = None
        self.scaler = _scaler(settings.precision, device)
        self.average = None
        if settings.ema_decay:
            average = get_ema_multi_avg_fn(settings.ema_decay)
            self.average = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
        self._network = model

    @peers()
    def begin_epoch(self, epoch: int) -> None:
        """Put model and optimiser into the state that an epoch asks for; see ``optim``."""
        self.optimizer = begin_epoch(self.model, self.plan, epoch, self.optimizer)
        if self.ranks.ranks > 1:
            # made anew, since it knows only what learns at the time; buffers stay those of each
            # process, and the first one's are saved
            known = inspect.signature(DistributedDataParallel).parameters
            new = "forward_sync_buffers"
            self._network = DistributedDataParallel(
                self.model,
                gradient_as_bucket_view=True,
                find_unused_parameters=getattr(self.model, "has_masks", False),
                **{new if new in known else "broadcast_buffers": False},  # renamed in torch 2.13
            )

    @peers()
    def step(
        self,
        parts: Sequence[dict[str, Tensor]],
        faults: Faults,
        watch_gradients: Callable[[nn.Module], None] | None = None,
    ) -> dict[str, float]:
        """Train on this process's parts of a step.

        Args:
            parts: Batches on the device, with ``label_counts`` if the step has several parts.
            faults: Decides whether the step may be taken.
            watch_gradients: Called with the model before gradients are clipped.

        Returns:
            Losses, averaged over all parts of all processes; ``total_loss`` is the last. And the
            norm of the gradient as ``grad_norm``; NaN if the step was skipped.

        Raises:
            RunFailed: If losses stay unusable, or a process is gone.
        """
        self.optimizer.zero_grad(set_to_none=True)
        found = []
        for part in parts[:-1]:
            with self._alone():
                losses = self._losses(part)
                found.append(as_numbers(losses))
                self._backward(losses["total_loss"], len(parts))
        losses = self._losses(parts[-1])
        numbers = self._agreed([*found, as_numbers(losses)])
        norm = math.nan
        if faults.accepts(numbers["total_loss"]):
            self._backward(losses["total_loss"], len(parts))
            norm = self._update(faults, watch_gradients)
        return {"grad_norm": norm, **numbers}

    def _losses(self, part: dict[str, Tensor]) -> dict[str, Tensor]:
        precision = self.settings.precision
        with torch.autocast(self.device.type, PRECISIONS[precision], enabled=precision != "fp32"):
            return self._network(part)

    def _alone(self) -> contextlib.AbstractContextManager:
        """Gradients of parts before the last stay in this process."""
        return self._network.no_sync() if self.ranks.ranks > 1 else contextlib.nullcontext()

    def _agreed(self, found: list[dict[str, float]]) -> dict[str, float]:
        """Average over the parts here and elsewhere; what is not finite anywhere is so for all."""
        sums = [sum(numbers[name] for numbers in found) for name in found[0]]
        parts = len(found) * self.ranks.ranks
        means = [value / parts for value in self.ranks.total(sums)]
        return dict(zip(found[0], means, strict=True))

    def _backward(self, loss: Tensor, parts: int) -> None:
        # processes' gradients are averaged by DistributedDataParallel, those of parts added up
        factor = self.ranks.ranks if self.settings.grad_reduce == "sum" else 1 / parts
        self.scaler.scale(loss if factor == 1 else loss * factor).backward()

    def _update(self, faults: Faults, watch: Callable[[nn.Module], None] | None) -> float:
        self.scaler.unscale_(self.optimizer)
        if watch is not None:
            watch(self.model)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.grad_clip).item()
        # a scaler finds its largest factor by overflows, and skips those steps itself
        searching = self.scaler.is_enabled() and self.scaler.get_scale() >= 1
        if searching or faults.accepts(0.0, norm):
            self.scaler.step(self.optimizer)
            self.scaler.update()
            faults.taken()
            if self.average is not None:
                self.average.update_parameters(self.model)
        return norm


def _scaler(precision: str, device: torch.device) -> Any:
    if precision == "fp16" and device.type != "cuda":
        raise ValueError(
            f"TRAIN.PRECISION: fp16 trains on CUDA devices alone, not on {device.type}; use bf16"
        )
    enabled = precision == "fp16"
    if hasattr(torch.amp, "GradScaler"):
        return torch.amp.GradScaler(device.type, enabled=enabled)
    return torch.cuda.amp.GradScaler(enabled=enabled)  # torch < 2.3


def agree_on_batches(parts: Sequence[dict[str, Any]], ranks: Ranks, faults: Faults) -> None:
    """Let all processes know what each needs of the others before a step.

    The batches lose their key ``bad_images``. Each of several parts gets, in place of its own
    ``label_counts``, the mean over all parts: the losses average over it, so that the mean of the
    parts' losses is the loss of all their pairs in one batch.

    Args:
        parts: This process's batches of the step.
        ranks: The processes.
        faults: Told about unreadable images of all processes.

    Raises:
        TrainingDataError: If too many images cannot be read.
    """
    messages = [text for part in parts for text in part.pop("bad_images", ())]
    hopeless = not all(parts)
    if any(ranks.any([bool(messages), hopeless])):
        news = ranks.gather((messages, hopeless))
        faults.check_images([m for some, _ in news for m in some], any(h for _, h in news))
    number = len(parts) * ranks.ranks
    if number > 1:
        totals = ranks.total(sum(part[COUNTS] for part in parts).tolist())
        mean = torch.tensor([max(total, 1.0) / number for total in totals])
        for part in parts:
            part[COUNTS] = mean.to(part["template"].device)
