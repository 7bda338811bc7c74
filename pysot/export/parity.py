"""Comparison of exported graphs with the network: the same images, outputs equal but for rounding.

Errors are shares of full scale: of 1 for probabilities, else of the largest absolute value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pysot.core import RunFailed
from pysot.export.graphs import BATCH, SIDES, Graphs
from pysot.tracker.exported import Run
from toolkit.io.names import first_line

LIMIT = 1e-4
"""Largest error of an exported graph."""

# images and templates in one pass, and growth of the images in pixels: a target, several crops of
# it, several targets, a larger search region
_BATCHES = ((1, 1, 0), (3, 1, 0), (2, 2, 0), (1, 1, 32))


def draw_crops(count: int, side: int, seed: int) -> Tensor:
    """Draw crops (count, 3, side, side), BGR in 0..255: ellipses on a background of soft noise."""
    rng = np.random.default_rng(seed)
    crops = []
    for _ in range(count):
        soft = cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), (side, side))
        noise = rng.normal(0, 8, soft.shape)
        image = np.clip(soft + noise, 0, 255).astype(np.uint8)
        for _ in range(3):
            center, axes = rng.integers(0, side, 2).tolist(), rng.integers(4, side // 4, 2).tolist()
            color = rng.integers(0, 256, 3).tolist()
            cv2.ellipse(image, center, axes, float(rng.integers(180)), 0, 360, color, -1)
        crops.append(image)
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float()


def check_parity(
    graphs: Graphs, runs: Mapping[str, Run], z: int, x: int, limit: float
) -> dict[str, float]:
    """Compare every graph with its module for several batches, and for a larger search image.

    ``z`` and ``x`` are the sides of template and search images; outputs are finite in any case.

    Returns:
        The largest error of every output.

    Raises:
        RunFailed: If one exceeds ``limit``; the message names graph, output and sizes.
    """
    errors: dict[str, float] = {}
    for name, inputs, about in _cases(graphs, z, x):
        graph, arrays = graphs.by_name[name], (part.numpy() for part in inputs)
        try:
            outputs = runs[name](dict(zip(graph.inputs, arrays, strict=True)))
        except Exception as error:  # a runtime raises classes of its own
            reason = first_line(error)
            raise RunFailed(f"{name}: the exported graph fails for {about}: {reason}") from error
        with torch.inference_mode():
            expected = graph.module(*inputs)
        for output, theirs in zip(graph.outputs, expected, strict=True):
            top = 1.0 if output == "scores" and "deltas" in graph.outputs else 0.0
            error = error_of(outputs[output], theirs.numpy(), top)
            if not error <= limit:  # NaN, too
                raise RunFailed(
                    f"{name}: {output} of the exported graph differs from PyTorch's by {error:.1e} "
                    f"of full scale for {about}; at most {limit:g} is allowed"
                )
            errors[output] = max(error, errors.get(output, 0.0))
    return errors


def error_of(ours: NDArray, theirs: NDArray, top: float = 0.0) -> float:
    """Return the largest difference of two arrays as a share of full scale; NaN if unlike.

    Full scale is ``top``, or the largest absolute value, if that is more.
    """
    if ours.shape != theirs.shape:
        return math.nan
    scale = np.abs(theirs).max(initial=max(top, np.finfo(np.float32).tiny))
    return float(np.abs(ours - theirs).max(initial=0.0) / scale)


def example_inputs(graphs: Graphs, name: str, batch: int, templates: int, z: int, x: int) -> Any:
    """Make inputs of a graph from drawn crops, by the graphs before it."""
    template, search = graphs.by_name["template"], graphs.by_name["search"]
    images = (draw_crops(batch if name == "template" else templates, z, seed=1),)
    with torch.inference_mode():
        if name == "template":
            return images
        images = (draw_crops(batch, x, seed=2), *template.module(*images))
        if name == "search":
            return images
        maps = search.module(*images)[-len(graphs.mask) :]
        return *maps, torch.tensor([1, maps[-1].shape[-1] - 2])


def _cases(graphs: Graphs, z: int, x: int) -> Iterator[tuple[str, tuple[Tensor, ...], str]]:
    """Yield graphs, inputs for them, and the inputs' shapes."""
    for name in graphs.by_name:
        for batch, templates, larger in _BATCHES:
            if larger and (name != "search" or not graphs.free >= SIDES):
                continue
            if batch > 1 and not graphs.free >= BATCH:
                continue
            inputs = example_inputs(graphs, name, batch, templates, z, x + larger)
            shapes = (str(tuple(part.shape)) for part in inputs[:2])
            yield name, inputs, f"inputs {', '.join(shapes)}"
