import json
import zipfile

import numpy as np
import pytest

from pysot.cli import run
from pysot.cli import submit as tool
from pysot.core import RunFailed
from toolkit.results.store import ResultStore
from toolkit.results.trajectory import Trajectory

LENGTHS = {"GOT-10k_Test_000001": 3, "GOT-10k_Test_000002": 2}
LAYOUTS = {"GOT-10k": "got10k", "TrackingNet": "flat", "DAVIS2017": "masks"}


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Write a set without images and results for it; return the command line."""
    monkeypatch.chdir(tmp_path)

    def make(dataset, repetitions=1):
        records = {
            video: {
                "img_names": [f"{video}/{i:08d}.jpg" for i in range(length)],
                "gt_rect": [[1, 2, 3, 4], *[[float("nan")] * 4] * (length - 1)],
            }
            for video, length in LENGTHS.items()
        }
        (tmp_path / f"{dataset}.json").write_text(json.dumps(records))
        folder = tmp_path / "results" / dataset / "mine"
        for video, length in LENGTHS.items():
            for repetition in range(1, repetitions + 1):
                result = Trajectory()
                for frame in range(length):
                    result.append([1, 2, 3, 4.5], seconds=0.1, score=0.5)
                    result.masks.append(np.zeros((2, 3), np.uint8))
                    result.frame_names.append(str(frame))
                ResultStore(folder, LAYOUTS[dataset]).write(video, result, repetition)
        command = ["-p", "results", "-d", dataset, "-t", "mine", "--dataset-root", str(tmp_path)]
        return command, folder

    return make


def contents(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_got10k_archive_holds_boxes_and_times(make, tmp_path, capsys):
    command, folder = make("GOT-10k")
    (folder / ".run.json").write_text("{}")
    (folder / "foreign").mkdir()
    tool.main(command)
    first, second = LENGTHS
    assert contents("mine_GOT-10k.zip") == {
        f"{first}/{first}_001.txt": "1,2,3,4.5\n" * 3,
        f"{first}/{first}_time.txt": "0.100000\n" * 3,
        f"{second}/{second}_001.txt": "1,2,3,4.5\n" * 2,
        f"{second}/{second}_time.txt": "0.100000\n" * 2,
    }
    assert capsys.readouterr().out == "mine_GOT-10k.zip: 4 files of 2 videos\n"


def test_trackingnet_archive_has_the_videos_at_its_top(make, tmp_path):
    command, _ = make("TrackingNet")
    tool.main([*command, "--output", "new/tn.zip"])
    first, second = LENGTHS
    assert contents("new/tn.zip") == {
        f"{first}.txt": "1,2,3,4.5\n" * 3,
        f"{second}.txt": "1,2,3,4.5\n" * 2,
    }
    before = (tmp_path / "new" / "tn.zip").read_bytes()
    tool.main([*command, "--output", "new/tn.zip"])
    assert (tmp_path / "new" / "tn.zip").read_bytes() == before


def test_all_repetitions_go_in(make):
    command, _ = make("GOT-10k", repetitions=3)
    tool.main(command)
    names = contents("mine_GOT-10k.zip")
    assert len(names) == 8
    assert names[f"{next(iter(LENGTHS))}/{next(iter(LENGTHS))}_time.txt"].count(",") == 6


def test_masks_are_packed_too(make, tmp_path):
    command, folder = make("DAVIS2017")
    video = next(iter(LENGTHS))
    tool.main(command)
    with zipfile.ZipFile("mine_DAVIS2017.zip") as archive:
        names = archive.namelist()
    assert names == [f"{name}/{i}.png" for name, n in LENGTHS.items() for i in range(n)]
    (folder / video / "1.png").unlink()
    with pytest.raises(RunFailed, match=f"{video}: 2 masks for 3 frames"):
        tool.main(command)


def missing(files):
    files.regions.unlink()
    return "GOT-10k_Test_000001: no result"


def short(files):
    files.regions.write_text("1,2,3,4\n" * 2)
    return "GOT-10k_Test_000001: 2 lines for 3 frames in GOT-10k_Test_000001_001.txt"


def nan(files):
    files.regions.write_text("1,2,3,4\n1,nan,3,4\n1,2,3,4\n")
    return "GOT-10k_Test_000001: values that are no finite numbers"


def infinite(files):
    files.regions.write_text("1,2,3,4\n1,inf,3,4\n1,2,3,4\n")
    return "GOT-10k_Test_000001: values that are no finite numbers"


def tabs(files):
    files.regions.write_text("1\t2\t3\t4\n" * 3)
    return "GOT-10k_Test_000001: other separators than commas in GOT-10k_Test_000001_001.txt"


def marked(files):
    files.regions.write_text("1,2,3,4\n" * 3, encoding="utf-8-sig")
    return "GOT-10k_Test_000001: a byte-order mark in GOT-10k_Test_000001_001.txt"


def damaged(files):
    files.regions.write_text("Occ")
    return "GOT-10k_Test_000001: .*line 1: expected 4 numbers"


def no_times(files):
    files.times.unlink()
    return "GOT-10k_Test_000001: .*_time.txt"


def few_times(files):
    files.times.write_text("0.1\n")
    return "GOT-10k_Test_000001: 1 lines of 1 numbers in .*_time.txt; expected 3 of 1"


@pytest.mark.parametrize(
    "harm", [missing, short, nan, infinite, tabs, marked, damaged, no_times, few_times]
)
def test_incomplete_results_are_listed_and_not_packed(make, harm, tmp_path):
    command, folder = make("GOT-10k")
    pattern = harm(ResultStore(folder, "got10k").files("GOT-10k_Test_000001"))
    with pytest.raises(RunFailed, match=f"nothing was written:\n  {pattern}"):
        tool.main(command)
    assert not list(tmp_path.glob("*.zip"))


def test_a_video_with_fewer_repetitions_is_listed(make):
    command, folder = make("GOT-10k", repetitions=2)
    ResultStore(folder, "got10k").files("GOT-10k_Test_000002", 2).regions.unlink()
    with pytest.raises(RunFailed, match="GOT-10k_Test_000002: 1 of 2 repetitions"):
        tool.main(command)


def test_long_lists_are_cut(make, monkeypatch):
    command, folder = make("GOT-10k")
    for video in LENGTHS:
        missing(ResultStore(folder, "got10k").files(video))
    monkeypatch.setattr(tool, "SHOWN", 1)
    with pytest.raises(RunFailed, match=r"000001: no result\n  \.\.\. and 1 more$"):
        tool.main(command)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["-t", "other"], "no results: there is no folder results/GOT-10k/other"),
        (["--output", "a.tar"], "--output a.tar: the name of the archive must end in .zip"),
        (["--dataset-root", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_clear_line(make, change, message, capsys):
    command, _ = make("GOT-10k")
    with pytest.raises(SystemExit) as stop:
        run(lambda: tool.main([*command, *change]))
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_results_of_another_name_are_named(make):
    command, folder = make("GOT-10k")
    first = next(iter(LENGTHS))
    (folder / first / f"{first}_001.txt").rename(folder / f"{first}_001.txt")
    with pytest.raises(RunFailed) as error:
        tool.main(command)
    assert f"{first}: {first}_001.txt must be named {first}/{first}_001.txt" in str(error.value)
