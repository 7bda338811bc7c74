"""The parts of a network that are exported, as functions of tensors alone, with their names.

B batch, T templates (B or 1), A anchors, Z and X sides of template and search image, R response
side, H height and W width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pysot.inference import probabilities
from pysot.tracker.network import flat, map_kernels

LOW = "mask_features_"
CORRELATION = "mask_correlation"

BATCH = frozenset({"batch", "templates"})
SIDES = frozenset({"height", "width"})

Axes = Mapping[str, Mapping[int, str]]  # name of an input -> names of its dynamic dimensions


@dataclass(frozen=True)
class Graph:
    """A function of tensors in the order of ``inputs``, that of ``module.forward``."""

    module: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    axes: Axes


@dataclass(frozen=True)
class Graphs:
    """All graphs of a network by name, and its kernels: names nested as the head nests tensors."""

    by_name: Mapping[str, Graph]
    kernels: Any
    mask: tuple[str, ...]  # outputs of ``search`` that ``refine`` takes
    free: frozenset[str]  # dimensions that may have any size, of ``BATCH`` and ``SIDES``


class _Template(nn.Module):
    """Images (B, 3, Z, Z) to kernels, in the order in which nested tuples hold them."""

    def __init__(self, model: nn.Module, encode: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.model, self.encode = model, encode

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(flat(self.encode(tensors[0])))


class _Search(nn.Module):
    """Images (B, 3, X, X) and kernels to scores, deltas, and what ``refine`` takes."""

    def __init__(self, model: nn.Module, nested: Any, predict: Callable[..., Any]) -> None:
        super().__init__()
        self.model, self.nested, self.predict = model, nested, predict

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        parts = iter(tensors[1:])
        found = self.predict(map_kernels(lambda _: next(parts), self.nested), tensors[0])
        outputs = [part for part in probabilities(*found[:2]) if part is not None]
        if len(found) > 2:
            outputs += [*found.low, found.correlation]
        return tuple(outputs)


class _Refine(nn.Module):
    """Maps and correlation (B, C, H, W), and row and column (2,) to mask logits (B, M * M)."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, *tensors: Tensor) -> tuple[Tensor]:
        *low, correlation, position = tensors
        return (self.head.masks_in_all(low, correlation, position),)


def make_graphs(
    model: Any, with_masks: bool, sizes: tuple[int, int], free: frozenset[str]
) -> Graphs:
    """Take a network apart.

    Args:
        model: In evaluation mode, as ``ModelBuilder``.
        with_masks: Whether the tracker makes masks; else what serves them is left out.
        sizes: Sides Z and X of template and search images.
        free: Dimensions that may have any size; with masks never ``SIDES``, as windows and their
            borders are laid out for one.

    Raises:
        ValueError: If the network lacks a method or returns something else than graphs can.
    """
    free = free - SIDES if with_masks else free
    _check(model, with_masks)
    boxes_alone = getattr(model, "has_masks", False) and not with_masks

    def encode(images: Tensor) -> Any:
        kernels = model.encode_template(images)
        return kernels.rpn if boxes_alone else kernels

    def predict(kernels: Any, images: Tensor) -> Any:
        if with_masks:
            return model.predict_with_mask(kernels, images)
        found = model.predict(_Boxes(kernels) if boxes_alone else kernels, images)
        return found[:2]

    with torch.inference_mode():
        images = torch.zeros(1, 3, sizes[0], sizes[0])
        nested = encode(images)
        found = predict(nested, torch.zeros(1, 3, sizes[1], sizes[1]))
    _check_outputs(nested, found)
    numbers = iter(range(len(flat(nested))))
    kernels = map_kernels(lambda _: f"kernel_{next(numbers)}", nested)
    low = [f"{LOW}{number}" for number in range(len(found.low))] if with_masks else []
    mask = (*low, CORRELATION) if with_masks else ()
    boxes = ("scores",) if found[1] is None else ("scores", "deltas")
    names = tuple(flat(kernels))
    graphs = {
        "template": (_Template(model, encode), ("template",), names),
        "search": (_Search(model, nested, predict), ("search", *names), (*boxes, *mask)),
    }
    if with_masks:
        graphs["refine"] = (_Refine(model.refine_head), (*mask, "position"), ("mask",))
    by_name = {name: Graph(*parts, _axes(parts[1], free)) for name, parts in graphs.items()}
    return Graphs(by_name, kernels, mask, free)


def _axes(inputs: Sequence[str], free: frozenset[str]) -> Axes:
    """Name the dimensions of inputs that may have any size."""
    dims: dict[str, dict[int, str]] = {name: {0: "batch"} for name in inputs if name != "position"}
    for name in dims:
        if name.startswith("kernel"):
            dims[name] = {0: "templates"}
        elif name == "search":
            dims[name] = {0: "batch", 2: "height", 3: "width"}
    return {name: {n: dim for n, dim in own.items() if dim in free} for name, own in dims.items()}


@dataclass(frozen=True)
class _Boxes:
    """Kernels of a network with masks for a tracker without."""

    rpn: Any


def _check(model: Any, with_masks: bool) -> None:
    needed = ["encode_template", "predict_with_mask" if with_masks else "predict"]
    missing = [name for name in needed if not hasattr(model, name)]
    if missing:
        raise ValueError(f"{type(model).__name__} cannot be exported: it has no {missing[0]}()")
    if not with_masks:
        return
    if not hasattr(model, "refine_head"):
        raise ValueError("REFINE.REFINE: a tracker with masks needs it; set it to true")
    if not hasattr(model.refine_head, "masks_in_all"):
        kind = type(model.refine_head).__name__
        raise ValueError(f"REFINE.TYPE: {kind} cannot be exported: it has no masks_in_all()")


def _check_outputs(kernels: Any, found: Any) -> None:
    if not all(isinstance(part, Tensor) for part in flat(kernels)):
        raise ValueError("RPN.TYPE: encode() of this head must return tensors in nested tuples")
    cls, loc = found[:2] if isinstance(found, tuple) and len(found) > 1 else (None, None)
    known = isinstance(cls, Tensor) and cls.ndim == 4 and (loc is None or isinstance(loc, Tensor))
    if not known or (loc is not None and cls.shape[1] % 2):
        raise ValueError(
            "RPN.TYPE: correlate() of this head must return class logits (B, 2A, R, R) and box "
            "deltas (B, 4A, R, R), or logits (B, 1, R, R) and None"
        )
