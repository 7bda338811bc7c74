import json
import logging
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from pysot.core import config as configuration
from pysot.core.config import (
    default_config,
    describe_keys,
    load_config,
    read_sections,
    resolve_path,
)
from pysot.core.settings import PRECISIONS, Key, Settings, TrackParams, declared

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "models"
EXPERIMENTS = sorted((ROOT / "experiments").glob("*/config.yaml"))


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


def declared_keys(section=Settings, prefix=""):
    """Every declared key by its dotted name."""
    for name, known in declared(section).items():
        if isinstance(known, Key):
            yield prefix + name, known
        else:
            yield from declared_keys(known, f"{prefix}{name}.")


KEYS = dict(declared_keys())
NUMBERS = [name for name, known in KEYS.items() if known.kind in ("int", "float", "number")]


def test_defaults_are_those_of_pysot():
    ours = dict(leaves(default_config()))
    published = dict(leaves(json.loads((GOLDEN / "config_defaults.json").read_text())))
    assert {key: (ours[key], type(ours[key])) for key in published} == {
        key: (value, type(value)) for key, value in published.items()
    }
    tracking = ("SCALE_NUM", "SCALE_STEP", "SCALE_PENALTY", "NMS_IOU", "TEMPLATE_LR")
    sizes = ("LOST_STEP", "SMALL_INSTANCE_SIZE")
    distractors = (f"DISTRACTOR_{name}" for name in ("INFLUENCE", "THRESHOLD", "NUM"))
    network = ("BACKEND", "PRECISION", "COMPILE", "WINOGRAD")
    added = {f"TRACK.{name}" for name in (*tracking, *distractors, *sizes, *network)}
    added |= {
        f"TRAIN.{name}" for name in ("MAX_BAD_IMAGES", "NEG_REACH", "FROZEN", "PRETRAINED_STRICT")
    }
    steps = ("GRAD_REDUCE", "ACCUMULATE", "SYNC_BN", "PRECISION", "COMPILE", "EMA")
    added |= {f"TRAIN.{name}" for name in (*steps, "SAVE_MINUTES", "KEEP", "LOGGERS", "LOG_IMAGES")}
    added |= {
        "TRAIN.OPTIMIZER",
        "TRAIN.LR_PER_STEP",
        "DATASET.NEG_SAME_CATEGORY",
        "DATASET.AUGMENTATION",
    }
    added |= {f"DATASET.VIEWS.{name}" for name in ("TEMPLATE", "SEARCH", "SEED")}
    added |= {
        f"DATASET.{name}.{key}"
        for name in ("VID", "YOUTUBEBB", "COCO", "DET")
        for key in ("EVERY", "TEMPLATE_VIEWS", "SEARCH_VIEWS")
    }
    drawn = {key for key in ours if key.startswith("DATASET.COMPOSITES.")}  # a section of ours
    assert (
        set(ours) - set(published) - drawn
        == {"DEVICE", "PLUGINS", "STRICT_KEYS", "RPN.LABELS", "RPN.LOSS"} | added
    )


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.parent.name)
def test_every_experiment_loads(path):
    assert load_config(path).is_frozen()


def test_values_of_the_file_and_the_command_line_replace_defaults(tmp_path):
    path = write(tmp_path, "TRACK: {LR: 0.3, PENALTY_K: 0.1}\n")
    config = load_config(path, ["TRACK.LR", "0.25", "TRAIN.LR.KWARGS.start_lr", "1e-3"])
    assert (config.TRACK.LR, config.TRACK.PENALTY_K) == (0.25, 0.1)
    assert config.TRAIN.LR.KWARGS == {"start_lr": 0.001}
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


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (
            "TRACK.INSTANCE_SIZE",
            0,
            "TRACK.INSTANCE_SIZE is 0; expected a whole number from 1 to 4096",
        ),
        ("TRACK.INSTANCE_SIZE", 255.5, "TRACK.INSTANCE_SIZE is 255.5; expected a whole number"),
        ("TRACK.TEMPLATE_LR", 40, "is 40.0; expected a number from 0 to 1"),
        ("TRACK.DISTRACTOR_INFLUENCE", 1, "is 1.0; expected a number from 0 to below 1"),
        ("TRACK.LR", 10**400, "TRACK.LR: the number is too large"),
        ("TRACK.SCALE_STEP", 0, "is 0.0; expected a number from 0.5 to 2"),
        ("TRACK.PRECISION", "fp8", "TRACK.PRECISION: unknown 'fp8'; known: fp32, bf16, fp16"),
        ("ANCHOR.STRIDE", 0, "ANCHOR.STRIDE is 0; expected a whole number from 1 to 1024"),
        ("ANCHOR.RATIOS", [1, -2], "ANCHOR.RATIOS[1] is -2; expected a number from 0.001 to 1000"),
        ("ANCHOR.SCALES", ["x"], "ANCHOR.SCALES[0]: expected number, found 'x' (str)"),
        ("ANCHOR.SCALES", 8, "ANCHOR.SCALES: expected list, found 8 (int)"),
        ("TRAIN.GRAD_REDUCE", "max", "TRAIN.GRAD_REDUCE: unknown 'max'; known: sum, mean"),
        ("TRAIN.EMA", 1, "TRAIN.EMA is 1.0"),
        ("DATASET.NEG_SAME_CATEGORY", 2, "is 2.0; expected a number of 1 or less"),
        ("BACKBONE.TRAIN_LAYERS", [4], "BACKBONE.TRAIN_LAYERS[0]: expected str, found 4 (int)"),
    ],
)
def test_values_that_cannot_work_are_refused_with_what_is_expected(key, value, words):
    config = default_config()
    with pytest.raises(ValueError) as error:
        config.merge_from_list([key, value])
    assert words in str(error.value)
    assert config == default_config()


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "nan"])
def test_no_number_may_be_nan_or_infinite(name, value):
    with pytest.raises(ValueError, match=rf"{name}( is|: expected)"):
        default_config().merge_from_list([name, value])


def test_numbers_in_keyword_arguments_are_finite_too():
    overrides = ["TRAIN.LR.KWARGS.start_lr", ".nan", "BACKBONE.KWARGS", "{a: [1, {b: .inf}]}"]
    with pytest.raises(ValueError) as error:
        default_config().merge_from_list(overrides)
    assert "TRAIN.LR.KWARGS.start_lr is nan" in str(error.value)
    assert "BACKBONE.KWARGS.a[1].b is inf" in str(error.value)


UNUSUAL = """
TRACK: {CONFIDENCE_LOW: -1, CONFIDENCE_HIGH: 1.5, WINDOW_INFLUENCE: 1.2, PENALTY_K: -0.1,
  MASK_THERSHOLD: -1, DISTRACTOR_THRESHOLD: 2, BASE_SIZE: -2}
TRAIN: {THR_HIGH: -1, THR_LOW: 1.1, BASE_SIZE: -2}
"""


def test_unusual_values_that_can_be_computed_with_are_accepted(tmp_path):
    config = load_config(write(tmp_path, UNUSUAL))
    assert (config.TRACK.CONFIDENCE_LOW, config.TRAIN.THR_LOW) == (-1, 1.1)


def test_everything_wrong_is_in_one_message():
    overrides = ["TRAK", 1, "TRACK.LR", -1, "ANCHOR.STRIDE", 0, "CUDA", 1, "TRAIN.EPOC", 2]
    with pytest.raises(ValueError) as error:
        default_config().merge_from_list(overrides)
    for words in (
        "TRAK (did you mean TRACK?)",
        "TRACK.LR is",
        "ANCHOR.STRIDE is",
        "CUDA: ",
        "EPOCH",
    ):
        assert words in str(error.value)


def test_values_set_without_a_merge_are_checked_on_demand():
    config = default_config()
    config.check()
    config.TRACK.LR, config.ANCHOR.STRIDE = float("nan"), 0
    with pytest.raises(ValueError, match=r"ANCHOR\.STRIDE is 0.*TRACK\.LR is nan"):
        config.check()


@pytest.mark.parametrize("bound", ["ge", "le"])
@pytest.mark.parametrize("name", NUMBERS)
def test_inclusive_bounds_are_allowed(name, bound):
    known = KEYS[name]
    limit = getattr(known, bound)
    if abs(limit) < float("inf"):
        assert known.convert(limit, name) == limit
    else:
        assert known.convert(1e-6 if known.kind == "float" else min(10**9, known.le), name) > 0


def test_names_of_choices_are_those_of_the_code():
    assert KEYS["TRACK.PRECISION"].choices == KEYS["TRAIN.PRECISION"].choices == tuple(PRECISIONS)
    assert all(isinstance(getattr(torch, name), torch.dtype) for name in PRECISIONS.values())


def test_ours_are_the_keys_that_pysot_lacks():
    published = dict(leaves(json.loads((GOLDEN / "config_defaults.json").read_text())))
    compared = {n for n, known in KEYS.items() if known.kind != "dict" or not n.endswith("KWARGS")}
    assert {name for name, known in KEYS.items() if known.ours} == compared - set(published)


@pytest.mark.parametrize("name", KEYS)
def test_every_key_says_what_it_means(name):
    assert KEYS[name].help
    assert "|" not in KEYS[name].help  # a column of docs/configuration.md


def test_the_documentation_is_that_of_the_declaration():
    text = (ROOT / "docs" / "configuration.md").read_text()
    message = "python -m pysot.core.config > docs/configuration.md"
    assert text == "\n".join([*describe_keys(), ""]), message


def test_parameters_of_trackers_are_the_keys_of_their_sections(tmp_path):
    config = load_config(write(tmp_path, "TRACK: {LR: 0.3}\nANCHOR: {RATIOS: [1]}"))
    params = read_sections(TrackParams, config.TRACK, config.ANCHOR)
    assert (params.lr, params.ratios, params.penalty_k) == (0.3, (1,), 0.04)
    names = {item.name.upper() for item in fields(TrackParams)}
    assert names == {*config.TRACK, *config.ANCHOR}


def test_missing_file_and_odd_overrides_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.yaml"):
        load_config(tmp_path / "nowhere.yaml")
    with pytest.raises(ValueError, match=r"TRACK\.LR"):
        load_config(write(tmp_path, ""), ["TRACK.LR"])
    with pytest.raises(ValueError, match=r"TRACK\.LR\.X"):
        load_config(write(tmp_path, ""), ["TRACK.LR", "1", "TRACK.LR.X", "2"])


def test_stale_keys_of_a_published_file_only_warn(tmp_path, caplog):
    text = "BACKBONE: {CHANNELS: [512]}\nADJUST: {ADJUST_CHANNEL: [128]}\nRPN: {WEIGHTED: true}\n"
    with caplog.at_level(logging.WARNING):
        load_config(write(tmp_path, text))
    warned = " ".join(record.message for record in caplog.records)
    for key in configuration.STALE_KEYS:
        assert key in warned


def test_a_training_set_of_ones_own_gets_the_missing_defaults(tmp_path):
    config = load_config(write(tmp_path, "DATASET: {MINE: {ROOT: r, ANNO: a, NUM_USE: 5}}"))
    expected = {"ROOT": "r", "ANNO": "a", "FRAME_RANGE": 100, "NUM_USE": 5, "EVERY": 1}
    expected |= {"TEMPLATE_VIEWS": 0, "SEARCH_VIEWS": 0}
    assert expected == config.DATASET.MINE


def test_a_loaded_configuration_cannot_be_changed(tmp_path):
    config = load_config(write(tmp_path, ""))
    with pytest.raises(AttributeError):
        config.TRAIN.EPOCH = 3
    with pytest.raises(ValueError, match="frozen"):
        config.merge_from_list(["TRAIN.EPOCH", 3])


def test_keys_that_a_script_adds_can_be_merged():
    config = default_config()
    config.TRACK.MINE = 1
    config.merge_from_list(["TRACK.MINE", "2"])
    assert config.TRACK.MINE == 2


def test_a_section_checks_its_merges_too():
    section = default_config().TRACK
    section.merge_from_list(["LR", "0.5"])
    assert section.LR == 0.5
    with pytest.raises(ValueError, match="LR is -1"):
        section.merge_from_list(["LR", "-1"])


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
    installed = tmp_path / "site-packages" / "pysot" / "experiments"
    monkeypatch.setattr(configuration, "EXPERIMENTS", installed)
    assert resolve_path("experiments") == tmp_path / "experiments"


def test_names_of_experiments_stand_for_their_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "siamrpn_alex_tiny").mkdir()  # as in snapshot or results
    named = load_config("siamrpn_alex_tiny")
    assert named == load_config(ROOT / "experiments" / "siamrpn_alex_tiny" / "config.yaml")
    (tmp_path / "siamfc_alex").write_text("TRACK: {LR: 0.123}")
    assert load_config("siamfc_alex").TRACK.LR == 0.123
    near = r"not found: siamrpn_alex_tinny; near names are siamrpn_alex_tiny, .*, "
    with pytest.raises(FileNotFoundError, match=near):
        load_config("siamrpn_alex_tinny")
