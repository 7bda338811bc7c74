"""Overlap of regions that no one drew by hand: properties, both versions, and the exact areas."""

import math
from importlib import import_module

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from toolkit.utils import region

BACKENDS = ["toolkit.utils._region_numpy"]
try:
    import_module("toolkit.utils._region")
    BACKENDS.append("toolkit.utils._region")
except ImportError:
    pass

some_or_many = pytest.mark.parametrize("examples", [40, pytest.param(2000, marks=pytest.mark.slow)])

near = (
    st.integers(-12, 12)  # level edges, shared vertices and borders
    | st.integers(-24, 24).map(lambda value: value / 2)  # halves are rounded away from zero
    | st.floats(-90, 90, width=32)
    | st.floats(-500, 500, width=32)
)
strange = near | st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 5e-324, 1e-30])
limits = st.none() | st.tuples(near, near) | st.tuples(near, near, near, near)


def flat(numbers, longest=7):
    """Regions as flat lists: boxes and polygons of 2 to ``longest`` corners."""
    sizes = st.integers(2, longest)
    return sizes.flatmap(lambda n: st.lists(numbers, min_size=2 * n, max_size=2 * n))


def fuzz(examples, *strategies):
    """Decorate a function so that it runs on examples at once."""

    def runs(check):
        quiet = settings(
            max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck)
        )
        quiet(given(*strategies)(check))()

    return runs


def values_of(a, b, bounds=None):
    """The overlap both ways round by every version; all must be the same."""
    values = []
    for name in BACKENDS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(region, "_backend", lambda name=name: import_module(name))
            values += [region.vot_overlap(a, b, bounds), region.vot_overlap(b, a, bounds)]
    assert len({repr(value) for value in values}) == 1, (a, b, bounds, values)
    return values[0]


@some_or_many
def test_overlap_is_symmetric_bounded_and_the_same_in_all_versions(examples):
    @fuzz(examples, flat(near), flat(near), limits)
    def check(a, b, bounds):
        value = values_of(a, b, bounds)
        assert math.isnan(value) or 0 <= value <= 1


@some_or_many
def test_strange_numbers_do_no_harm(examples):
    @fuzz(examples, flat(strange), flat(strange), limits)
    def check(a, b, bounds):
        value = values_of(a, b, bounds)
        assert math.isnan(value) or 0 <= value <= 1
        if not np.isfinite([*a, *b]).all():
            assert value == 0


@pytest.mark.parametrize("examples", [15, pytest.param(200, marks=pytest.mark.slow)])
def test_runaway_regions_are_the_same_in_all_versions(examples):
    far = near | st.floats(-(2.0**127), 2.0**127, width=32) | st.floats(-1e5, 1e5, width=32)

    @fuzz(examples, flat(far, 4), flat(far, 4), limits)
    def check(a, b, bounds):
        value = values_of(a, b, bounds)
        assert math.isnan(value) or 0 <= value <= 1


@some_or_many
def test_only_regions_without_pixels_have_no_overlap(examples):
    @fuzz(examples, flat(near), flat(near))
    def check(a, b):
        without_pixels = [not values_of(shape, shape) > 0 for shape in (a, b)]
        value = values_of(a, b)
        if math.isnan(value):
            assert all(without_pixels)
        if any(without_pixels):
            assert not value > 0


@some_or_many
def test_a_box_is_the_polygon_of_its_corners(examples):
    boxes = st.tuples(near, near, near, near)

    @fuzz(examples, boxes, boxes, limits)
    def check(a, b, bounds):
        polygons = [(x, y, x + w, y, x + w, y + h, x, y + h) for x, y, w, h in (a, b)]
        value = values_of(a, b, bounds)
        assert (
            repr(value)
            == repr(values_of(*polygons, bounds))
            == repr(values_of(a, polygons[1], bounds))
        )


@some_or_many
def test_moving_both_by_whole_pixels_changes_nothing(examples):
    whole = st.integers(-1000, 1000)

    @fuzz(examples, flat(st.integers(-60, 60)), flat(st.integers(-60, 60)), whole, whole)
    def check(a, b, dx, dy):
        assume(len(a) > 4 and len(b) > 4)
        moved = [np.add(np.reshape(shape, (-1, 2)), (dx, dy)) for shape in (a, b)]
        assert repr(values_of(a, b)) == repr(values_of(*(m.ravel().tolist() for m in moved)))


@some_or_many
def test_convex_polygons_overlap_as_their_exact_areas_do(examples):
    shapely = pytest.importorskip("shapely")
    points = st.lists(
        st.tuples(st.floats(0, 120, width=32), st.floats(0, 120, width=32)),
        min_size=3,
        max_size=9,
    )

    @fuzz(examples, points, points)
    def check(one, two):
        hulls = [shapely.MultiPoint(each).convex_hull for each in (one, two)]
        assume(all(thickness(shapely, hull) > 20 for hull in hulls))
        union = shapely.union(*hulls).area
        exact = shapely.intersection(*hulls).area / union
        a, b = (np.array(hull.exterior.coords)[:-1].ravel().tolist() for hull in hulls)
        # A row begins and ends up to a pixel off, rounding moves an edge by half a pixel, and each
        # pixel of an outline counts at most once too much or too little.
        error = sum(hull.length for hull in hulls) / union
        assert values_of(a, b) == pytest.approx(exact, abs=error)


def thickness(shapely, shape):
    """The shorter side of the smallest turned box around a shape."""
    if shape.geom_type != "Polygon":
        return 0
    around = np.array(shapely.minimum_rotated_rectangle(shape).exterior.coords)
    return np.linalg.norm(np.diff(around[:3], axis=0), axis=1).min()
