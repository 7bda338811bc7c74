import logging
import multiprocessing
import os
import pickle
import re
import time
from contextlib import nullcontext
from itertools import islice
from pathlib import Path

import pytest
import yaml

from pysot.cli import run
from pysot.cli import test as test_tool
from pysot.cli import tune as tool
from pysot.core.config import load_config

TRIAL = re.compile(r"trial (\d+): success (\d\.\d+)(, pruned after \d videos)?: (.*)")


@pytest.fixture
def command(tiny_config, tiny_snapshot, otb_set, tmp_path, monkeypatch):
    """Command line of a search over the drawn set."""
    monkeypatch.chdir(tmp_path)
    return [
        *("--dataset", "Tiny", "--dataset-root", str(otb_set)),
        *("--config", str(tiny_config), "--snapshot", str(tiny_snapshot)),
    ]


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*.txt"))}


def trials(text):
    return [match.groups() for match in map(TRIAL.fullmatch, text.splitlines()) if match]


def test_the_first_trial_is_the_configuration_and_the_best_one_is_written(command, capsys):
    tool.main([*command, "--trials", "8", "--seed", "3", "TRACK.LR", "0.45"])
    printed = capsys.readouterr()
    found = trials(printed.out)
    assert [int(number) for number, *_ in found] == list(range(8))
    assert found[0][3] == "LR 0.45 PENALTY_K 0.1 WINDOW_INFLUENCE 0.4"
    best = max((score, -int(number)) for number, score, pruned, _ in found if not pruned)
    path = Path("hp_search_result/Tiny_tiny.yaml")
    first = path.read_text().splitlines()[0]
    assert f"{float(re.search('success ([0-9.]+)', first)[1]):.3f}" == best[0]
    values = found[-best[1]][3]
    track = yaml.safe_load(path.read_text())["TRACK"]
    assert values == f"LR {track['LR']} PENALTY_K {track['PENALTY_K']} " + (
        f"WINDOW_INFLUENCE {track['WINDOW_INFLUENCE']}"
    )
    assert printed.out.splitlines()[-1].startswith(f"best: TRACK.LR {track['LR']} ")
    command[command.index("--config") + 1] = str(path)
    test_tool.main(command)
    (folder,) = Path("hp_search_result/Tiny").glob(f"*_lr-{tool_decimal(track['LR'])}")
    assert contents(folder) == contents("results/Tiny/tiny")


def tool_decimal(value):
    return f"{value:.3f}" if value == round(value, 3) else repr(value)


def test_a_seed_repeats_a_search_and_outputs_that_are_shared_change_nothing(command, capsys):
    printed = []
    for folder, memory in (("a", "64"), ("b", "64"), ("c", "0")):
        options = ["--trials", "7", "--output", folder, "--memory", memory, "--seed", "5"]
        tool.main([*command, *options])
        printed.append(trials(capsys.readouterr().out))
        assert contents(folder) == contents("a")
    assert printed[0] == printed[1] == printed[2]
    assert len(contents("a")) > 7


def test_the_next_start_goes_on_and_a_higher_number_adds_trials(command, capsys):
    tool.main([*command, "--trials", "2"])
    first = contents("hp_search_result")
    capsys.readouterr()
    tool.main([*command, "--trials", "4"])
    assert [int(number) for number, *_ in trials(capsys.readouterr().out)] == [2, 3]
    tool.main([*command, "--trials", "4"])
    printed = capsys.readouterr()
    assert trials(printed.out) == [] and "best: " in printed.out
    assert first.items() <= contents("hp_search_result").items()


@pytest.mark.slow
def test_workers_share_the_trials(command, capsys):
    tool.main([*command, "--trials", "5", "--workers", "2", "--no-prune"])
    printed = capsys.readouterr()
    assert sorted(int(number) for number, *_ in trials(printed.out)) == list(range(5))
    assert "5 settings are complete, 0 were pruned" in printed.err
    assert len(contents("hp_search_result")) == 5 * 3


def test_a_failing_configuration_ends_the_search(command, otb_set, capsys):
    image = otb_set / "B" / "img" / "0004.jpg"
    content = image.read_bytes()
    image.unlink()
    with pytest.raises(SystemExit) as stop:
        run(lambda: tool.main([*command, "--trials", "3"]))
    assert stop.value.code == 1
    assert "the configuration's own setting fails: B: " in capsys.readouterr().err
    assert len(contents("hp_search_result")) == 2  # what was finished is kept
    image.write_bytes(content)
    tool.main([*command, "--trials", "2"])  # and begins with that configuration again
    assert trials(capsys.readouterr().out)[0][3] == "LR 0.4 PENALTY_K 0.1 WINDOW_INFLUENCE 0.4"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--range", "SCALE_STEP=1,2"], "SiamRPNTracker does not read TRACK.SCALE_STEP"),
        (["--range", "LR=-1,0.5"], "TRACK.LR is -1.0; expected a number of 0 or more"),
        (["--range", "LR=a"], "range LR=a: expected KEY=START,STOP"),
        (["--sampler", "grid", "--range", "LR=0,1"], "range LR: a grid needs START,STOP,STEP"),
        (["--storage", "nosuch://host/base"], "--storage nosuch://host/base cannot be used"),
        (["--storage", "."], "--storage . cannot be used"),
        (["--seed", "-1"], "--seed and --memory must be 0 or more"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(options, message, command, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run(lambda: tool.main([*command, *options]))
    assert stop.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "hp_search_result").exists()


@pytest.mark.parametrize("missing", ["--config", "--snapshot"])
def test_what_describes_the_tracker_may_not_be_missing(missing, command, tmp_path):
    at = command.index(missing)
    with pytest.raises((ValueError, OSError), match=r"needs --config and|config\.yaml"):
        tool.main([*command[:at], *command[at + 2 :]])
    assert not (tmp_path / "hp_search_result").exists()


def test_tuning_on_a_test_set_is_warned_of(command, otb_set, caplog):
    (otb_set / "Tiny.json").rename(otb_set / "DTB70.json")
    command[1] = "DTB70"
    with caplog.at_level(logging.WARNING):
        tool.main([*command, "--trials", "1"])
    assert "DTB70 is a test set: scores on it" in caplog.text
    assert load_config("hp_search_result/DTB70_tiny.yaml").TRACK.LR == 0.4


def slow_search(argv):
    from toolkit.protocols import OnePass

    step = OnePass.step
    OnePass.step = lambda *args: (time.sleep(0.1), step(*args))
    tool.main(argv)


@pytest.mark.slow
def test_a_killed_search_goes_on_with_the_same_setting(command, tmp_path, capsys):
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=slow_search, args=([*command, "--trials", "2"],))
    process.start()
    deadline = time.monotonic() + 100
    while not contents(tmp_path / "hp_search_result") and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, 9)
    process.join()
    (path,) = (tmp_path / "hp_search_result").rglob("*.txt")
    before = path.stat().st_mtime_ns
    tool.main([*command, "--trials", "2"])
    assert path.stat().st_mtime_ns == before  # the video was not run again
    found = trials(capsys.readouterr().out)
    assert found[0][3] == "LR 0.4 PENALTY_K 0.1 WINDOW_INFLUENCE 0.4"
    assert len(found) == 2


class Scattered:
    """An executor as a cluster is: it takes items in advance and returns results in any order."""

    remote = True

    def run(self, work, items):
        work, numbered, running = pickle.dumps(work), enumerate(items), []
        while True:
            running += islice(numbered, 5 - len(running))
            if not running:
                return
            index, item = running.pop()
            yield index, pickle.loads(work)(pickle.loads(pickle.dumps(item)))


def test_results_that_arrive_in_any_order_are_those_of_one_process(command, monkeypatch, capsys):
    grid = ["--sampler", "grid", "--penalty-k", "0.1,0.3,0.1", "--lr", "0.3,0.6,0.1"]
    grid += ["--window-influence", "0.4"]
    tool.main([*command, *grid, "--output", "one"])
    best = capsys.readouterr().out.splitlines()[-1]
    monkeypatch.setattr(tool, "build_executor", lambda args: nullcontext(Scattered()))
    monkeypatch.setitem(tool._TOGETHER, "grid", 1)
    tool.main([*command, *grid, "--output", "many"])
    assert contents("many") == contents("one")
    assert capsys.readouterr().out.splitlines()[-1] == best
    tool.main([*command, "--trials", "9", "--output", "pruned"])
    found = trials(capsys.readouterr().out)
    assert sorted(int(number) for number, *_ in found) == list(range(9))
