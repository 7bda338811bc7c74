"""Commands that are killed end, started again, with the bytes of one that was not."""

import json
import multiprocessing
import os
import random
import time
from pathlib import Path

import cv2
import pytest

from pysot.cli import eval as eval_tool
from pysot.cli import test as test_tool
from pysot.cli import tune

pytestmark = [
    pytest.mark.abuse,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads Linux's /proc"),
]


def work(main, argv):
    """Call a command in a session of its own; it writes no line here."""
    os.setsid()
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    cv2.setNumThreads(0)  # OpenCV would wait for threads that a fork does not have
    main(argv)


def start(main, argv):
    """Start a command: forked if it uses no threads, which do not survive that, else spawned."""
    context = multiprocessing.get_context("fork" if main is eval_tool.main else "spawn")
    process = context.Process(target=work, args=(main, argv))
    process.start()
    return process


def members(session):
    """Processes of a session that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def contents(folder):
    """Bytes of all files by name, hidden ones included, without journals of studies."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in (".journal", ".lock")
    }


def check_kills(main, argv_of, folder, kills, seed=1):
    """Run whole, then kill at random moments and go on; compare what they leave."""
    draw = random.Random(seed)
    whole, broken = folder / "whole", folder / "broken"
    begin = time.monotonic()
    process = start(main, argv_of(whole))
    process.join(300)
    assert process.exitcode == 0
    duration = time.monotonic() - begin
    for number in range(kills):
        process = start(main, argv_of(broken))
        process.join(duration * (number + draw.random()) / kills)
        process.kill()
        process.join()
        deadline = time.monotonic() + 30
        while members(process.pid):
            assert time.monotonic() < deadline, f"processes are left: {members(process.pid)}"
            time.sleep(0.05)
    process = start(main, argv_of(broken))
    process.join(300)
    assert process.exitcode == 0
    assert contents(broken) == contents(whole)


@pytest.fixture
def scored(otb_set, tmp_path):
    """Arguments of eval, without outputs, for a set with the results of two trackers."""
    annotations = otb_set / "Tiny.json"
    records = json.loads(annotations.read_text())
    plain = {name: {**record, "attr": []} for name, record in records.items()}
    annotations.write_text(json.dumps(plain))  # fewer plots
    base = ["--dataset", "Tiny", "--dataset-root", str(otb_set), "--static"]
    for name in ("one", "two"):
        test_tool.main([*base, "--output", str(tmp_path / "results"), "--name", name])
    return ["-p", str(tmp_path / "results"), "-d", "Tiny", "--dataset-root", str(otb_set)]


def outputs(scored, *more):
    """Arguments that write everything that eval can write below a folder."""
    return lambda folder: [
        *scored,
        *("--json", str(folder / "scores.json"), "--csv", str(folder / "scores.csv")),
        *("--latex", str(folder / "table.tex"), "--report", str(folder / "page")),
        *("--plot", str(folder / "plots"), *more),
    ]


def test_eval_killed_once(scored, tmp_path):
    check_kills(eval_tool.main, lambda folder: outputs(scored)(folder)[:-2], tmp_path, kills=1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
def test_eval_killed_eight_times(scored, tmp_path, kind):
    more = ["--plot-format", kind, "--workers", "2"]
    check_kills(eval_tool.main, outputs(scored, *more), tmp_path, kills=8)


@pytest.fixture
def search(tiny_config, tiny_snapshot, otb_set):
    """Arguments of a search of two settings, in which a frame takes a while."""
    ranges = ["--sampler", "grid", "--penalty-k", "0.1,0.3,0.1", "--lr", "0.4"]
    ranges += ["--window-influence", "0.4"]
    command = ["--dataset", "Tiny", "--dataset-root", str(otb_set), "--config", str(tiny_config)]
    command += ["--snapshot", str(tiny_snapshot), *ranges]
    return lambda folder: [*command, "--output", str(folder)]


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_search_killed_eight_times(search, tmp_path, workers):
    check_kills(tune.main, lambda folder: [*search(folder), "--workers", workers], tmp_path, 8)
