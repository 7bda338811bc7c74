"""The command ``pysot``, and the names that its commands share."""

import errno
import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import pysot.cli
from pysot import cli
from pysot.cli import COMMANDS, Parser, find_dataset_root, main

ROOT = Path(__file__).parents[2]

# the least that a command needs on its command line
NEEDED = {
    "test": ["--dataset", "D", "--static"],
    "eval": ["-p", "P", "-d", "D"],
    "demo": ["--snapshot", "S", "--config", "C"],
    "tune": ["--snapshot", "S", "--dataset", "D"],
    "prepare": ["own", "--root", "R", "--output", "O"],
    "check": ["--dataset", "D", "--root", "R"],
    "submit": ["-p", "P", "-d", "D", "-t", "T"],
    "vot": ["--snapshot", "S", "--config", "C"],
    "export": ["--output", "O"],
}
# argument -> the commands that have it, by its name of today and its older ones
SHARED = {
    "config": (["--config", "--cfg"], "train test demo tune vot visualize"),
    "workers": (["--workers", "--num"], "test eval tune prepare"),
    "dataset_root": (["--dataset-root"], "train test eval tune prepare check submit"),
    "model": (["--model"], "test eval demo tune vot export"),
    "output": (["--output"], "test demo tune prepare check submit visualize"),
}
OLDER = [
    ("train", "--val-root", "dataset_root"),
    ("test", "--results", "output"),
    ("eval", "-n", "workers"),
    ("prepare", "--root", "dataset_root"),
    ("check", "--root", "dataset_root"),
    ("tune", "--results", "output"),
    ("submit", "-o", "output"),
]


@pytest.fixture(autouse=True)
def arguments_of_the_process(monkeypatch):
    """`main` changes them, as the process is that of the command then."""
    monkeypatch.setattr(sys, "argv", ["pysot"])


def stopped(argv):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    return stop.value.code


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_its_options(name, capsys):
    assert stopped([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: pysot {name} ")
    assert "%(" not in out


@pytest.mark.parametrize("argv", [["-h"], ["--help"]])
def test_help_lists_the_commands(argv, capsys):
    main(argv)
    out = capsys.readouterr().out
    assert all(f"  {name} " in out and text in out for name, text in COMMANDS.items())


def test_the_version_is_that_of_the_package(capsys):
    main(["--version"])
    assert capsys.readouterr().out.strip() == pysot.__version__


@pytest.mark.parametrize("argv", [[], ["tset"], ["--workers"], [""]])
def test_an_unknown_command_lists_the_known_ones(argv, capsys):
    assert stopped(argv) == 2
    error = capsys.readouterr().err
    assert "    submit " in error
    assert error.splitlines()[-1].startswith("error: ")
    assert not argv or argv[0] in error.splitlines()[-1]


def test_commands_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    boxes = [[1, 2, 3, 4]] * 3
    record = {"video_dir": "a", "img_names": [f"{i}.jpg" for i in range(3)], "gt_rect": boxes}
    (tmp_path / "Own.json").write_text(json.dumps({"a": record}))
    folder = tmp_path / "results" / "Own" / "mine"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("1,2,3,4\n" * 3)
    place = ["-p", "results", "-d", "Own", "--dataset-root", "."]
    main(["eval", *place, "--workers", "1"])
    assert "mine" in capsys.readouterr().out
    main(["submit", *place, "-t", "mine", "--output", "a.zip"])
    assert (tmp_path / "a.zip").is_file()


@pytest.mark.parametrize(
    "argv",
    [
        ["train", "--config", "none.yaml"],
        ["test", "--dataset", "none", "--static"],
        ["demo", "--cfg", "none.yaml", "--snapshot", "x", "--video", "none.mp4"],
        ["tune", "--snapshot", "x", "--dataset", "none"],
        ["prepare", "lasot", "--dataset-root", "none", "--output", "out"],
        ["check", "--dataset", "none", "--dataset-root", "none"],
        ["visualize", "--config", "none.yaml"],
        ["vot", "init", "--name", "a", "--config", "none.yaml", "--snapshot", "x"],
    ],
    ids=lambda argv: argv[0],
)
def test_wrong_input_is_one_line_and_exit_code_2(argv, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert stopped(argv) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize("name", ["eval", "submit", "check"])
def test_commands_that_track_nothing_need_no_torch(name):
    code = f"import sys; sys.modules['torch'] = None; import pysot.cli.{name}"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_python_m_pysot_is_the_same_command():
    command = [sys.executable, "-m", "pysot", "--help"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.startswith("usage: pysot COMMAND")


def test_an_installed_package_has_the_command():
    settings = (ROOT / "pyproject.toml").read_text()
    assert '\n[project.scripts]\npysot = "pysot.cli:main"\n' in settings


@pytest.mark.parametrize(
    ("name", "option", "dest"),
    [
        (n, o, dest)
        for dest, (options, names) in SHARED.items()
        for n in names.split()
        for o in options
    ]
    + OLDER,
)
def test_commands_share_names(name, option, dest):
    module = import_module(f"pysot.cli.{name}")
    args = module.parse_args([*NEEDED.get(name, []), option, "3"])
    assert str(getattr(args, dest)) == "3"


@pytest.mark.parametrize("name", COMMANDS)
def test_shared_arguments_come_from_one_place(name):
    """A command that has one of them by hand would lack its other names."""
    source = Path(import_module(f"pysot.cli.{name}").__file__).read_text()
    options = ("config", "workers", "dataset-root", "output")
    assert [option for option in options if f'"--{option}",' in source] == []


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "x", ""])
def test_counts_are_positive(text, capsys):
    parser = Parser("")
    parser.add_workers()
    with pytest.raises(SystemExit):
        parser.parse_args([f"--workers={text}"])
    assert f"{text}: must be a whole number, at least 1" in capsys.readouterr().err


def test_data_sets_lie_in_the_checkout_or_in_the_current_folder(tmp_path, monkeypatch):
    assert find_dataset_root("OTB100", Path("here")) == Path("here")
    assert find_dataset_root("OTB100", None) == ROOT / "testing_dataset" / "OTB100"
    installed = tmp_path / "site-packages" / "pysot" / "cli" / "__init__.py"
    monkeypatch.setattr(cli, "__file__", str(installed))
    assert find_dataset_root("OTB100", None) == Path("testing_dataset", "OTB100")


def test_an_error_is_one_printable_line(capsys):
    def fail():
        raise ValueError("bad name 'a\x1b[31m'\nsecond line " + "x" * 10000)

    with pytest.raises(SystemExit):
        cli.run(fail)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(r"error: bad name 'a\x1b[31m' second line x")
    assert line.isprintable() and len(line) < 3000


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EPIPE])
def test_output_that_cannot_be_printed_is_named(number, capsys):
    def fail():
        raise OSError(number, os.strerror(number))

    with pytest.raises(SystemExit):
        cli.run(fail)
    assert capsys.readouterr().err == f"error: standard output: {os.strerror(number)}\n"


def without_libgl(*ignored):
    raise ImportError("libGL.so.1: not there", name="cv2")


def test_a_broken_opencv_is_one_line(monkeypatch, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.run(without_libgl)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: OpenCV does not load (libGL.so.1: not there): apt-get install")
    monkeypatch.setattr(pysot, "import_module", without_libgl)
    with pytest.raises(ImportError, match=r"^OpenCV does not load .* apt-get install"):
        _ = pysot.Tracker


@pytest.mark.parametrize("path", ["tools/make_synthetic.py", "training_dataset/own/prepare.py"])
def test_scripts_load_opencv_where_its_errors_are_explained(path, tmp_path):
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: not there', name='cv2')")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, ROOT / path]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: OpenCV does not load")


@pytest.mark.parametrize("value", ["-1", "-1e-3", "-.5", "-5,-5,10,10", "-5 -5 10 10"])
def test_a_value_may_begin_with_a_minus(value):
    parser = Parser("")
    parser.add_argument("--given")
    parser.add_overrides()
    args = parser.parse_intermixed_args(["--given", value, "TRACK.KEY", value])
    assert (args.given, args.opts) == (value, ["TRACK.KEY", value])


def test_no_advice_names_another_project_of_the_package_index():
    folders = ("pysot", "toolkit", "tools", "docs", "training_dataset", "testing_dataset")
    texts = [path for folder in folders for path in (ROOT / folder).rglob("*.*")]
    for path in [*texts, *ROOT.glob("*.md")]:
        if path.suffix in (".py", ".md", ".jinja"):
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"install +['\"]?pysot(?!-tracking)", text), path
