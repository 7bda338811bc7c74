import gzip
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from box_files import write_boxes

from pysot.cli import eval as tool
from toolkit.datasets import BENCHMARKS
from toolkit.results.formats import LAYOUTS

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "toolkit"
SETS = ["OTB100", "UAV123", "UAV20L", "NFS30", "LaSOT"]


NO_NORM = "|     0.000      |"


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
    printed, expected = (
        capsys.readouterr().out,
        (recorded / "cli" / f"{name}{level}.txt").read_text(),
    )
    if NO_NORM in expected:  # where PySOT leaves it out
        printed = without_norm(printed)
    assert printed == expected


def without_norm(table):
    """A table of one-pass trackers with normalized precisions of 0."""
    assert NO_NORM not in table
    return re.sub(r"\|     \d\.\d{3}      \|", NO_NORM, table)


def test_normalized_precision_is_that_of_the_json(command, tmp_path, capsys):
    tool.main(command("OTB100", "--json", str(tmp_path / "s.json")))
    scores = json.loads((tmp_path / "s.json").read_text())["trackers"]["TrkA"]["metrics"]
    assert f"|     {scores['norm_precision']:.3f}      |" in capsys.readouterr().out


def test_long_tracker_names_widen_the_tables_as_in_pysot(capsys):
    sample = GOLDEN / "sample"
    argv = ["-p", str(sample / "results"), "-d", "OTB100", "--dataset-root", str(sample), "-s"]
    tool.main([*argv, "--color", "always"])
    assert without_norm(capsys.readouterr().out) == (sample / "eval_stdout.txt").read_text()


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
    tool.main(command("LaSOT", "--plot", str(tmp_path), "--plot-format", "svg"))
    names = {path.name for path in tmp_path.iterdir()}
    assert {f"LaSOT_{name}.svg" for name in ("success", "precision", "norm_precision")} <= names
    assert all(path.read_bytes().startswith(b"<?xml") for path in tmp_path.iterdir())


def test_plots_without_matplotlib_say_what_to_install(command, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(tool.RunFailed, match=r"pip install matplotlib"):
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
    assert "empty: no usable result for any of the 2 videos" in caplog.text
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
        ({"--dataset-root": "{p}"}, r"no annotation file .*Own\.json: there is .*Own\.json"),
        ({"-d": "VOT2018"}, "there is no folder .*VOT2018"),
        ({"-p": __file__}, r"no results: .*\.py is not a folder"),
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
    assert (good.returncode, good.stderr.count(b"\n")) == (0, 1)
    assert b"OTB100 has 9 videos here, but 100 belong to it" in good.stderr
    assert b"TrkB_alias" in good.stdout
    bad = launch(["-p", "nowhere", "-d", "OTB100"])
    assert bad.returncode == 2
    assert bad.stderr.decode() == "error: no results: the folder nowhere does not exist\n"


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Function that gives the arguments to score a recorded set of another protocol."""
    folder = tmp_path_factory.mktemp("other")
    with tarfile.open(GOLDEN / "mini_protocols.tar.xz") as archive:
        archive.extractall(folder, filter="data")

    def build(name, *more):
        root = folder / "testing_dataset" / name
        return ["-p", str(folder / "results"), "-d", name, "--dataset-root", str(root), *more]

    build.folder = folder
    return build


@pytest.mark.parametrize("level", ["cli", "cli_video"])
def test_long_term_tables_are_those_of_pysot_byte_by_byte(other, capsys, level):
    with gzip.open(GOLDEN / "mini_protocols.json.gz", "rt") as file:
        expected = json.load(file)["VOT2018-LT"][level]
    tool.main(other("VOT2018-LT", "--color", "always", *(["-s"] if level == "cli_video" else [])))
    assert capsys.readouterr().out == expected


def test_reset_table_is_that_of_pysot(other, capsys):
    with gzip.open(GOLDEN / "mini_protocols.json.gz", "rt") as file:
        lines = json.load(file)["VOT2018"]["cli"].splitlines()
    tool.main(other("VOT2018"))
    assert capsys.readouterr().out.splitlines() == [x for x in lines if "TrkPoor15" not in x]


@pytest.mark.parametrize(
    ("name", "metrics", "curves"),
    [
        ("VOT2018", {"accuracy", "robustness", "lost_number", "eao"}, {"expected_overlap"}),
        ("VOT2019", {"accuracy", "robustness", "lost_number", "eao"}, {"expected_overlap"}),
        ("VOT2018-LT", {"precision", "recall", "f1"}, {"precision_recall", "f1"}),
    ],
)
def test_json_has_one_form_for_all_evaluations(other, tmp_path, name, metrics, curves):
    path = tmp_path / "scores.json"
    tool.main(other(name, "--json", str(path), "--bootstrap", "50", "-n", "2"))
    for scores in json.loads(path.read_text())["trackers"].values():
        assert set(scores["metrics"]) == set(scores["intervals"]) == metrics
        assert set(scores["curves"]) == curves
        assert all(set(of) == metrics for of in scores["videos"].values())
        for metric, (low, high) in scores["intervals"].items():
            assert low <= scores["metrics"][metric] <= high
        assert scores["problems"] == []


def test_vot2019_has_no_tags_to_score_by(other, tmp_path):
    path = tmp_path / "scores.json"
    tool.main(other("VOT2019", "--json", str(path)))
    attributes = json.loads(path.read_text())["trackers"]["TrkMid"]["attributes"]
    assert attributes["all"]["eao"] > 0
    assert attributes["occlusion"] == {"eao": None}


def test_comparison_is_printed(other, capsys):
    tool.main(other("VOT2018", "--compare", "TrkGood", "TrkMid", "--bootstrap", "100"))
    out = capsys.readouterr().out
    assert "TrkGood is better" in out
    assert out.count("EAO") == 3  # scores, intervals, comparison
    with pytest.raises(ValueError, match=r"no tracker 'TrkGud'; did you mean TrkGood"):
        tool.main(other("VOT2018", "--compare", "TrkGud", "TrkMid"))


@pytest.mark.parametrize("name", ["GOT-10k", "TrackingNet"])
def test_sets_of_a_server_end_in_an_error_or_a_table(other, tmp_path, name, capsys):
    records = json.loads((other.folder / "testing_dataset" / name / f"{name}.json").read_text())
    for video, record in records.items():
        boxes = [record["init_rect"]] * len(record["gt_rect"])
        path = f"{video}/{video}_001.txt" if name == "GOT-10k" else f"{video}.txt"
        write_boxes(tmp_path / name / "t" / path, boxes)
    argv = [*other(name), "-p", str(tmp_path)]
    if name == "GOT-10k":
        with pytest.raises(ValueError, match="ground truth for first frames only: its server"):
            tool.main(argv)
    else:
        tool.main(argv)
        assert "|     t      |" in capsys.readouterr().out


FOREIGN = {
    "empty": b"",
    "blank": b"\n\n\n",
    "lock": b"Occ",
    "binary": bytes(range(256)),
    "text": "Lorem ipsum \u00e9\n".encode() * 50,
    "html": b"<html><body>404</body></html>",
    "nan": b"nan,nan,nan,nan\n" * 30,
    "short": b"1,2,3,4\n",
    "long": b"10,20,30,40\n" * 5000,
    "huge": b"1e300,1e300,1e300,1e300\n" * 40,
    "infinite": b"inf,-inf,inf,inf\n" * 40,
    "ragged": b"1,2,3,4\n1,2,3\n" * 20,
    "polygons": b"1,2,3,4,5,6,7,8\n" * 40,
    "codes": b"1\n2\n0\n" * 20,
}


NUMBERS = {"nan", "short", "long", "huge", "infinite"}
PARSED = {  # what holds lines of the right form after all
    "flat": NUMBERS,
    "got10k": NUMBERS,
    "vot": NUMBERS | {"polygons", "codes"},
    "longterm": {"codes", "short"},  # elsewhere either the regions or the confidences are not
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("name", ["OTB100", "VOT2018", "VOT2018-LT", "GOT-10k"])
def test_whatever_is_in_the_files_the_others_are_scored(
    command, other, recorded, tmp_path, capsys, caplog, name, kind
):
    """Every file of a second tracker holds rubbish; it is scored or left out, and named."""
    build = command if name == "OTB100" else other
    folder = recorded if name == "OTB100" else other.folder
    records = json.loads((folder / "testing_dataset" / name / f"{name}.json").read_text())
    for record in records.values():
        boxes = [record["gt_rect"][0]] * len(record["gt_rect"])
        record.update(gt_rect=boxes, width=320, height=240)
    (tmp_path / f"{name}.json").write_text(json.dumps(records))
    layout = BENCHMARKS[name].layout
    for video, record in records.items():
        for tracker in ("bad", "good"):
            files = LAYOUTS[layout].files(tmp_path / "results" / name / tracker, video)
            boxes = (
                record["gt_rect"] if layout in ("flat", "got10k") else [[1], *record["gt_rect"][1:]]
            )
            write_boxes(files.regions, boxes)
            if files.scores:
                files.scores.write_text("\n" + "0.5\n" * (len(boxes) - 1))
            if tracker == "bad":
                for path in files.all():
                    path.write_bytes(FOREIGN[kind])
    argv = [*build(name), "-p", str(tmp_path / "results"), "--dataset-root", str(tmp_path)]
    tool.main([*argv, "-s", "--json", str(tmp_path / "s.json"), "--bootstrap", "10"])
    trackers = json.loads((tmp_path / "s.json").read_text())["trackers"]
    assert set(trackers) == {"good"} | ({"bad"} if kind in PARSED[layout] else set())
    assert next(iter(trackers)) == "good"
    assert "good" in capsys.readouterr().out
    assert trackers["good"]["problems"] == []
    assert "bad" in caplog.text
    with pytest.raises(ValueError, match="bad"):
        tool.main([*argv, "--strict"])


def test_a_folder_in_place_of_a_file_is_a_missing_result(half_done, tmp_path, caplog):
    path = tmp_path / "results" / "Own" / "half" / "a.txt"
    path.unlink()
    path.mkdir()
    tool.main(half_done)
    assert "half: no usable result for any of the 2 videos" in caplog.text


def test_strict_stops_at_any_problem(half_done):
    with pytest.raises(ValueError, match="half:\n  1 of 2 videos have no result"):
        tool.main([*half_done, "--strict"])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["-n", "0"], "--workers/--num/-n: 0: must be a whole number, at least 1"),
        (["--top", "0"], "--top: 0: must be a whole number, at least 1"),
        (["--bootstrap", "-1"], "--bootstrap takes numbers from 0"),
    ],
)
def test_numbers_out_of_range_are_refused(half_done, option, message, capsys):
    with pytest.raises(SystemExit):
        tool.main([*half_done, *option])
    assert message in capsys.readouterr().err


def test_scoring_loads_neither_torch_nor_opencv(command):
    code = (
        "import sys; from pysot.cli import eval as tool; tool.main(sys.argv[1:]);"
        "print([m for m in ('torch', 'cv2', 'matplotlib', 'yacs') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, *command()], capture_output=True, cwd=ROOT, check=True
    )
    assert run.stdout.splitlines()[-1] == b"[]"
