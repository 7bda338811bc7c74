"""The training loop and its state; see :meth:`Trainer.fit`."""

from __future__ import annotations

import inspect
import itertools
import logging
import math
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import KW_ONLY, InitVar, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from pysot.core import RunFailed, StopRequest
from pysot.core.plugins import PluginRecord
from pysot.core.settings import PRECISIONS
from pysot.datasets.dataset import IMAGES, MAPS, TrainingDataError, as_floats
from pysot.engine.checkpoint import Checkpointer, checkpoint_path, load_momentum
from pysot.engine.distributed import ProcessGroup, ProcessLost, detect_lost_processes
from pysot.engine.monitor import Monitor, as_numbers
from pysot.engine.optim import OptimizerPlan, begin_epoch, set_rates
from pysot.inference import fold_frozen_backbone
from pysot.utils.model_load import mismatches, state_dict_of

logger = logging.getLogger(__name__)

_COUNTS = "label_counts"
_STAY_ON_CPU = ("bbox", _COUNTS)  # bbox has float64, which some devices lack
_LARGEST_LOSS = 1e4
_LACKS = (  # in errors of a loader whose workers were killed, or cannot hand over their batches
    "DataLoader worker (pid",
    "shared memory",
    "No space left on device",
    "Cannot allocate memory",
    "Too many open files",
    "ancillary data",
)
_MAX_SKIPPED_IN_A_ROW = 30


@dataclass
class Progress:
    """How far a run is."""

    seed: int  # together with the epoch, it determines the training pairs
    epoch: int = 0  # finished epochs
    pairs: int = 0  # pairs used in the unfinished epoch, over all processes
    step: int = 0  # training steps so far
    epoch_length: int = 0  # pairs of an epoch; 0 in checkpoints that do not say it

    def state_dict(self) -> dict[str, int]:
        """Return all fields."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restore all fields but the seed; a different seed is a warning."""
        if state["seed"] != self.seed:
            logger.warning("going on with seed %d; the run so far had %d", self.seed, state["seed"])
        vars(self).update({**state, "seed": self.seed})


class ErrorBudget:
    """Counts unreadable images and skipped steps, and raises when there are too many.

    Every process of a run passes the same numbers, so that all decide alike.
    """

    def __init__(self, max_bad_images: int) -> None:
        self.bad_images: dict[str, None] = {}
        self.skipped_steps = 0
        self._max_bad_images = max_bad_images
        self._skipped_in_a_row = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the messages about unreadable images, and the number of skipped steps."""
        return {"bad_images": list(self.bad_images), "skipped_steps": self.skipped_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore both."""
        self.bad_images = dict.fromkeys(state["bad_images"])
        self.skipped_steps = state["skipped_steps"]

    def check_images(self, messages: Sequence[str], hopeless: bool = False) -> None:
        """Count images that workers replaced; ``messages`` give path and reason of each.

        Raises:
            TrainingDataError: If there are too many, or ``hopeless``: a batch has no sample at all.
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
        """Return whether a step may be taken: its numbers are finite, and the loss <= 1e4.

        Raises:
            RunFailed: After too many skipped steps in a row.
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

    def step_taken(self) -> None:
        """End a row of skipped steps."""
        self._skipped_in_a_row = 0


class RandomState:
    """The states of torch's random number generators in all processes."""

    def __init__(self, group: ProcessGroup) -> None:
        self.group = group

    def state_dict(self) -> dict[str, Any]:
        """Return the states by rank; a collective call."""
        return {"generators": self.group.all_gather(generator_states())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore this process's state; a process that the run did not have keeps its own."""
        if self.group.rank < len(state["generators"]):
            set_generators(state["generators"][self.group.rank])


def generator_states() -> dict[str, Any]:
    """Return the states of torch's random number generators in this process."""
    cuda = [torch.cuda.get_rng_state()] if torch.cuda.is_initialized() else []
    return {"torch": torch.get_rng_state(), "cuda": cuda}


def set_generators(states: dict[str, Any]) -> None:
    """Restore what :func:`generator_states` returned."""
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"][0])


@dataclass(eq=False)
class Trainer:
    """A model, its optimizer, and the loop that trains it.

    All processes make the same calls, and hold the same weights after each. ``components`` is what
    a checkpoint holds besides model and optimizer, by name; each has ``state_dict`` and
    ``load_state_dict``. A new piece of state is one more entry.
    """

    model: nn.Module  # maps a batch to a dict of losses with ``total_loss``
    plan: OptimizerPlan
    group: ProcessGroup
    device: torch.device  # the model's
    _: KW_ONLY
    seed: InitVar[int]  # chooses the training pairs
    grad_clip: float  # largest norm of all gradients together
    grad_reduce: str  # "sum" or "mean" of the gradients of a step, over micro-batches and processes
    precision: str  # of the forward pass, a key of PRECISIONS
    ema_decay: InitVar[float]  # of the running average of the weights; 0 for none
    max_bad_images: InitVar[int]  # different training images that may be unreadable

    def __post_init__(self, seed: int, ema_decay: float, max_bad_images: int) -> None:
        self.optimizer: torch.optim.Optimizer | None = None
        self.progress = Progress(seed)
        self.error_budget = ErrorBudget(max_bad_images)
        fp16 = self.precision == "fp16"
        if fp16 and self.device.type != "cuda":
            raise ValueError(
                "TRAIN.PRECISION: fp16 trains on CUDA devices alone, not on "
                f"{self.device.type}; use bf16"
            )
        amp = torch.amp if hasattr(torch.amp, "GradScaler") else torch.cuda.amp  # torch < 2.3
        self.scaler = amp.GradScaler(enabled=fp16)
        self.average = None
        self.components: dict[str, Any] = {
            "progress": self.progress,
            "error_budget": self.error_budget,
            "random": RandomState(self.group),
            "scaler": self.scaler,
            "plugins": PluginRecord(),
        }
        if ema_decay:
            self.average = AveragedModel(
                self.model, multi_avg_fn=partial(_average, ema_decay), use_buffers=True
            )
            self.components["ema"] = self.average
        self._network = self.model

    def fit(
        self,
        loader: DataLoader,
        monitor: Monitor,
        checkpointer: Checkpointer,
        stop: StopRequest,
        accumulate: int = 1,
        validate: Callable[[], None] = lambda: None,
    ) -> bool:
        """Train to the end of the last epoch.

        The ``checkpointer`` saves the run after every epoch, and within epochs when it is due;
        ``stop`` ends it after the current step. Each process takes ``accumulate`` micro-batches per
        step. ``validate`` is called after every epoch.

        Returns:
            Whether the end was reached; False if the run saved itself and stopped as requested.

        Raises:
            TrainingDataError: If too many images cannot be read.
            RunFailed: If the loss stays unusable, the last checkpoint cannot be written, or a
                process or a loader worker died; after such a death the last whole step is saved.
        """
        progress, group, schedule = self.progress, self.group, loader.batch_sampler
        prepare = self._count_labels if accumulate * group.world_size > 1 else None
        source = _Source(loader, self.device, stop, prepare)
        try:
            while progress.epoch < self.plan.epochs:
                self.begin_epoch(progress.epoch)
                monitor.begin_epoch(self.optimizer)
                steps = source.steps(schedule.steps_in(progress.epoch), accumulate)
                for batches in monitor.watch(steps):
                    if any(group.any([len(batches) < accumulate])):
                        return self._end_early(checkpointer, monitor, stop, source)
                    sync_batches(batches, group, self.error_budget)
                    monitor.record_picture(self.model, batches[0])
                    numbers = self.step(batches, monitor.record_gradients)
                    progress.pairs += schedule.pairs_per_step
                    progress.step += 1
                    monitor.record(numbers)
                    stopped, due = group.any([bool(stop), checkpointer.due])
                    if stopped:
                        return self._end_early(checkpointer, monitor, stop, source)
                    if due:
                        self._save(checkpointer, monitor)
                monitor.say(monitor.end_epoch())
                progress.epoch, progress.pairs = progress.epoch + 1, 0
                self._save(checkpointer, monitor, last=progress.epoch == self.plan.epochs)
                validate()
        except ProcessLost as error:
            raise RunFailed(f"{error}; {self._save_alone(checkpointer, monitor)}") from error
        if group.is_main_process:
            checkpointer.prune(complete=True)
        return True

    @detect_lost_processes()
    def begin_epoch(self, epoch: int) -> None:
        """Prepare model and optimizer for an epoch; see ``optim.begin_epoch``."""
        self.optimizer = begin_epoch(self.model, self.plan, epoch, self.optimizer)
        compiled = getattr(self.model, "_compiled_call_impl", None)  # would be anew in each epoch
        if self.device.type == "cpu" and self.precision == "fp32" and not compiled:
            fold_frozen_backbone(self.model)
        if self.group.world_size > 1:
            # made anew, since it knows only what is trainable at the time; buffers stay those of
            # each process, and the main process's are saved
            known = inspect.signature(DistributedDataParallel).parameters
            new = "forward_sync_buffers"
            self._network = DistributedDataParallel(
                self.model,
                gradient_as_bucket_view=True,
                find_unused_parameters=getattr(self.model, "has_masks", False),
                **{new if new in known else "broadcast_buffers": False},  # renamed in torch 2.13
            )

    def step(
        self,
        micro_batches: Sequence[dict[str, Tensor]],
        watch_gradients: Callable[[nn.Module], None] = lambda model: None,
    ) -> dict[str, float]:
        """Train on this process's micro-batches of a step, which are on the device.

        Args:
            micro_batches: With ``label_counts`` if all processes together have several.
            watch_gradients: Called with the model before gradients are clipped.

        Returns:
            Mean losses over the micro-batches of all processes, ``total_loss`` last, and
            ``grad_norm``, which is NaN if the step was skipped.

        Raises:
            RunFailed: If losses stay unusable, or a process is gone.
        """
        self.optimizer.zero_grad(set_to_none=True)
        found, number = [], len(micro_batches)
        with self._undone_if_a_process_is_lost(), detect_lost_processes():
            for batch in micro_batches[:-1]:
                with self._network.no_sync() if self.group.world_size > 1 else nullcontext():
                    losses = self._losses(batch)
                    found.append(as_numbers(losses))
                    self._backward(losses["total_loss"], number)
            losses = self._losses(micro_batches[-1])
            numbers = self._mean_over_processes([*found, as_numbers(losses)])
            norm = math.nan
            if self.error_budget.accepts(numbers["total_loss"]):
                self._backward(losses["total_loss"], number)
                norm = self._update(watch_gradients)
        return {"grad_norm": norm, **numbers}

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, in PySOT's layout; a collective call."""
        return {
            "epoch": self.progress.epoch,
            "state_dict": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "run": {name: part.state_dict() for name, part in self.components.items()},
        }

    def load_state_dict(self, content: dict[str, Any], path: Path) -> None:
        """Continue from the content of a checkpoint, ours or PySOT's; messages name ``path``.

        Raises:
            ValueError: If it does not fit the model.
        """
        progress, run = self.progress, content.get("run", {})
        if not run:
            logger.warning("the checkpoint was not written by this program: step counts from 0")
        own = self.model.state_dict()
        weights = state_dict_of(content, str(path), own)
        problems = mismatches(own, weights)
        if self.average is not None and "ema" in run:
            problems += [f"run.ema: {p}" for p in mismatches(self.average.state_dict(), run["ema"])]
            problems += [] if "n_averaged" in run["ema"] else ["run.ema: n_averaged is missing"]
        if problems:
            raise ValueError(f"{path} does not fit the configured model: {'; '.join(problems)}")
        done, pairs = content["epoch"], run.get("progress", {}).get("pairs", 0)
        saved = [len(group["params"]) for group in content["optimizer"]["param_groups"]]
        # the optimizer is that of the last epoch with a step, or of one that ended before its first
        for epoch in (done - (not pairs), done):
            epoch = max(0, min(epoch, self.plan.epochs - 1))
            optimizer = begin_epoch(self.model, self.plan, epoch)
            if saved == [len(group["params"]) for group in optimizer.param_groups]:
                break
        load_momentum(optimizer, content["optimizer"], path)
        self.model.load_state_dict(weights, strict=False)
        self.model.frozen_backbone = []  # of the weights before
        for name in self.components.keys() & run.keys():
            part = self.components[name]
            # counters of batch norm may be missing, which mismatches accepts
            options = {"strict": False} if isinstance(part, nn.Module) else {}
            if run[name]:  # a scaler that was not needed has no state
                part.load_state_dict(run[name], **options)
        self.optimizer, progress.epoch = optimizer, done

    # ---------------------------------------------------------------------- parts of a step

    def _losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        number = getattr(torch, PRECISIONS[self.precision])
        with torch.autocast(self.device.type, number, enabled=self.precision != "fp32"):
            return self._network(batch)

    def _mean_over_processes(self, found: list[dict[str, float]]) -> dict[str, float]:
        """Average over all micro-batches; what is not finite in one process is so in all."""
        sums = [sum(numbers[name] for numbers in found) for name in found[0]]
        number = len(found) * self.group.world_size
        means = [value / number for value in self.group.all_reduce(sums)]
        return dict(zip(found[0], means, strict=True))

    def _backward(self, loss: Tensor, number: int) -> None:
        # DistributedDataParallel averages over processes; micro-batches add up
        factor = self.group.world_size if self.grad_reduce == "sum" else 1 / number
        self.scaler.scale(loss if factor == 1 else loss * factor).backward()

    def _update(self, watch_gradients: Callable[[nn.Module], None]) -> float:
        if self.plan.per_step:
            done = self.progress.pairs / max(1, self.progress.epoch_length)
            set_rates(self.optimizer, self.plan, self.progress.epoch + done)
        self.scaler.unscale_(self.optimizer)
        watch_gradients(self.model)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.grad_clip).item()
        # a scaler finds its largest factor by overflows, and skips those steps itself
        searching = self.scaler.is_enabled() and self.scaler.get_scale() >= 1
        if searching or self.error_budget.accepts(0.0, norm):
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.error_budget.step_taken()
            if self.average is not None:
                self.average.update_parameters(self.model)
        return norm

    @contextmanager
    def _undone_if_a_process_is_lost(self) -> Iterator[None]:
        """Restore what a step changes before the optimizer does: batch norm and random numbers."""
        if self.group.world_size == 1:
            yield
            return
        buffers = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        generators = generator_states()
        try:
            yield
        except ProcessLost:
            for buffer, before in buffers:
                buffer.copy_(before)
            set_generators(generators)
            raise

    # ----------------------------------------------------------------------- parts of a run

    def _count_labels(self, batch: dict[str, Any]) -> None:
        if "bbox" in batch:
            batch[_COUNTS] = self.model.label_counts(batch)

    def _save(self, checkpointer: Checkpointer, monitor: Monitor, last: bool = False) -> None:
        content = self.state_dict()
        path = checkpointer.save(content, last) if self.group.is_main_process else None
        if path is not None:
            monitor.record_checkpoint(path)

    def _end_early(
        self, checkpointer: Checkpointer, monitor: Monitor, stop: StopRequest, source: _Source
    ) -> bool:
        """Save the run and let all processes end alike: by the same signal, or the same failure."""
        self._save(checkpointer, monitor, last=True)
        signals, failures = zip(*self.group.all_gather((stop.signal, source.failure)), strict=True)
        stop.signal = next(filter(None, signals), None)
        failure = next(filter(None, failures), "")
        if failure and not stop:
            raise RunFailed(f"{failure}; {self._saved_in(checkpointer)}")
        return False

    def _save_alone(self, checkpointer: Checkpointer, monitor: Monitor) -> str:
        """Save the last whole step without the other processes, and describe where."""
        if not self.group.is_main_process:
            return "the main process saves the run"
        self.components["random"].group = ProcessGroup()  # the others do not answer
        self._save(checkpointer, monitor)
        return self._saved_in(checkpointer)

    def _saved_in(self, checkpointer: Checkpointer) -> str:
        progress = self.progress
        path = checkpoint_path(checkpointer.folder, progress.epoch, progress.pairs)
        return f"{path} holds all steps before, --resume auto goes on from it"


# ------------------------------------------------------------------------------------ batches


def sync_batches(
    micro_batches: Sequence[dict[str, Any]], group: ProcessGroup, error_budget: ErrorBudget
) -> None:
    """Exchange between all processes what a step needs to know about all micro-batches.

    The batches lose their key ``bad_images``. If there are several, each gets the mean over all as
    its ``label_counts``: losses are divided by it, so that the mean of the micro-batches' losses is
    the loss of all their pairs in one batch.

    Raises:
        TrainingDataError: If too many images cannot be read.
    """
    messages = [text for batch in micro_batches for text in batch.pop("bad_images", ())]
    hopeless = not all(micro_batches)
    if any(group.any([bool(messages), hopeless])):
        found = group.all_gather((messages, hopeless))
        error_budget.check_images([m for some, _ in found for m in some], any(h for _, h in found))
    number = len(micro_batches) * group.world_size
    if number > 1:
        totals = group.all_reduce(sum(batch[_COUNTS] for batch in micro_batches).tolist())
        mean = torch.tensor([max(total, 1.0) / number for total in totals])
        for batch in micro_batches:
            images = batch["template"] if "template" in batch else batch[MAPS[0]][0]
            batch[_COUNTS] = mean.to(images.device)


@dataclass(eq=False)
class _Source:
    """A process's batches on its device."""

    loader: DataLoader
    device: torch.device
    stop: StopRequest
    prepare: Callable[[dict[str, Any]], None] | None
    failure: str = ""  # why the batches ended early

    def __post_init__(self) -> None:
        self._batches = batches_on(self.device, self._loaded(), self.prepare)

    def steps(self, number: int, accumulate: int) -> Iterator[list[dict[str, Any]]]:
        """Yield the batches of each step; too few of them where the loader failed."""
        for _ in range(number):
            yield list(itertools.islice(self._batches, accumulate))

    def _loaded(self) -> Iterator[dict[str, Any]]:
        """Iterate over the loader without torch's handler of SIGCHLD.

        It raises an error wherever the program is when a worker dies, even in the middle of a step.
        The loader also checks its workers while it waits for a batch, at least every five seconds.
        """
        before = signal.getsignal(signal.SIGCHLD) or signal.SIG_DFL
        try:
            batches = iter(self.loader)
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGCHLD, before)
            yield from batches
        except (RuntimeError, OSError, EOFError) as error:
            lost, text = isinstance(error, (ConnectionError, EOFError)), str(error)
            if not (lost or self.stop or any(lack in text for lack in _LACKS)):
                raise
            # a signal that stops a run may have reached the workers, too
            reason = "" if lost else f": {text.strip().rpartition(chr(10))[2]}"
            self.failure = (
                "a loader worker died, perhaps for lack of memory or of /dev/shm (fewer "
                f"TRAIN.NUM_WORKERS need less){reason}"
            )


def batches_on(
    device: torch.device,
    batches: Iterable[dict[str, Any]],
    prepare: Callable[[dict[str, Any]], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield batches with their tensors on a device; ``prepare`` gets each before it is moved.

    On a CUDA device the next batch is copied from pinned memory on a separate stream while the
    network works on the one yielded.
    """

    def moved() -> Iterator[dict[str, Any]]:
        for batch in batches:
            if prepare is not None:
                prepare(batch)
            yield as_floats({key: _to(device, key, value) for key, value in batch.items()})

    return _ahead(moved(), device) if device.type == "cuda" else moved()


def _to(device: torch.device, key: str, value: Any) -> Any:
    """Move what the network needs.

    Images take the memory format in which convolutions are fastest, on the device, since the copy
    from pinned memory changes no format.
    """
    if key in MAPS:
        return tuple(level.to(device, non_blocking=True) for level in value)
    if not isinstance(value, Tensor) or key in _STAY_ON_CPU:
        return value
    value = value.to(device, non_blocking=True)
    return value.contiguous(memory_format=torch.channels_last) if key in IMAGES else value


def _ahead(batches: Iterator[dict[str, Any]], device: torch.device) -> Iterator[dict[str, Any]]:
    """Begin to copy a batch before the one before it is yielded."""
    stream = torch.cuda.Stream(device)

    def begin() -> dict[str, Any] | None:
        with torch.cuda.stream(stream):
            return next(batches, None)

    current = begin()
    while current is not None:
        computing = torch.cuda.current_stream(device)
        computing.wait_stream(stream)  # before the next copy is put on it
        for value in _tensors(current):
            if value.is_cuda:
                value.record_stream(computing)
        following = begin()
        yield current
        current = following


def _tensors(batch: dict[str, Any]) -> Iterator[Tensor]:
    for value in batch.values():
        some = value if isinstance(value, tuple) else (value,)
        yield from (one for one in some if isinstance(one, Tensor))


def _average(decay: float, averaged: list[Tensor], latest: list[Tensor], steps: Tensor) -> None:
    """Move averages towards the latest values, faster in the first steps.

    Else the first values would weigh ``decay ** steps``, of which running variances that begin as 1
    are still full after thousands of steps where true ones are small.
    """
    first = (1 + float(steps)) / (10 + float(steps))
    get_ema_multi_avg_fn(min(decay, first))(averaged, latest, steps)
