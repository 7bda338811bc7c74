"""Names that a configuration file may use, and the classes they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from toolkit.io.tables import Table

T = TypeVar("T", bound=Callable[..., Any])


class Registry:
    """Classes by name, of a ``kind`` such as "head", which a key such as ``RPN.TYPE`` selects.

    ``methods`` are those that a class must have.
    """

    def __init__(self, kind: str, key: str, methods: tuple[str, ...] = ()) -> None:
        self.kind, self.key, self.methods = kind, key, methods
        self._entries: Table[Callable[..., Any]] = Table(kind)

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that enters a class or function; ``ValueError`` if taken or unfit."""

        def enter(entry: T) -> T:
            self[name] = entry
            return entry

        return enter

    def __setitem__(self, name: str, entry: Callable[..., Any]) -> None:
        checked = self.methods if isinstance(entry, type) and name not in self else ()
        if missing := [method for method in checked if lacks(entry, method)]:
            raise ValueError(f"{self.kind} {name!r} has no method {' and no '.join(missing)}")
        self._entries[name] = entry

    def __getitem__(self, name: str) -> Callable[..., Any]:
        return self.get(name)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def get(self, name: str) -> Callable[..., Any]:
        """Return the entry called ``name``; ``ValueError`` lists the known names.

        An entry whose name ends in a colon stands for a family: ``timm:resnet18`` is the entry
        ``timm:``, called with ``resnet18``.
        """
        if name in self._entries:
            return self._entries[name]
        family, colon, member = name.partition(":")
        if member and family + colon in self._entries:
            return partial(self._entries[family + colon], member)
        known = ", ".join(sorted(self._entries))
        raise ValueError(f"{self.key}: unknown {self.kind} {name!r}; known: {known}")

    def build(self, name: str, /, **kwargs: Any) -> Any:
        """Call an entry with keyword arguments of the configuration; ``ValueError`` if unfit."""
        from pysot.core.allowance import Allowance  # PyTorch may be missing

        entry = self.get(name)
        try:
            with Allowance():
                return entry(**kwargs)
        except (ValueError, TypeError, ArithmeticError, LookupError, RuntimeError) as error:
            # the class or torch got a wrong name, type, number or size
            section = self.key.rsplit(".", 1)[0]
            if isinstance(error, ValueError) and section in str(error):
                raise
            reason = str(error).strip().split("\n")[0]
            message = f"{section}.KWARGS do not fit {self.kind} {name!r}: {reason}"
            raise ValueError(message) from error

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))


def lacks(entry: type, method: str) -> bool:
    """Return whether a class does not define a method; PyTorch's modules have a ``forward``."""
    found = getattr(entry, method, None)
    return found is None or getattr(found, "__name__", "") == "_forward_unimplemented"


BACKBONES = Registry("backbone", "BACKBONE.TYPE", ("forward",))
"""Networks: ``(B, 3, H, W)`` BGR 0..255 -> one feature map or a list of them.
Entries state ``out_channels`` (list of int) and ``stride``; of one that does not, two blank images
show them. Where ``channels_last`` is True, images and weights have their channels last in memory.
"""

NECKS = Registry("neck", "ADJUST.TYPE", ("forward",))
"""Necks: the backbone's maps -> maps for the heads, a tensor or a list like the input.
Entries state ``in_channels`` and ``out_channels`` (lists of int).
"""

RPN_HEADS = Registry("RPN head", "RPN.TYPE")
"""Heads: ``encode(zf)`` -> kernels; ``correlate(kernels, xf)`` -> (cls, loc).
Entries state ``in_channels`` (int, or list for a head of several levels; None: any) and
``anchor_num`` (None: it has no anchors), and on the class the names of what it learns from,
``labels`` and ``loss``, unless those are "anchors". A head without boxes gives None for ``loc``.
A class with ``forward(zf, xf)`` alone, as PySOT's are, is taken, too.
"""

AUGMENTATIONS = Registry("augmentation", "DATASET.AUGMENTATION", ("in_bytes",))
"""Dataclasses whose fields are keys of ``DATASET.TEMPLATE`` and ``.SEARCH``; see
``pysot.datasets.augmentation.Augmentation``, from which one derives.
"""

LABELS = Registry("label maker", "RPN.LABELS")
"""Functions ``(cfg, grid)`` that return a ``pysot.datasets.dataset.Labeler``, for the cells
of the network's response, a ``pysot.utils.anchor.Grid``.
"""

LOSSES = Registry("loss", "RPN.LOSS")
"""Functions ``(cls, loc, data, counts)`` -> losses by name, each a scalar and named ``..._loss``;
see ``pysot.models.loss.anchor_losses``. Their names are those of every batch. ``TRAIN`` has the
weights of ``cls_loss`` and ``loc_loss``, ``TRAIN.LOSS_WEIGHTS`` those of others, else 1.
"""

LOGGERS = Registry("logger", "TRAIN.LOGGERS", ("scalars", "image", "event", "close"))
"""Where numbers of training go: classes derived from ``pysot.engine.loggers.Logger``."""

MASK_HEADS = Registry("mask head", "MASK.TYPE", ("encode", "correlate", "masks"))
"""Heads: ``encode(zf)`` -> kernel; ``correlate(kernel, xf)`` -> correlation;
``masks(correlation)`` -> masks (B, M, R, R); ``masks_at``, if there is one, those of some cells.
Entries state ``in_channels`` and ``hidden`` (channels of the correlation).
"""

REFINE_HEADS = Registry("refine head", "REFINE.TYPE", ("forward",))
"""Modules: ``(low-level maps, correlation, position)`` -> mask logits (B, M); ``masks_at``, if
there is one, does so for many cells, see ``pysot.models.head.mask.Refine``.
Entries state ``low_channels`` (list of int) and ``in_channels`` (of the correlation).
"""

TRACKERS = Registry("tracker", "TRACK.TYPE", ("init", "track"))
"""Trackers: ``init(image, bbox)``, then ``track(image)`` -> dict with ``bbox``, ``best_score``."""
