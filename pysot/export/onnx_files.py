"""Graphs as ONNX files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
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
    load_package("onnx", "onnx", NEEDS)  # without it, PyTorch fails late
    with torch.inference_mode(), any_batch(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a trace takes for constant, which parity checks
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


def _output_axes(graph: Graph) -> dict[str, dict[int, str]]:
    sides = {2: "rows", 3: "columns"} if 2 in graph.axes.get("search", {}) else {}
    return {name: {0: "batch", **sides} for name in graph.outputs}


def _by_torchscript() -> dict[str, Any]:
    """Choose the exporter, where there are two (PyTorch 2.5 or later)."""
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    return {"dynamo": False} if version >= (2, 5) else {}
