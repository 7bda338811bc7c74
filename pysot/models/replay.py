"""CUDA graphs: a network's kernels started all at once instead of one by one from Python.

At batch 1 a GPU waits for Python between the kernels of a tracker's network. A graph is recorded
once for each set of shapes, and then started by one call (pytorch.org/docs, "CUDA Graphs").
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pysot.models.kernels import map_kernels

MOST_GRAPHS = 32
"""Graphs per function; each keeps its inputs and outputs in the device's memory."""
_WARM_UP = 3  # libraries choose algorithms and allocate in their first calls

Recording = tuple[Callable[[], None], Any]
"""What runs the function once more on the same inputs, and the outputs that it overwrites."""
Record = Callable[[Callable[..., Any], Any], Recording]
"""Makes a recording of a function with some inputs, which must stay where they are."""


class CudaGraphs:
    """Records functions of tensors on a CUDA device, without gradients.

    All graphs share their memory: they must not run at the same time, and what one computes must
    be copied before another runs.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, function: Callable[..., Any], inputs: Any) -> Recording:
        """Record ``function(*inputs)``; the inputs must stay where they are."""
        with torch.cuda.device(self._device):
            return self._record(function, inputs)

    def _record(self, function: Callable[..., Any], inputs: Any) -> Recording:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP):
                function(*inputs)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            outputs = function(*inputs)
        return graph.replay, outputs


class Replayed:
    """A function of tensors that is recorded for each set of shapes, and then replayed.

    What cannot be recorded is run as it is, with one warning; so are further shapes once there are
    ``MOST_GRAPHS``. To be called from one thread at a time.

    Args:
        function: Takes and returns tensors, or nested (named) tuples of such. Whatever else it
            depends on must stay: a replay runs no Python, and no hooks of a network.
        record: See :class:`CudaGraphs`.
    """

    def __init__(self, function: Callable[..., Any], record: Record) -> None:
        self.function = function
        self.record = record
        self._recorded: dict[Any, tuple[Any, Recording]] = {}
        self._works = True

    # not inference mode: its tensors could not be written to outside of it
    @torch.inference_mode(False)
    @torch.no_grad()
    def __call__(self, *inputs: Any) -> Any:
        """Compute ``function(*inputs)``; the result belongs to the caller."""
        shapes: list[Any] = []
        map_kernels(lambda tensor: shapes.append((tensor.shape, tensor.dtype)), inputs)
        key = tuple(shapes)
        if key not in self._recorded and not self._try_to_record(key, inputs):
            return self.function(*inputs)
        held, (replay, outputs) = self._recorded[key]
        map_kernels(Tensor.copy_, held, inputs)
        replay()
        return map_kernels(Tensor.clone, outputs)

    def _try_to_record(self, key: Any, inputs: Any) -> bool:
        if not self._works or len(self._recorded) >= MOST_GRAPHS:
            return False
        held = map_kernels(Tensor.clone, inputs)
        try:
            self._recorded[key] = held, self.record(self.function, held)
        except RuntimeError as error:
            self._works = False
            warnings.warn(f"TRACK.CUDA_GRAPHS: tracking without them: {error}", stacklevel=2)
        return self._works
