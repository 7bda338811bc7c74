"""Training losses. B batch, A anchors, R response side, N selected mask windows, M their side."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pysot.core.registry import LOSSES

_MASK_STRIDE = 8  # pixels between the windows of two cells: the stride of all networks with masks


@LOSSES.register("anchors")
def anchor_losses(
    cls: Tensor, loc: Tensor, data: dict[str, Tensor], counts: Tensor | None = None
) -> dict[str, Tensor]:
    """Compute ``cls_loss`` and ``loc_loss`` of a head that scores and refines anchors.

    Args:
        cls: Class logits, (B, 2A, R, R).
        loc: Box deltas, (B, 4A, R, R).
        data: The labels; see ``ModelBuilder.forward``.
        counts: See :func:`select_cross_entropy_loss`.
    """
    return {
        "cls_loss": select_cross_entropy_loss(log_softmax_cls(cls), data["label_cls"], counts),
        "loc_loss": weight_l1_loss(loc, data["label_loc"], data["label_loc_weight"]),
    }


@LOSSES.register("centers")
def center_losses(
    cls: Tensor, loc: None, data: dict[str, Tensor], counts: Tensor | None = None
) -> dict[str, Tensor]:
    """Compute the ``cls_loss`` of a head without boxes from its logits, (B, 1, R, R)."""
    return {"cls_loss": balanced_logistic_loss(cls, data["label_cls"], counts)}


def log_softmax_cls(cls: Tensor) -> Tensor:
    """Turn class logits (B, 2A, R, R) into log-probabilities (B, A, R, R, 2), background first."""
    batch, channels, rows, columns = cls.shape
    logits = cls.view(batch, 2, channels // 2, rows, columns)
    return F.log_softmax(logits.permute(0, 2, 3, 4, 1).contiguous(), dim=4)


def count_labels(label: Tensor) -> Tensor:
    """Count positives (1) and negatives (0), (2,), which the classification losses average over."""
    return torch.stack([(label == value).sum() for value in (1, 0)])


def select_cross_entropy_loss(
    log_prob: Tensor, label: Tensor, counts: Tensor | None = None
) -> Tensor:
    """Mean of the cross entropy over positives and over negatives, each with weight one half.

    A side without samples adds nothing; the result is connected to the graph nevertheless.

    Args:
        log_prob: (B, A, R, R, 2) as from :func:`log_softmax_cls`.
        label: (B, A, R, R) integers: 1 target, 0 background, -1 ignored.
        counts: (2,) positives and negatives to average over, in place of the batch's own: one of
            several micro-batches of a step takes the mean of all their counts, and the mean of
            their losses is then the loss of all samples in one batch.
    """
    log_prob = log_prob.reshape(-1, 2)
    label = label.reshape(-1)
    totals = [-(log_prob[:, value] * (label == value)).sum() for value in (1, 0)]
    return _mean_of_sides(totals, label, counts)


def weight_l1_loss(pred_loc: Tensor, label_loc: Tensor, loss_weight: Tensor) -> Tensor:
    """Weighted L1 distance of the box deltas, summed over cells, averaged over the batch.

    Shapes are (B, 4A, R, R), (B, 4, A, R, R) and (B, A, R, R).
    """
    distance = (pred_loc.reshape(label_loc.shape) - label_loc).abs().sum(dim=1)
    return torch.sum(distance * loss_weight) / pred_loc.shape[0]


def balanced_logistic_loss(response: Tensor, label: Tensor, counts: Tensor | None = None) -> Tensor:
    """Logistic loss of a response map (Bertinetto et al., 2016, equations 3 and 4).

    Positives and negatives have weight one half each. Logits and labels (1 target, 0 background,
    -1 ignored) are of one shape; for ``counts`` see :func:`select_cross_entropy_loss`.
    """
    # with y = +1 and -1 for target and background: log(1 + exp(-y * v))
    totals = [
        (F.softplus(sign * response) * (label == value)).sum() for value, sign in ((1, -1), (0, 1))
    ]
    return _mean_of_sides(totals, label, counts)


def _mean_of_sides(totals: list[Tensor], label: Tensor, counts: Tensor | None) -> Tensor:
    if counts is None:
        counts = count_labels(label).clamp(min=1)
    positive, negative = (total / count for total, count in zip(totals, counts, strict=True))
    return 0.5 * (positive + negative)


def mask_windows(label_mask: Tensor, cells: Tensor, response_side: int, side: int) -> Tensor:
    """Cut the part of a mask (B, S, S) that each cell (sample, row, column) stands for: (N, M, M).

    Windows are centered as a whole on the image, so that cell (r, c) has the window that
    ``SiamMaskTracker`` pastes its mask into: from pixel (8r - 32, 8c - 32) for 25 x 25 cells over
    255 pixels, (8r, 8c) for 3 x 3 cells over 143. Beyond the image they are 0.
    """
    size = label_mask.shape[-1]
    padding = (_MASK_STRIDE * (response_side - 1) + side - size) // 2
    padded = F.pad(label_mask, [padding] * 4)
    windows = padded.unfold(1, side, _MASK_STRIDE).unfold(2, side, _MASK_STRIDE)
    sample, row, column = cells.unbind(dim=1)
    return windows[sample, row, column]


def mask_logistic_loss(logits: Tensor, windows: Tensor, count: Tensor | None = None) -> Tensor:
    """Logistic loss of masks (N, M, M), averaged over all pixels (SiamMask, equation 3).

    Labels in ``windows`` are 1 target, -1 background, 0 unknown, which adds nothing. ``count``
    takes the place of N, see :func:`select_cross_entropy_loss`. Without windows, the result is
    connected to the graph nevertheless.
    """
    losses = F.softplus(-windows * logits) * (windows != 0)
    if not len(windows):
        return losses.sum()
    return losses.sum() / (windows[0].numel() * (len(windows) if count is None else count))


def mask_dice_loss(logits: Tensor, windows: Tensor, count: Tensor | None = None) -> Tensor:
    """Dice loss of masks (N, M, M), averaged over N (V-Net, Milletari et al., 2016).

    It does not depend on the size of a target, as the logistic loss does. Labels and ``count`` are
    those of :func:`mask_logistic_loss`.
    """
    found, truth = logits.sigmoid() * (windows != 0), (windows > 0).to(logits)
    both, all_ = ((found * truth).sum(dim=(1, 2)), (found + truth).sum(dim=(1, 2)))
    losses = 1 - (2 * both + 1) / (all_ + 1)
    return losses.sum() / (max(len(windows), 1) if count is None else count)


@torch.no_grad()
def mask_overlaps(logits: Tensor, windows: Tensor) -> dict[str, Tensor]:
    """Compare mask logits (N, M, M), above 0 on the target, with their labels over known pixels.

    Returns the mean overlap ``mask_iou``, and the shares of windows whose overlap exceeds 0.5 and
    0.7, ``mask_iou_50`` and ``mask_iou_70``; 0 without windows.
    """
    found, truth = (logits > 0) & (windows != 0), windows > 0
    both = (found & truth).sum(dim=(1, 2)).float()
    either = (found | truth).sum(dim=(1, 2)).float()
    overlap = torch.where(either > 0, both / either.clamp(min=1), 1.0)
    values = {"mask_iou": overlap, "mask_iou_50": overlap > 0.5, "mask_iou_70": overlap > 0.7}
    return {name: value.float().sum() / max(len(windows), 1) for name, value in values.items()}
