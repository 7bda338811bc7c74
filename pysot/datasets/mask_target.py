"""What a network should answer as the target's mask. S search side, R response side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mask_labels(mask: NDArray | None, label_cls: NDArray, size: int) -> dict[str, NDArray]:
    """Label the mask of one search image (SiamMask, section 3.2).

    A cell's mask is learnt where one of its anchors is positive, and only if the target's mask is
    known; so a pair of different targets, which has no positive anchor, teaches none.

    Args:
        mask: (S, S), above 0 on the target; None where it is not known.
        label_cls: (A, R, R): 1 target, 0 background, -1 ignored.
        size: S.

    Returns:
        ``label_mask`` (S, S) int8: 1 target, -1 background; ``label_mask_weight`` (R, R) float32:
        1 where the cell's mask is learnt, else 0.
    """
    if mask is None:
        nothing = np.zeros(label_cls.shape[1:], np.float32)
        return {"label_mask": np.full((size, size), -1, np.int8), "label_mask_weight": nothing}
    positive = (label_cls == 1).any(axis=0)
    return {
        "label_mask": np.where(mask > 0, 1, -1).astype(np.int8),
        "label_mask_weight": positive.astype(np.float32),
    }
