"""Graphs as ONNX files."""

from __future__ import annotations

import ctypes
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pysot.core.xcorr import any_batch
from pysot.export.graphs import Graph
from toolkit.io.packages import load_package

OPSET = 17
"""Version of ONNX's operators: of 2022, known to every runtime of today."""

NEEDS = "export to ONNX needs"


def write_onnx(graph: Graph, inputs: Sequence[Tensor], path: Path) -> None:
    """Write a graph, traced with some inputs; only the dimensions in its ``axes`` may be others.

    PyTorch's exporter by TorchScript is used: every version of PyTorch that we support has it.
    """
    for package in ("onnx", "onnxruntime"):  # which PyTorch and the comparison miss late
        load_package(package, package, NEEDS)
    with torch.inference_mode(), any_batch(), warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")  # of what a trace takes for constant
        torch.onnx.export(
            graph.module,
            tuple(inputs),
            str(path),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_axes={**graph.axes, **_output_axes(graph)},
            opset_version=OPSET,
            **_by_torchscript(),
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the graph off the screen that PyTorch's own code prints when it fails."""
    flush = ctypes.CDLL(None).fflush if os.name == "posix" else lambda _: None
    sys.stdout.flush()
    kept, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    try:
        yield
    finally:
        flush(None)
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nothing)


def _output_axes(graph: Graph) -> dict[str, dict[int, str]]:
    free = {dim for axes in graph.axes.values() for dim in axes.values()}
    named = {0: ("batch", "batch"), 2: ("height", "rows"), 3: ("width", "columns")}
    axes = {n: name for n, (dim, name) in named.items() if dim in free}
    return {output: axes for output in graph.outputs}


def _by_torchscript() -> dict[str, Any]:
    """Choose the exporter, where there are two (PyTorch 2.5 or later)."""
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    return {"dynamo": False} if version >= (2, 5) else {}
