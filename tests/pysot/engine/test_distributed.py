"""Several processes train like one: the same losses, the same decisions, nobody left waiting."""

import json
import math
import os
import socket
import time

import pytest
import torch
from group_norm import GroupBatchNorm2d, group_batch_norm
from ranks import run_ranks
from training_crops import tiny_config, write_training_set

from pysot.cli.train import main
from pysot.core import RunFailed
from pysot.engine import build
from pysot.engine.distributed import (
    ProcessGroup,
    device_of,
    find_process_group,
    init_process_group,
    sync_batch_norm,
)
from pysot.engine.optim import OptimizerPlan, Schedule
from pysot.engine.trainer import Trainer
from pysot.utils.model_load import read_checkpoint

EPOCHS, PAIRS = 2, 16


@pytest.fixture(autouse=True)
def synchronized_batch_norm_on_cpus(monkeypatch):
    monkeypatch.setattr(build, "sync_batch_norm", group_batch_norm)


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crops")
    write_training_set(folder)
    return folder


def options(crops, name, **train):
    """Command line of a run that writes below ``crops/name``."""
    folder = crops / name
    settings = {
        "EPOCH": EPOCHS,
        "LOG_DIR": folder / "logs",
        "SNAPSHOT_DIR": folder / "snapshot",
        **train,
    }
    pairs = [str(x) for key, value in settings.items() for x in (f"TRAIN.{key}", value)]
    more = ["DATASET.VIDEOS_PER_EPOCH", str(PAIRS)]
    return ["--cfg", str(tiny_config(crops)), *pairs, *more]


def curve(crops, name, ranks, **train):
    """Train; returns all losses of every step."""
    arguments = options(crops, name, **train)
    if ranks == 1:
        main(arguments)
    else:
        assert run_ranks(lambda rank: main(arguments), ranks) == [0] * ranks
    lines = (crops / name / "logs" / "log.jsonl").read_text().splitlines()
    steps = [json.loads(line) for line in lines if '"event": "train"' in line]
    keys = ("cls_loss", "loc_loss", "total_loss", "grad_norm")
    return [[step[key] for key in keys] for step in steps]


def assert_same(first, second, tolerance=1e-5):
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        assert one[:3] == pytest.approx(other[:3], abs=tolerance, rel=tolerance)
        assert one[3] == pytest.approx(other[3], rel=1e-3)  # rounding meets ReLUs


def test_one_process_of_8_pairs_is_two_of_4(crops):
    alone = curve(crops, "alone", 1, BATCH_SIZE=8, GRAD_REDUCE="mean")
    shared = {"BATCH_SIZE": 4, "GRAD_REDUCE": "mean", "SYNC_BN": True}
    assert_same(alone, curve(crops, "shared", 2, **shared))
    assert len(alone) == EPOCHS * PAIRS // 8
    assert abs(alone[0][2] - alone[-1][2]) > 0.01  # there was something to learn


def test_sums_move_twice_as_far(crops):
    faster = {"BATCH_SIZE": 8, "BASE_LR": 0.01, "GRAD_CLIP": 1e9}
    shared = {"BATCH_SIZE": 4, "SYNC_BN": True, "GRAD_CLIP": 1e9}
    alone, both = curve(crops, "fast", 1, **faster), curve(crops, "sum", 2, **shared)
    assert_same([[*row[:3], 2 * row[3]] for row in alone], both, 1e-4)  # steps magnify rounding


@pytest.mark.parametrize("rule", ["sum", "mean"])
def test_accumulated_batches_are_as_good_as_processes(crops, rule):
    settings = {"BATCH_SIZE": 4, "GRAD_REDUCE": rule, "EPOCH": 1}
    alone = curve(crops, f"accumulated-{rule}", 1, ACCUMULATE=2, **settings)
    assert_same(alone, curve(crops, f"ranks-{rule}", 2, **settings))
    settings["BATCH_SIZE"] = 2
    both = curve(crops, f"both-{rule}", 2, ACCUMULATE=2, **settings)
    assert_same(both, curve(crops, f"four-{rule}", 1, ACCUMULATE=4, **settings))


class Line(torch.nn.Module):
    """Loss = weight * x; counts its batches, as batch norm does."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, batch):
        self.batches += 1
        return {"total_loss": self.weight * batch["x"]}


def start(model, group):
    """A trainer of processes whose gradients add up."""
    trainer = Trainer(
        model,
        OptimizerPlan(Schedule((1.0,), 1.0), 1.0, 1.0, 0.0, 0.0, (), 0),
        group,
        torch.device("cpu"),
        seed=0,
        grad_clip=10.0,
        grad_reduce="sum",
        precision="fp32",
        ema_decay=0.0,
        max_bad_images=0,
    )
    trainer.optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    trainer._network = torch.nn.parallel.DistributedDataParallel(model)
    return trainer


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e9])
def test_a_loss_of_one_process_decides_for_all(tmp_path, value):
    def work(rank):
        group = find_process_group()
        with init_process_group(group, torch.device("cpu")):
            model = Line()
            trainer = start(model, group)
            for step, x in enumerate((0.125, value if rank else 0.25, 0.25)):
                numbers = trainer.step([{"x": torch.tensor(x)}])
                assert math.isnan(numbers["grad_norm"]) == (step == 1)
            assert trainer.error_budget.skipped_steps == 1
            assert model.weight.item() == 1 - 2 * 0.125 - 2 * 0.25  # sums over two

    assert run_ranks(work) == [0, 0]


def test_all_processes_count_the_bad_images_of_each(crops, tmp_path):
    write_training_set(tmp_path)
    broken = tmp_path / "crop511" / "v1" / "000000.00.x.jpg"
    broken.write_bytes(b"broken")
    arguments = options(tmp_path, "run", BATCH_SIZE=2, EPOCH=1)
    assert run_ranks(lambda rank: main(arguments)) == [0, 0]
    content = read_checkpoint(tmp_path / "run" / "snapshot" / "checkpoint_e1.pth")
    assert [str(broken) in text for text in content["run"]["error_budget"]["bad_images"]] == [True]
    assert len(content["run"]["random"]["generators"]) == 2


def test_a_process_that_dies_leaves_nobody_waiting():
    def work(rank):
        group = find_process_group()
        with init_process_group(group, torch.device("cpu")):
            group.all_reduce([1.0])
            if rank:
                os._exit(9)
            with pytest.raises(RunFailed, match="another process of this run is gone"):
                group.all_reduce([1.0])
                group.all_reduce([1.0])

    assert run_ranks(work, timeout=60)[1] == 9


def test_processes_that_a_launcher_starts_again_find_each_other():
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True)

    def work(rank, attempt):
        os.environ.update(
            TORCHELASTIC_USE_AGENT_STORE="True",
            TORCHELASTIC_RESTART_COUNT=str(attempt),
            MASTER_PORT=str(store.port),
        )
        # the other finds the address that the attempt before has left; chance decides who calls
        time.sleep(0.4 if rank == attempt % 2 else 0)
        with init_process_group(find_process_group(), torch.device("cpu")):
            assert find_process_group().all_reduce([1.0]) == [2.0]
            time.sleep(0.1)  # let the other have its answer
            os._exit(9)

    for attempt in range(5):
        assert run_ranks(lambda rank, attempt=attempt: work(rank, attempt), timeout=60) == [9, 9]


def test_a_process_that_dies_in_a_step_is_one_line_and_leaves_the_last_whole_step():
    def work(rank):
        group = find_process_group()
        with init_process_group(group, torch.device("cpu")):
            model = Line()
            trainer = start(model, group)
            trainer._mean_over_processes = lambda found: found[
                0
            ]  # so that the backward pass finds out
            if rank:
                os._exit(9)
            whole = []
            with pytest.raises(RunFailed, match="another process of this run is gone"):
                for _ in range(2):
                    whole.append(trainer.step([{"x": torch.tensor(0.5)}]))
            assert model.batches.item() == len(whole)
            os._exit(0)

    assert run_ranks(work, timeout=60) == [0, 9]


def test_batch_norm_over_processes_is_that_of_one_batch():
    torch.manual_seed(0)
    x = torch.randn(4, 3, 5, 5, dtype=torch.float64) * 3 + 1
    weights = torch.randn(4, 3, 5, 5, dtype=torch.float64)

    def normalized(norm, x, weights):
        x = x.clone().requires_grad_()
        y = norm(x)
        (y * weights).sum().backward()
        return y, x.grad

    def work(rank):
        with init_process_group(find_process_group(), torch.device("cpu")):
            plain = torch.nn.BatchNorm2d(3).double()
            group = torch.nn.BatchNorm2d(3).double()
            group.__class__ = GroupBatchNorm2d
            mine = slice(2 * rank, 2 * rank + 2)
            expected = [value[mine] for value in normalized(plain, x, weights)]
            found = normalized(group, x[mine], weights[mine])
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one, other)
            torch.testing.assert_close(group.running_mean, plain.running_mean)
            torch.testing.assert_close(group.running_var, plain.running_var)
            torch.distributed.all_reduce(group.weight.grad)
            torch.testing.assert_close(group.weight.grad, plain.weight.grad)
            torch.testing.assert_close(group.eval()(x), plain.eval()(x))

    assert run_ranks(work) == [0, 0]


def test_a_port_in_use_is_named(monkeypatch):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
        monkeypatch.setenv("MASTER_PORT", port := str(other.getsockname()[1]))
        text = rf"port {port} \(MASTER_PORT\) is in use by another program or training; choose"
        with (
            pytest.raises(RunFailed, match=text),
            init_process_group(ProcessGroup(0, 2), torch.device("cpu")),
        ):
            pass


def test_synchronized_batch_norm_needs_cuda():
    with pytest.raises(ValueError, match=r"TRAIN.SYNC_BN needs CUDA devices, not cpu"):
        sync_batch_norm(torch.nn.BatchNorm2d(3), torch.device("cpu"))
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(3))
    assert type(sync_batch_norm(model, torch.device("cuda"))[0]) is torch.nn.SyncBatchNorm


def test_the_environment_of_a_launcher(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert find_process_group() == ProcessGroup(0, 1, 0)
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ValueError, match="WORLD_SIZE is 4, but RANK, MASTER_ADDR, MASTER_PORT"):
        find_process_group()
    for name, value in (("RANK", "3"), ("MASTER_ADDR", "a"), ("MASTER_PORT", "1")):
        monkeypatch.setenv(name, value)
    assert find_process_group(1) == ProcessGroup(3, 4, 1)
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert find_process_group(1) == ProcessGroup(3, 4, 0)
    for name, value, text in (
        ("RANK", "4", "RANK is 4, but WORLD_SIZE is 4"),
        ("RANK", "x", "RANK is 'x' in the environment; expected a number"),
        ("WORLD_SIZE", "two", "WORLD_SIZE is 'two'"),
    ):
        monkeypatch.setenv(name, value)
        with pytest.raises(ValueError, match=text):
            find_process_group()


def test_devices_of_processes(monkeypatch):
    cpu = torch.device("cpu")
    assert device_of(ProcessGroup(1, 2, 1), cpu) == cpu
    assert device_of(ProcessGroup(), torch.device("cuda:1")) == torch.device("cuda:1")
    with pytest.raises(ValueError, match="'cuda:1' cannot serve 2 processes; use cuda or cpu"):
        device_of(ProcessGroup(1, 2, 1), torch.device("cuda:1"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_of(ProcessGroup(5, 8, 1), torch.device("cuda")) == torch.device("cuda:1")
    with pytest.raises(ValueError, match="process 2 of this machine has no GPU of its own"):
        device_of(ProcessGroup(2, 8, 2), torch.device("cuda"))
