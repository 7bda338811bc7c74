"""Networks of the package timm (PyTorch Image Models) as backbones: ``BACKBONE.TYPE timm:NAME``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from pysot.core.registry import BACKBONES
from toolkit.io.packages import load_package

TIMM = "timm://"
"""In ``BACKBONE.PRETRAINED``: the weights that timm publishes for the network."""


@BACKBONES.register("timm:")
class TimmNetwork(nn.Module):
    """Maps of a network that timm builds with ``features_only``, all at one stride.

    Its child ``network`` is timm's; ``BACKBONE.TRAIN_LAYERS`` may name parts of it, as
    ``network.layer2``.

    Args:
        name: A name of ``timm.list_models()``.
        used_layers: Numbers of timm's maps (``out_indices``); empty: the deepest at that stride.
        stride: Pixels between two cells of the maps; dilated to it where the network knows
            ``output_stride``, which timm's network decides.
        kwargs: Further arguments of ``timm.create_model``.

    Raises:
        ValueError: If timm or torchvision is missing, or lacks the network, or no map has the
            stride.
    """

    channels_last = True

    def __init__(
        self, name: str, used_layers: Sequence[int] = (), stride: int = 8, **kwargs: Any
    ) -> None:
        super().__init__()
        timm = _load_timm(name)
        if not timm.is_model(name):
            raise ValueError(
                f"BACKBONE.TYPE: timm {timm.__version__} has no network {name!r}; "
                "timm.list_models() lists them"
            )
        create = partial(timm.create_model, name, features_only=True, **kwargs)
        try:
            network = create(output_stride=stride)
            create = partial(create, output_stride=stride)
        except (TypeError, NotImplementedError, AssertionError, KeyError):  # it knows none
            network = create()
        levels = list(used_layers) or _deepest(network.feature_info, stride)
        self._create = partial(create, out_indices=tuple(levels))
        self.network = self._create()
        info = self.network.feature_info
        self.out_channels, self.strides = list(info.channels()), list(info.reduction())
        self.stride = stride
        if set(self.strides) != {stride}:
            raise ValueError(
                f"BACKBONE.KWARGS.used_layers: maps {levels} of {name} are at strides "
                f"{self.strides}; expected {stride} (BACKBONE.KWARGS.stride)"
            )
        self._channels_come_last = "NHWC" in str(getattr(self.network, "output_fmt", ""))
        for key, default in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225))):
            values = 255 * torch.tensor(self.network.pretrained_cfg.get(key, default))
            self.register_buffer(key, values.view(3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Compute the map of images (B, 3, H, W), BGR in 0..255, or a list of several."""
        maps = list(self.network((x.flip(1) - self.mean) / self.std))
        if self._channels_come_last:
            maps = [level.permute(0, 3, 1, 2) for level in maps]
        return maps[0] if len(maps) == 1 else maps

    def load_published(self) -> None:
        """Load the weights that timm publishes, from its cache or by download.

        Raises:
            OSError: If there are none, or they cannot be had.
        """
        try:
            weights = self._create(pretrained=True).state_dict()
        except Exception as error:  # of timm's and of its downloaders
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise OSError(f"BACKBONE.PRETRAINED: {TIMM} {reason}") from error
        self.network.load_state_dict(weights)


def _load_timm(name: str) -> ModuleType:
    """Import timm, and what it needs, of which it would not say that it is to blame."""
    for package in ("torchvision", "timm"):
        found = load_package(package, package, f"BACKBONE.TYPE: timm:{name} needs")
    return found


def _deepest(info: Any, stride: int) -> list[int]:
    """Return the number of the last map at a stride."""
    strides = dict(zip(info.out_indices, info.reduction(), strict=True))
    found = [number for number, value in strides.items() if value == stride]
    if not found:
        raise ValueError(
            f"BACKBONE.KWARGS.stride: no map at stride {stride}; the network's are at "
            f"{sorted(set(strides.values()))}"
        )
    return found[-1:]
