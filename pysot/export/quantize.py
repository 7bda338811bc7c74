"""Search networks of 8-bit integers: weights and maps, with scales from frames of videos.

Integers are the convolutions of backbone, neck and heads with what lies between them. The
correlation stays in 32 bits, as its kernels are data, and so do the last convolutions, as 255 steps
are too coarse for boxes and scores.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from numpy.typing import NDArray

from pysot.core import RunFailed
from pysot.export.onnx_files import NEEDS
from toolkit.io.packages import load_package

_BETWEEN = ("Relu", "Clip", "Add", "MaxPool")  # run on integers between two convolutions

Inputs = dict[str, NDArray]


def quantize(source: Path, target: Path, samples: Sequence[Inputs]) -> None:
    """Write the search network of 8-bit integers that an ONNX file of fp32 makes.

    Args:
        source: The file of fp32.
        target: The new file; it has the same inputs and outputs.
        samples: Inputs whose maps give the scales.

    Raises:
        RunFailed: If no convolution may become integers.
    """
    onnx = load_package("onnx", "onnx", NEEDS)
    tools = load_package("onnxruntime.quantization", "onnxruntime", NEEDS)
    shaped = target.with_name(f"{target.stem}.shaped.onnx")
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # advice on how to prepare a file, which is done here
    try:
        tools.quant_pre_process(str(source), str(shaped), skip_symbolic_shape=True)
        nodes = _quantized_nodes(onnx.load(str(shaped)).graph)
        if not nodes:  # for the tools that means all
            raise RunFailed("--int8: this search network has no convolution that may be integers")
        tools.quantize_static(
            str(shaped),
            str(target),
            SimpleNamespace(get_next=partial(next, iter(samples), None)),
            quant_format=tools.QuantFormat.QDQ,
            op_types_to_quantize=["Conv", *_BETWEEN],
            nodes_to_quantize=nodes,
            per_channel=True,
            # 7 bits of weights: processors without VNNI add two products in 16 bits, which overflow
            reduce_range=True,
            activation_type=tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
        )
    finally:
        logging.disable(before)
        shaped.unlink(missing_ok=True)


def _quantized_nodes(graph: Any) -> list[str]:
    """Name the convolutions that become integers, and what lies between them."""
    constants = {item.name for item in graph.initializer}
    convolutions = [n for n in graph.node if n.op_type == "Conv" and n.input[1] in constants]
    last = _last_before(graph, ("scores", "deltas"))
    kept = [node for node in convolutions if node.name not in last]
    integer = {name for node in kept for name in node.output}
    names = [node.name for node in kept]
    for node in graph.node:  # in the order of computation
        data = [name for name in node.input if name not in constants]
        if node.op_type in _BETWEEN and integer.issuperset(data):
            names.append(node.name)
            integer.update(node.output)
    return names


def _last_before(graph: Any, outputs: Sequence[str]) -> set[str]:
    """Name the convolutions from which outputs are computed without another one."""
    made_by = {name: node for node in graph.node for name in node.output}
    found, seen, left = set(), set(), list(outputs)
    while left:
        node = made_by.get(left.pop())
        if node is None or node.name in seen:
            continue
        seen.add(node.name)
        if node.op_type == "Conv":
            found.add(node.name)
        elif node.op_type != "Shape":
            left += node.input
    return found
