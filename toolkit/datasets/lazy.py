"""Lists whose content is made when it is looked at."""

from collections.abc import Sequence
from typing import Any, overload

from toolkit.datasets.regions import NAN, Region


class MaskBoxes(Sequence):
    """The box around a mask per frame, read from the mask's file when it is asked for.

    A frame without a mask, and one whose mask is empty, has a box of NaN.

    Args:
        paths: File of the mask per frame, or None.
    """

    def __init__(self, paths: Sequence[str | None]) -> None:
        self._paths = list(paths)
        self._boxes: dict[int, Region] = {}

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> Region: ...
    @overload
    def __getitem__(self, index: slice) -> "MaskBoxes": ...
    def __getitem__(self, index: Any) -> Any:
        """Box x, y, w, h in pixels, or the boxes of a slice."""
        if isinstance(index, slice):
            return MaskBoxes(self._paths[index])
        index = range(len(self))[index]
        if index not in self._boxes:
            self._boxes[index] = _box(self._paths[index])
        return self._boxes[index]


def _box(path: str | None) -> Region:
    from toolkit.utils.masks import mask_box, read_labels

    labels = None if path is None else read_labels(path)
    return mask_box(labels) if labels is not None and labels.any() else [NAN] * 4
