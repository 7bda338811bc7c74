"""What backbones share: channel widths, and the choice of the maps they return."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def scaled_widths(widths: Sequence[int], width_mult: float) -> list[int]:
    """Multiply channel numbers and truncate them to integers.

    Raises:
        ValueError: If a layer would be left without channels.
    """
    scaled = [int(width * width_mult) for width in widths]
    if min(scaled) < 1:
        raise ValueError(
            f"BACKBONE.KWARGS.width_mult: {width_mult!r} leaves a layer of {min(widths)} channels "
            f"with {min(scaled)}"
        )
    return scaled


def checked_layers(used_layers: Sequence[int], count: int) -> list[int]:
    """Check the numbers of the maps that a backbone shall return.

    Args:
        used_layers: In the order in which the maps are returned.
        count: Maps that the backbone computes.

    Returns:
        The numbers as a list.

    Raises:
        ValueError: If there are none, or one is not in 0..count - 1.
    """
    layers = list(used_layers) if isinstance(used_layers, Sequence) else []
    if not layers or any(type(n) is not int or not 0 <= n < count for n in layers):
        raise ValueError(
            f"BACKBONE.KWARGS.used_layers: expected a list of numbers from 0 to {count - 1}, "
            f"found {used_layers!r}"
        )
    return layers


def selected(maps: Sequence[Tensor], used_layers: Sequence[int]) -> Tensor | list[Tensor]:
    """Return the maps that ``used_layers`` numbers: one alone, several as a list."""
    chosen = [maps[number] for number in used_layers]
    return chosen[0] if len(chosen) == 1 else chosen
