"""``pysot doctor``: what it finds, and how it says so."""

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pysot.cli import doctor
from pysot.cli.doctor import CHECKS, OPTIONAL, REQUIRED, Finding, Package, main
from pysot.core import RunFailed

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checks(monkeypatch):
    """The table of checks, empty for the time of a test."""
    table = type(CHECKS)("check")
    monkeypatch.setattr(doctor, "CHECKS", table)
    return table


def test_packages_are_those_of_pyproject():
    text = (ROOT / "pyproject.toml").read_text()
    needed = re.search(r"^dependencies = \[(.*?)^\]", text, re.DOTALL | re.MULTILINE)[1]
    assert {"opencv-python>=4.8", *(p.requirement for p in REQUIRED)} == quoted(needed)
    section = text.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    extras = dict(re.findall(r"^(\w+) = (.*)$", section, re.MULTILINE))
    assert OPTIONAL.keys() == extras.keys() - {"all", "dev", "docs"}
    for extra, (_, packages) in OPTIONAL.items():
        assert {package.requirement for package in packages} == quoted(extras[extra])


def quoted(text):
    return set(re.findall(r'"(.*?)"', text))


def test_lines_say_what_is_wrong_and_how_to_mend_it(checks, capsys):
    checks["a"] = lambda: [Finding("part", "warn", "old", "get a new one"), Finding("b", "ok", "9")]
    checks["c"] = lambda: [Finding("extra c", "off", "for c", "pip install c")]
    main([])
    assert capsys.readouterr().out.splitlines() == [
        "warn  part               old",
        "                         get a new one",
        "ok    b                  9",
        "off   extra c            for c: pip install c",
    ]


def test_something_broken_fails_the_command(checks, capsys):
    def fails():
        yield Finding("first", "ok", "1")
        raise ImportError("cannot\nimport")

    checks["c"] = fails
    checks["d"] = lambda: [Finding("last", "ok", "2")]
    with pytest.raises(RunFailed, match=r"^broken: c$"):
        main(["--json"])
    first, broken, last = json.loads(capsys.readouterr().out)
    assert first == {"name": "first", "state": "ok", "text": "1", "fix": ""}
    assert (broken["state"], broken["text"]) == ("bad", "ImportError: cannot import")
    assert broken["fix"] and last["name"] == "last"


@pytest.mark.parametrize(
    ("content", "version", "expected"),
    [
        ("", "1.10.0", ("ok", "1.10.0")),
        ("", "1.9", ("warn", "1.9 is not >=1.10,<2")),
        ("", "2.0.0", ("warn", "2.0.0 is not >=1.10,<2")),
        ("raise OSError('libfoo.so: no')", "1.10", ("warn", "does not import (libfoo.so: no)")),
        (None, "", ("off", "not installed")),
    ],
)
def test_packages_are_imported(content, version, expected, tmp_path, monkeypatch):
    if content is not None:
        (tmp_path / "vision_.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "vision_", raising=False)
    monkeypatch.setattr(doctor, "_version", lambda name: version)
    package = Package("vision_", "vision>=1.10,<2")
    monkeypatch.setattr(doctor, "OPTIONAL", {"see": ("sight", (package,))})
    monkeypatch.setattr(doctor, "REQUIRED", (package,))
    (optional,), (required,) = doctor.check_optional(), doctor.check_required()
    state, text = expected
    fix = "" if state == "ok" else "pip install --upgrade 'vision>=1.10,<2'"
    assert (optional.name, optional.state, optional.fix) == ("extra see", state, fix)
    assert optional.text == ("sight" if state == "off" else f"sight (vision {text})")
    assert required == Finding("vision", "ok" if state == "ok" else "bad", text, fix)


def test_two_opencvs_are_a_warning(monkeypatch):
    versions = {"opencv-python": "5.0", "opencv-python-headless": "4.9"}
    monkeypatch.setattr(doctor, "_version", lambda name: versions.get(name, ""))
    _, found = doctor.check_opencv()
    assert found.state == "warn"
    assert found.fix.startswith("pip uninstall opencv-python opencv-python-headless, then")


def test_opencv_that_does_not_load_is_broken(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    (found,) = doctor.check_opencv()
    assert found.state == "bad"
    assert "pip install opencv-python" in found.fix


def test_compiled_parts_may_be_missing(monkeypatch):
    (found,) = doctor.check_extension()
    assert found.state in ("ok", "warn")
    monkeypatch.setitem(sys.modules, "toolkit.utils._region", None)
    (found,) = doctor.check_extension()
    assert (found.state, "build_ext" in found.fix) == ("warn", True)


def test_folders_are_described(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "data_folder", lambda name: tmp_path / name)
    monkeypatch.setenv("PYSOT_HOME", str(tmp_path / "home"))
    (tmp_path / "testing_dataset" / "OTB100").mkdir(parents=True)
    (tmp_path / "training_dataset" / "coco").mkdir(parents=True)
    testing, training, cache, current = doctor.check_folders()
    assert (testing.state, testing.text.endswith(": OTB100")) == ("ok", True)
    assert (training.state, training.text.endswith(": no data sets")) == ("off", True)
    assert cache.text.startswith(f"{tmp_path / 'home'}: 0 downloaded, ")
    assert current.text.startswith(str(Path.cwd()))
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    *_, cache, current = doctor.check_folders()
    assert (cache.state, current.state) == ("warn", "warn")
    assert "PYSOT_HOME" in cache.fix


def test_a_full_disk_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "_LEAST_DISK", 1e30)
    assert doctor._writable("a", tmp_path / "new", "b", "c").state == "warn"


def test_without_a_display_the_demo_writes_files(monkeypatch):
    monkeypatch.setattr("toolkit.io.video.window_available", lambda: False)
    (found,) = doctor.check_display()
    assert (found.state, "--output" in found.fix) == ("off", True)


def test_a_display_out_of_reach_is_a_warning(monkeypatch):
    def warns():
        logging.getLogger("toolkit").warning("install opencv-python, not -headless")
        return False

    monkeypatch.setattr("toolkit.io.video.window_available", warns)
    (found,) = doctor.check_display()
    assert (found.state, found.text) == ("warn", "install opencv-python, not -headless")


@pytest.mark.parametrize("name", ["Python", "devices", "default weights", "videos"])
def test_what_tests_need_is_in_order(name):
    assert {finding.state for finding in CHECKS[name]()} <= {"ok", "off", "warn"}


@pytest.mark.parametrize("absent", ["torch", "yacs", "cv2"])
@pytest.mark.slow
def test_the_doctor_works_without(absent, tmp_path):
    (tmp_path / f"{absent}.py").write_text(f"raise ModuleNotFoundError('no', name='{absent}')")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-m", "pysot", "doctor", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("error: broken: ")
    states = {row["name"]: row for row in json.loads(done.stdout)}
    found = states["OpenCV" if absent == "cv2" else absent]
    assert (found["state"], "pip install" in found["fix"]) == ("bad", True)
