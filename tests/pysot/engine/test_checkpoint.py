import os
import resource

import numpy as np
import pytest
import torch

from pysot.engine.checkpoint import (
    RunState,
    newest_checkpoint,
    read_training_checkpoint,
    restore_model,
    restore_optimizer,
    restore_run,
    save_checkpoint,
)
from pysot.utils.model_load import read_checkpoint


def network(width=3):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, width, 1), torch.nn.BatchNorm2d(width))


def trained(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(2, 3, 2, 2)).square().sum().backward()
    optimizer.step()
    return optimizer


@pytest.fixture
def saved(tmp_path):
    model = network()
    optimizer = trained(model)
    path = save_checkpoint(tmp_path / "new", 4, model, optimizer, RunState(7, 40, ("a.jpg",)))
    return path, model, optimizer


def test_layout_is_that_of_pysot_and_our_key_comes_last(saved):
    path, model, _ = saved
    content = read_checkpoint(path)  # weights_only
    assert path.name == "checkpoint_e4.pth"
    assert list(content) == ["epoch", "state_dict", "optimizer", "run"]
    assert content["epoch"] == 4
    assert list(content["state_dict"]) == list(model.state_dict())
    assert type(content["optimizer"]["param_groups"][0]["lr"]) is float
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # no temporary file


def test_everything_comes_back(saved):
    path, model, optimizer = saved
    expected = torch.rand(3)  # the first number after the checkpoint was written
    other = network()
    other_optimizer = torch.optim.SGD(other.parameters(), lr=0.5, momentum=0.9)
    content = read_training_checkpoint(path)
    restore_model(other, content, path)
    restore_optimizer(other_optimizer, content, path)
    assert restore_run(content, 7) == RunState(7, 40, ("a.jpg",))
    assert torch.equal(torch.rand(3), expected)
    for key, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[key], value)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        kept = other_optimizer.state[b]["momentum_buffer"]
        assert torch.equal(optimizer.state[a]["momentum_buffer"], kept)
    assert other_optimizer.param_groups[0]["lr"] == 0.5  # as configured, not as saved


def test_a_checkpoint_of_pysot_resumes(tmp_path):
    model = network()
    optimizer = trained(model)
    optimizer.param_groups[0]["lr"] = np.float64(0.1)  # as PySOT stores it
    path = tmp_path / "checkpoint_e2.pth"
    torch.save(
        {"epoch": 2, "state_dict": model.state_dict(), "optimizer": optimizer.state_dict()}, path
    )
    content = read_training_checkpoint(path)
    other = network()
    other_optimizer = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
    restore_optimizer(other_optimizer, content, path)
    assert len(other_optimizer.state) == 4
    assert restore_run(content, 1) == RunState(1)


def test_the_newest_whole_checkpoint_is_found(tmp_path, caplog):
    assert newest_checkpoint(tmp_path) is None
    model = network()
    paths = {
        e: save_checkpoint(tmp_path, e, model, trained(model), RunState(1)) for e in (2, 9, 10)
    }
    (tmp_path / "checkpoint_e99.pth.tmp").touch()
    assert newest_checkpoint(tmp_path)[0] == paths[10]  # by number, not by name
    os.truncate(paths[10], 900)
    path, content = newest_checkpoint(tmp_path)
    assert (path, content["epoch"]) == (paths[9], 9)
    assert "checkpoint_e10.pth" in caplog.text
    assert "trying the one before" in caplog.text


def test_a_full_disk_leaves_the_old_file(saved, monkeypatch):
    path, model, optimizer = saved
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=r"cannot write checkpoint .*e4.pth: File too large"):
            save_checkpoint(path.parent, 4, model, optimizer, RunState(7))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    model = network()
    with pytest.raises(OSError, match="file"):
        save_checkpoint(tmp_path / "file" / "snapshot", 1, model, trained(model), RunState(1))


def test_what_does_not_fit_is_named(saved, tmp_path):
    path, model, _ = saved
    content = read_training_checkpoint(path)
    with pytest.raises(ValueError, match=r"e4.pth does not fit the configured model"):
        restore_model(network(width=4), content, path)
    fewer = torch.optim.SGD([model[0].weight], lr=0.1)
    with pytest.raises(ValueError, match=r"groups of \[4\] parameters.* makes \[1\]"):
        restore_optimizer(fewer, content, path)
    weights = tmp_path / "model.pth"
    torch.save(model.state_dict(), weights)
    with pytest.raises(ValueError, match=r"no training checkpoint.*TRAIN.PRETRAINED"):
        read_training_checkpoint(weights)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_training_checkpoint(tmp_path / "nowhere.pth")


def test_another_seed_is_mentioned(saved, caplog):
    assert restore_run(read_training_checkpoint(saved[0]), 8).seed == 8
    assert "seed 8" in caplog.text


@pytest.mark.parametrize(
    "wrong",
    [{"epoch": "x"}, {"optimizer": {}}, {"run": {"version": 9}}],
    ids=["epoch", "opt", "run"],
)
def test_a_foreign_file_with_the_right_names_is_refused(tmp_path, wrong):
    content = {"epoch": 1, "state_dict": {}, "optimizer": {"param_groups": []}}
    torch.save({**content, **wrong}, tmp_path / "foreign.pth")
    with pytest.raises(ValueError, match=r"foreign\.pth is no training checkpoint of this program"):
        read_training_checkpoint(tmp_path / "foreign.pth")
