import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from golden import fill
from pysot.core.settings import Train
from pysot.datasets.anchor_target import AnchorTarget
from pysot.utils.anchor import Grid, anchor_shapes, training_anchors

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "train" / "geometry.json").read_text())
ALL = {"pos_num": 10**6, "total_num": 10**7, "neg_num": 10**6}
RATIOS = [0.33, 0.5, 1, 2, 3]


def labeller(out=25, **limits):
    anchors = training_anchors(anchor_shapes(8, RATIOS, [8]), Grid(out, 8, 255))
    names = ("thr_high", "thr_low", "pos_num", "total_num", "neg_num", "neg_reach")
    limits = {name: getattr(Train, name) for name in names} | limits
    return AnchorTarget(anchors, stride=8, search_size=255, **limits)


def check_counts(cls, case):
    assert ((cls == 1).sum(), (cls == 0).sum()) == (case["n_pos"], case["n_neg"])


def crc(cls):
    return zlib.crc32(np.ascontiguousarray(cls.astype(np.int8)).tobytes())


@pytest.mark.parametrize("case", GOLDEN["anchor_target"])
def test_all_labels_are_those_of_pysot(case, rng):
    found = labeller(case["out"], **ALL)(case["target"], rng, case["neg"])
    check_counts(found[0], case)
    assert crc(found[0]) == case["cls_crc32_int8"]
    assert [str(array.dtype) for array in found] == case["dtypes"]
    for array, name in zip(found[1:], ("delta", "delta_weight", "overlap"), strict=True):
        digest = fill.digest(array)
        assert digest["shape"] == case[name]["shape"]
        np.testing.assert_allclose(digest["samples"], case[name]["samples"], atol=1e-6)
        assert digest["mean"] == pytest.approx(case[name]["mean"], abs=1e-6)


@pytest.mark.parametrize("case", GOLDEN["anchor_target_default_caps"])
def test_sampled_labels_are_those_of_pysot(case):
    legacy = np.random.RandomState(case["np_random_seed"])
    cls, _, weight, _ = labeller(case["out"])(case["target"], legacy, case["neg"])
    check_counts(cls, case)
    assert crc(cls) == case["cls_crc32_int8_if_rng_order_kept"]
    assert weight.max() == pytest.approx(case["weight_value"])


def test_weights_cover_the_positives_and_sum_to_one(rng):
    cls, _, weight, _ = labeller(**ALL)([93.0, 94.5, 159.0, 157.5], rng)
    assert np.array_equal(weight > 0, cls == 1)
    assert weight.sum() == pytest.approx(1, abs=1e-5)


def test_deltas_lead_from_anchor_to_target(rng):
    target = np.array([95.3, 80.1, 160.9, 170.2])
    anchors = training_anchors(anchor_shapes(8, RATIOS, [8]), Grid(25, 8, 255))
    _, delta, _, _ = labeller()(target, rng)
    cx, cy, w, h = np.moveaxis(anchors, -1, 0)
    left = delta[0] * w + cx - np.exp(delta[2]) * w / 2
    bottom = delta[1] * h + cy + np.exp(delta[3]) * h / 2
    np.testing.assert_allclose(left, target[0], atol=1e-3)
    np.testing.assert_allclose(bottom, target[3], atol=1e-3)


def test_the_draw_depends_on_the_generator_alone():
    target = [95.3, 80.1, 160.9, 170.2]
    first, again, other = (labeller()(target, np.random.default_rng(s))[0] for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_distractor_beyond_the_image_labels_nothing(rng):
    cls, delta, weight, _ = labeller(out=17)([-300.0, -300, -200, -200], rng, neg=True)
    assert (cls == -1).all()
    assert not delta.any()
    assert not weight.any()


def test_negatives_of_a_pair_of_two_targets_may_lie_anywhere(rng):
    target = [100.0, 100, 150, 150]
    cls, _, weight, _ = labeller(neg_num=192, neg_reach=0)(target, rng, neg=True)
    assert (cls == 0).sum() == 192 and (cls == 1).sum() == 0 and not weight.any()
    near, _, _, _ = labeller(**ALL, neg_reach=3)(target, rng, neg=True)
    assert (near == 0).sum() == 5 * 49 and ((cls == 0) & (near == -1)).any()
    everywhere, *_ = labeller(**ALL, neg_reach=0)(target, rng, neg=True)
    assert (everywhere == 0).all()
