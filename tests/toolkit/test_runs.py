import json

import pytest

from toolkit.results.runs import FOLDER, Conditions, Run, forget_video, note_video, read_runs
from toolkit.results.store import ResultStore

CPU, GPU = Conditions("cpu", "a", "pysot 1"), Conditions("cuda:0", "a", "pysot 1")


def test_runs_are_added_up_by_conditions(tmp_path):
    for video, conditions, seconds in (("a", CPU, 1.0), ("b", GPU, 1.0), ("c", CPU, 3.0)):
        note_video(tmp_path, video, conditions, 10, seconds)
    runs = {run.conditions: run for run in read_runs(tmp_path, "abcd")}
    assert (runs[CPU].videos, runs[CPU].frames, runs[CPU].fps) == (2, 20, 5.0)
    assert (runs[GPU].videos, runs[GPU].fps) == (1, 10.0)
    assert [run.videos for run in read_runs(tmp_path, "a")] == [1]
    note_video(tmp_path, "a", GPU, 10, 1.0)  # again, elsewhere
    assert {run.conditions: run.videos for run in read_runs(tmp_path, "abc")} == {CPU: 1, GPU: 2}
    assert Run(CPU, "", 1, 10, 0.0).fps is None


def test_differences_name_both(tmp_path):
    assert GPU.differences(GPU) == []
    assert GPU.differences(CPU) == ["device 'cuda:0', not 'cpu'"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"frames": 1}',
        '{"frames": "x", "seconds": 1}',
        "[" * 9999,
        '{"frames": Infinity}',
    ]
    + [
        json.dumps({"device": d, "settings": "", "version": "", "date": "", "frames": 1} | s)
        for d, s in (("", {"seconds": -1}), ("", {"seconds": float("inf")}), (1, {"seconds": 1}))
    ],
)
def test_what_is_damaged_is_not_known(tmp_path, text):
    note_video(tmp_path, "a", CPU, 10, 1.0)
    (tmp_path / FOLDER / "b.json").write_text(text)
    assert [run.videos for run in read_runs(tmp_path, "ab")] == [1]
    assert read_runs(tmp_path / "nowhere", "ab") == []


def test_nobody_takes_notes_for_results(tmp_path):
    store = ResultStore(tmp_path, "got10k")  # a folder for each video
    note_video(tmp_path, "a", CPU, 10, 1.0)
    from toolkit.datasets import find_benchmark

    found = store.locate(["a"], find_benchmark("GOT-10k"))
    assert (found.runs, found.doubtful, found.foreign) == ({"a": []}, {}, [])
    store.remove("a")
    assert read_runs(tmp_path, "a") == []
    forget_video(tmp_path, "a")  # nothing is there
