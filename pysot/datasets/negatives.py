"""Semantic negative pairs: a template and a search image of another object, chosen by kind.

DaSiamRPN (Zhu et al., 2018, section 3.2): negatives of other kinds teach what the target is not,
those of its own kind to tell it from its likes. Where kinds are not known, the other object is one
of another video.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pysot.datasets.annotation import Annotations

_TRIES = 50  # draws after which the last one is taken: there may be no other kind, or no likes


class Negatives:
    """Finds another object than a given one, in another video.

    Args:
        sets: Annotations of all training sets; kinds of the same name are the same in all of them.
        same_category: Probability that it is of the same kind, where kinds are known.

    Raises:
        ValueError: If the probability is above 1.
    """

    def __init__(self, sets: Sequence[Annotations], same_category: float) -> None:
        if same_category > 1:
            raise ValueError(
                f"DATASET.NEG_SAME_CATEGORY: expected a share of 0 to 1, or less than 0 for any "
                f"object; found {same_category}"
            )
        self._sets, self._same = tuple(sets), same_category
        names = sorted({name for notes in sets for name in notes.category_names})
        self._kinds = [_renumbered(notes, names) for notes in sets]
        number = np.repeat(np.arange(len(sets)), [len(kinds) for kinds in self._kinds])
        track = np.concatenate([np.arange(len(kinds)) for kinds in self._kinds])
        kinds = np.concatenate(self._kinds)
        order = np.argsort(kinds, kind="stable")
        self._places = np.stack([number, track])[:, order]  # set and track, ordered by kind
        self._first = np.searchsorted(kinds[order], np.arange(len(names) + 1))

    def draw(self, number: int, track: int, rng: np.random.Generator) -> tuple[int, int]:
        """Draw another object.

        Args:
            number: Set of the given object.
            track: Its track in that set.
            rng: Source of randomness.

        Returns:
            Set and track of the other one.
        """
        kind = int(self._kinds[number][track])
        if kind >= 0 and self._same > rng.random():
            for _ in range(_TRIES):
                at = rng.integers(self._first[kind], self._first[kind + 1])
                found = tuple(self._places[:, at].tolist())
                if not self._same_video((number, track), found):
                    return found
        for _ in range(_TRIES):
            found = self._any(rng)
            other_kind = kind < 0 or self._kinds[found[0]][found[1]] != kind
            if other_kind and not self._same_video((number, track), found):
                break
        return found

    def _any(self, rng: np.random.Generator) -> tuple[int, int]:
        """Draw a set, a video and a track, each uniformly."""
        number = int(rng.integers(len(self._sets)))
        notes = self._sets[number]
        video = int(rng.integers(len(notes)))
        first, end = notes.first_track[video], notes.first_track[video + 1]
        return number, int(rng.integers(first, end))

    def _same_video(self, one: tuple[int, int], other: tuple[int, int]) -> bool:
        return one[0] == other[0] and self.video_of(*one) == self.video_of(*other)

    def video_of(self, number: int, track: int) -> int:
        """Number of the video of a set that a track belongs to."""
        return int(np.searchsorted(self._sets[number].first_track, track, side="right")) - 1


def _renumbered(notes: Annotations, names: list[str]) -> NDArray:
    """Kinds of a set's tracks as numbers in a list of the names of all sets."""
    numbers = np.array([names.index(name) for name in notes.category_names] + [-1])
    return numbers[notes.categories]  # -1 picks the last, which is -1
