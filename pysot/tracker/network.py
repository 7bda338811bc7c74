"""What runs the network of a tracker: images and arrays go in and out, kernels stay its own.

B batch, S side of a crop, A anchors, R response side. This module works without PyTorch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from numpy.typing import NDArray


class Network(ABC):
    """Runs a network for any number of trackers, of which it remembers nothing.

    Crops are BGR uint8, (B, S, S, 3). Kernels and predictions are arrays of first dimension B in
    nested tuples, of a library that the network chooses.
    """

    @property
    def device(self) -> str:
        """Name of the device on which the network runs, for people."""
        return "cpu"

    def inference(self) -> AbstractContextManager:
        """Return what a tracker's methods run in."""
        return nullcontext()

    @abstractmethod
    def encode(self, crops: NDArray) -> Any:
        """Compute the kernels of templates."""

    @abstractmethod
    def search(self, kernels: Any, crops: NDArray, masks: bool = False) -> Any:
        """Find templates, one per crop or one for all; with ``masks``, what `refine` needs, too."""

    @abstractmethod
    def outputs(self, prediction: Any) -> tuple[NDArray, NDArray | None]:
        """Return what a prediction says, float32: scores (B, N) and box deltas (B, 4, N).

        Scores are probabilities of N = A * R * R candidates. A head without boxes gives logits
        (B, 1, R, R) and None.
        """

    @abstractmethod
    def refine(self, prediction: Any, position: tuple[int, int]) -> NDArray:
        """Return the mask at row and column of a response: probabilities, float32, rows first.

        The prediction is of one crop.
        """

    @abstractmethod
    def repeated(self, arrays: Sequence[Any], repeats: int) -> Any:
        """Concatenate arrays of one library; each is repeated so many times in a row."""

    def join(self, kernels: Sequence[Any], repeats: int = 1) -> Any:
        """Make one batch of the kernels of several targets, each repeated so many times in a row.

        One target's stay as they are: they serve all crops.
        """
        if len(kernels) == 1:
            return kernels[0]
        return map_kernels(lambda *arrays: self.repeated(arrays, repeats), *kernels)


def as_network(model: Any) -> Network:
    """Return what runs a model: itself, or for a PyTorch module a wrapper."""
    if isinstance(model, Network):
        return model
    from pysot.tracker.torch_network import TorchNetwork  # PyTorch may be missing

    return TorchNetwork(model)


def is_array(kernels: Any) -> bool:
    """Return whether kernels are a single array, not a tuple or list of such."""
    return not isinstance(kernels, (tuple, list))


def map_kernels(function: Callable[..., Any], *kernels: Any) -> Any:
    """Apply a function to the arrays at the same place of (named) tuples that are alike.

    None, for what there is not, stays.
    """
    first = kernels[0]
    if first is None:
        return None
    if is_array(first):
        return function(*kernels)
    parts = [map_kernels(function, *items) for items in zip(*kernels, strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)


def flat(kernels: Any) -> list[Any]:
    """Return the arrays of nested tuples in order, without None."""
    if is_array(kernels):
        return [] if kernels is None else [kernels]
    return [array for part in kernels for array in flat(part)]


def select(kernels: Any, number: int) -> Any:
    """Take one sample out of a batch; it keeps a first dimension of 1."""
    return map_kernels(lambda array: array[number : number + 1], kernels)


def mixed(old: Any, new: Any, rate: float) -> Any:
    """Go a share ``rate`` of the way from ``old`` to ``new``: a step of a running average."""
    return map_kernels(lambda a, b: lerp(a, b, rate), old, new)


def lerp(old: Any, new: Any, rate: float) -> Any:
    """Return ``old + rate * (new - old)`` of two arrays, or of two tensors as PyTorch rounds it."""
    return old.lerp(new, rate) if hasattr(old, "lerp") else old + rate * (new - old)
