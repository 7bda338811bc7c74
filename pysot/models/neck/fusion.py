"""A neck that joins backbone maps without parameters, for features that are good as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pysot.core.registry import NECKS
from pysot.models.neck.neck import center


@NECKS.register("UnitFusion")
class UnitFusion(nn.Module):
    """Concatenates maps, each of length 1 in every cell, over the root of their number.

    So an inner product of two cells is the mean cosine similarity of the maps. Maps of twice the
    first one's stride are brought to its cells; those of a template are cut to ``center_size``.
    ``out_channels`` is the sum of ``in_channels``.

    Raises:
        ValueError: If ``in_channels`` is no list.
    """

    channels_last = True

    def __init__(self, in_channels: Sequence[int], center_size: int = 7) -> None:
        super().__init__()
        if not isinstance(in_channels, (list, tuple)) or not in_channels:
            raise ValueError(
                "ADJUST.KWARGS.in_channels: UnitFusion takes a list of one number per map, found "
                f"{in_channels!r}"
            )
        self.in_channels, self.out_channels = list(in_channels), [sum(in_channels)]
        self.center_size = center_size

    def forward(self, maps: Tensor | Sequence[Tensor], extra: int | None) -> Tensor:
        """Join maps (B, C, H, W) to (B, sum of C, H', W') at the first one's cells.

        For ``extra`` see :class:`pysot.models.neck.neck.AdjustLayer`.

        Raises:
            ValueError: If maps have other cells, or a map that is to be cut has no such center.
        """
        maps = [maps] if isinstance(maps, Tensor) else maps
        # sums of squares may exceed the range of 16 bits
        levels = [F.normalize(_at(level.float(), maps[0]), dim=1) for level in maps]
        fused = torch.cat(levels, dim=1) / math.sqrt(len(levels))
        return center(fused.to(maps[0].dtype), self.center_size, extra)


def _at(level: Tensor, first: Tensor) -> Tensor:
    """Bring a map to the cells of the first one by bilinear interpolation.

    Where strides do not pad, cell i of a map of twice the stride lies on cell 2i + 1; so there is
    one more cell before the first, and one or two after the last, which get its value.
    """
    (rows, columns), (height, width) = level.shape[2:], first.shape[2:]
    if (rows, columns) == (height, width):
        return level
    after = height - 2 * rows, width - 2 * columns
    if not {int(cells) for cells in after} <= {1, 2}:  # an exported graph has them as tensors
        raise ValueError(
            f"ADJUST.TYPE: UnitFusion cannot bring a map of {rows} x {columns} cells to {height} "
            f"x {width}; it takes maps at one stride, or at twice it of a backbone whose strides "
            "do not pad, as efficientnet_lite0"
        )
    size = 2 * rows - 1, 2 * columns - 1
    level = F.interpolate(level, size=size, mode="bilinear", align_corners=True)
    return F.pad(level, (1, after[1], 1, after[0]), mode="replicate")
