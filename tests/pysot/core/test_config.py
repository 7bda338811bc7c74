import json
import logging
from pathlib import Path

import pytest

from pysot.core import config as configuration
from pysot.core.config import default_config, load_config, resolve_path

GOLDEN = Path(__file__).parents[2] / "golden" / "models"
EXPERIMENTS = sorted((Path(__file__).parents[3] / "experiments").glob("*/config.yaml"))


def write(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


def leaves(node, prefix=""):
    for key, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def test_defaults_are_those_of_pysot():
    ours = dict(leaves(default_config()))
    published = dict(leaves(json.loads((GOLDEN / "config_defaults.json").read_text())))
    assert {key: (ours[key], type(ours[key])) for key in published} == {
        key: (value, type(value)) for key, value in published.items()
    }
    tracking = ("SCALE_NUM", "SCALE_STEP", "SCALE_PENALTY", "NMS_IOU", "TEMPLATE_LR")
    sizes = ("LOST_STEP", "SMALL_INSTANCE_SIZE")
    distractors = (f"DISTRACTOR_{name}" for name in ("INFLUENCE", "THRESHOLD", "NUM"))
    network = ("PRECISION", "COMPILE", "WINOGRAD", "CUDA_GRAPHS")
    added = {f"TRACK.{name}" for name in (*tracking, *distractors, *sizes, *network)}
    added |= {f"TRAIN.{name}" for name in ("MAX_BAD_IMAGES", "FROZEN")}
    steps = ("GRAD_REDUCE", "ACCUMULATE", "SYNC_BN", "PRECISION", "COMPILE", "EMA")
    added |= {f"TRAIN.{name}" for name in (*steps, "SAVE_MINUTES", "KEEP", "LOG_IMAGES")}
    added |= {"DATASET.NEG_SAME_CATEGORY"}
    assert set(ours) - set(published) == {"DEVICE"} | added


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.parent.name)
def test_every_experiment_loads(path):
    assert load_config(path).is_frozen()


def test_values_of_the_file_and_the_command_line_replace_defaults(tmp_path):
    path = write(tmp_path, "TRACK: {LR: 0.3, PENALTY_K: 0.1}\n")
    config = load_config(path, ["TRACK.LR", "0.25", "TRAIN.LR.KWARGS.start_lr", "1e-3"])
    assert (config.TRACK.LR, config.TRACK.PENALTY_K) == (0.25, 0.1)
    assert config.TRAIN.LR.KWARGS == {"start_lr": "1e-3"}  # KWARGS are the class's own affair
    assert config.TRACK.INSTANCE_SIZE == 255


def test_numbers_of_the_other_kind_are_converted(tmp_path):
    path = write(
        tmp_path,
        "TRAIN: {LOC_WEIGHT: 1, EPOCH: 3.0, BASE_LR: 1e-3, MASK_WEIGHT: 36.0}\n"
        "DATASET: {SEARCH: {SHIFT: 64.5}}\n",
    )
    train = load_config(path).TRAIN
    assert (train.LOC_WEIGHT, type(train.LOC_WEIGHT)) == (1.0, float)
    assert (train.EPOCH, type(train.EPOCH)) == (3, int)
    assert train.BASE_LR == 0.001
    assert train.MASK_WEIGHT == 36
    assert load_config(path).DATASET.SEARCH.SHIFT == 64.5


def test_all_unknown_keys_are_named_with_the_nearest_known_one(tmp_path):
    path = write(tmp_path, "TRACK: {PENALTYK: 0.1}\nTRIAN: {EPOCH: 2}\nDATASET: {NEGG: 1}\n")
    with pytest.raises(ValueError) as error:
        load_config(path)
    message = str(error.value)
    assert str(path) in message
    assert "TRACK.PENALTYK (did you mean TRACK.PENALTY_K?)" in message
    assert "TRIAN (did you mean TRAIN?)" in message
    assert "DATASET.NEGG (did you mean DATASET.NEG?)" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("TRAIN: {EPOCH: many}", "TRAIN.EPOCH: expected int, found 'many'"),
        ("CUDA: 1", "CUDA: expected bool, found 1"),
        ("TRAIN: 3", "TRAIN is a section"),
        ("DATASET: {MINE: {ROOT: a}}", "DATASET.MINE needs ANNO"),
        ("- a", "expected a mapping"),
        ("a: [", "is not a YAML file"),
    ],
)
def test_wrong_values_are_one_clear_error(tmp_path, text, words):
    with pytest.raises(ValueError, match=r"config\.yaml") as error:
        load_config(write(tmp_path, text))
    assert words in str(error.value)


def test_missing_file_and_odd_overrides_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.yaml"):
        load_config(tmp_path / "nowhere.yaml")
    with pytest.raises(ValueError, match=r"TRACK\.LR"):
        load_config(write(tmp_path, ""), ["TRACK.LR"])


def test_stale_keys_of_a_published_file_only_warn(tmp_path, caplog):
    text = "BACKBONE: {CHANNELS: [512]}\nADJUST: {ADJUST_CHANNEL: [128]}\nRPN: {WEIGHTED: true}\n"
    with caplog.at_level(logging.WARNING):
        load_config(write(tmp_path, text))
    warned = " ".join(record.message for record in caplog.records)
    for key in configuration.STALE_KEYS:
        assert key in warned


def test_a_training_set_of_ones_own_gets_the_missing_defaults(tmp_path):
    config = load_config(write(tmp_path, "DATASET: {MINE: {ROOT: r, ANNO: a, NUM_USE: 5}}"))
    assert config.DATASET.MINE == {"ROOT": "r", "ANNO": "a", "FRAME_RANGE": 100, "NUM_USE": 5}


def test_a_loaded_configuration_cannot_be_changed(tmp_path):
    config = load_config(write(tmp_path, ""))
    with pytest.raises(AttributeError):
        config.TRAIN.EPOCH = 3
    with pytest.raises(ValueError, match="frozen"):
        config.merge_from_list(["TRAIN.EPOCH", 3])


def test_the_module_level_node_merges_like_pysots(tmp_path):
    config = configuration.cfg.clone()
    config.merge_from_file(str(write(tmp_path, "TRACK: {TYPE: SiamRPNTracker, LR: 1}")))
    config.merge_from_list(["CUDA", False])
    assert (config.TRACK.LR, config.CUDA) == (1.0, False)


def test_relative_paths_start_at_the_repository_else_at_the_current_folder(tmp_path, monkeypatch):
    assert resolve_path("experiments") == configuration.REPOSITORY / "experiments"
    assert resolve_path(tmp_path) == tmp_path
    (tmp_path / "only_here").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve_path("only_here") == tmp_path / "only_here"
