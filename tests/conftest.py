import json
import os
import sys

import cv2
import numpy as np
import pytest
import torch

from pysot.core import plugins, registry
from pysot.core.config import load_config
from pysot.models.model_builder import build_model
from toolkit.datasets.benchmarks import BENCHMARKS
from toolkit.datasets.formats import testing_formats, training_sets
from toolkit.evaluation import EVALUATIONS, METRICS
from toolkit.evaluation.metrics import METRICS_OF
from toolkit.io import pool
from toolkit.protocols import PROTOCOLS
from toolkit.results.formats import LAYOUTS

TINY_CONFIG = """
BACKBONE: {TYPE: alexnet, KWARGS: {width_mult: 0.05}}
ADJUST: {ADJUST: false}
RPN: {TYPE: DepthwiseRPN, KWARGS: {anchor_num: 5, in_channels: 12, out_channels: 12}}
TRACK: {TYPE: SiamRPNTracker, PENALTY_K: 0.1, WINDOW_INFLUENCE: 0.4, LR: 0.4, BASE_SIZE: 0}
DEVICE: cpu
"""
SIZE = (96, 72)  # width and height of the frames in the drawn data set

MOST_WORKERS = 4  # each loads torch: some hundred MB


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Run the whole suite in several processes, one thread each, if pytest-xdist is there.

    A file or test that is named runs in this process, as does all with ``-n 0``.
    """
    option = config.option
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # of processes that tests start
    elif getattr(option, "numprocesses", 0) is None and not (option.file_or_dir or option.usepdb):
        option.numprocesses = min(os.cpu_count() or 1, MOST_WORKERS)
        option.dist = "worksteal"


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory):
    """Configuration file of a network that takes milliseconds per frame."""
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    path.write_text(TINY_CONFIG)
    return path


@pytest.fixture
def tiny_snapshot(tiny_config, tmp_path):
    """Checkpoint ``tiny.pth`` of that network, with random but repeatable weights."""
    torch.manual_seed(0)
    path = tmp_path / "tiny.pth"
    torch.save(build_model(load_config(tiny_config)).state_dict(), path)
    return path


def _draw_frame(box, seed=0, size=SIZE):
    """A bright rectangle (x, y, w, h) on noise: BGR uint8, (H, W, 3)."""
    width, height = size
    image = np.random.default_rng(seed).integers(0, 90, (height, width, 3), np.uint8)
    x, y, w, h = box
    image[y : y + h, x : x + w] = (40, 200, 250)
    return image


@pytest.fixture(scope="session")
def draw_frame():
    """Function ``(box, seed=0, size=(96, 72))`` that draws a rectangle on noise."""
    return _draw_frame


@pytest.fixture
def otb_set(tmp_path):
    """Folder of a data set ``Tiny`` of three videos ``A``, ``B``, ``C`` of six frames each."""
    root = tmp_path / "Tiny"
    records = {}
    for number, name in enumerate("ABC"):
        boxes = [[20 + 3 * i, 15 + 2 * number, 24, 18] for i in range(6)]
        paths = [f"{name}/img/{i + 1:04d}.jpg" for i in range(6)]
        (root / name / "img").mkdir(parents=True)
        for i, (box, path) in enumerate(zip(boxes, paths, strict=True)):
            cv2.imwrite(str(root / path), _draw_frame(box, seed=10 * number + i))
        records[name] = {
            "video_dir": name,
            "init_rect": boxes[0],
            "img_names": paths,
            "gt_rect": boxes,
            "attr": ["Fast Motion"],
        }
    (root / "Tiny.json").write_text(json.dumps(records))
    return root


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Function that writes a plug-in ``my_plugin.py`` and undoes what its import did."""
    tables = [*_plugin_tables()]
    path, known, loaded = list(sys.path), [dict(table) for table in tables], list(pool.preloaded)
    metrics = {name: list(rows) for name, rows in METRICS_OF.items()}
    monkeypatch.chdir(tmp_path)

    def write(text, name="my_plugin.py"):
        file = tmp_path / "plugins" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    yield write
    sys.path[:], pool.preloaded[:] = path, loaded
    for table, before in zip(tables, known, strict=True):
        table.clear()
        table.update(before)
    for name, rows in metrics.items():
        METRICS_OF[name][:] = rows
    plugins._digests.clear()
    plugins._installed.clear()
    for name, module in list(sys.modules.items()):
        if str(tmp_path) in str(getattr(module, "__file__", "")):
            del sys.modules[name]


def _plugin_tables():
    yield from (r._entries for r in vars(registry).values() if isinstance(r, registry.Registry))
    yield from (BENCHMARKS, PROTOCOLS, EVALUATIONS, LAYOUTS, METRICS)
    yield from (testing_formats(), training_sets())
