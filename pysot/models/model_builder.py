"""The network of a tracker: backbone, neck and heads as a configuration composes them.

z template, x search image, zf and xf their features; B batch, A anchors, R response side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pysot.models.backbone
import pysot.models.head
import pysot.models.neck  # noqa: F401 - the imports register what a configuration may name
from pysot.core import config as configuration
from pysot.core.registry import BACKBONES, LOSSES, MASK_HEADS, NECKS, REFINE_HEADS, RPN_HEADS
from pysot.models.backbone.pretrained import PACKAGE, TORCHVISION, load_backbone
from pysot.models.backbone.timm_network import TIMM
from pysot.models.head.mask import Position
from pysot.models.head.pixel_mask import cell_boxes
from pysot.models.loss import (
    count_labels,
    mask_dice_loss,
    mask_logistic_loss,
    mask_overlaps,
    mask_windows,
)
from pysot.models.wiring import (
    as_backbone,
    as_siamese,
    check_anchors,
    check_wiring,
    neck_maps,
    refine_inputs,
    suited,
    takes,
    widened,
)
from pysot.utils.anchor import Grid, anchor_shapes
from pysot.utils.model_load import load_weights

_WIDENED = 12  # cells: by how many the response grows then shows its stride
_OF_MASKS = ("mask_loss", "dice_loss")
_MASK_SIDE = 127  # pixels of the window that a mask covers: those of a template


class MaskKernels(NamedTuple):
    """What a network with masks computes from templates, for each of its heads."""

    rpn: Any
    mask: Tensor  # (B, hidden, Hz, Hz)


class MaskPrediction(NamedTuple):
    """What a network with masks finds in search images."""

    cls: Tensor  # logits, (B, 2A, R, R)
    loc: Tensor  # box deltas, (B, 4A, R, R)
    correlation: Tensor  # (B, hidden, R, R), and four channels of boxes if ``refine`` takes them
    low: tuple[Tensor, ...]  # the backbone's maps before the neck's, for ``ModelBuilder.refine``


class ModelBuilder(nn.Module):
    """Network of a Siamese tracker, by default that of ``pysot.core.config.cfg``.

    It keeps nothing of the images it sees: ``encode_template`` returns what ``predict`` needs, so
    any number of trackers can share one model. ``template``, ``track`` and ``mask_refine`` serve
    trackers written against PySOT, which expect the model to remember. The parts ``neck``,
    ``mask_head`` and ``refine_head`` exist only where the configuration asks for them.

    Raises:
        ValueError: If the configuration names an unknown part, or parts that do not fit.
    """

    def __init__(self, cfg: configuration.Config | None = None) -> None:
        super().__init__()
        cfg = configuration.cfg if cfg is None else cfg
        self.backbone = as_backbone(BACKBONES.build(cfg.BACKBONE.TYPE, **cfg.BACKBONE.KWARGS))
        if cfg.ADJUST.ADJUST:
            self.neck = NECKS.build(cfg.ADJUST.TYPE, **cfg.ADJUST.KWARGS)
        self.rpn_head = as_siamese(RPN_HEADS.build(cfg.RPN.TYPE, **cfg.RPN.KWARGS))
        if cfg.MASK.MASK:
            self.mask_head = MASK_HEADS.build(cfg.MASK.TYPE, **cfg.MASK.KWARGS)
        mask_head = getattr(self, "mask_head", None)
        if cfg.REFINE.REFINE:
            strides = getattr(REFINE_HEADS.get(cfg.REFINE.TYPE), "strides", (2, 4, 8))
            inputs = refine_inputs(self.backbone, self._neck, mask_head, strides)
            self.refine_head = REFINE_HEADS.build(cfg.REFINE.TYPE, **inputs)
        check_wiring(self.backbone, self._neck, self.rpn_head, mask_head)
        anchor = cfg.ANCHOR
        check_anchors(self.rpn_head, anchor.RATIOS, anchor.SCALES, anchor.ANCHOR_NUM, anchor.STRIDE)
        if self._draws_boxes:
            shapes = anchor_shapes(anchor.STRIDE, anchor.RATIOS, anchor.SCALES)
            self.register_buffer("_anchors", torch.tensor(shapes), persistent=False)
        # without excess, the response is as if search maps had lost the template's border, too
        self._cuts_search = cfg.TRAIN.BASE_SIZE == 0
        self.loss_weights = _loss_weights(cfg)
        self._losses = LOSSES.get(cfg.RPN.LOSS or getattr(self.rpn_head, "loss", "anchors"))
        # what computes its maps in training, where it is not the backbone itself: quicker, and in
        # a list, so that it is no part of the network
        self.frozen_backbone: list[nn.Module] = []
        self._kernels: Any = None
        self._prediction: MaskPrediction | None = None

    @property
    def has_masks(self) -> bool:
        """Return whether there is a mask head."""
        return hasattr(self, "mask_head")

    def encode_template(self, z: Tensor) -> Any:
        """Compute all that depends on the template alone, (B, 3, 127, 127), BGR in 0..255.

        Returns kernels for :meth:`predict`: tensors of first dimension B in nested tuples, as the
        head makes them; with masks, :class:`MaskKernels`.
        """
        return self._encode(self.features(z, extra=0)[1])

    def _encode(self, zf: Any) -> Any:
        kernels = self.rpn_head.encode(zf)
        return MaskKernels(kernels, self.mask_head.encode(zf)) if self.has_masks else kernels

    def predict(self, kernels: Any, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Find the template in search images x, (B, 3, S, S), BGR in 0..255.

        ``kernels`` are of the same B, or of one template that is sought in all images.

        Returns:
            Class logits (B, 2A, R, R) and box deltas (B, 4A, R, R). The head of SiamFC gives
            logits of the target alone, (B, 1, R, R), and None.
        """
        _, xf = self.features(x)
        return self._correlate(kernels, xf)

    def predict_with_mask(self, kernels: MaskKernels, x: Tensor) -> MaskPrediction:
        """Find the template as :meth:`predict` does, and what masks are made from.

        Raises:
            ValueError: If the network has no mask head.
        """
        if not self.has_masks:
            raise ValueError("MASK.MASK: this network was built without masks; set it to true")
        low, xf = self.features(x)
        found = self._correlate(kernels, xf)
        return MaskPrediction(*found, self._mask_correlation(kernels, xf, found), low)

    def refine(self, prediction: MaskPrediction, position: Position) -> Tensor:
        """Compute mask logits, (B, 127 * 127), rows first, at a response cell.

        Raises:
            ValueError: If the network has no refine head, or the cell does not exist.
        """
        if not hasattr(self, "refine_head"):
            raise ValueError("REFINE.REFINE: this network was built without it; set it to true")
        maps = suited([*prediction.low, prediction.correlation], self.refine_head)
        return self.refine_head(maps[:-1], maps[-1], position)

    def template(self, z: Tensor) -> None:
        """Remember a template for :meth:`track` (PySOT's interface; one target per model)."""
        self._kernels = self.encode_template(z)

    def track(self, x: Tensor) -> dict[str, Tensor | None]:
        """Find the remembered template in a search image (PySOT's interface).

        Returns ``cls`` (B, 2A, R, R), ``loc`` (B, 4A, R, R), and ``mask``: the coarse masks of all
        cells, (B, M, R, R), or None without masks.

        Raises:
            ValueError: If :meth:`template` was not called before.
        """
        if self._kernels is None:
            raise ValueError("call template(z) before track(x)")
        if not self.has_masks:
            cls, loc = self.predict(self._kernels, x)
            return {"cls": cls, "loc": loc, "mask": None}
        found = self._prediction = self.predict_with_mask(self._kernels, x)
        masks = self.mask_head.masks(found.correlation)
        return {"cls": found.cls, "loc": found.loc, "mask": masks}

    def mask_refine(self, pos: Position) -> Tensor:
        """Refine the mask at a cell of the image last given to :meth:`track` (PySOT's interface).

        Raises:
            ValueError: If :meth:`track` was not called before, or there is no refine head.
        """
        if self._prediction is None:
            raise ValueError("call track(x) of a network with masks before mask_refine(pos)")
        return self.refine(self._prediction, pos)

    def forward(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute the training losses of a batch.

        Args:
            data: ``template`` (B, 3, 127, 127) and ``search`` (B, 3, S, S), BGR in 0..255, or in
                their place :meth:`backbone_maps` of them, ``template_maps`` and ``search_maps``;
                and the labels that the head's loss takes, all on the model's device. With anchors,
                ``label_cls`` (B, A, R, R) in {-1, 0, 1}, ``label_loc`` (B, 4, A, R, R) and
                ``label_loc_weight`` (B, A, R, R). Masks take ``label_mask`` (B, S, S)
                in {-1, 1} and ``label_mask_weight`` (B, R, R), 1 where a cell's mask is learned.
                One of several micro-batches of a step brings ``label_counts``, the mean of all
                their :meth:`label_counts`.

        Returns:
            Scalars ``total_loss`` (weighted sum), what the head's loss returns, as ``cls_loss`` and
            ``loc_loss``, and with masks ``mask_loss``, ``mask_iou``, ``mask_iou_50`` and
            ``mask_iou_70`` (see ``pysot.models.loss``); ``dice_loss`` of the last masks if
            TRAIN.LOSS_WEIGHTS names it. A loss whose weight is 0 is not computed.
        """
        counts = data.get("label_counts")
        maps = [self._maps_in(data, role) for role in ("template", "search")]
        kernels, low, xf = self._encode_pair(*maps)
        values: dict[str, Tensor] = {}
        if any(weight for name, weight in self.loss_weights.items() if name not in _OF_MASKS):
            known = counts is not None and "label_cls" in data
            found = self._correlate(kernels, xf)
            values |= self._losses(*found, data, counts[:2] if known else None)
        if self.has_masks and self.loss_weights["mask_loss"]:
            correlation = self._mask_correlation(kernels, xf)
            count = None if counts is None else counts[2]
            values |= self._mask_losses(low, correlation, data, count)
        losses = {name: value for name, value in values.items() if name.endswith("_loss")}
        total = sum(self.loss_weights.get(name, 1.0) * value for name, value in losses.items())
        return {"total_loss": total, **values}

    @torch.no_grad()
    def grid(self, exemplar_size: int, search_size: int) -> Grid:
        """Find the cells of the response to images of these sides, by a run on blank ones.

        ``stride`` follows from the growth of the response with the maps. A head for maps of one
        size is taken to keep theirs.
        """
        device = next(self.parameters()).device
        blank = (torch.zeros(1, 3, n, n, device=device) for n in (exemplar_size, search_size))
        z, x = map(self.backbone_maps, blank)
        kernels, _, xf = self._encode_pair(z, x)
        side = self._correlate(kernels, xf)[0].shape[-1]
        try:
            growth = self._correlate(kernels, widened(xf, _WIDENED))[0].shape[-1] - side
        except (RuntimeError, ValueError):
            growth = 0
        stride = self._stride_of_heads(x)
        stride = stride * _WIDENED / growth if growth > 0 else stride
        return Grid(side, round(stride), search_size)

    def _stride_of_heads(self, maps: Sequence[Tensor]) -> int:
        """Find the stride of the maps that heads get, that of the backbone map of their width."""
        _, xf = self._for_heads(maps, extra=None)
        width = (xf if isinstance(xf, Tensor) else xf[0]).shape[-1]
        strides = getattr(self.backbone, "strides", [])
        known = {level.shape[-1]: n for level, n in zip(maps, strides, strict=False)}
        return known.get(width, self.backbone.stride)

    def _correlate(self, kernels: Any, xf: Any) -> Any:
        return self.rpn_head.correlate(kernels.rpn if self.has_masks else kernels, xf)

    def _mask_correlation(self, kernels: MaskKernels, xf: Any, found: Any = None) -> Tensor:
        """Correlate for masks; with the boxes that were found, for a refine head that takes them.

        Masks teach the head of the boxes nothing.
        """
        correlation = self.mask_head.correlate(kernels.mask, xf)
        if not self._draws_boxes:
            return correlation
        with torch.no_grad():
            cls, loc = self._correlate(kernels, xf) if found is None else found
            boxes = cell_boxes(cls, loc, self._anchors)
        return torch.cat([correlation, boxes.to(correlation)], dim=1)

    def _maps_in(self, data: dict[str, Any], role: str) -> Sequence[Tensor]:
        if f"{role}_maps" in data:
            return data[f"{role}_maps"]
        return self.backbone_maps(data[role])

    def _encode_pair(
        self, z: Sequence[Tensor], x: Sequence[Tensor]
    ) -> tuple[Any, tuple[Tensor, ...], Any]:
        """Return kernels of backbone maps of templates, and what searching needs of the others."""
        first = self._first_of_neck
        extra = x[first].shape[-1] - z[first].shape[-1] if self._cuts_search else None
        return self._encode(self._for_heads(z, extra=0)[1]), *self._for_heads(x, extra)

    def label_counts(self, data: dict[str, Tensor]) -> Tensor:
        """Count what losses average over: positives, negatives and, with masks, mask windows.

        Without ``label_cls`` both are 0, and the head's loss gets no counts.
        """
        if "label_cls" not in data:
            return torch.zeros(2, dtype=torch.int64)
        counts = count_labels(data["label_cls"])
        if not self.has_masks:
            return counts
        return torch.cat([counts, data["label_mask_weight"].sum().to(counts)[None]])

    def _mask_losses(
        self,
        low: tuple[Tensor, ...],
        correlation: Tensor,
        data: dict[str, Tensor],
        count: Tensor | None,
    ) -> dict[str, Tensor]:
        """Compare masks of the chosen cells with their labels.

        Coarse masks count while the mask head learns, refined ones if there is a refine head; the
        overlap is that of the last.
        """
        cells = data["label_mask_weight"].nonzero()
        windows = mask_windows(data["label_mask"], cells, correlation.shape[-1], _MASK_SIDE)
        masks = list(self._masks_at(low, correlation, cells))
        loss = sum(mask_logistic_loss(logits, windows, count) for logits in masks)
        values = {"mask_loss": loss, **mask_overlaps(masks[-1], windows)}
        if self.loss_weights.get("dice_loss"):
            values["dice_loss"] = mask_dice_loss(masks[-1], windows, count)
        return values

    def _masks_at(
        self, low: tuple[Tensor, ...], correlation: Tensor, cells: Tensor
    ) -> Iterator[Tensor]:
        """Compute the mask logits of cells, (N, 127, 127), coarse and refined."""
        some = cells if len(cells) else cells.new_zeros(1, 3)  # else gradients would be missing
        refines = hasattr(self, "refine_head")
        if not refines or any(p.requires_grad for p in self.mask_head.parameters()):
            coarse = self._coarse_at(correlation, some)
            side = math.isqrt(coarse.shape[1])
            coarse = coarse.reshape(-1, 1, side, side)
            size = (_MASK_SIDE, _MASK_SIDE)
            coarse = F.interpolate(coarse, size=size, mode="bilinear", align_corners=True)
            yield coarse[: len(cells), 0]
        if refines:
            fine = self._fine_at(low, correlation, some.tolist())
            yield fine.reshape(-1, _MASK_SIDE, _MASK_SIDE)[: len(cells)]

    def _coarse_at(self, correlation: Tensor, cells: Tensor) -> Tensor:
        """Return the mask head's logits at cells, (N, M); ``masks_at`` saves it the other cells."""
        if hasattr(self.mask_head, "masks_at"):
            return self.mask_head.masks_at(correlation, cells)
        sample, row, column = cells.unbind(dim=1)
        return self.mask_head.masks(correlation)[sample, :, row, column]

    def _fine_at(self, low: tuple[Tensor, ...], correlation: Tensor, cells: list) -> Tensor:
        """Return the refined logits at cells, (N, M); ``masks_at`` computes them in one pass."""
        *low, correlation = suited([*low, correlation], self.refine_head)
        if hasattr(self.refine_head, "masks_at"):
            return self.refine_head.masks_at(low, correlation, cells)
        samples = (([m[n : n + 1] for m in (*low, correlation)], place) for n, *place in cells)
        return torch.cat([self.refine_head(m[:-1], m[-1], place) for m, place in samples])

    def backbone_maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the backbone's maps of images (B, 3, S, S), each (B, C, H, W), also a single one.

        ``forward`` takes them in the place of images.
        """
        backbone = self.backbone
        if self.training and self.frozen_backbone:
            backbone = self.frozen_backbone[0]
        maps = backbone(suited(images, self.backbone))
        return (maps,) if isinstance(maps, Tensor) else tuple(maps)

    def maps_for(self, role: str) -> slice:
        """Return which of :meth:`backbone_maps` ``forward`` needs of ``template`` or ``search``."""
        refines = role == "search" and hasattr(self, "refine_head")
        return slice(None) if refines else slice(self._first_of_neck, None)

    def features(
        self, images: Tensor, extra: int | None = None
    ) -> tuple[tuple[Tensor, ...], Tensor | list[Tensor]]:
        """Compute the maps for Refine (none without masks) and those for the heads.

        ``extra`` says what the neck cuts: nothing (None, a search image), or to so many cells more
        than the center of a template, which has 0.
        """
        return self._for_heads(self.backbone_maps(images), extra)

    def _for_heads(
        self, maps: Sequence[Tensor], extra: int | None
    ) -> tuple[tuple[Tensor, ...], Tensor | list[Tensor]]:
        """Compute what :meth:`features` does from the backbone's maps."""
        first = self._first_of_neck
        low, maps = tuple(maps[:first]), list(maps[first:])
        maps = maps[0] if len(maps) == 1 else maps
        if self._neck is not None:
            maps = suited(maps, self._neck)
            maps = self._neck(maps, extra) if takes(self._neck, "extra") else self._neck(maps)
        heads = (self.rpn_head, self.mask_head) if self.has_masks else (self.rpn_head,)
        return low, suited(maps, *heads)

    @property
    def _neck(self) -> nn.Module | None:
        return getattr(self, "neck", None)

    @property
    def _draws_boxes(self) -> bool:
        """Whether the refine head sees where the boxes of its cells are."""
        return getattr(getattr(self, "refine_head", None), "takes_boxes", False)

    @property
    def _first_of_neck(self) -> int:
        """Number of the backbone's first map for neck and heads; those before it are Refine's."""
        return -neck_maps(self._neck) if self.has_masks else 0


def _loss_weights(cfg: configuration.Config) -> dict[str, float]:
    """Read the weights of losses by name; ``ValueError`` if one is unusable."""
    train = cfg.TRAIN
    for name, weight in train.LOSS_WEIGHTS.items():
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or weight < 0:
            raise ValueError(
                f"TRAIN.LOSS_WEIGHTS.{name} is {weight!r}; expected a number of 0 or more"
            )
    known = {"cls": train.CLS_WEIGHT, "loc": train.LOC_WEIGHT, "mask": train.MASK_WEIGHT}
    return {f"{name}_loss": weight for name, weight in known.items()} | dict(train.LOSS_WEIGHTS)


def build_model(cfg: configuration.Config) -> ModelBuilder:
    """Build the network of a configuration, in evaluation mode, with random weights."""
    return ModelBuilder(cfg).eval()


def _load_published(backbone: nn.Module) -> None:
    if not hasattr(backbone, "load_published"):
        raise ValueError(f"BACKBONE.PRETRAINED: {TIMM} is for BACKBONE.TYPE timm:NAME")
    backbone.load_published()


def load_pretrained(model: ModelBuilder, cfg: configuration.Config) -> None:
    """Load what ``BACKBONE.PRETRAINED`` and then ``TRAIN.PRETRAINED`` name, if they name any.

    What they lack keeps its initial weights, and a warning names it. With
    ``TRAIN.PRETRAINED_STRICT`` they must hold all, but for the second stage of SiamMask, which
    begins from the first one's weights.

    Raises:
        OSError: If a file is missing, or cannot be downloaded.
        ValueError: If it is unusable, or nothing in it fits.
    """
    backbone, train = cfg.BACKBONE.PRETRAINED, cfg.TRAIN
    rename, strict = train.PRETRAINED_RENAME, train.PRETRAINED_STRICT
    if backbone == TIMM:
        _load_published(model.backbone)
    elif backbone:
        is_path = not backbone.startswith((TORCHVISION, PACKAGE))
        source = configuration.resolve_path(backbone) if is_path else backbone
        load_backbone(model.backbone, source, rename, strict)
    if train.PRETRAINED and strict:
        load_weights(model, train.PRETRAINED, ("refine_head",), rename)
    elif train.PRETRAINED:
        load_backbone(model, train.PRETRAINED, rename)
