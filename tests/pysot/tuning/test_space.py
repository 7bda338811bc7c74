from dataclasses import dataclass

import pytest

from pysot.core.settings import TrackParams, key
from pysot.tracker.siamfc_tracker import SiamFCTracker
from pysot.tracker.siamrpn_tracker import SiamRPNTracker
from pysot.tuning.space import folder_name, grid_of, ranges_of, read_range


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("LR=0.35,0.5,0.05", (0.35, 0.4, 0.45)),  # arange lets 0.49999999999999994 in
        ("LR=0.1,0.4,0.1", (0.1, 0.2, 0.30000000000000004)),  # and 0.4 here
        ("LR=0.3", (0.3,)),
        ("INSTANCE_SIZE=255,288,16", (255, 271, 287)),
        ("INSTANCE_SIZE=255,258", (255, 256, 257)),
    ],
)
def test_a_range_leaves_out_its_stop(text, values):
    found = read_range(text)
    assert found.values == pytest.approx(values, rel=1e-12)
    assert {type(value) for value in found.values} == {type(values[0])}
    assert (found.low, found.high) == pytest.approx((found.values[0], found.values[-1]))


def test_what_a_sampler_draws_becomes_a_step_or_three_digits():
    assert read_range("LR=0.1,0.5").snap(0.23456) == 0.235
    assert read_range("LR=1e-4,0.5,log").snap(0.000123456) == 0.000123
    assert read_range("LR=0.1,0.5,0.1").snap(0.26) == 0.30000000000000004
    assert read_range("OWN=1,9,int").snap(3) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("LR=0.1,", r"range LR=0\.1,: expected KEY=START,STOP"),
        ("LR", "range LR: expected"),
        ("LR=nan", "range LR=nan: expected"),
        ("LR=0.5,0.1", "holds no value; expected START < STOP"),
        ("LR=0.1,0.5,0", "holds no value"),
        ("LR=0,1,1e-12", "holds more than 1000000 values"),
        ("LR=0,1,log", "must begin above 0"),
        ("INSTANCE_SIZE=255.5", "expected whole numbers"),
    ],
)
def test_bad_ranges_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        read_range(text)


def keys(*arguments):
    return [found.key for found in ranges_of(*arguments)]


def test_a_tracker_says_what_is_searched():
    assert keys(SiamRPNTracker, {}) == ["LR", "PENALTY_K", "WINDOW_INFLUENCE"]
    assert "PENALTY_K" not in keys(SiamFCTracker, {}) and "SCALE_STEP" in keys(SiamFCTracker, {})
    assert keys(SiamRPNTracker, {"INSTANCE_SIZE": "255,288,16"}) == ["INSTANCE_SIZE"]
    message = r"SiamFCTracker does not read TRACK\.PENALTY_K; it reads CONTEXT_AMOUNT, .*SCALE_STEP"
    with pytest.raises(ValueError, match=message):
        ranges_of(SiamFCTracker, {"PENALTY_K": "0,1"})
    usual = {"PENALTY_K": "0.1,0.3,0.1", "LR": "0.1,0.3,0.1"}
    assert keys(SiamFCTracker, {}, usual) == ["LR"]


def test_a_plug_in_declares_ranges_with_its_own_parameters():
    @dataclass(frozen=True)
    class Params(TrackParams):
        patience: int = key(3, "frames", ge=0, search="1,9")
        other: float = 0.5

    class Plugin:
        params_type = Params

    (found,) = ranges_of(Plugin, {})
    assert (found.key, found.low, found.high, found.whole) == ("PATIENCE", 1, 8, True)
    assert keys(Plugin, {"OTHER": "0,1"}) == ["OTHER"]

    class Silent:
        pass

    with pytest.raises(ValueError, match="Silent declares no ranges; give some with --range"):
        ranges_of(Silent, {})


def test_a_grid_has_all_settings_and_only_steps():
    ranges = [read_range("LR=0.1,0.3,0.1"), read_range("PENALTY_K=0.5")]
    assert list(grid_of(ranges)) == [{"LR": 0.1, "PENALTY_K": 0.5}, {"LR": 0.2, "PENALTY_K": 0.5}]
    with pytest.raises(ValueError, match="range LR: a grid needs START,STOP,STEP"):
        list(grid_of([read_range("LR=0.1,0.3")]))
    large = [read_range("LR=0,1,0.0001"), read_range("PENALTY_K=0,1,0.001")]
    with pytest.raises(ValueError, match="the ranges hold 10000000 settings; expected 1000000"):
        list(grid_of(large))


def test_folders_have_the_names_of_pysot():
    track = {"INSTANCE_SIZE": 255, "PENALTY_K": 0.04, "WINDOW_INFLUENCE": 0.44, "LR": 0.4}
    name = folder_name("m", track, {"LR": 0.15000000000000002, "INSTANCE_SIZE": 287})
    assert name == "m_r287_pk-0.040_wi-0.440_lr-0.150"
    name = folder_name("m", track, {"LR": 0.0123, "SCALE_STEP": 1.04})
    assert name == "m_r255_pk-0.040_wi-0.440_lr-0.0123_scale_step-1.040"
