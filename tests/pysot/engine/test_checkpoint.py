import dataclasses
import os
import resource
import zipfile

import numpy as np
import pytest
import torch

from pysot.core.config import default_config
from pysot.engine.build import load_start
from pysot.engine.checkpoint import (
    load_momentum,
    read_training_checkpoint,
    whole_checkpoints,
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


def trainer_of(seed=7, width=3, lr=0.1, optimizer="sgd"):
    schedule = Schedule((lr,) * 20, lr)
    plan = OptimizerPlan(schedule, lr, 1.0, 0.9, 0.0, (), 0, optimizer=optimizer)
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


def take_step(trainer):
    trainer.optimizer.zero_grad()
    trainer.model.rpn_head(torch.ones(2, 3, 2, 2)).square().sum().backward()
    trainer.optimizer.step()


def test_adamw_goes_on_as_if_never_stopped(tmp_path):
    trainer, other = trained(4, optimizer="adamw"), trainer_of(optimizer="adamw")
    path = write_checkpoint(tmp_path, trainer.state_dict())
    other.load_state_dict(read_training_checkpoint(path), path)
    for one in (trainer, other):
        one.begin_epoch(4)
        take_step(one)
    for a, b in zip(trainer.model.parameters(), other.model.parameters(), strict=True):
        states = trainer.optimizer.state[a], other.optimizer.state[b]
        assert states[0]["step"] == states[1]["step"] == 2
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
        assert torch.equal(a, b)


@pytest.mark.parametrize(("before", "now"), [("sgd", "adamw"), ("adamw", "sgd")])
def test_a_checkpoint_of_the_other_optimizer_is_named(tmp_path, before, now):
    content = trained(3, optimizer=before).state_dict()
    expected = rf"a\.pth: TRAIN\.OPTIMIZER is {now}, but the checkpoint was trained by {before}"
    with pytest.raises(ValueError, match=expected):
        trainer_of(optimizer=now).load_state_dict(content, tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exp_avg": torch.full((3,), float("nan"))}, r"exp_avg"),
        ({"step": 3}, r"step"),
        ({"exp_avg_sq": None}, r"exp_avg_sq"),
    ],
)
def test_wrong_state_of_adamw_is_named(tmp_path, change, message):
    content = trained(3, optimizer="adamw").state_dict()
    entry = content["optimizer"]["state"][1] = content["optimizer"]["state"][1] | change
    content["optimizer"]["state"][1] = {k: v for k, v in entry.items() if v is not None}
    path = write_checkpoint(tmp_path, content)
    with pytest.raises(ValueError, match=rf"checkpoint_e3\.pth .*optimizer\.state.*{message}"):
        read_training_checkpoint(path)


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


def test_a_checkpoint_of_old_torch_resumes(tmp_path):
    trainer, other = trained(2), trainer_of()
    content = trainer.state_dict()
    del content["run"]
    addresses = [140234567890128 + 72 * (7 * number % 4) for number in range(4)]
    saved = content["optimizer"]
    for group in saved["param_groups"]:
        group["params"] = [addresses[number] for number in group["params"]]
    saved["state"] = {addresses[number]: entry for number, entry in saved["state"].items()}
    path = tmp_path / "checkpoint_e2.pth"
    torch.save(content, path, _use_new_zipfile_serialization=False)
    other.load_state_dict(read_training_checkpoint(path), path)
    for number, entry in trainer.optimizer.state_dict()["state"].items():
        found = other.optimizer.state_dict()["state"][number]["momentum_buffer"]
        assert torch.equal(found, entry["momentum_buffer"])


def test_an_average_counts_what_it_has_seen(tmp_path):
    content = trained(2).state_dict()
    del content["run"]["ema"]["n_averaged"]
    with pytest.raises(ValueError, match=r"run\.ema: n_averaged is missing"):
        trainer_of().load_state_dict(content, tmp_path / "a.pth")


def test_a_run_of_a_large_seed_resumes(tmp_path):
    content = trained(2).state_dict()
    content["run"]["progress"]["seed"] = 2**63 - 1
    path = write_checkpoint(tmp_path, content)
    assert read_training_checkpoint(path)["run"]["progress"]["seed"] == 2**63 - 1


def test_the_newest_whole_checkpoint_is_found(tmp_path, caplog):
    assert next(whole_checkpoints(tmp_path), None) is None
    paths = {e: write_checkpoint(tmp_path, trained(e).state_dict()) for e in (2, 9, 10)}
    (tmp_path / "checkpoint_e99.pth.tmp").touch()
    assert next(whole_checkpoints(tmp_path))[0] == paths[10]  # by number, not by name
    os.truncate(paths[10], 900)
    path, content = next(whole_checkpoints(tmp_path))
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


def changed(content, name, value):
    """Replace an entry, named by a path, of a good checkpoint."""
    *path, last = name.split(".")
    for key in path:
        content = content[int(key) if key.isdecimal() else key]
    if value is KeyError:
        del content[last]
    else:
        content[int(last) if last.isdecimal() else last] = value


COUNTS = (-1, 10**13, 10**400, True, 2.0, float("inf"), float("nan"), "3", None, [1])
WEIGHT = "state_dict.rpn_head.0.weight"
BUFFER = "optimizer.state.0.momentum_buffer"
NO_TENSORS = (1, "text", None, [1.0], np.float64(1))
BAD_TENSORS = (
    torch.ones(3, 3, 1, 1, dtype=torch.complex64),
    torch.ones(3, 3, 1, 1).to_sparse(),
    torch.ones(3, 3, 1, 1, device="meta"),
    torch.full((3, 3, 1, 1), float("nan")),
    torch.ones(1).expand(3, 3, 1, 1),
    torch.ones(1).expand(10**9, 10**9),
)
COUNTERS = ("pairs", "step", "epoch", "epoch_length")
GENERATOR = "run.random.generators.0"
WRONG = [
    *(("epoch", value) for value in COUNTS),
    *((f"run.progress.{n}", v) for n in COUNTERS for v in COUNTS[:6]),
    *(("run.progress.seed", value) for value in (-1, 2**63, True, 2.0)),
    *((f"run.progress.{name}", KeyError) for name in ("pairs", "step", "seed")),
    *((f"run.error_budget.{name}", KeyError) for name in ("bad_images", "skipped_steps")),
    *((name, v) for name in (WEIGHT, BUFFER) for v in (*NO_TENSORS[:2], *BAD_TENSORS)),
    *(("run.ema.module.rpn_head.0.weight", value) for value in (*NO_TENSORS, *BAD_TENSORS)),
    *((name, value) for name in ("state_dict", "run.ema") for value in NO_TENSORS),
    *(
        (name, v)
        for name in ("optimizer", "run", "run.progress", "run.random")
        for v in (1, [], "a")
    ),
    *(("optimizer.state", value) for value in (1, [1], {0: 1}, {"a": {}}, {-1: {}}, {99: {}})),
    *(("optimizer.param_groups", value) for value in (1, {}, [], [1], [{}], [{"params": 1}])),
    *(("optimizer.param_groups.0.params", value) for value in ([0.5], [-1], ["a"], [0], None)),
    *((GENERATOR, value) for value in (1, {}, {"torch": 1}, {"torch": torch.ones(3), "cuda": []})),
    *(
        (f"{GENERATOR}.torch", v)
        for v in (b"x", torch.zeros(5, dtype=torch.uint8), torch.ones(5056))
    ),
    *((f"{GENERATOR}.cuda", value) for value in (1, ["a"], [torch.ones(2, device="meta")])),
    *(("run.random.generators", value) for value in (1, {}, "a")),
    *(("run.error_budget.bad_images", value) for value in (1, [1], "a", None)),
    *(("run.error_budget.skipped_steps", value) for value in COUNTS),
    *(("run.scaler", value) for value in (1, [], {"scale": 1.0}, {"scale": "a"})),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=range(len(WRONG)))
def test_every_wrong_entry_is_named_and_auto_goes_on_to_the_file_before(
    tmp_path, caplog, name, value
):
    trainer = trained(3)
    good = write_checkpoint(tmp_path, trainer.state_dict())
    trainer.progress.epoch = 4
    content = trainer.state_dict()
    content["state_dict"] = dict(content["state_dict"])
    flat = name.partition(".")[2] if name.startswith("state_dict.") else ""
    if flat:
        content["state_dict"][flat] = value
    elif name.startswith("run.ema."):
        content["run"]["ema"] = {**content["run"]["ema"], name[8:]: value}
    else:
        changed(content, name, value)
    path = tmp_path / "checkpoint_e4.pth"
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"checkpoint_e4\.pth") as error:
        trainer_of().load_state_dict(read_training_checkpoint(path), path)
    message = str(error.value)
    assert name.split(".")[0] in message
    assert len(message) < 600
    assert "\n" not in message
    cfg = default_config()
    cfg.merge_from_list(["TRAIN.SNAPSHOT_DIR", str(tmp_path)])
    resumed = trainer_of()
    assert f"resume from {good}, 3 epochs" in load_start(cfg, resumed, "auto")
    assert "trying the one before" in caplog.text
    assert resumed.progress.epoch == 3
    for key, weight in trainer.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[key], weight)


@pytest.mark.parametrize("key", [1, None, ("a",), 2.0])
@pytest.mark.parametrize("place", ["state_dict", "ema"])
def test_names_of_weights_are_texts(tmp_path, key, place):
    content = trained(3).state_dict()
    (content if place == "state_dict" else content["run"])[place] = {key: torch.ones(1)}
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=rf"a\.pth .*{place} is no dict of tensors by name"):
        read_training_checkpoint(tmp_path / "a.pth")


def test_whole_numbers_are_no_weights(tmp_path):
    content = trained(3).state_dict()
    name, path = WEIGHT.removeprefix("state_dict."), tmp_path / "a.pth"
    content["state_dict"] = {**content["state_dict"], name: torch.ones(3, 3, 1, 1).long()}
    torch.save(content, path)
    with pytest.raises(
        ValueError, match=rf"a\.pth does not fit .*{name} has numbers of type int64"
    ):
        trainer_of().load_state_dict(read_training_checkpoint(path), path)


def test_counters_agree_with_the_name_of_the_file(tmp_path):
    path = write_checkpoint(tmp_path, trained(3).state_dict())
    path.rename(tmp_path / "checkpoint_e7.pth")
    with pytest.raises(ValueError, match=r"checkpoint_e7\.pth .*epoch and run\.progress\.pairs"):
        read_training_checkpoint(tmp_path / "checkpoint_e7.pth")
    (tmp_path / "checkpoint_e7.pth").rename(tmp_path / "mine.pth")
    assert read_training_checkpoint(tmp_path / "mine.pth")["epoch"] == 3


def test_pairs_of_half_a_batch_are_refused(tmp_path, caplog):
    trainer = trained(3)
    write_checkpoint(tmp_path, trainer.state_dict())
    trainer.progress.pairs = 48
    path = write_checkpoint(tmp_path, trainer.state_dict())
    cfg = default_config()
    cfg.merge_from_list(["TRAIN.SNAPSHOT_DIR", str(tmp_path), "TRAIN.BATCH_SIZE", 32])
    with pytest.raises(ValueError, match=r"partial_e3_p48\.pth: .*pairs is 48, no multiple"):
        load_start(cfg, trainer_of(), str(path))
    assert "checkpoint_e3.pth, 3 epochs trained" in load_start(cfg, trainer_of(), "auto")
    cfg.TRAIN.BATCH_SIZE = 16
    assert "48 pairs of the next" in load_start(cfg, trainer_of(), "auto")


def test_momentum_of_another_shape_is_named(tmp_path):
    content = trained(3).state_dict()
    content["optimizer"]["state"][1]["momentum_buffer"] = torch.ones(7)
    with pytest.raises(ValueError, match=r"a\.pth: optimizer\.state\.1 is of another parameter"):
        trainer_of().load_state_dict(content, tmp_path / "a.pth")


def test_archives_that_would_fill_the_memory_are_refused(tmp_path):
    path = tmp_path / "bomb.pth"
    torch.save(trained(3).state_dict(), path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/99", bytes(2**24))
    assert path.stat().st_size < 2**20
    with pytest.raises(ValueError, match=r"bomb\.pth is damaged or no checkpoint"):
        read_training_checkpoint(path)


def test_rates_per_step_follow_the_pairs_of_the_epoch():
    trainer = trainer_of()
    schedule = Schedule((0.1, 0.3, 0.3), 0.1)
    trainer.plan = dataclasses.replace(trainer.plan, schedule=schedule, per_step=True)
    trainer.progress.pairs, trainer.progress.epoch_length = 16, 64
    trainer.model.forward = lambda batch: {"total_loss": trainer.model.rpn_head(batch).sum()}
    trainer.step([torch.ones(2, 3, 2, 2)])
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.15)
