"""What the parts of a network take and give: channels, strides, and layouts of maps in memory.

Messages name the keys of the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pysot.core.registry import lacks
from pysot.utils.anchor import anchor_shapes


def check_wiring(
    backbone: nn.Module,
    neck: nn.Module | None,
    rpn_head: nn.Module,
    mask_head: nn.Module | None,
) -> None:
    """Follow the channels of the maps through a network.

    With a mask head, neck and heads get the backbone's last maps alone, see :func:`neck_maps`. A
    neck or head that does not state its channels is taken as it is.

    Raises:
        ValueError: If a part takes other channels than it gets.
    """
    maps = _as_list(backbone.out_channels)
    if mask_head is not None:
        maps = maps[-neck_maps(neck) :]
    if neck is not None:
        _check_neck(neck, maps)
        if getattr(neck, "out_channels", None) is None:
            return
        maps = _as_list(neck.out_channels)
    giver = "backbone" if neck is None else "neck"
    _check_rpn_head(rpn_head, maps, giver)
    taken = getattr(mask_head, "in_channels", maps[0])
    if taken != maps[0]:
        raise ValueError(
            f"MASK.KWARGS.in_channels: the mask head takes {taken} channels, the {giver} gives "
            f"{maps[0]}"
        )


def neck_maps(neck: nn.Module | None) -> int:
    """Return how many of the backbone's last maps go to the neck where there are masks."""
    return len(_as_list(getattr(neck, "in_channels", None)))


def refine_inputs(
    backbone: nn.Module,
    neck: nn.Module | None,
    mask_head: nn.Module | None,
    wanted: Sequence[int] = (2, 4, 8),
) -> dict[str, Any]:
    """Find what a refine head gets: ``low_channels`` of its maps, ``in_channels`` of the masks.

    Raises:
        ValueError: If there is no mask head, or the backbone's maps before those of the neck are
            not at the strides ``wanted``.
    """
    if mask_head is None:
        raise ValueError("REFINE.REFINE: there are no masks to refine; set MASK.MASK to true")
    if not hasattr(mask_head, "hidden"):
        kind = type(mask_head).__name__
        raise ValueError(f"MASK.TYPE: {kind} must state hidden, the channels of its correlation")
    last = -neck_maps(neck)
    strides = list(backbone.strides[:last]) if hasattr(backbone, "strides") else []
    if strides != list(wanted):
        raise ValueError(
            "BACKBONE.KWARGS.used_layers: before the neck's maps the refine head needs "
            f"{len(wanted)}, at strides {list(wanted)}; the backbone gives {strides}; use a "
            "ResNet with used_layers [0, 1, 2, 3] and Refine, efficientnet_lite0 with "
            "[1, 2, 3, 4, 5] and WindowRefine, or set REFINE.REFINE to false"
        )
    return {"low_channels": backbone.out_channels[:last], "in_channels": mask_head.hidden}


def check_anchors(
    rpn_head: nn.Module, ratios: list, scales: list, anchor_num: int, stride: int
) -> None:
    """Raise ValueError unless anchors have an area and configuration and head agree on them."""
    if rpn_head.anchor_num is None:
        return
    anchors = len(ratios) * len(scales)
    if not anchors == anchor_num == rpn_head.anchor_num:
        raise ValueError(
            f"ANCHOR.RATIOS and ANCHOR.SCALES make {anchors} anchors, ANCHOR.ANCHOR_NUM says "
            f"{anchor_num} and RPN.KWARGS.anchor_num {rpn_head.anchor_num}; make them equal"
        )
    anchor_shapes(stride, ratios, scales)


def _check_neck(neck: nn.Module, maps: list[int]) -> None:
    taken = _as_list(getattr(neck, "in_channels", maps))
    if taken != maps:
        raise ValueError(
            f"ADJUST.KWARGS.in_channels: the neck takes {_shown(taken)} channels, the "
            f"backbone gives {_shown(maps)}; change it, or the backbone's BACKBONE.KWARGS"
        )


def _check_rpn_head(head: nn.Module, maps: list[int], giver: str) -> None:
    if not isinstance(head.in_channels, (list, tuple)) and len(maps) > 1:
        raise ValueError(
            f"RPN.TYPE: this head takes one map, the {giver} gives {len(maps)}; use MultiRPN, or "
            "one number in BACKBONE.KWARGS.used_layers"
        )
    taken = _as_list(head.in_channels)
    if head.in_channels is not None and taken != maps:
        keys = "BACKBONE.KWARGS" if giver == "backbone" else "ADJUST.KWARGS"
        raise ValueError(
            f"RPN.KWARGS.in_channels (feature_in for UPChannelRPN): the head takes {_shown(taken)} "
            f"channels, the {giver} gives {_shown(maps)}; change it, or {keys}"
        )


def _as_list(channels: Any) -> list[int]:
    """A part may state the channels of its only map as a number, or those of several as a tuple."""
    return list(channels) if isinstance(channels, (list, tuple)) else [channels]


def _shown(channels: list[int]) -> str:
    return str(channels[0]) if len(channels) == 1 else str(channels)


def scaled_widths(widths: Sequence[int], width_mult: float) -> list[int]:
    """Multiply channel numbers and truncate; ValueError if a layer gets none."""
    scaled = [int(width * width_mult) for width in widths]
    if min(scaled) < 1:
        raise ValueError(
            f"BACKBONE.KWARGS.width_mult: {width_mult!r} leaves a layer of {min(widths)} channels "
            f"with {min(scaled)}"
        )
    return scaled


def checked_layers(used_layers: Sequence[int], count: int) -> list[int]:
    """Return ``used_layers`` as a list; ValueError unless it names some maps in 0..count - 1."""
    layers = list(used_layers) if isinstance(used_layers, Sequence) else []
    if not layers or any(type(n) is not int or not 0 <= n < count for n in layers):
        raise ValueError(
            f"BACKBONE.KWARGS.used_layers: expected a list of numbers from 0 to {count - 1}, "
            f"found {used_layers!r}"
        )
    return layers


def selected(
    maps: Sequence[Tensor] | Mapping[int, Tensor], used_layers: Sequence[int]
) -> Tensor | list[Tensor]:
    """Return the maps that ``used_layers`` numbers: one alone, several as a list."""
    chosen = [maps[number] for number in used_layers]
    return chosen[0] if len(chosen) == 1 else chosen


def numbered_maps(
    backbone: nn.Module, x: Tensor, used_layers: Sequence[int]
) -> Tensor | list[Tensor]:
    """Run a backbone's ``layer0``, ``layer1``, ... on images; return as :func:`selected` does."""
    maps = []
    for number in range(max(used_layers) + 1):
        x = backbone.get_submodule(f"layer{number}")(x)
        maps.append(x)
    return selected(maps, used_layers)


def as_backbone(backbone: nn.Module) -> nn.Module:
    """Return a backbone that states ``out_channels``, ``strides`` and ``stride``.

    PySOT's do not: two blank images of 127 and 223 pixels show them.

    Raises:
        ValueError: If it gives no maps, or maps that do not grow with the image.
    """
    if hasattr(backbone, "out_channels") and hasattr(backbone, "stride"):
        return backbone
    learning = backbone.training
    with torch.no_grad():
        found = [backbone.eval()(torch.zeros(1, 3, side, side)) for side in (127, 223)]
    backbone.train(learning)
    small, large = ([maps] if isinstance(maps, Tensor) else list(maps) for maps in found)
    growth = [b.shape[-1] - a.shape[-1] for a, b in zip(small, large, strict=True)]
    if not growth or min(growth) < 1:
        raise ValueError(
            "BACKBONE.TYPE: maps of this backbone do not grow with the image; it must state "
            "out_channels (a list) and stride (in pixels)"
        )
    backbone.strides = [round((223 - 127) / cells) for cells in growth]
    backbone.stride = backbone.strides[-1]
    backbone.out_channels = [level.shape[1] for level in small]
    return backbone


def widened(maps: Tensor | Sequence[Tensor], cells: int) -> Tensor | list[Tensor]:
    """Return maps with so many more rows and columns of zeros."""
    if isinstance(maps, Tensor):
        return F.pad(maps, (0, cells, 0, cells))
    return [widened(level, cells) for level in maps]


def lay_out(model: nn.Module) -> None:
    """Store weights as each part of a network expects; see :func:`suited`.

    Convolutions give maps in the layout of their weights.
    """
    for part in model.children():
        known = getattr(part, "channels_last", False)
        part.to(memory_format=torch.channels_last if known else torch.contiguous_format)


def suited(maps: Any, *parts: nn.Module) -> Any:
    """Return maps as some parts of a network can take them.

    Maps have their channels last in memory, which ``view`` and the like do not expect: parts that
    do not state ``channels_last = True`` get contiguous ones.
    """
    known = all(getattr(part, "channels_last", False) for part in parts)
    return maps if known else _contiguous(maps)


def takes(part: nn.Module, name: str) -> bool:
    """Return whether a part's ``forward`` has a parameter of that name, as a fork's may not."""
    return name in signature(part.forward).parameters


def _contiguous(maps: Any, batch: int | None = None) -> Any:
    if not isinstance(maps, Tensor):
        return [_contiguous(level, batch) for level in maps]
    if batch is not None and len(maps) == 1:
        maps = maps.expand(batch, -1, -1, -1)
    return maps.contiguous()


class _ForwardHead:
    """Makes a head whose ``forward`` takes the features of both images, as PySOT's do, one of ours.

    Its kernels are the template's features.
    """

    def encode(self, zf: Any) -> Any:
        return _contiguous(zf)

    def correlate(self, kernels: Any, xf: Any) -> Any:
        batch = len(xf if isinstance(xf, Tensor) else xf[0])
        return self.forward(_contiguous(kernels, batch), xf)  # type: ignore[attr-defined]


def as_siamese(head: nn.Module) -> nn.Module:
    """Return a head, made to have ``encode`` and ``correlate`` if it has ``forward`` alone.

    Raises:
        ValueError: If it has neither.
    """
    kind = type(head)
    for name in ("in_channels", "anchor_num"):
        if not hasattr(head, name):
            setattr(head, name, None)
    if lacks(kind, "encode") or lacks(kind, "correlate"):
        if lacks(kind, "forward"):
            raise ValueError(
                f"RPN.TYPE: the head {kind.__name__} has neither forward nor encode and correlate"
            )
        head.__class__ = type(kind.__name__, (_ForwardHead, kind), {"__module__": kind.__module__})
    return head
