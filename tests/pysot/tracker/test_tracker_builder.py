import pickle

import pytest

from pysot.core import config as configuration
from pysot.core.config import default_config
from pysot.tracker.tracker_builder import TrackerSpec, track_params


@pytest.fixture
def spec(tiny_config, tiny_snapshot):
    return TrackerSpec.read(tiny_config, tiny_snapshot, ["TRACK.LR", "0.3"])


def test_the_file_is_parsed_once(spec, monkeypatch):
    monkeypatch.setattr(configuration, "read_yaml", None)
    assert spec().params.lr == 0.3
    assert pickle.loads(pickle.dumps(spec))().params.lr == 0.3
    assert spec.record()["settings"]["TRACK"]["LR"] == 0.3


def test_settings_differ_and_the_network_is_shared(spec):
    tuned = spec.with_settings("TRACK.LR", 0.1, "TRACK.INSTANCE_SIZE", 271)
    plain, other = spec(), tuned()
    assert (plain.params.lr, other.params.lr, other.params.instance_size) == (0.3, 0.1, 271)
    assert plain.model is other.model
    assert spec.cfg.TRACK.LR == 0.3
    assert tuned.record()["sha256"] == spec.record()["sha256"]
    assert tuned.record()["settings"]["TRACK"]["LR"] == 0.1


def test_other_weights_are_another_network(spec, tiny_config, tiny_snapshot):
    before = spec()
    tiny_snapshot.write_bytes(tiny_snapshot.read_bytes() + b" ")
    assert TrackerSpec.read(tiny_config, tiny_snapshot, ["TRACK.LR", "0.3"]) != spec
    assert spec().model is before.model


def test_what_is_missing_or_wrong_is_named(tiny_config, tiny_snapshot):
    with pytest.raises(FileNotFoundError, match=r"checkpoint not found: nowhere\.pth"):
        TrackerSpec.read(tiny_config, "nowhere.pth")
    with pytest.raises(ValueError, match=r"TRACK\.LR is -1"):
        TrackerSpec.read(tiny_config, tiny_snapshot, ["TRACK.LR", "-1"])


def test_a_value_set_by_a_script_is_checked_before_tracking():
    cfg = default_config()
    cfg.TRACK.CONTEXT_AMOUNT = float("nan")
    with pytest.raises(ValueError, match=r"TRACK\.CONTEXT_AMOUNT is nan"):
        track_params(cfg)
