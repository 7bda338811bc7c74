"""Graphs as programs of ``torch.export``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from numpy.typing import NDArray
from torch import Tensor

from pysot.core.xcorr import any_batch
from pysot.export.graphs import Graph
from pysot.tracker.exported import Run


def write_program(graph: Graph, inputs: Sequence[Tensor], path: Path) -> None:
    """Write a graph, traced with some inputs; only the dimensions in its ``axes`` may be others."""
    named = {name: axes for name, axes in graph.axes.items() if axes}
    dims = {dim: torch.export.Dim(dim) for axes in named.values() for dim in axes.values()}
    shapes = [{n: dims[dim] for n, dim in named.get(name, {}).items()} for name in graph.inputs]
    with torch.no_grad(), any_batch(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch about itself
        program = torch.export.export(
            graph.module, tuple(inputs), dynamic_shapes={"tensors": tuple(shapes)}
        )
        torch.export.save(program, path)


def run_program(path: Path, outputs: Sequence[str]) -> Run:
    """Load a program; ``outputs`` names what it computes."""
    module = torch.export.load(path).module()

    @torch.inference_mode()
    def run(inputs: Mapping[str, NDArray]) -> Mapping[str, NDArray]:
        found = module(*(torch.from_numpy(array) for array in inputs.values()))
        return dict(zip(outputs, (part.numpy() for part in found), strict=True))

    return run
