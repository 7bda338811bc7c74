import hashlib
import json
import logging
import pickle
import sys
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest

from pysot import cli
from pysot.core import plugins
from pysot.core.config import load_config
from pysot.core.registry import TRACKERS
from pysot.datasets.build import _augmentation
from pysot.tracker.tracker_builder import TrackerSpec, track_params
from pysot.utils.bbox import Corner
from toolkit.io import pool

TRACKER = """
from __future__ import annotations

from dataclasses import dataclass

from pysot.core.registry import TRACKERS
from pysot.core.settings import TrackParams, own
from pysot.tracker.siamrpn_tracker import SiamRPNTracker


@dataclass(frozen=True)
class Params(TrackParams):
    patience: int = own(3, "frames to wait", ge=0)
    weights: tuple[float, ...] = (0.5, 0.5)


@TRACKERS.register("Patient")
class Patient(SiamRPNTracker):
    params_type = Params
"""


def config(tmp_path, text):
    path = tmp_path / "plugins" / "config.yaml"
    path.write_text(text)
    return path


def test_a_file_beside_the_configuration_is_imported_before_its_keys_are_read(plugin, tmp_path):
    file = plugin(TRACKER)
    text = "PLUGINS: [./my_plugin.py]\nTRACK: {TYPE: Patient, PATIENCE: 5, WEIGHTS: [0.2, 0.8]}\n"
    cfg = load_config(config(tmp_path, text), ["TRACK.PATIENCE", "7"])
    assert [str(file)] == cfg.PLUGINS
    params = track_params(pickle.loads(pickle.dumps(cfg)))
    assert (params.patience, params.weights, params.lr) == (7, (0.2, 0.8), 0.4)
    assert "my_plugin" in pool.preloaded


def test_a_tracker_s_own_keys_are_checked_and_unknown_to_other_trackers(plugin, tmp_path):
    plugin(TRACKER)
    names = "PLUGINS: [my_plugin.py]\nTRACK: "
    with pytest.raises(ValueError, match=r"TRACK\.PATIENCE is -1; expected a whole number of 0"):
        load_config(config(tmp_path, names + "{TYPE: Patient, PATIENCE: -1}"))
    with pytest.raises(ValueError, match=r"unknown key TRACK\.PATIENC \(did you mean TRACK\.PATIE"):
        load_config(config(tmp_path, names + "{TYPE: Patient, PATIENC: 1}"))
    with pytest.raises(ValueError, match=r"unknown key TRACK\.PATIENCE"):
        load_config(config(tmp_path, names + "{PATIENCE: 1}"))


OTHERS = """
from dataclasses import dataclass

from pysot.core.registry import TRACKERS
from pysot.core.settings import TrackParams, own
from pysot.tracker.siamrpn_tracker import SiamRPNTracker


@dataclass(frozen=True)
class Calm(TrackParams):
    patience: int = own(9, "frames to wait", ge=0)
    rates: dict = own({"up": 1}, "by name")


@dataclass(frozen=True)
class Fast(TrackParams):
    lr: float = 0.9


for name, kind in {"Calm": Calm, "Fast": Fast, "Plain": int}.items():
    TRACKERS[name] = type(name, (SiamRPNTracker,), {"params_type": kind})
"""


def test_another_tracker_brings_its_own_keys_and_defaults(plugin, tmp_path):
    plugin(TRACKER + OTHERS)
    names = "PLUGINS: [my_plugin.py]\nTRACK: "
    path = config(tmp_path, names + "{TYPE: Patient, WEIGHTS: [1]}")
    cfg = load_config(path, ["TRACK.TYPE", "'Calm'", "TRACK.RATES", "{'up': 2}"])
    params = track_params(load_config(path, ["TRACK.TYPE", "Calm"]))
    assert (params.patience, params.rates, track_params(cfg).rates) == (9, {"up": 1}, {"up": 2})
    assert "WEIGHTS" not in cfg.TRACK
    with pytest.raises(ValueError, match=r"unknown key TRACK\.WEIGHTS"):
        load_config(path, ["TRACK.TYPE", "SiamRPNTracker", "TRACK.WEIGHTS", "1"])
    with pytest.raises(ValueError, match=r"Fast\.lr must have the default 0\.4 of all parts"):
        load_config(path, ["TRACK.TYPE", "Fast"])
    with pytest.raises(ValueError, match="int must be a dataclass, as TrackParams is"):
        load_config(path, ["TRACK.TYPE", "Plain"])


def test_a_package_beside_the_configuration_is_found_by_its_name(plugin, tmp_path):
    for name, text in {"__init__": "from . import part", "part": TRACKER}.items():
        plugin(text, f"my_package/{name}.py")
    cfg = load_config(config(tmp_path, "PLUGINS: [my_package]\nTRACK: {TYPE: Patient}"))
    assert cfg.PLUGINS == ["my_package"] and cfg.TRACK.PATIENCE == 3


def test_a_module_of_the_current_folder_is_found_by_its_name(plugin, tmp_path, monkeypatch):
    monkeypatch.chdir(plugin(TRACKER).parent)
    assert plugins.load_plugins(["my_plugin", "my_plugin"]) == ["my_plugin"] * 2
    assert "Patient" in TRACKERS


@pytest.mark.parametrize(
    "text, message",
    [
        ("import torch\n\n1 / 0\n", r"my_plugin\.py:3: ZeroDivisionError: division by zero"),
        ("def f(:\n", r"my_plugin\.py:1: SyntaxError: "),
        ("import sys\nsys.exit('no license')\n", r"my_plugin\.py:2: SystemExit: no license"),
        ("x = '\0'\n", "SyntaxError: source code"),
        ("import not_there\n", r"my_plugin\.py:1: ModuleNotFoundError: .*not_there"),
        (
            "from pysot.core.registry import BACKBONES\n@BACKBONES.register('alexnet')\n"
            "class Own: pass\n",
            r"my_plugin\.py:\d: backbone 'alexnet' is registered already, "
            r"by pysot\.models\.backbone\.alexnet",
        ),
        (
            "from pysot.core.registry import TRACKERS\n@TRACKERS.register('Own')\n"
            "class Own:\n    def init(self): pass\n",
            r"my_plugin\.py:\d: tracker 'Own' has no method track",
        ),
        (
            "import torch\nfrom pysot.core.registry import NECKS\n@NECKS.register('Own')\n"
            "class Own(torch.nn.Module):\n    def forwards(self, x): pass\n",
            r"my_plugin\.py:\d: neck 'Own' has no method forward",
        ),
    ],
)
def test_a_plug_in_that_fails_says_where_and_why(plugin, tmp_path, text, message):
    plugin(text)
    with pytest.raises(ValueError, match=rf"plug-in my_plugin\.py: .*{message}"):
        load_config(config(tmp_path, "PLUGINS: [my_plugin.py]"))
    with pytest.raises(FileNotFoundError, match=r"plug-in not found: other\.py"):
        load_config(config(tmp_path, "PLUGINS: [other.py]"))


def test_a_file_may_not_have_the_name_of_another_module(plugin, tmp_path):
    plugin("", "json.py")
    with pytest.raises(ValueError, match=r"'json' is the name of another module.*rename the file"):
        load_config(config(tmp_path, "PLUGINS: [json.py]"))
    plugin("", "my.parts.py")
    with pytest.raises(ValueError, match=r"plug-in my\.parts\.py: .* dot; rename the file"):
        load_config(config(tmp_path, "PLUGINS: [my.parts.py]"))


def _tracker_names(item):
    return item, "Patient" in TRACKERS


def test_worker_processes_import_plug_ins_first(plugin, tmp_path):
    plugins.load_plugins([str(plugin(TRACKER))])
    assert list(pool.run_parallel(_tracker_names, range(2), 2)) == [(0, True), (1, True)]


def test_unknown_keys_of_a_fork_can_be_warned_of_instead(tmp_path, caplog):
    (tmp_path / "plugins").mkdir()
    path = config(tmp_path, "STRICT_KEYS: false\nTRACK: {FANCY: 1, LR: 0.3}\nOTHER: {A: 1}\n")
    with caplog.at_level(logging.WARNING):
        assert load_config(path).TRACK.LR == 0.3
    assert "unknown key TRACK.FANCY is ignored" in caplog.text
    assert "unknown key OTHER is ignored" in caplog.text
    with pytest.raises(ValueError, match="unknown key OTHER"):
        load_config(path, ["STRICT_KEYS", "true", "OTHER.A", "1"])


TOOLKIT = """
from toolkit.datasets.benchmarks import BENCHMARKS, OPE, replace
from toolkit.datasets.formats import testing_formats, training_sets
from toolkit.datasets.formats.custom import read_folders
from toolkit.datasets.reading import Format, TrainingSet
from toolkit.evaluation.metrics import Metric, add_metric, _point_of
from toolkit.protocols import PROTOCOLS
from toolkit.protocols.one_pass import OnePass


class Twice(OnePass):
    def step(self, image, truth):
        super().step(image[::-1], truth) if self._tracker is None else super().step(image, truth)


def read(reading):
    yield from read_folders(reading, "Mine")


PROTOCOLS["twice"] = Twice
BENCHMARKS["Mine"] = replace(OPE, protocol="twice", metrics=("success", "op90"))
testing_formats()["Mine"] = Format(("*/boxes.txt", "*/groundtruth.txt"), read)
training_sets()["mine"] = TrainingSet("my own set", "folders", read)
add_metric("ope", Metric("op90", "OP@0.90", _point_of("success", 18)))
"""


@pytest.fixture
def mine(tmp_path, draw_frame):
    """Folder ``Mine`` with a video ``a`` of three frames."""
    folder = tmp_path / "Mine" / "a"
    folder.mkdir(parents=True)
    boxes = [[20 + 3 * i, 15, 24, 18] for i in range(3)]
    for number, box in enumerate(boxes, 1):
        cv2.imwrite(str(folder / f"{number:04d}.png"), draw_frame(box))
    text = "".join(",".join(map(str, box)) + "\n" for box in boxes)
    (folder / "groundtruth.txt").write_text(text)
    return folder.parent


def command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["pysot", *map(str, arguments)])
    cli.main()


@pytest.mark.parametrize("workers", [1, 2])
def test_sets_protocols_and_metrics_come_from_outside(plugin, mine, monkeypatch, workers):
    file = plugin(TOOLKIT)
    common = ("--plugin", file, "--dataset", "Mine", "--dataset-root", mine)
    command(monkeypatch, "test", *common, "--static", "--workers", workers)
    command(monkeypatch, "eval", *common, "-p", "results", "--json", "s.json")
    scores = json.loads(Path("s.json").read_text())
    assert 0 < scores["trackers"]["static"]["metrics"]["op90"] < 1
    assert (mine.parent / "results" / "Mine" / "static" / "a.txt").is_file()


def test_a_training_set_from_outside_is_an_argument_of_prepare(plugin, mine, monkeypatch):
    file = plugin(TOOLKIT)
    paths = ("--dataset-root", mine, "--output", mine / "out")
    command(monkeypatch, "prepare", "mine", *paths, "--plugin", file, "--workers", 1)
    assert (mine / "out" / "train.json").is_file()


def test_every_command_takes_plug_ins(plugin, capsys):
    for name in cli.COMMANDS:
        with pytest.raises(SystemExit):
            import_module(f"pysot.cli.{name}").parse_args(["--help"])
        assert "--plugin NAME" in capsys.readouterr().out


def test_a_plug_in_that_is_not_there_is_one_line(plugin, monkeypatch, capsys):
    with pytest.raises(SystemExit) as stop:
        command(monkeypatch, "eval", "--plugin", "no/such.py", "-d", "Mine")
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: plug-in not found: no/such.py\n"


def test_installed_plug_ins_are_found_by_their_entry_point(plugin, monkeypatch, caplog):
    folder = plugin(TRACKER).parent
    installed = folder / "my_tracker-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: my-tracker\nVersion: 1.0\n")
    names = "[pysot.plugins]\ngood = my_plugin\nbad = not_there\n"
    (installed / "entry_points.txt").write_text(names)
    monkeypatch.syspath_prepend(folder)
    plugins.load_installed.cache_clear()
    plugins.load_installed()
    assert "Patient" in TRACKERS
    assert "plug-in bad (not_there): ModuleNotFoundError" in caplog.text
    assert plugins.digests().keys() == {"my_plugin"}
    assert plugins.digests([TRACKERS["SiamRPNTracker"]]) == {}  # it made nothing of that
    assert plugins.digests([TRACKERS["Patient"]]).keys() == {"my_plugin"}
    plugins.load_plugins(["my_plugin"])
    assert plugins.digests([]).keys() == {"my_plugin"}


def test_results_and_checkpoints_say_which_plug_ins_made_them(
    plugin, tiny_config, tiny_snapshot, caplog
):
    spec = TrackerSpec.read(tiny_config, tiny_snapshot)
    assert "plugins" not in spec.record()
    file = plugin(TRACKER)
    plugins.load_plugins([str(file)])
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert spec.record()["plugins"] == {"my_plugin": digest}
    record = plugins.PluginRecord()
    assert record.state_dict() == {"my_plugin": digest}
    record.load_state_dict({"my_plugin": digest})
    assert not caplog.text
    record.load_state_dict({"my_plugin": "0" * 64, "another": digest})
    assert "plug-in my_plugin has changed since" in caplog.text
    assert "plug-in another, in use when this was made, is not named now" in caplog.text


AUGMENTATION = """
from dataclasses import dataclass

from pysot.core.registry import AUGMENTATIONS
from pysot.core.settings import own
from pysot.datasets.augmentation import Augmentation


@AUGMENTATIONS.register("dark")
@dataclass(frozen=True)
class Dark(Augmentation):
    light: float = own(0.5, "factor on all values", ge=0, le=1)

    def in_bytes(self, *arguments):
        image, *rest = super().in_bytes(*arguments)
        return (image * self.light).astype(image.dtype), *rest
"""


def test_an_augmentation_from_outside_has_keys_of_its_own(plugin, tmp_path):
    plugin(AUGMENTATION)
    text = "PLUGINS: [my_plugin.py]\nDATASET: {AUGMENTATION: dark, SEARCH: {LIGHT: 0}}\n"
    cfg = load_config(config(tmp_path, text))
    image, box = np.full((511, 511, 3), 200, np.uint8), Corner(200, 200, 300, 300)
    pixels = [
        _augmentation(cfg, name).in_bytes(image, box, None, 127, np.random.default_rng(0))[0].max()
        for name in ("TEMPLATE", "SEARCH")
    ]
    assert pixels == [100, 0]
    with pytest.raises(ValueError, match=r"DATASET\.SEARCH\.LIGHT is 2\.0; expected a number"):
        load_config(config(tmp_path, text.replace("LIGHT: 0", "LIGHT: 2")))
    with pytest.raises(ValueError, match=r"unknown key DATASET\.SEARCH\.LIGHT"):
        load_config(config(tmp_path, "DATASET: {SEARCH: {LIGHT: 0}}"))
    with pytest.raises(ValueError, match="AUGMENTATION: unknown augmentation 'light'"):
        _augmentation(load_config(config(tmp_path, "DATASET: {AUGMENTATION: light}")), "SEARCH")
