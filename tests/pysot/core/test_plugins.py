import logging
import pickle
import sys

import pytest

from pysot.core import plugins
from pysot.core.config import load_config
from pysot.core.registry import BACKBONES, TRACKERS
from pysot.tracker.tracker_builder import track_params
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


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Function that writes a plug-in ``my_plugin.py`` and undoes what its import did."""
    path, known = list(sys.path), {id(r): dict(r._entries) for r in (BACKBONES, TRACKERS)}
    loaded = list(pool.preloaded)
    monkeypatch.chdir(tmp_path)

    def write(text, name="my_plugin.py"):
        file = tmp_path / "plugins" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return file

    yield write
    sys.path[:], pool.preloaded[:] = path, loaded
    for registry in (BACKBONES, TRACKERS):
        registry._entries.clear()
        registry._entries.update(known[id(registry)])
    for name in [
        n for n, m in sys.modules.items() if str(tmp_path) in str(getattr(m, "__file__", ""))
    ]:
        del sys.modules[name]


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


def test_a_module_of_the_current_folder_is_found_by_its_name(plugin, tmp_path, monkeypatch):
    monkeypatch.chdir(plugin(TRACKER).parent)
    assert plugins.load_plugins(["my_plugin", "my_plugin"]) == ["my_plugin"] * 2
    assert "Patient" in TRACKERS


@pytest.mark.parametrize(
    "text, message",
    [
        ("import torch\n\n1 / 0\n", r"my_plugin\.py:3: ZeroDivisionError: division by zero"),
        ("def f(:\n", r"my_plugin\.py:1: SyntaxError: "),
        ("import not_there\n", r"my_plugin\.py:1: ModuleNotFoundError: .*not_there"),
        (
            "from pysot.core.registry import BACKBONES\n@BACKBONES.register('alexnet')\n"
            "class Own: pass\n",
            r"my_plugin\.py:\d: backbone 'alexnet' is registered already",
        ),
        (
            "from pysot.core.registry import TRACKERS\n@TRACKERS.register('Own')\n"
            "class Own:\n    def init(self): pass\n",
            r"my_plugin\.py:\d: tracker 'Own' has no method track",
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
