"""The head of SiamFC: one similarity per cell, no boxes."""

from __future__ import annotations

from torch import Tensor, nn

from pysot.core.registry import RPN_HEADS
from pysot.core.xcorr import xcorr_fast

# A response sums thousands of products. Learnt in these units, its scale is of the size of 1 and
# moves as slowly as other weights do; released models multiply by this number alone.
_UNIT = 1e-3


@RPN_HEADS.register("FC")
class FC(nn.Module):
    """Correlates over all channels (Bertinetto et al., 2016, equation 1), then scales and shifts.

    The response is ``weight * 0.001 * correlation + bias`` with two learnt numbers, which start at
    1 and 0.
    """

    in_channels = None  # any
    anchor_num = None  # no boxes

    def __init__(self) -> None:
        super().__init__()
        self.adjust = nn.Conv2d(1, 1, kernel_size=1)
        nn.init.ones_(self.adjust.weight)
        nn.init.zeros_(self.adjust.bias)

    def encode(self, zf: Tensor) -> Tensor:
        """Turn template features into kernels, both (B, C, Hz, Hz)."""
        return zf * _UNIT

    def correlate(self, kernels: Tensor, xf: Tensor) -> tuple[Tensor, None]:
        """Compare kernels with search features (B, C, Hx, Hx).

        Returns:
            Logits (B, 1, R, R) of "the target is here", and None in the place of boxes.
        """
        return self.adjust(xcorr_fast(xf, kernels)), None

    def forward(self, zf: Tensor, xf: Tensor) -> tuple[Tensor, None]:
        """Compare template and search features; see :meth:`correlate`."""
        return self.correlate(self.encode(zf), xf)
