import json
import os
import shutil
import subprocess
import sys

import pytest

from pysot.core import RunFailed
from pysot.tuning import study as module
from pysot.tuning.space import grid_of, read_range
from pysot.tuning.study import Study, open_storage

RANGES = [read_range("LR=0.05,0.95"), read_range("PENALTY_K=0,0.5")]
OWN = {"LR": 0.4, "PENALTY_K": 0.6}  # the latter outside of its range
MADE = {"dataset": "d", "settings": {"TRACK": {"LR": 0.4}}}
PLACES = ["a.journal", "a.db"]


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """A database without a study; to make one takes a second."""
    path = tmp_path_factory.mktemp("database") / "empty.db"
    open_storage(str(path))
    return path


@pytest.fixture(params=PLACES)
def place(request, tmp_path, empty_database):
    path = tmp_path / request.param
    if path.suffix == ".db":
        shutil.copy(empty_database, path)
    return str(path)


def run(study, scores, ranges=RANGES):
    trial, setting = study.ask(ranges)
    for videos, score in enumerate(scores, 1):
        if study.report(trial, score, videos):
            study.tell(trial, score, "PRUNED")
            return setting, "PRUNED"
    study.tell(trial, scores[-1], "COMPLETE")
    return setting, "COMPLETE"


def test_queued_settings_come_first_and_the_seed_decides_the_rest(tmp_path):
    drawn = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        study = Study(str(tmp_path / name), "m", MADE, seed=seed)
        study.queue(OWN, RANGES, default=True)
        drawn.append([run(study, [0.1 * i])[0] for i in range(12)])
    assert drawn[0] == drawn[1] and drawn[0][0] == OWN
    assert drawn[0][1:] != drawn[2][1:]
    assert all(0.05 <= s["LR"] <= 0.95 and 0 <= s["PENALTY_K"] <= 0.5 for s in drawn[0][1:])


def test_a_process_that_joins_draws_other_settings(place):
    first, second = (Study(place, "m", MADE, seed=1) for _ in range(2))
    assert run(first, [1.0])[0] != run(second, [1.0])[0]
    assert first.count() == second.count() == 2


def test_scores_are_compared_after_as_many_videos(tmp_path):
    study = Study(str(tmp_path / "a"), "m", MADE)
    for score in (0.4, 0.5, 0.6, 0.7, 0.8):
        assert run(study, [0.9, score])[1] == "COMPLETE"
    # by its best score, that after the easy first video, it would go on
    assert run(study, [0.95, 0.55, 0.9])[1] == "PRUNED"
    assert run(study, [0.95, 0.65])[1] == "COMPLETE"


def test_no_trial_ends_before_so_many_videos(tmp_path):
    study = Study(str(tmp_path / "a"), "m", MADE, prune=2)
    for _ in range(5):
        run(study, [0.9, 0.9, 0.9])
    trial, _ = study.ask(RANGES)
    assert [study.report(trial, 0.1, videos) for videos in (1, 2)] == [False, True]


def test_without_pruning_all_trials_are_complete(tmp_path):
    study = Study(str(tmp_path / "a"), "m", MADE, prune=None)
    assert {run(study, [score])[1] for score in (0.9, 0.9, 0.9, 0.9, 0.9, 0.1)} == {"COMPLETE"}


def test_a_grid_is_shared_by_processes_without_repetition(place):
    ranges = [read_range("LR=0.1,0.5,0.1"), read_range("PENALTY_K=0.1,0.3,0.1")]
    points = list(grid_of(ranges))
    studies = [Study(place, "m", MADE, grid=points) for _ in range(2)]
    found = [run(studies[i % 2], [0.5], ranges)[0] for i in range(8)]
    assert sorted(map(str, found)) == sorted(map(str, points))


def test_a_point_that_two_processes_took_leaves_no_other_out(tmp_path):
    ranges = [read_range("LR=0.1,0.3,0.1")]
    study = Study(str(tmp_path / "a"), "m", MADE, grid=list(grid_of(ranges)))
    setting, _ = run(study, [0.5], ranges)
    study.queue(setting, ranges)  # as the other one's trial
    assert study.ask(ranges)[1] == setting
    assert study.count() == 1


@pytest.mark.parametrize(
    "text", ["LR=0.3,0.6,0.1", "LR=0.35,0.5,0.05", "LR=0.3,0.5,0.1", "INSTANCE_SIZE=239,288,16"]
)
@pytest.mark.filterwarnings("error")
def test_every_step_is_run(text, tmp_path):
    found = read_range(text)
    for name, grid in (("grid", list(grid_of([found]))), ("random", ())):
        study = Study(str(tmp_path / name), "m", MADE, sampler="random", grid=grid, prune=None)
        number = len(found.values) if grid else 25
        drawn = [run(study, [0.5], [found])[0][found.key] for _ in range(number)]
        assert set(drawn) == set(found.values)
        study.queue({found.key: found.values[-1]}, [found])
        assert study.ask([found])[1] == {found.key: found.values[-1]}


DYING = """
import os, sys
from pysot.tuning.space import read_range
from pysot.tuning.study import Study
study = Study(sys.argv[1], "m", {made})
trial, setting = study.ask([read_range("LR=0.05,0.95")])
study.report(trial, 0.5, 1)
print(setting, flush=True)
os._exit(9)
"""


def test_the_setting_of_a_dead_process_is_run_again(place):
    Study(place, "m", MADE)
    code = DYING.replace("{made}", repr(MADE))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    dead = subprocess.run(
        [sys.executable, "-c", code, place], capture_output=True, text=True, env=environment
    )
    assert dead.returncode == 9, dead.stderr
    study = Study(place, "m", MADE)
    assert study.revive() == 1
    assert study.revive() == 0
    assert [len(study.trials(state)) for state in ("FAIL", "WAITING")] == [1, 1]
    assert str(study.ask(RANGES[:1])[1]) == dead.stdout.strip()


def test_a_process_of_another_machine_is_dead_without_signs_of_life(place, monkeypatch):
    monkeypatch.setattr(module, "machine_id", lambda: "ffffffff")
    other = Study(place, "m", MADE)
    other.ask(RANGES)
    monkeypatch.setattr(module, "machine_id", lambda: "00000000")
    clock = iter([0.0, 100.0, 200.0, 300.0, 500.0])
    monkeypatch.setattr(module, "monotonic", lambda: next(clock))
    study = Study(place, "m", MADE)
    assert study.revive() == 0  # seen at 0
    assert study.revive() == 0  # 100
    other.study.set_user_attr(f"owner {other.owner}", 7)
    assert study.revive() == 0  # a sign of life, at 200
    assert study.revive() == 0  # 300
    assert study.revive() == 1  # 500


def test_a_setting_that_ends_three_processes_is_left(place, monkeypatch):
    monkeypatch.setattr(Study, "_is_dead", lambda self, owner: True)
    study = Study(place, "m", MADE)
    study.ask(RANGES)
    revived = []
    for _ in range(3):
        revived.append(study.revive())
        if study.trials("WAITING"):
            study.ask(RANGES)
    assert revived == [1, 1, 0]


def test_a_study_of_something_else_stays_untouched(place):
    run(Study(place, "m", MADE), [0.5])
    other = json.loads(json.dumps(MADE))
    other["settings"]["TRACK"]["LR"] = 0.3
    with pytest.raises(
        ValueError, match=r"study 'm' in .* is of another settings\.TRACK\.LR; keep"
    ):
        Study(place, "m", other)
    assert Study(place, "m", MADE).count() == 1
    assert Study(place, "m", other, overwrite=True).count() == 0


def test_a_journal_whose_last_line_is_torn_is_read(tmp_path):
    path = tmp_path / "a.journal"
    run(Study(str(path), "m", MADE), [0.5])
    with open(path, "a") as file:
        file.write('{"op_code":4,"wor')
    study = Study(str(path), "m", MADE)
    assert run(study, [0.6])[1] == "COMPLETE"
    assert Study(str(path), "m", MADE).count() == 2


@pytest.mark.parametrize(
    ("place", "content"),
    [
        ("bad.journal", b"not a journal\n{}\n"),
        ("bad.journal", b'{"op_code":99}\n{"a":1}\n'),
        ("bad.db", b"not a database" * 100),
        ("none://user:secret@host/base", None),
        ("redis://:secret@localhost:1/0", None),
        ("postgresql+nothing://host/base", None),
        ("sqlite:////nowhere/at/all.db", None),
    ],
)
def test_a_storage_that_cannot_be_used_is_one_line(place, content, tmp_path):
    if content is not None:
        path = tmp_path / place
        path.write_bytes(content)
        place = str(path)
    with pytest.raises(ValueError, match=r"storage .*(cannot be used|does not answer)") as caught:
        Study(place, "m", MADE)
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)
    if content is not None:
        assert path.read_bytes() == content


def test_a_storage_that_fails_in_the_middle_is_one_line(tmp_path):
    path = tmp_path / "a.db"
    study = Study(str(path), "m", MADE)
    path.write_bytes(b"")
    with pytest.raises(RunFailed, match=r"the storage .*a\.db does not answer or is damaged"):
        study.ask(RANGES)
