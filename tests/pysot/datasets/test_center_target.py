import numpy as np
import pytest

from pysot.datasets.anchor_target import CenterTarget
from pysot.utils.anchor import Grid

# cells of a 5 x 5 response with stride 8 around pixel 32: 16, 24, 32, 40, 48
TARGET = CenterTarget(Grid(size=5, stride=8, search_size=65))


def drawn(labels):
    assert labels.keys() == {"label_cls"}
    cls = labels["label_cls"]
    assert (cls.shape, str(cls.dtype)) == ((1, 5, 5), "int64")
    return ["".join(".#"[value] for value in row) for row in cls[0]]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        # center (32, 32): the paper's map; cells at (16, 0) and (8, 8) are near, (16, 8) is not
        ([22, 12, 42, 52], ["..#..", ".###.", "#####", ".###.", "..#.."]),
        # (40, 32), the same one cell to the right: x and y are not mixed up
        ([30, 31, 50, 33], ["...#.", "..###", ".####", "..###", "...#."]),
        # (32, 24), one up
        ([31, 23, 33, 25], [".###.", "#####", ".###.", "..#..", "....."]),
        # (36, 32), between cells: x is 4 or 12 away; (4, 16) is 16.5 pixels away, (12, 8) 14.4
        ([36, 32, 36, 32], [".....", ".####", ".####", ".####", "....."]),
        # (64, 32), 16 from the last column; (64.1, 32) is out of reach
        ([54, 22, 74, 42], [".....", ".....", "....#", ".....", "....."]),
        ([54.1, 22, 74.1, 42], ["....."] * 5),
    ],
)
def test_cells_within_the_radius_are_positive(box, expected, rng):
    assert drawn(TARGET.labels(box, rng)) == expected


def test_a_pair_of_different_objects_has_no_positive(rng):
    assert drawn(TARGET.labels([22, 12, 42, 52], rng, True)) == ["....."] * 5


def test_the_radius_counts_pixels(rng):
    narrow = CenterTarget(Grid(5, 8, 65), radius=7.9)
    assert drawn(narrow.labels([22, 12, 42, 52], rng)) == [
        ".....",
        ".....",
        "..#..",
        ".....",
        ".....",
    ]


def test_the_middle_cell_is_where_an_unshifted_target_is(rng):
    full = CenterTarget(Grid(17, 8, 255)).labels([107, 117, 147, 137], rng)["label_cls"][0]
    assert full.sum() == 13
    assert np.argwhere(full).mean(axis=0).tolist() == [8, 8]
