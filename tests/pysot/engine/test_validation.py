"""Validation in process: it leaves the training as it is, ends on request, and may fail."""

import os
import signal
import time

import cv2
import pytest
import torch
from ranks import run_ranks
from training_crops import tiny_config, write_benchmark, write_training_set

from pysot.cli.train import main
from pysot.engine import validation
from pysot.engine.validation import Validation
from pysot.utils.model_load import read_checkpoint


@pytest.fixture
def folder(tmp_path):
    write_training_set(tmp_path)
    write_benchmark(tmp_path / "Tiny")
    return tmp_path


def train(folder, *options):
    main(["--cfg", str(tiny_config(folder, EPOCH=2)), *options])


def validated(folder):
    return ["--val", "Tiny", "--val-root", str(folder / "Tiny")]


def final(folder, epoch=2, name="snapshot"):
    return read_checkpoint(folder / name / f"checkpoint_e{epoch}.pth")


def test_validation_changes_nothing_of_the_training(folder, monkeypatch):
    states = []

    def note(*args):
        model = args[1].model
        states.append((torch.get_num_threads(), cv2.getNumThreads(), torch.get_rng_state()))
        states[-1] += ([module.training for module in model.modules()],)

    after_epoch = Validation.after_epoch
    monkeypatch.setattr(
        Validation, "after_epoch", lambda *args: (note(*args), after_epoch(*args), note(*args))
    )
    train(folder, *validated(folder), "TRAIN.SNAPSHOT_DIR", str(folder / "tested"))
    assert len(states) == 4
    for before, after in zip(states[::2], states[1::2], strict=True):
        assert before[:2] == after[:2] and before[3] == after[3]
        assert torch.equal(before[2], after[2])
    train(folder)
    tested, plain = final(folder, name="tested"), final(folder)
    for key, value in plain["state_dict"].items():
        assert torch.equal(value, tested["state_dict"][key]), key
    for key, state in plain["optimizer"]["state"].items():
        other = tested["optimizer"]["state"][key]
        assert torch.equal(state["momentum_buffer"], other["momentum_buffer"])
    runs = tested["run"], plain["run"]
    assert runs[0]["progress"] == runs[1]["progress"]
    assert torch.equal(*(run["random"]["generators"][0]["torch"] for run in runs))


@pytest.mark.parametrize("world_size", [1, 2])
def test_a_stop_request_ends_a_validation_and_the_run(folder, world_size):
    """The first frame of the test asks one process to stop."""

    def work(rank):
        def poll_and_stop(poll):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)  # the handler runs in between
            call(poll)

        call = validation.Poll.__call__
        validation.Poll.__call__ = poll_and_stop
        train(folder, *validated(folder))

    assert run_ranks(work, world_size) == [143] * world_size
    assert not (folder / "snapshot" / "best.json").exists()
    assert not (folder / "logs" / "val" / "e0001.json").exists()
    assert final(folder, 1)["epoch"] == 1
    assert run_ranks(lambda rank: train(folder, "--resume", "auto"), world_size) == [0] * world_size


def test_a_test_that_fails_is_a_warning(folder, capsys):
    (folder / "Tiny" / "A" / "0002.jpg").write_bytes(b"broken")
    train(folder, *validated(folder), "TRAIN.EPOCH", "1")
    captured = capsys.readouterr()
    assert "WARNING: the test on Tiny failed: 1 of 1 videos failed; A: " in captured.err
    assert "0002.jpg" in (folder / "logs" / "val" / "log.txt").read_text()
    assert final(folder, 1)["epoch"] == 1
