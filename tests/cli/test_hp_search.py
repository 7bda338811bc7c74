import json
import re
from pathlib import Path

import pytest
import torch

from pysot.cli import eval as eval_tool
from pysot.cli import run
from pysot.cli import test as test_tool
from pysot.cli import tune as tool
from pysot.core import RunFailed

LINE = re.compile(r"Video: (\w+) +Time: +\d+\.\ds Speed: \d+\.\dfps( Lost: \d)?")
TWO = (
    "--sampler",
    "grid",
    "--penalty-k",
    "0.1,0.3,0.1",
    "--lr",
    "0.4",
    "--window-influence",
    "0.4",
)
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
        f"best: TRACK.LR 0.4 TRACK.PENALTY_K {float(first[1])} TRACK.WINDOW_INFLUENCE 0.4"
    )
    tool.main([*command, *TWO, "--top", "1"])
    assert sum(name in capsys.readouterr().out for name in FOLDERS) == 1


@pytest.mark.slow
def test_workers_give_the_same(command, folder):
    tool.main([*command, *TWO])
    tool.main([*command, *TWO, "--results", "parallel", "--workers", "2"])
    assert contents(Path("parallel") / "Tiny") == contents(folder)


def test_a_second_start_gives_the_same(command, folder, capsys):
    tool.main([*command, *TWO])
    before = contents(folder)
    capsys.readouterr()
    (folder.parent / "Tiny.journal").unlink()
    (folder / FOLDERS[1] / "B.txt").write_text("Occ")  # as PySOT's search left it in a crash
    (folder / FOLDERS[0] / "A.txt").unlink()
    tool.main([*command, *TWO])
    ran = [m[1] for m in map(LINE.fullmatch, capsys.readouterr().out.splitlines()) if m]
    assert sorted(ran) == ["A", "B"]
    assert contents(folder) == before


def test_sizes_of_the_search_region_and_random_subsets(command, folder):
    ranges = ["--penalty-k", "0.1", "--lr", "0.4", "--window-influence", "0.1,0.7,0.1"]
    ranges += ["--search-region", "239,256,16", "--trials", "3"]
    tool.main([*command, "--sampler", "grid", *ranges])
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


def test_a_bad_video_leaves_the_others_and_no_table(command, folder, otb_set, capsys):
    (otb_set / "B" / "img" / "0004.jpg").unlink()
    with pytest.raises(RunFailed, match="2 trials failed"):
        tool.main([*command, *TWO])
    printed = capsys.readouterr()
    assert sorted(contents(folder)) == sorted(f"{n}/{v}.txt" for n in FOLDERS for v in "AC")
    assert printed.err.count("error: tiny_r255") == 2
    assert "0 settings are complete" in printed.err
    assert "best" not in printed.out


def test_one_bad_setting_leaves_the_others(command, folder, monkeypatch, capsys):
    from pysot.tracker.siamrpn_tracker import SiamRPNTracker

    track = SiamRPNTracker.track

    def fail(self, image):
        if self.params.penalty_k == 0.2:
            raise RuntimeError("out of memory")
        return track(self, image)

    monkeypatch.setattr(SiamRPNTracker, "track", fail)
    with pytest.raises(RunFailed, match="1 trials failed"):
        tool.main([*command, *TWO])
    printed = capsys.readouterr()
    assert f"error: {FOLDERS[1]}: C: out of memory" in printed.err
    assert "1 settings are complete" in printed.err
    assert printed.out.splitlines()[-1].startswith("best: TRACK.LR 0.4 TRACK.PENALTY_K 0.1 ")


def test_results_of_another_snapshot_are_not_mixed(command, folder, tiny_snapshot, capsys):
    tool.main([*command, *TWO])
    before = contents(folder)
    weights = torch.load(tiny_snapshot)
    torch.save({key: value * 0.5 for key, value in weights.items()}, tiny_snapshot)
    with pytest.raises(ValueError, match="is of another sha256; keep both with --name"):
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
