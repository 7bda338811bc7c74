"""Files about the project itself: workflows, citation, container, source distribution."""

import re
from pathlib import Path

import pytest
import yaml

import pysot

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]


def read(path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_are_complete(path):
    workflow = read(path)
    assert workflow.keys() >= {"name", True, "jobs", "permissions"}  # YAML takes "on" for true
    for job in workflow["jobs"].values():
        assert job.keys() >= {"runs-on", "steps"}
        assert all(len(step.keys() & {"uses", "run"}) == 1 for step in job["steps"])


def test_tests_run_on_every_python_and_system_with_and_without_extensions():
    job = read(".github/workflows/tests.yml")["jobs"]["tests"]
    matrix = job["strategy"]["matrix"]
    assert matrix["python"] == PYTHONS
    assert [name.partition("-")[0] for name in matrix["os"]] == ["ubuntu", "macos", "windows"]
    assert matrix["extensions"] == ["1"]
    assert {row["os"] for row in matrix["include"] if row["extensions"] == "0"} == {*matrix["os"]}
    assert job["env"]["PYSOT_EXTENSIONS"] == "${{ matrix.extensions }}"


def test_pythons_are_those_of_pyproject():
    text = (ROOT / "pyproject.toml").read_text()
    assert re.findall(r"Python :: (3\.\d+)", text) == PYTHONS
    (build,) = re.findall(r'^build = "(.*)"', text, re.MULTILINE)
    assert build == " ".join(f"cp{version.replace('.', '')}-*" for version in PYTHONS)


def test_the_citation_is_of_this_version():
    citation = read("CITATION.cff")
    assert citation["version"] == pysot.__version__
    notes = " ".join(paper["notes"] for paper in citation["references"])
    assert notes == "SiamFC SiamRPN DaSiamRPN SiamRPN++ SiamMask"


def test_the_image_has_one_opencv_and_known_extras():
    text = (ROOT / "Dockerfile").read_text()
    uninstalled = text.index("pip uninstall --yes opencv-python ")
    assert uninstalled < text.index("install --no-cache-dir opencv-python-headless")
    (extras,) = re.findall(r"whl\)\[([\w,]+)\]", text)
    settings = (ROOT / "pyproject.toml").read_text()
    assert all(f"\n{extra} = [" in settings for extra in extras.split(","))
