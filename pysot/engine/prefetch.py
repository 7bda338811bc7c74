"""Batches on the device, before they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from pysot.datasets.dataset import IMAGES, as_floats

# for people, in float64 that some devices lack; and for all processes to agree on
_STAY = ("bbox", "label_counts")


def batches_on(
    device: torch.device,
    batches: Iterable[dict[str, Any]],
    prepare: Callable[[dict[str, Any]], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield batches with their tensors on a device.

    On a CUDA device the next batch is already on its way, from pinned memory and on a stream of
    its own, while the network works on the one yielded.

    Args:
        device: Where to.
        batches: Dicts whose tensors are to move; the rest stays as it is.
        prepare: Called with each batch while it is on the CPU.
    """
    moved = (_moved(batch, device, prepare) for batch in batches)
    return _ahead(moved, device) if device.type == "cuda" else moved


def _moved(
    batch: dict[str, Any],
    device: torch.device,
    prepare: Callable[[dict[str, Any]], None] | None,
) -> dict[str, Any]:
    if prepare is not None:
        prepare(batch)
    return as_floats({key: _to(device, key, value) for key, value in batch.items()})


def _to(device: torch.device, key: str, value: Any) -> Any:
    """Move what the network needs.

    Images take the memory format in which convolutions are fastest, on the device, since the copy
    from pinned memory changes no format; the values are the same.
    """
    if not isinstance(value, Tensor) or key in _STAY:
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
        for value in current.values():
            if isinstance(value, Tensor) and value.is_cuda:
                value.record_stream(computing)
        following = begin()
        yield current
        current = following
