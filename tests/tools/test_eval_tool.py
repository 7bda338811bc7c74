import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from toolkit.results import write_boxes
from tools import eval as tool

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "toolkit"
SETS = ["OTB100", "UAV123", "UAV20L", "NFS30", "LaSOT"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    with tarfile.open(GOLDEN / "mini.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def command(recorded):
    """Arguments that score a recorded set."""

    def build(name="OTB100", *more):
        root = recorded / "testing_dataset" / name
        return ["-p", str(recorded / "results"), "-d", name, "--dataset-root", str(root), *more]

    return build


@pytest.fixture
def half_done(tmp_path):
    """A set of two videos, a complete tracker, one with a result missing and a stray file."""
    boxes = [[1, 2, 3, 4]] * 3
    names = ["1.jpg", "2.jpg", "3.jpg"]
    records = {video: {"img_names": names, "gt_rect": boxes} for video in ("a", "b")}
    (tmp_path / "Own.json").write_text(json.dumps(records))
    for tracker, video in (("whole", "a"), ("whole", "b"), ("half", "a")):
        write_boxes(tmp_path / "results" / "Own" / tracker / f"{video}.txt", boxes)
    (tmp_path / "results" / "Own" / "notes.txt").write_text("stray")
    return ["-p", str(tmp_path / "results"), "-d", "Own", "--dataset-root", str(tmp_path)]


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("level", ["", "_video"])
def test_tables_are_those_of_pysot_byte_by_byte(command, recorded, capsys, name, level):
    tool.main(command(name, "--color", "always", *(["-s"] if level else [])))
    assert capsys.readouterr().out == (recorded / "cli" / f"{name}{level}.txt").read_text()


def test_long_tracker_names_widen_the_tables_as_in_pysot(capsys):
    sample = GOLDEN / "sample"
    argv = ["-p", str(sample / "results"), "-d", "OTB100", "--dataset-root", str(sample), "-s"]
    tool.main([*argv, "--color", "always"])
    assert capsys.readouterr().out == (sample / "eval_stdout.txt").read_text()


def test_red_is_for_terminals_only(command, capsys):
    tool.main(command("OTB100", "-s"))
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("prefix", "trackers"), [("TrkB", 1), ("Trk", 3), ("*alias", 1), ("Trk?_", 2), ("", 3)]
)
def test_prefix_chooses_trackers(command, capsys, prefix, trackers):
    tool.main(command("OTB100", "-t", prefix))
    assert capsys.readouterr().out.count("Trk") == trackers


def test_workers_print_the_same(command, capsys):
    tool.main(command("OTB100"))
    alone = capsys.readouterr().out
    tool.main(command("OTB100", "-n", "3"))
    assert capsys.readouterr().out == alone


def test_json_holds_every_figure(command, tmp_path):
    tool.main(command("OTB100", "--json", str(tmp_path / "new" / "scores.json")))
    report = json.loads((tmp_path / "new" / "scores.json").read_text())
    assert list(report["trackers"]) == ["TrkA", "TrkC_nan", "TrkB_alias"]  # best first
    best = report["trackers"]["TrkA"]
    assert best["metrics"]["success"] == pytest.approx(0.785, abs=5e-4)
    assert best["metrics"]["precision"] == pytest.approx(1.0)
    assert best["metrics"]["norm_precision"] == pytest.approx(0.990, abs=5e-4)
    assert [len(of) for of in best["curves"]["success"].values()] == [21, 21]
    assert [len(of) for of in best["curves"]["precision"].values()] == [51, 51]
    assert set(best["videos"]["Basketball"]) == set(best["metrics"])
    assert best["attributes"]["ALL"] == pytest.approx(best["metrics"])
    assert "Motion Blur" in best["attributes"]
    assert best["problems"] == []


def test_csv_and_latex_are_written(command, tmp_path):
    tool.main(
        command("OTB100", "--csv", str(tmp_path / "s.csv"), "--latex", str(tmp_path / "s.tex"))
    )
    rows = (tmp_path / "s.csv").read_text().splitlines()
    assert any(row.startswith("OTB100,TrkA,dataset,OTB100,success,0.785") for row in rows)
    assert r"TrkA & \textbf{0.785} & \textbf{1.000} \\" in (tmp_path / "s.tex").read_text()


def test_plots_are_written(command, tmp_path):
    pytest.importorskip("matplotlib")
    tool.main(command("LaSOT", "--plot", str(tmp_path)))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["LaSOT_norm_precision.png", "LaSOT_precision.png", "LaSOT_success.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())


def test_plots_without_matplotlib_say_what_to_install(command, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(tool.RunFailed, match=r"pip install 'pysot\[plot\]'"):
        tool.main(command("OTB100", "--plot", str(tmp_path)))


def test_incomplete_trackers_are_reported_and_handled_as_asked(half_done, capsys, caplog):
    tool.main(half_done)
    assert "half:\n  1 of 2 videos have no result (b): counted as lost" in caplog.text
    assert "|    half    |  0.476  |" in capsys.readouterr().out
    tool.main([*half_done, "--incomplete", "skip"])
    assert "|    half    |  0.952  |" in capsys.readouterr().out
    with pytest.raises(ValueError, match="half:\n  1 of 2 videos have no result"):
        tool.main([*half_done, "--incomplete", "error"])


def test_a_tracker_without_results_does_not_stop_the_others(half_done, tmp_path, capsys, caplog):
    (tmp_path / "results" / "Own" / "empty").mkdir()
    tool.main(half_done)
    assert "empty: no result for any video, left out" in caplog.text
    assert "empty" not in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"looked for .*empty/a\.txt .* the folder is empty"):
        tool.main([*half_done, "-t", "empty"])


def test_what_the_table_does_not_show_is_said(half_done, capsys, caplog):
    tool.main([*half_done, "--top", "1"])
    assert "the table shows 1 of 2 trackers" in caplog.text
    assert "half" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"-p": "{p}/nowhere"}, "no results: the folder .*nowhere does not exist"),
        ({"-d": "Owm"}, r"there is no folder .*results/Owm; did you mean Own\? there is: Own"),
        ({"-p": "{p}/Own"}, "there is no folder .*Own/Own; there is: half, whole"),
        (
            {"-t": "whale"},
            r"no tracker in .* is like 'whale\*'; did you mean whole .*there is: half, whole",
        ),
        ({"--dataset-root": "{p}"}, r"no annotation file .*Own\.json: there is no JSON file"),
        ({"-d": "VOT2018"}, "there is no folder .*VOT2018"),
    ],
)
def test_wrong_paths_say_what_was_looked_for_and_what_is_there(half_done, change, message):
    options = dict(zip(half_done[::2], half_done[1::2], strict=True))
    change = {flag: value.replace("{p}", options["-p"]) for flag, value in change.items()}
    with pytest.raises((ValueError, OSError), match=message):
        tool.main([part for pair in {**options, **change}.items() for part in pair])


def test_script_runs_from_anywhere_and_reports_errors_in_one_line(command, tmp_path):
    script, environment = str(ROOT / "tools" / "eval.py"), {"PYTHONPATH": str(ROOT)}

    def launch(argv):
        return subprocess.run(
            [sys.executable, script, *argv], capture_output=True, env=environment, cwd=tmp_path
        )

    good = launch(command("OTB100", "-t", "TrkB"))
    assert (good.returncode, good.stderr) == (0, b"")
    assert b"TrkB_alias" in good.stdout
    bad = launch(["-p", "nowhere", "-d", "OTB100"])
    assert bad.returncode == 2
    assert bad.stderr.decode() == "error: no results: the folder nowhere does not exist\n"


def test_scoring_loads_neither_torch_nor_opencv(command):
    code = (
        "import sys; from tools import eval as tool; tool.main(sys.argv[1:]);"
        "print([m for m in ('torch', 'cv2', 'matplotlib', 'yacs') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, *command()], capture_output=True, cwd=ROOT, check=True
    )
    assert run.stdout.splitlines()[-1] == b"[]"
