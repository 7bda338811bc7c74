import os
import resource

import numpy as np
import pytest
import torch

from pysot.engine.checkpoint import (
    load_momentum,
    newest_checkpoint,
    read_training_checkpoint,
    write_checkpoint,
)
from pysot.engine.distributed import ProcessGroup
from pysot.engine.optim import OptimizerPlan, Schedule
from pysot.engine.trainer import Progress, Trainer
from pysot.utils.model_load import read_checkpoint


class Network(torch.nn.Module):
    def __init__(self, width=3):
        super().__init__()
        torch.manual_seed(0)
        self.backbone = torch.nn.Sequential()
        self.rpn_head = torch.nn.Sequential(
            torch.nn.Conv2d(3, width, 1), torch.nn.BatchNorm2d(width)
        )


def trainer_of(seed=7, width=3, lr=0.1):
    plan = OptimizerPlan(Schedule((lr,) * 20, lr), lr, 1.0, 0.9, 0.0, (), 0)
    trainer = Trainer(
        Network(width),
        plan,
        ProcessGroup(),
        torch.device("cpu"),
        seed=seed,
        grad_clip=10.0,
        grad_reduce="sum",
        precision="fp32",
        ema_decay=0.5,
        max_bad_images=9,
    )
    trainer.begin_epoch(0)
    return trainer


def trained(epoch, **options):
    trainer = trainer_of(**options)
    trainer.model.rpn_head(torch.ones(2, 3, 2, 2)).square().sum().backward()
    trainer.optimizer.step()
    trainer.average.update_parameters(trainer.model)
    trainer.progress.epoch, trainer.progress.step = epoch, 40
    trainer.error_budget.check_images(["a.jpg"])
    return trainer


@pytest.fixture
def saved(tmp_path):
    trainer = trained(4)
    return write_checkpoint(tmp_path / "new", trainer.state_dict()), trainer


def test_layout_is_that_of_pysot_and_our_key_comes_last(saved):
    path, trainer = saved
    content = read_checkpoint(path)  # weights_only
    assert path.name == "checkpoint_e4.pth"
    assert list(content) == ["epoch", "state_dict", "optimizer", "run"]
    assert content["epoch"] == 4
    assert list(content["state_dict"]) == list(trainer.model.state_dict())
    assert type(content["optimizer"]["param_groups"][0]["lr"]) is float
    names = sorted(file.name for file in path.parent.iterdir())
    assert names == [path.name, "ema_e4.pth"]  # no temporary file
    average = read_checkpoint(path.with_name("ema_e4.pth"))
    assert average.keys() == {"epoch", "state_dict"}
    for key, value in trainer.average.module.state_dict().items():
        assert torch.equal(average["state_dict"][key], value)


def test_everything_comes_back(saved):
    path, trainer = saved
    expected = torch.rand(3)  # the first number after the checkpoint was written
    other = trainer_of(lr=0.5)
    other.load_state_dict(read_training_checkpoint(path), path)
    assert torch.equal(torch.rand(3), expected)
    assert vars(other.progress) == vars(Progress(seed=7, epoch=4, step=40))
    assert list(other.error_budget.bad_images) == ["a.jpg"]
    for one, two in ((trainer.model, other.model), (trainer.average, other.average)):
        for key, value in one.state_dict().items():
            assert torch.equal(two.state_dict()[key], value)
    for a, b in zip(trainer.model.parameters(), other.model.parameters(), strict=True):
        kept = other.optimizer.state[b]["momentum_buffer"]
        assert torch.equal(trainer.optimizer.state[a]["momentum_buffer"], kept)
    assert other.optimizer.param_groups[0]["lr"] == 0.5  # as configured, not as saved


def test_a_new_piece_of_state_is_saved_and_restored_by_its_entry_alone(tmp_path):
    trainer, other = trained(4), trainer_of()
    for one in (trainer, other):
        one.components["curriculum"] = torch.nn.Linear(1, 1)
    path = write_checkpoint(tmp_path, trainer.state_dict())
    other.load_state_dict(read_training_checkpoint(path), path)
    weights = [one.components["curriculum"].weight for one in (trainer, other)]
    assert torch.equal(*weights)


def test_a_checkpoint_of_pysot_resumes(tmp_path, caplog):
    trainer = trained(2)
    trainer.optimizer.param_groups[0]["lr"] = np.float64(0.1)  # as PySOT stores it
    path = tmp_path / "checkpoint_e2.pth"
    content = trainer.state_dict()
    del content["run"]
    torch.save(content, path)
    other = trainer_of()
    other.load_state_dict(read_training_checkpoint(path), path)
    assert len(other.optimizer.state) == 4
    assert vars(other.progress) == vars(Progress(seed=7, epoch=2))
    assert "step counts from 0" in caplog.text


def test_the_newest_whole_checkpoint_is_found(tmp_path, caplog):
    assert newest_checkpoint(tmp_path) is None
    paths = {e: write_checkpoint(tmp_path, trained(e).state_dict()) for e in (2, 9, 10)}
    (tmp_path / "checkpoint_e99.pth.tmp").touch()
    assert newest_checkpoint(tmp_path)[0] == paths[10]  # by number, not by name
    os.truncate(paths[10], 900)
    path, content = newest_checkpoint(tmp_path)
    assert (path, content["epoch"]) == (paths[9], 9)
    assert "checkpoint_e10.pth" in caplog.text
    assert "trying the one before" in caplog.text


def test_a_full_disk_leaves_the_old_file(saved, monkeypatch):
    path, trainer = saved
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=r"cannot write .*e4.pth: File too large"):
            write_checkpoint(path.parent, trainer.state_dict())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert {file.name for file in path.parent.iterdir()} == {path.name, "ema_e4.pth"}


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        write_checkpoint(tmp_path / "file" / "snapshot", trained(1).state_dict())


def test_what_does_not_fit_is_named(saved, tmp_path):
    path, trainer = saved
    content = read_training_checkpoint(path)
    with pytest.raises(ValueError, match=r"e4.pth does not fit the configured model"):
        trainer_of(width=4).load_state_dict(content, path)
    fewer = torch.optim.SGD([trainer.model.rpn_head[0].weight], lr=0.1)
    with pytest.raises(ValueError, match=r"groups of \[0, 4\] parameters.* makes \[1\]"):
        load_momentum(fewer, content["optimizer"], path)
    weights = tmp_path / "model.pth"
    torch.save(trainer.model.state_dict(), weights)
    with pytest.raises(ValueError, match=r"no training checkpoint.*TRAIN.PRETRAINED"):
        read_training_checkpoint(weights)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_training_checkpoint(tmp_path / "nowhere.pth")


def test_another_seed_is_mentioned(saved, caplog):
    other = trainer_of(seed=8)
    other.load_state_dict(read_training_checkpoint(saved[0]), saved[0])
    assert other.progress.seed == 8
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
