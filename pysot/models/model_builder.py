"""The network of a tracker: backbone, neck and head as a configuration composes them.

z template, x search image, zf and xf their features; B batch, A anchors, R response side.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

import pysot.models.backbone
import pysot.models.head  # noqa: F401 - both imports register what a configuration may name
from pysot.core import config as configuration
from pysot.core.registry import BACKBONES, RPN_HEADS
from pysot.models.loss import log_softmax_cls, select_cross_entropy_loss, weight_l1_loss


class ModelBuilder(nn.Module):
    """Network of a Siamese tracker.

    It keeps nothing of the images it sees: ``encode_template`` returns what ``predict`` needs, so
    any number of trackers can share one model. ``template`` and ``track`` serve trackers written
    against PySOT, which expect the model to remember the template.

    Args:
        cfg: A configuration; without one, ``pysot.core.config.cfg``.

    Raises:
        ValueError: If the configuration names an unknown part, or parts that do not fit.
    """

    def __init__(self, cfg: configuration.Config | None = None) -> None:
        super().__init__()
        cfg = configuration.cfg if cfg is None else cfg
        _refuse_missing_parts(cfg)
        self.backbone = BACKBONES.build(cfg.BACKBONE.TYPE, **cfg.BACKBONE.KWARGS)
        self.rpn_head = RPN_HEADS.build(cfg.RPN.TYPE, **cfg.RPN.KWARGS)
        _check_channels(self.backbone, self.rpn_head)
        _check_anchors(cfg, self.rpn_head)
        self.loss_weights = {"cls_loss": cfg.TRAIN.CLS_WEIGHT, "loc_loss": cfg.TRAIN.LOC_WEIGHT}
        self._kernels: Any = None

    def encode_template(self, z: Tensor) -> Any:
        """Compute all that depends on the template alone.

        Args:
            z: Template images, (B, 3, 127, 127), BGR in 0..255.

        Returns:
            Kernels for :meth:`predict`; their structure is the head's affair.
        """
        return self.rpn_head.encode(self.backbone(z))

    def predict(self, kernels: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        """Find the template in search images.

        Args:
            kernels: What :meth:`encode_template` returned, for the same B.
            x: Search images, (B, 3, S, S), BGR in 0..255.

        Returns:
            Class logits (B, 2A, R, R) and box deltas (B, 4A, R, R).
        """
        return self.rpn_head.correlate(kernels, self.backbone(x))

    def template(self, z: Tensor) -> None:
        """Remember a template for :meth:`track` (PySOT's interface; one target per model)."""
        self._kernels = self.encode_template(z)

    def track(self, x: Tensor) -> dict[str, Tensor | None]:
        """Find the remembered template in a search image (PySOT's interface).

        Returns:
            ``cls`` (B, 2A, R, R), ``loc`` (B, 4A, R, R), ``mask`` None.

        Raises:
            ValueError: If :meth:`template` was not called before.
        """
        if self._kernels is None:
            raise ValueError("call template(z) before track(x)")
        cls, loc = self.predict(self._kernels, x)
        return {"cls": cls, "loc": loc, "mask": None}

    def forward(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute the training losses of a batch.

        Args:
            data: ``template`` (B, 3, 127, 127) and ``search`` (B, 3, S, S), BGR in 0..255;
                ``label_cls`` (B, A, R, R) in {-1, 0, 1}; ``label_loc`` (B, 4, A, R, R);
                ``label_loc_weight`` (B, A, R, R); all on the model's device.

        Returns:
            Scalars ``total_loss`` (weighted sum), ``cls_loss`` and ``loc_loss``.
        """
        cls, loc = self.predict(self.encode_template(data["template"]), data["search"])
        losses = {
            "cls_loss": select_cross_entropy_loss(log_softmax_cls(cls), data["label_cls"]),
            "loc_loss": weight_l1_loss(loc, data["label_loc"], data["label_loc_weight"]),
        }
        total = sum(self.loss_weights[name] * loss for name, loss in losses.items())
        return {"total_loss": total, **losses}


def build_model(cfg: configuration.Config) -> ModelBuilder:
    """Build the network of a configuration, in evaluation mode, with random weights."""
    return ModelBuilder(cfg).eval()


def _refuse_missing_parts(cfg: configuration.Config) -> None:
    """Refuse what a configuration asks for and this version has not."""
    for part in ("ADJUST", "MASK", "REFINE"):
        if cfg[part][part]:
            raise ValueError(
                f"{part}.{part}: this version has no {part.lower()} part; set it to false"
            )


def _check_channels(backbone: nn.Module, head: nn.Module) -> None:
    if backbone.out_channels != [head.in_channels]:
        raise ValueError(
            f"the head takes {head.in_channels} channels, the backbone gives "
            f"{backbone.out_channels[-1]}; change RPN.KWARGS.in_channels (feature_in for "
            "UPChannelRPN) or BACKBONE.KWARGS.width_mult"
        )


def _check_anchors(cfg: configuration.Config, head: nn.Module) -> None:
    anchors = len(cfg.ANCHOR.RATIOS) * len(cfg.ANCHOR.SCALES)
    if not anchors == cfg.ANCHOR.ANCHOR_NUM == head.anchor_num:
        raise ValueError(
            f"ANCHOR.RATIOS and ANCHOR.SCALES make {anchors} anchors, ANCHOR.ANCHOR_NUM says "
            f"{cfg.ANCHOR.ANCHOR_NUM} and RPN.KWARGS.anchor_num {head.anchor_num}; make them equal"
        )
