import gzip
import json
import logging
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import toolkit.io as compiled
from toolkit.io import boxes
from toolkit.utils import _region_numpy, region

GOLDEN = Path(__file__).parents[1] / "golden" / "toolkit"
NAN = float("nan")


def backends():
    names = ["toolkit.utils._region_numpy"]
    try:
        import_module("toolkit.utils._region")
        names.append("toolkit.utils._region")
    except ImportError:
        pass
    return names


@pytest.fixture(params=backends())
def backend(request, monkeypatch):
    """Each of the region tests runs on the NumPy and on the compiled version."""
    module = import_module(request.param)
    monkeypatch.setattr(region, "_backend", lambda: module)


@pytest.fixture(scope="module")
def functions():
    with gzip.open(GOLDEN / "functions.json.gz", "rt") as file:
        return json.load(file)


@pytest.fixture(scope="module")
def recorded_pairs():
    with gzip.open(GOLDEN / "overlap.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


@pytest.mark.parametrize(
    ("a", "b", "bounds", "expected"),
    [
        ([], [0, 0, 9, 9], None, 0.0),  # nothing overlaps nothing
        ([1], [0, 0, 9, 9], None, NAN),  # a code is no region
        ([0, 0, 9, 9], [0, 0, 9, 9], None, 1.0),
        ([0, 0, 9, 9], [0, 0, 4, 9], None, 0.5),  # 50 of 100 grid points: borders count
        ([0, 0, 9, 9], [20, 20, 9, 9], None, 0.0),  # apart in both directions
        ([0, 0, 9, 9], [9, 0, 9, 9], None, 0.0),  # touching on a line
        ([0, 0, 9, 9], [0, 0, 4, 9], (5, 100), 5 / 6),  # columns 0..5 are left of the first
        ([0, 0, 9, 9], [0, 0, 9, 4], (0, 5, -100, 100), 5 / 6),  # top, bottom, left, right
        ([0, 0, 9, 0, 9, 9, 0, 9], [0, 0, 9, 9], None, 1.0),  # polygon of the same box
        (
            [0, 0, 4, 0, 0, 4],
            [0, 0, 4, 4],
            None,
            14 / 25,
        ),  # rows of 5, 4, 3, 2; a lone pixel is none
        ([0, 0, 9, 9], [0, 0, -9, 9], None, 0.0),  # a negative width reaches to the left
        ([NAN, 0, 9, 9], [0, 0, 9, 9], None, 0.0),
        ([0, 0, 9, float("inf")], [0, 0, 9, 9], None, 0.0),
    ],
)
def test_overlap_of_two_regions(backend, a, b, bounds, expected):
    assert region.vot_overlap(a, b, bounds) == pytest.approx(expected, nan_ok=True, abs=1e-7)


def test_overlaps_match_the_recorded_ones(backend, recorded_pairs):
    for pair in recorded_pairs:
        expected = NAN if pair["overlap"] is None else pair["overlap"]
        value = region.vot_overlap(pair["p1"], pair["p2"], pair["bounds"])
        assert value == pytest.approx(expected, abs=1e-6, nan_ok=True), pair


def test_trajectory_may_mix_codes_rectangles_and_polygons(backend):
    pred = [[1], [0, 0, 9, 9], [0, 0, 9, 0, 9, 9, 0, 9], []]
    gt = [[0, 0, 9, 9]] * 4
    assert region.vot_overlap_traj(pred, gt) == pytest.approx([NAN, 1, 1, 0], nan_ok=True)


def test_trajectories_match_the_recorded_ones(backend, functions):
    for case in functions["trajectories"]:
        expected = [float(value) for value in case["traj_640x480"]]
        result = region.vot_overlap_traj(case["pred"], case["gt"], (640, 480))
        assert result == pytest.approx(expected, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("side", [5e4, 1e9, 1e20, 3e38])
def test_runaway_boxes_neither_hang_nor_overflow(backend, side):
    half = [0, 0, side, 0, side, side / 2, 0, side / 2]
    assert region.vot_overlap([0, 0, side, side], half) == pytest.approx(0.5, abs=1e-3)
    assert region.vot_overlap([0, 0, side, side], [0, 0, side, side / 2]) == pytest.approx(
        0.5, abs=1e-3
    )


def test_a_batch_equals_its_pairs(backend):
    rng = np.random.default_rng(3)
    boxes = rng.uniform(5, 60, (40, 4))
    shapes = rng.uniform(0, 90, (40, 10))
    for bounds in (None, (50, 40)):
        batch = region.overlaps(boxes, shapes, bounds)
        single = [region.vot_overlap(*pair, bounds) for pair in zip(boxes, shapes, strict=True)]
        assert batch.tolist() == single


def test_empty_batch(backend):
    assert region.overlaps([], []).shape == (0,)
    assert region.overlaps(np.zeros((0, 4)), np.zeros((0, 8))).shape == (0,)


@pytest.mark.parametrize("shapes", [((3, 4), (2, 4)), ((3, 3), (3, 4)), ((4,), (4,))])
def test_batch_refuses_other_shapes(shapes):
    with pytest.raises(ValueError, match=r"regions"):
        region.overlaps(*(np.ones(shape) for shape in shapes))


def test_trajectories_of_two_lengths_are_refused():
    with pytest.raises(ValueError, match="2 regions cannot be paired with 1"):
        region.vot_overlap_traj([[1], [1]], [[1]])


def test_without_the_compiled_modules_numpy_takes_over_with_one_warning(monkeypatch, caplog):
    for name in ("toolkit.utils._region", "toolkit.io._numbers"):
        monkeypatch.setitem(sys.modules, name, None)  # makes the import fail
        monkeypatch.delattr(name, raising=False)
    caches = compiled.compiled_or_not, compiled._warn
    for function in caches:
        function.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert region.vot_overlap([0, 0, 9, 9], [0, 0, 9, 9]) == 1
            assert boxes.parse_numbers(b"1,2")[0].tolist() == [1, 2]
    assert region._backend() is _region_numpy
    for function in caches:
        function.cache_clear()
    assert len(caplog.records) == 1
    assert "the compiled parts of toolkit are not built" in caplog.text


def test_float2str_matches_the_recorded_texts(functions):
    for case in functions["vot_float2str"]:
        assert region.vot_float2str(case["template"], float(case["value"])) == case["out"], case


@pytest.mark.parametrize("template", ["%d and %d", "no number", "%s %s", "%.400f", "%"])
def test_float2str_refuses_other_templates(template):
    with pytest.raises(ValueError, match=r"format of one float|characters"):
        region.vot_float2str(template, 1.5)


def test_region_classes(functions):
    recorded = functions["classes"]
    bounds = region.RegionBounds(*recorded["bounds_get"])
    rectangle = region.Rectangle(*recorded["rect_get"])
    assert str(bounds) == recorded["bounds_str"]
    assert str(rectangle) == recorded["rect_str"]
    assert {name: region.RegionType[name].value for name in recorded["regiontype"]} == recorded[
        "regiontype"
    ]
    rectangle.set(1, 2, 3, 4)
    bounds.set(5, 6, 7, 8)
    assert (rectangle.get(), bounds.get()) == ((1, 2, 3, 4), (5, 6, 7, 8))
    assert str(region.Polygon([1, 2, 3, 4, 5, 6])) == "(1.000 2.000) (3.000 4.000) (5.000 6.000)"
    with pytest.raises(ValueError, match="x, y pairs"):
        region.Polygon([1, 2, 3])
