"""Where the numbers of a training run go.

``extras``: pip install wandb mlflow-skinny sqlalchemy alembic
"""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pysot.core.registry import LOGGERS
from pysot.engine import loggers
from pysot.engine.loggers import Logger, Loggers, Run, open_loggers


class Note(Logger):
    """Fails at the second event."""

    def __init__(self, run):
        super().__init__(run)
        self.seen = []

    def event(self, name, values):
        self.seen.append(name)
        if len(self.seen) == 2:
            raise KeyError("gone\nfor good")


@pytest.fixture
def note():
    LOGGERS["note"] = Note
    yield "note"
    del LOGGERS._entries["note"]


def events(folder):
    lines = (Path(folder) / "log.jsonl").read_text().splitlines()
    return [(line["event"], line.get("step")) for line in map(json.loads, lines)]


def test_a_logger_that_fails_is_left_out_with_one_warning(tmp_path, caplog, note):
    found = open_loggers([note, "jsonl"], Run(str(tmp_path)))
    kept = found._loggers[note]
    for step in range(4):
        found.event("train", step=step)
    assert kept.seen == ["train"] * 2
    assert [r.getMessage() for r in caplog.records] == [
        "TRAIN.LOGGERS: note ends, training goes on: 'gone\\nfor good'"
    ]
    assert events(tmp_path) == [("train", step) for step in range(4)]


def test_unknown_and_missing_ones_are_one_line(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"TRAIN\.LOGGERS: unknown logger 'x'; known: jsonl, ml"):
        open_loggers(["jsonl", "x"], Run(str(tmp_path)))
    for name, package in (("wandb", "wandb"), ("mlflow", "mlflow-skinny")):
        monkeypatch.setitem(sys.modules, name, None)
        text = f"TRAIN.LOGGERS: {name} cannot begin: it needs {package}: pip install {package}"
        with pytest.raises(ValueError, match=text):
            open_loggers([name], Run(str(tmp_path)))
    assert not list(tmp_path.iterdir())


def test_without_a_folder_there_are_none():
    found = open_loggers(["tensorboard", "jsonl"], Run(""))
    found.event("train", step=1)
    found.scalars({"a": 1.0}, 1)
    assert not found.detailed


def test_without_tensorboard_training_goes_on(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    found = open_loggers(["tensorboard"], Run(str(tmp_path)))
    assert "pip install tensorboardX" in caplog.text
    found.scalars({"a": 1.0}, 1)
    found.image("pairs", np.zeros((2, 2, 3), np.uint8), 1)
    found.close(True)
    assert not found.detailed and len(caplog.records) == 1


def test_a_full_disk_ends_tensorboard_with_a_line(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    assert not open_loggers(["tensorboard"], Run(str(tmp_path))).detailed  # it would wait for ever
    assert "No space left on device" in caplog.text


def test_json_lines_that_cannot_be_written_are_a_warning(tmp_path, caplog):
    (tmp_path / "file").touch()
    found = open_loggers(["jsonl"], Run(str(tmp_path / "file")))
    found.event("train")
    found.event("train")
    assert caplog.text.count("log.jsonl") == 1


@pytest.mark.parametrize(
    ("step", "kept"),
    [
        (0, [10, 50, 10, 20, 20, 30]),  # a new run in the folder of another
        (30, [10, 50, 10, 20, 20, 30]),
        (20, [10, 50, 10, 20, 20]),
        (15, [10, 50, 10]),
    ],
)
def test_a_run_that_goes_on_cuts_off_what_was_written_after_its_step(tmp_path, step, kept):
    before = open_loggers(["jsonl"], Run(str(tmp_path)))
    for number in (10, 50, 10, 20, 20, 30):  # the first two of an earlier run
        before.event("train", step=number)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"event": "train", "st')  # killed while it wrote
    whole = (tmp_path / "log.jsonl").read_text()
    open_loggers(["jsonl"], Run(str(tmp_path), step)).event("epoch", step=99)
    assert events(tmp_path) == [*(("train", number) for number in kept), ("epoch", 99)]
    left = (tmp_path / "log.jsonl").read_text().splitlines()[:-1]
    moved = (tmp_path / "log.cut.jsonl").read_text().splitlines()
    assert left + moved == whole.splitlines()  # nothing is lost


def test_a_log_that_was_edited_loses_nothing(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"event": "epoch", "step": 4}')  # an editor left out the end of the line
    open_loggers(["jsonl"], Run(str(tmp_path), 4)).event("epoch", step=8)
    assert events(tmp_path) == [("epoch", 4), ("epoch", 8)]
    log.write_text('{\n  "step": 4\n}\n')
    open_loggers(["jsonl"], Run(str(tmp_path), 4)).event("epoch", step=8)
    assert events(tmp_path) == [("epoch", 8)]
    assert (tmp_path / "log.cut.jsonl").read_text() == '{\n  "step": 4\n}\n'


def test_a_logger_that_cannot_begin_closes_those_before_it(tmp_path, note, monkeypatch):
    ends = []
    monkeypatch.setattr(Note, "close", lambda self, finished: ends.append(finished))
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match="wandb cannot begin"):
        open_loggers([note, "wandb"], Run(str(tmp_path)))
    assert ends == [False]


def test_a_kept_id_is_that_of_the_run_that_goes_on(tmp_path):
    ids = iter("ab")
    make = lambda: next(ids)  # noqa: E731
    going_on, new = Run(str(tmp_path), 5), Run(str(tmp_path))
    assert [loggers._kept_id(going_on, "x", make) for _ in range(2)] == ["a", "a"]
    open_loggers(["jsonl"], going_on)
    assert (tmp_path / ".x_run").exists()
    open_loggers(["jsonl"], new)  # even without that logger, which may come when it goes on
    assert loggers._kept_id(going_on, "x", make) == "b"


def test_configurations_are_flat_for_mlflow():
    config = {"TRAIN": {"LR": {"KWARGS": {}}, "EPOCH": 2}, "CUDA": True}
    assert dict(loggers._flat(config)) == {
        "TRAIN.LR.KWARGS": {},
        "TRAIN.EPOCH": 2,
        "CUDA": True,
    }


def log(folder, name, steps, first=0):
    """Log some steps of a run, as a program that is stopped does."""
    run = Run(str(folder), first, "tiny", {"TRAIN": {"EPOCH": 2}})
    found = open_loggers([name], run)
    for step in steps:
        found.scalars({"total_loss": float(step), "val/Tiny/success": 0.5}, step)
    found.image("pairs", np.zeros((4, 6, 3), np.uint8), steps[-1])
    found.close(finished=first > 0)
    assert isinstance(found, Loggers) and name in found._loggers  # none failed


@pytest.mark.extras
def test_mlflow_goes_on_in_the_same_run(tmp_path, monkeypatch):
    """Needs ``pip install mlflow-skinny sqlalchemy alembic``."""
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/runs.db")
    log(tmp_path, "mlflow", range(6))
    log(tmp_path, "mlflow", range(4, 9), first=4)
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("pysot")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_id, run.info.status, run.info.run_name) == (
        (tmp_path / ".mlflow_run").read_text().strip(),
        "FINISHED",
        "tiny",
    )
    history = client.get_metric_history(run.info.run_id, "total_loss")
    assert sorted((m.step, m.value) for m in history) == [(n, n) for n in range(9)]
    assert run.data.params == {"TRAIN.EPOCH": "2"}
    assert len(client.list_artifacts(run.info.run_id, "images")) >= 2


@pytest.mark.extras
def test_wandb_goes_on_in_the_same_run(tmp_path, monkeypatch):
    """Needs ``pip install wandb``."""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    log(tmp_path, "wandb", range(3))
    log(tmp_path, "wandb", range(3, 6), first=3)
    kept = (tmp_path / ".wandb_run").read_text().strip()
    runs = list((tmp_path / "wandb").glob(f"offline-run-*-{kept}/run-{kept}.wandb"))
    assert len(runs) == 2
    assert all(b"total_loss" in run.read_bytes() for run in runs)
