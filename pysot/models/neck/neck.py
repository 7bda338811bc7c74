"""Necks: bring backbone maps to the heads' channels, and cut template maps to their center.

Template features near the border have seen more padding than image; the center is enough for the
correlation and cheaper (SiamRPN++, section 3.3).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from pysot.core.registry import NECKS


@NECKS.register("AdjustLayer")
class AdjustLayer(nn.Module):
    """1x1 convolution with batch norm; template maps are cut to ``center_size`` cells.

    Raises:
        ValueError: If a channel number is no number.
    """

    channels_last = True

    def __init__(self, in_channels: int, out_channels: int, center_size: int = 7) -> None:
        super().__init__()
        for key, value in (("in_channels", in_channels), ("out_channels", out_channels)):
            if not isinstance(value, int):
                raise ValueError(
                    f"ADJUST.KWARGS.{key}: AdjustLayer takes one number, found {value!r}; "
                    "AdjustAllLayer takes a list"
                )
        self.in_channels, self.out_channels = [in_channels], [out_channels]
        self.center_size = center_size
        self.downsample = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor, extra: int | None) -> Tensor:
        """Compute (B, in_channels, H, H) -> (B, out_channels, H', H').

        ``extra`` says what is cut: 0 a template to its center; a number a search map, which is by
        so many cells wider than a template's, at the same border; None leaves a search map whole.

        Raises:
            ValueError: If a map that is to be cut is smaller than the center.
        """
        return center(self.downsample(x), self.center_size, extra)


def center(x: Tensor, center_size: int, extra: int | None) -> Tensor:
    """Cut a map; see :meth:`AdjustLayer.forward`."""
    if extra is None:
        return x
    side, width = center_size + extra, x.shape[3]
    if width < side:
        raise ValueError(
            f"ADJUST.KWARGS.center_size: a map of {width} cells has no center of {side}"
        )
    start = (width - side) // 2
    stop = start + side
    return x[:, :, start:stop, start:stop]


@NECKS.register("AdjustAllLayer")
class AdjustAllLayer(nn.Module):
    """One :class:`AdjustLayer` per level, named ``downsample2``, ``downsample3``, ...

    With a single level it is named ``downsample``, and map and result are no lists.

    Raises:
        ValueError: If the two are no lists of the same length.
    """

    channels_last = True

    def __init__(
        self, in_channels: Sequence[int], out_channels: Sequence[int], center_size: int = 7
    ) -> None:
        super().__init__()
        if not (_is_list(in_channels) and _is_list(out_channels)) or (
            len(in_channels) != len(out_channels)
        ):
            raise ValueError(
                "ADJUST.KWARGS: AdjustAllLayer takes in_channels and out_channels as lists of one "
                f"length, found {in_channels!r} and {out_channels!r}"
            )
        self.in_channels, self.out_channels = list(in_channels), list(out_channels)
        single = len(self.in_channels) == 1
        for number, (inputs, outputs) in enumerate(zip(in_channels, out_channels, strict=True)):
            name = "downsample" if single else f"downsample{number + 2}"
            self.add_module(name, AdjustLayer(inputs, outputs, center_size))

    def forward(
        self, features: Tensor | Sequence[Tensor], extra: int | None
    ) -> Tensor | list[Tensor]:
        """Compute every level; see :class:`AdjustLayer`."""
        if isinstance(features, Tensor):
            return next(self.children())(features, extra)
        return [layer(x, extra) for layer, x in zip(self.children(), features, strict=True)]


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0
