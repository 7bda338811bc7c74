import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from pysot.cli import eval as eval_tool
from pysot.cli import run
from pysot.cli import test as test_tool
from pysot.cli import tune as tool
from pysot.core import RunFailed

ROOT = Path(__file__).parents[2]
LINE = re.compile(r"Video: (\w+) +Time: +\d+\.\ds Speed: \d+\.\dfps( Lost: \d)?")
TWO = ("--penalty-k", "0.1,0.3,0.1", "--lr", "0.4", "--window-influence", "0.4")
FOLDERS = [f"tiny_r255_pk-{pk}_wi-0.400_lr-0.400" for pk in ("0.100", "0.200")]


@pytest.fixture
def command(tiny_config, tiny_snapshot, otb_set, tmp_path, monkeypatch):
    """Command line of a search over the drawn set, without ranges."""
    monkeypatch.chdir(tmp_path)
    return [
        *("--dataset", "Tiny", "--dataset-root", str(otb_set)),
        *("--config", str(tiny_config), "--snapshot", str(tiny_snapshot)),
    ]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "hp_search_result" / "Tiny"


def contents(folder):
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*.txt"))}


def as_dataset(command, otb_set, name, **fields):
    records = json.loads((otb_set / "Tiny.json").read_text())
    for record in records.values():
        record.update(fields)
    (otb_set / f"{name}.json").write_text(json.dumps(records))
    return [name if part == "Tiny" else part for part in command]


# ---------------------------------------------------------------------------------------- settings


def grid(*options):
    return tool._read_grid(tool.parse_args(["--snapshot", "x", "--dataset", "x", *options]))


def test_default_ranges_are_those_of_pysot():
    settings = grid()
    assert len(settings) == 504  # 9 x 4 x 14 x 1
    assert len({setting.folder("m") for setting in settings}) == 504
    assert settings[0] == tool.Setting(255, 0.05, 0.1, 0.35)
    assert settings[0].folder("m") == "m_r255_pk-0.050_wi-0.100_lr-0.350"
    assert sorted({setting.lr for setting in settings})[-1] == 0.49999999999999994


def test_a_range_may_be_one_value_and_sizes_are_whole():
    settings = grid("--penalty-k", "0.1", "--lr", "0.3", "--search-region", "255,288,16")
    assert {setting.instance_size for setting in settings} == {255, 271, 287}
    assert {type(setting.instance_size) for setting in settings} == {int}
    assert len(settings) == 3 * 14


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lr", "0.3,0.5"], r"--lr 0\.3,0\.5: expected START,STOP,STEP or one number"),
        (["--lr", "a,b,c"], "--lr a,b,c: expected START,STOP,STEP"),
        (["--lr", "nan"], "--lr nan: expected"),
        (["--penalty-k", "0.5,0.1,0.1"], "--penalty-k 0.5,0.1,0.1: holds no value"),
        (["--window-influence", "0.1,0.5,0"], "--window-influence 0.1,0.5,0: holds no value"),
        (["--lr", "0.1,0.2,0.0001"], "folders tell only three decimals"),
        (["--lr", "0,1,1e-12"], "--lr 0,1,1e-12: holds more than 1000000 values"),
        (
            ["--lr", "0,1,0.001", "--penalty-k", "0,1,0.001"],
            "the ranges hold 14000000 settings; expected 1000000 at most",
        ),
        (["--search-region", "255.5"], "--search-region 255.5: expected whole numbers"),
    ],
)
def test_bad_ranges_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        grid(*options)


def test_random_settings_are_the_same_for_the_same_seed():
    settings = grid()
    chosen = tool._choose(settings, 20, seed=3)
    assert len(set(chosen)) == 20 and set(chosen) <= set(settings)
    assert tool._choose(settings, 20, seed=3) == chosen
    assert tool._choose(settings, 20, seed=4) != chosen
    assert tool._choose(settings, 600, seed=0) == settings


# -------------------------------------------------------------------------------------- the search


def test_every_setting_gets_the_results_that_the_test_tool_writes(command, folder, capsys):
    tool.main([*command, *TWO])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "Total search number: 2"
    assert sorted(LINE.fullmatch(line)[1] for line in printed[1:7]) == [*"AABBCC"]
    assert sorted(p.name for p in folder.iterdir()) == FOLDERS
    for name, penalty in zip(FOLDERS, ("0.1", "0.2"), strict=True):
        track = ["TRACK.PENALTY_K", penalty, "TRACK.WINDOW_INFLUENCE", "0.4"]
        test_tool.main([*command, "--name", name, *track, "TRACK.LR", "0.4"])
        assert contents(folder / name) == contents(Path("results") / "Tiny" / name)
    assert contents(folder / FOLDERS[0]) != contents(folder / FOLDERS[1])


def test_the_table_ranks_and_the_best_setting_can_be_used(command, folder, capsys):
    tool.main([*command, *TWO])
    printed = capsys.readouterr().out
    eval_tool.main(["-p", "hp_search_result", "-d", "Tiny", "--dataset-root", command[3]])
    assert capsys.readouterr().out.strip() in printed
    first = re.search(r"tiny_r255_pk-(\d\.\d+)", printed)
    assert printed.splitlines()[-1] == (
        f"best: TRACK.PENALTY_K {float(first[1])} TRACK.WINDOW_INFLUENCE 0.4 TRACK.LR 0.4 "
        "TRACK.INSTANCE_SIZE 255"
    )
    tool.main([*command, *TWO, "--top", "1"])
    assert sum(name in capsys.readouterr().out for name in FOLDERS) == 1


def test_workers_and_a_second_start_give_the_same(command, folder, capsys):
    tool.main([*command, *TWO])
    before = contents(folder)
    tool.main([*command, *TWO, "--results", "parallel", "--workers", "2"])
    assert contents(Path("parallel") / "Tiny") == before
    capsys.readouterr()
    (folder / FOLDERS[1] / "B.txt").write_text("Occ")  # as PySOT's search left it in a crash
    (folder / FOLDERS[0] / "A.txt").unlink()
    tool.main([*command, *TWO])
    ran = [m[1] for m in map(LINE.fullmatch, capsys.readouterr().out.splitlines()) if m]
    assert sorted(ran) == ["A", "B"]
    assert contents(folder) == before
    assert not list((folder.parent / ".locks").rglob("*.lock"))


def test_sizes_of_the_search_region_and_random_subsets(command, folder):
    ranges = ["--penalty-k", "0.1", "--lr", "0.4", "--window-influence", "0.1,0.7,0.1"]
    tool.main([*command, *ranges, "--search-region", "239,256,16", "--random", "3"])
    names = sorted(p.name for p in folder.iterdir())
    assert len(names) == 3
    assert all(re.fullmatch(r"tiny_r(239|255)_pk-0\.100_wi-0\.\d00_lr-0\.400", n) for n in names)


@pytest.mark.parametrize(
    ("dataset", "files"),
    [
        ("VOT2019", ["baseline/A/A_001.txt"]),
        ("VOT2018-LT", ["longterm/A/A_001.txt", "longterm/A/A_time.txt"]),
        ("GOT-10k", ["A/A_001.txt", "A/A_time.txt"]),
    ],
)
def test_every_protocol_is_searched(dataset, files, command, otb_set, folder, capsys):
    command = as_dataset(command, otb_set, dataset)
    tool.main([*command, *TWO])
    found = contents(folder.with_name(dataset) / FOLDERS[0])
    assert {name for name in found if "A" in name} == set(files)
    printed = capsys.readouterr().out
    assert ("Lost: " in printed) == dataset.startswith("VOT2019")
    assert printed.count("Video: ") == 6
    # six frames are too few for the lengths that VOT averages over
    assert ("best: " in printed) != dataset.startswith("VOT2019")
    assert all(f"|{name:^{len(name) + 2}}|" in printed for name in FOLDERS)  # in the table


def test_a_set_of_first_boxes_cannot_be_searched(command, otb_set, folder):
    unknown = [[20, 15, 24, 18], *[[float("nan")] * 4] * 5]
    command = as_dataset(command, otb_set, "First", gt_rect=unknown)
    with pytest.raises(ValueError, match="First has only first boxes"):
        tool.main([*command, *TWO])
    assert not folder.parent.exists()


def test_frames_are_read_once_for_all_settings(command, monkeypatch):
    from toolkit.datasets import video

    read = []
    original = video.read_image
    monkeypatch.setattr(video, "read_image", lambda *a: read.append(a[0]) or original(*a))
    tool.main([*command, *TWO])
    assert len(read) == 18  # 3 videos of 6 frames


# ------------------------------------------------------------------- other processes, and failures


def test_what_another_process_is_at_is_left_to_it(command, folder, capsys):
    lock = folder.parent / ".locks" / "Tiny" / f"{FOLDERS[0]}~B.lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        tool.main([*command, *TWO])
    printed = capsys.readouterr()
    assert "1 runs are with other processes" in printed.err
    assert "1 of 2 settings are complete" in printed.err
    assert FOLDERS[1] in printed.out and FOLDERS[0] not in printed.out
    tool.main([*command, *TWO])
    assert "2 of 2 settings are complete" in capsys.readouterr().err


SLOW = """
import sys, time
from toolkit.protocols import OnePass
from pysot.cli import tune as hp_search
step = OnePass.step
OnePass.step = lambda *args: (time.sleep(0.2), step(*args))
hp_search.main(sys.argv[1:])
"""


def test_a_killed_search_blocks_nothing_and_goes_on(command, folder, capsys):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", SLOW, *command, *TWO], env=environment)
    locks = folder.parent / ".locks"
    deadline = time.monotonic() + 60
    while not list(locks.rglob("*.lock")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert list(locks.rglob("*.lock"))  # left behind
    tool.main([*command, *TWO])
    assert "2 of 2 settings are complete" in capsys.readouterr().err
    assert len(contents(folder)) == 6
    assert not list(locks.rglob("*.lock"))


def test_a_bad_video_leaves_the_others_and_no_table(command, folder, otb_set, capsys):
    (otb_set / "B" / "img" / "0004.jpg").unlink()
    with pytest.raises(RunFailed, match="2 runs failed"):
        tool.main([*command, *TWO])
    printed = capsys.readouterr()
    assert sorted(contents(folder)) == sorted(f"{n}/{v}.txt" for n in FOLDERS for v in "AC")
    assert printed.err.count("error: tiny_r255") == 2
    assert "0 of 2 settings are complete" in printed.err
    assert "best" not in printed.out


def test_one_bad_setting_leaves_the_others(command, folder, monkeypatch, capsys):
    from pysot.tracker.siamrpn_tracker import SiamRPNTracker

    track = SiamRPNTracker.track

    def fail(self, image):
        if self.params.penalty_k == 0.2:
            raise RuntimeError("out of memory")
        return track(self, image)

    monkeypatch.setattr(SiamRPNTracker, "track", fail)
    with pytest.raises(RunFailed, match="3 runs failed"):
        tool.main([*command, *TWO])
    printed = capsys.readouterr()
    assert f"error: {FOLDERS[1]}: A: out of memory" in printed.err
    assert "1 of 2 settings are complete" in printed.err
    assert printed.out.splitlines()[-1].startswith("best: TRACK.PENALTY_K 0.1 ")


def test_results_of_another_snapshot_are_not_mixed(command, folder, tiny_snapshot, capsys):
    tool.main([*command, *TWO])
    before = contents(folder)
    weights = torch.load(tiny_snapshot)
    torch.save({key: value * 0.5 for key, value in weights.items()}, tiny_snapshot)
    with pytest.raises(ValueError, match="holds results of another snapshot"):
        tool.main([*command, *TWO])
    assert contents(folder) == before
    tool.main([*command, *TWO, "--overwrite"])
    assert contents(folder).keys() == before.keys()
    assert contents(folder) != before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--config", "none.yaml"], "configuration file not found: none.yaml"),
        (["--snapshot", "none.pth"], "checkpoint not found: none.pth"),
        (["--name", "a/b"], "'a/b' cannot begin the name of a folder"),
        (["--dataset", "Other"], "Other"),
        (["--workers", "0"], "--workers/--num: 0: must be a whole number, at least 1"),
        (["TRACK.NOTHING", "1"], "TRACK.NOTHING"),
    ],
)
def test_bad_input_is_one_clear_line(command, change, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run(lambda: tool.main([*command, *TWO, *change]))
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "hp_search_result").exists()
