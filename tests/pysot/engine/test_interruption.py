"""Runs that are killed, stopped, or out of disk space end with the weights of one that was not."""

import errno
import json
import multiprocessing
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from group_norm import group_batch_norm
from ranks import CONTEXT, kill, run_ranks, start_ranks, wait_for
from training_crops import tiny_config, write_training_set

from pysot.cli import run
from pysot.cli.train import main
from pysot.core import RunFailed
from pysot.core.config import load_config
from pysot.datasets.build import _begin_worker
from pysot.datasets.dataset import PairDataset
from pysot.engine import build, checkpoint
from pysot.engine.distributed import ProcessGroup
from pysot.engine.trainer import Progress
from pysot.utils.model_load import read_checkpoint

ROOT = Path(__file__).resolve().parents[3]
STEPS, EPOCHS = 4, 3
EVERY_STEP = 1e-9  # minutes


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crops")
    write_training_set(folder)
    return folder


@pytest.fixture(scope="module")
def whole(crops):
    """Function of the number of processes: the last checkpoint of a run that nothing disturbed."""
    done = {}

    def train(ranks):
        if ranks not in done:
            folder = crops / f"whole{ranks}"
            assert run_ranks(work(crops, folder, ranks), ranks) == [0] * ranks
            done[ranks] = final(folder)
        return done[ranks]

    return train


def command(crops, folder, ranks, **train):
    """Arguments of a run that goes on from what there is of it already."""
    settings = {
        "EPOCH": EPOCHS,
        "BATCH_SIZE": 2,
        "EMA": 0.9,
        "SAVE_MINUTES": EVERY_STEP,
        "LOG_DIR": folder / "logs",
        "SNAPSHOT_DIR": folder / "snapshot",
        **train,
    }
    pairs = [str(x) for key, value in settings.items() for x in (f"TRAIN.{key}", value)]
    number = ["DATASET.VIDEOS_PER_EPOCH", str(STEPS * 2 * ranks)]
    return ["--cfg", str(tiny_config(crops)), "--resume", "auto", *pairs, *number]


def work(crops, folder, ranks, **train):
    """What each process of that run does."""
    arguments = command(crops, folder, ranks, **train)
    return lambda rank: main(arguments)


def final(folder):
    return read_checkpoint(folder / "snapshot" / f"checkpoint_e{EPOCHS}.pth")


def assert_same_end(first, second):
    """Weights, batch-norm buffers, momentum, average and counters are the same bits."""
    runs = first["run"], second["run"]
    for weights, others in (
        (first["state_dict"], second["state_dict"]),
        (runs[0]["ema"], runs[1]["ema"]),
    ):
        assert all(torch.equal(value, others[key]) for key, value in weights.items())
    for key, state in first["optimizer"]["state"].items():
        other = second["optimizer"]["state"][key]
        assert torch.equal(state["momentum_buffer"], other["momentum_buffer"])
    assert runs[0]["ema"]["n_averaged"] == STEPS * EPOCHS
    assert [run["progress"]["step"] for run in runs] == [STEPS * EPOCHS] * 2
    generators = [run["random"]["generators"] for run in runs]
    for one, other in zip(*generators, strict=True):
        assert torch.equal(one["torch"], other["torch"])


def check_kills(crops, whole, folder, ranks, kills, seed):
    """Kill runs at random moments, start them again, and compare what they end with."""
    expected, draw = whole(ranks), random.Random(seed)
    job = work(crops, folder, ranks)
    start = time.monotonic()
    assert run_ranks(job, ranks) == [0] * ranks
    duration, done = time.monotonic() - start, 0
    assert_same_end(expected, final(folder))
    while done < kills:
        shutil.rmtree(folder)
        ended = [1]
        while any(ended):
            processes = start_ranks(job, ranks)
            processes[-1].join(draw.uniform(0, duration) if done < kills else 120)
            alive = any(process.is_alive() for process in processes)
            if alive and done < kills:
                kill(processes)
                done += 1
            else:
                ended = wait_for(processes)
        assert_same_end(expected, final(folder))
        names = {path.name for path in (folder / "snapshot").iterdir()}
        epochs = range(1, EPOCHS + 1)
        assert names == {f"{kind}_e{e}.pth" for kind in ("checkpoint", "ema") for e in epochs}


def test_two_processes_killed_twice(crops, whole, tmp_path):
    check_kills(crops, whole, tmp_path / "run", 2, kills=2, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_runs_killed_twenty_times(crops, whole, tmp_path, ranks):
    check_kills(crops, whole, tmp_path / "run", ranks, kills=20, seed=2)


@pytest.mark.slow
def test_torchrun_starts_a_run_again_after_a_process_was_lost(crops, whole, tmp_path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launcher += ["--standalone", "--max-restarts", "2", "--redirects", "3"]
    launcher += ["--log-dir", str(tmp_path / "launcher"), str(ROOT / "tools" / "train.py")]
    with subprocess.Popen([*launcher, *command(crops, tmp_path, 2)]) as run:
        for epoch in (1, 2):
            wait_for_line(tmp_path, f"Epoch: [{epoch}][2/")
            os.kill(workers_of(run.pid)[-1], signal.SIGKILL)
        assert run.wait(300) == 0
    assert_same_end(whole(2), final(tmp_path))


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def workers_of(pid):
    named = {child: Path(f"/proc/{child}/cmdline").read_text() for child in children(pid)}
    return [child for child, command_line in named.items() if "train.py" in command_line]


def wait_for_line(folder, text):
    deadline = time.monotonic() + 60
    log = folder / "logs" / "logs.txt"
    while not (log.exists() and text in log.read_text()):
        assert time.monotonic() < deadline, f"{text!r} never appeared in {log}"
        time.sleep(0.002)


@pytest.mark.parametrize(
    ("ranks", "number", "code", "workers"),
    [(1, signal.SIGTERM, 143, 1), (2, signal.SIGTERM, 143, 0), (1, signal.SIGINT, 130, 0)],
)
def test_a_signal_stops_after_the_step(crops, whole, tmp_path, ranks, number, code, workers):
    job = work(crops, tmp_path, ranks, SAVE_MINUTES=0, NUM_WORKERS=workers)
    processes = start_ranks(job, ranks)
    wait_for_line(tmp_path, "Epoch: [2][1/")
    os.kill(processes[-1].pid, number)  # one is enough: all agree
    codes = wait_for(processes)
    assert codes[-1] == code
    assert all(codes)
    names = sorted(path.name for path in (tmp_path / "snapshot").glob("*.pth"))
    assert names[0] == "checkpoint_e1.pth"
    assert names[-1].startswith("partial_e1_p") or "checkpoint_e2.pth" in names
    lines = (tmp_path / "logs" / "log.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["event"] == "checkpoint"
    assert run_ranks(job, ranks) == [0] * ranks
    assert_same_end(whole(ranks), final(tmp_path))


def _worker(pipe):
    _begin_worker(0)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(os.getpid(), number)
    pipe.send(bytes(1 << 20))  # more than a pipe holds
    time.sleep(20)
    os._exit(9)


def test_a_loader_worker_sends_its_batch_after_the_signal_of_a_scheduler(monkeypatch):
    """Else the main process, which got the signal, too, would wait for the rest for ever."""
    monkeypatch.setattr("pysot.datasets.build._LAST_SECONDS", 0.3)
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_worker, args=(theirs,))
    process.start()
    assert ours.poll(20) and len(ours.recv()) == 1 << 20
    process.join(20)
    assert process.exitcode == 0


def fails(job):
    """What each process does, through the door of the tool: a failure is one line and a code."""
    return lambda rank: run(lambda: job(rank))


def check_saved_and_resumed(crops, whole, folder, ranks, capfd):
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    saved = [line for line in errors if "--resume auto goes on from it" in line]
    assert len(saved) == ranks or len(saved) == 1
    newest = next(checkpoint.whole_checkpoints(folder / "snapshot"))[0]
    assert str(newest) in saved[0]
    assert run_ranks(work(crops, folder, ranks), ranks) == [0] * ranks
    assert_same_end(whole(ranks), final(folder))
    return errors


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_dead_loader_worker_costs_no_step(crops, whole, tmp_path, ranks, capfd):
    job = work(crops, tmp_path, ranks, SAVE_MINUTES=0, NUM_WORKERS=1)
    processes = start_ranks(fails(job), ranks)
    wait_for_line(tmp_path, "Epoch: [2][1/")
    (worker,) = children(processes[-1].pid)
    os.kill(worker, signal.SIGKILL)
    codes = wait_for(processes)
    if codes == [0] * ranks:
        pytest.skip("the worker had read everything")
    assert codes == [1] * ranks
    errors = check_saved_and_resumed(crops, whole, tmp_path, ranks, capfd)
    assert "a loader worker died, perhaps for lack of memory" in errors[0]
    assert "TRAIN.NUM_WORKERS" in errors[0]


@pytest.mark.parametrize("item", [0, STEPS * 2])  # of the first epoch, of the second
def test_a_full_shared_memory_costs_no_step(crops, whole, tmp_path, monkeypatch, item):
    def refuse(self, number):
        if number == item and torch.utils.data.get_worker_info():
            raise RuntimeError(
                "unable to allocate shared memory(shm) for file </torch_1>: No space"
            )
        return get(self, number)

    get = PairDataset.__getitem__
    with monkeypatch.context() as patch:
        patch.setattr(PairDataset, "__getitem__", refuse)
        with pytest.raises(
            RunFailed, match=r"for lack of memory or of /dev/shm.*--resume auto goes"
        ):
            work(crops, tmp_path, 1, SAVE_MINUTES=0, NUM_WORKERS=1)(0)
    assert [path.name for path in (tmp_path / "snapshot").glob(f"checkpoint_e{item // 8}.pth")]
    assert run_ranks(work(crops, tmp_path, 1), 1) == [0]
    assert_same_end(whole(1), final(tmp_path))


def test_a_folder_serves_one_training_at_a_time(crops, whole, tmp_path, caplog, capfd):
    job, folder = work(crops, tmp_path, 2, EPOCH=1), tmp_path / "snapshot"
    cfg = load_config(tiny_config(crops), ["TRAIN.SNAPSHOT_DIR", str(folder)])
    with build.claim_folder(cfg, ProcessGroup()):
        assert run_ranks(fails(job), 2) == [2, 2]
        assert [path.name for path in folder.glob("*.pth")] == []
    owner = f"TRAIN.SNAPSHOT_DIR {folder} is in use by the training of process {os.getpid()} on "
    assert capfd.readouterr().err.count(f"error: {owner}{platform.node()}") == 2
    (folder / ".training").write_text("process 1 on elsewhere\n")  # as a killed one leaves it
    with build.claim_folder(cfg, ProcessGroup()):
        assert "from process 1 on elsewhere, which must have ended" in caplog.text
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("error", "goes_on"),
    [
        (OSError(errno.ENOLCK, "no lock"), True),
        (NotImplementedError("no lock"), True),
        (OSError(errno.EACCES, "no lock"), False),
    ],
)
def test_a_folder_that_cannot_be_locked(crops, tmp_path, monkeypatch, caplog, error, goes_on):
    def refuse(lock, timeout):
        raise error

    monkeypatch.setattr(FileLock, "acquire", refuse)
    cfg = load_config(tiny_config(crops), ["TRAIN.SNAPSHOT_DIR", str(tmp_path)])
    if goes_on:  # file systems without locks serve as they did
        with build.claim_folder(cfg, ProcessGroup()):
            assert "no lock; see that no other process writes there" in caplog.text
    else:
        with pytest.raises(OSError, match="no lock"), build.claim_folder(cfg, ProcessGroup()):
            pass


@pytest.mark.parametrize(
    ("length", "known", "text"),
    [
        (4, True, "6 pairs into an epoch, which now has 4 .*; set DATASET.VIDEOS_PER_EPOCH 8 as "),
        (4, False, "set DATASET.VIDEOS_PER_EPOCH 6 as before, or resume from checkpoint_e1.pth"),
        (7, True, ""),
        (16, True, ""),
        (8, True, None),
    ],
)
def test_an_epoch_that_goes_on_keeps_its_length(caplog, length, known, text):
    progress = Progress(0, epoch=1, pairs=6, epoch_length=8 if known else 0)
    if text:
        with pytest.raises(ValueError, match=text):
            build._continue_epoch(progress, length)
    else:
        build._continue_epoch(progress, length)
        assert ("and had 8: some pairs come again or not at all" in caplog.text) == (text == "")
        assert progress.epoch_length == length


def test_a_rest_that_fills_no_step_ends_the_epoch(crops, tmp_path, monkeypatch):
    def stop(self, number):
        if number == 4:  # of the third step
            os.kill(os.getpid(), signal.SIGTERM)
        return get(self, number)

    get = PairDataset.__getitem__
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(PairDataset, "__getitem__", stop)
        work(crops, tmp_path, 1)(0)
    assert (tmp_path / "snapshot" / "partial_e0_p6.pth").is_file()
    with pytest.raises(ValueError, match=r"no multiple of TRAIN\.BATCH_SIZE 8"):
        work(crops, tmp_path, 1, EPOCH=2, BATCH_SIZE=8)(0)
    work(crops, tmp_path, 1, EPOCH=2, BATCH_SIZE=3)(0)
    content = read_checkpoint(tmp_path / "snapshot" / "checkpoint_e2.pth")
    assert (content["epoch"], content["run"]["progress"]["step"]) == (2, 5)


def test_a_lost_process_costs_no_step(crops, whole, tmp_path, capfd):
    processes = start_ranks(fails(work(crops, tmp_path, 2, SAVE_MINUTES=0)), 2)
    wait_for_line(tmp_path, "Epoch: [2][2/")
    processes[1].kill()
    assert wait_for(processes) == [1, -signal.SIGKILL]
    assert list((tmp_path / "snapshot").glob("partial_e1_p*.pth"))
    errors = check_saved_and_resumed(crops, whole, tmp_path, 2, capfd)
    assert "another process of this run is gone" in errors[0]


def test_a_cut_checkpoint_costs_the_steps_since_the_one_before(crops, whole, tmp_path):
    processes = start_ranks(work(crops, tmp_path, 1), 1)
    wait_for_line(tmp_path, "Epoch: [2][3/")
    kill(processes)
    places = checkpoint._places([path.name for path in (tmp_path / "snapshot").iterdir()])
    newest, before = sorted(places, reverse=True)[:2]
    os.truncate(tmp_path / "snapshot" / places[newest], 1000)
    path, content = next(checkpoint.whole_checkpoints(tmp_path / "snapshot"))
    assert path.name == places[before]
    assert (content["epoch"], content["run"]["progress"]["pairs"]) == before
    assert run_ranks(work(crops, tmp_path, 1), 1) == [0]
    assert_same_end(whole(1), final(tmp_path))


def full_disk(monkeypatch, refuses):
    """Let writing fail as on a full disk, for the calls that ``refuses(number)`` chooses."""
    save, calls = torch.save, []

    def fail(content, file):
        calls.append(content)
        if refuses(len(calls)):
            file.write(b"some of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(content, file)

    monkeypatch.setattr(torch, "save", fail)
    monkeypatch.setattr(checkpoint, "_RETRY_SECONDS", 0.0)


def test_a_full_disk_ends_no_run(crops, whole, tmp_path, monkeypatch, caplog):
    expected = whole(1)
    full_disk(monkeypatch, lambda call: call // 5 % 2 == 1)
    work(crops, tmp_path, 1)(0)
    assert "No space left on device; training goes on" in caplog.text
    assert_same_end(expected, final(tmp_path))
    assert not list((tmp_path / "snapshot").glob(".*"))


def test_the_last_checkpoint_is_tried_again_then_the_run_fails(crops, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_RETRIES", 3)
    full_disk(monkeypatch, lambda call: call > 2)
    with pytest.raises(RunFailed, match=r"No space left on device; the checkpoints before are"):
        work(crops, tmp_path, 1, SAVE_MINUTES=0, EPOCH=2)(0)
    kept = [path.name for path in (tmp_path / "snapshot").glob("checkpoint*")]
    assert kept == ["checkpoint_e1.pth"]
    read_checkpoint(tmp_path / "snapshot" / "checkpoint_e1.pth")


def losses(folder):
    lines = map(json.loads, (folder / "logs" / "log.jsonl").read_text().splitlines())
    return {line["step"]: line["total_loss"] for line in lines if line["event"] == "train"}


def test_another_number_of_processes_goes_on_with_the_same_pairs(crops, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "sync_batch_norm", group_batch_norm)
    both = {"BATCH_SIZE": 2, "SYNC_BN": True, "GRAD_REDUCE": "mean"}
    assert run_ranks(work(crops, tmp_path / "two", 2, **both), 2) == [0, 0]
    stopped = start_ranks(work(crops, tmp_path / "both", 2, SAVE_MINUTES=0, **both), 2)
    wait_for_line(tmp_path / "both", "Epoch: [2][1/")
    os.kill(stopped[0].pid, signal.SIGTERM)
    wait_for(stopped)
    alone = {"BATCH_SIZE": 4, "GRAD_REDUCE": "mean"}
    process = CONTEXT.Process(target=work(crops, tmp_path / "both", 2, **alone), args=(0,))
    process.start()
    assert wait_for([process]) == [0]
    assert losses(tmp_path / "both") == pytest.approx(losses(tmp_path / "two"), abs=1e-5, rel=1e-5)


def test_only_the_last_checkpoints_are_kept(crops, tmp_path):
    job = work(crops, tmp_path, 1, KEEP=2)
    job(0)
    names = sorted(path.name for path in (tmp_path / "snapshot").iterdir())
    assert names == ["checkpoint_e2.pth", "checkpoint_e3.pth", "ema_e2.pth", "ema_e3.pth"]
