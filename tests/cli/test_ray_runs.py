"""Commands on a Ray cluster of two nodes on this machine; needs ``pip install ray``."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import cv2
import pytest

from pysot.cli import run, tune
from pysot.cli import test as tool

pytestmark = pytest.mark.extras

ROOT = Path(__file__).parents[2]
VIDEOS = 8
SLOW = """
import os, time
from pysot.core.registry import TRACKERS
from pysot.tracker.siamrpn_tracker import SiamRPNTracker

@TRACKERS.register("Slow")
class Slow(SiamRPNTracker):
    def init(self, image, bbox):
        with open(os.path.join(os.environ["STARTS"], str(time.time())), "w") as file:
            file.write(str(os.getpid()))
        super().init(image, bbox)

    def track(self, image):
        if "RAY_RAYLET_PID" in os.environ:
            time.sleep(0.2)
        return super().track(image)
"""


@pytest.fixture(scope="module")
def nodes():
    """A cluster whose head does no work: address, the cluster and its other nodes."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # short, for the names of sockets
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", str(folder))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("STARTS", str(folder))
        options = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **options})
        try:
            yield cluster, [cluster.add_node(num_cpus=1, **options) for _ in range(2)], folder
        finally:
            cluster.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def arguments(plugin, tiny_config, tiny_snapshot, tmp_path, draw_frame):
    """Command line of a run of a slow tracker, which is a plug-in, over eight drawn videos."""
    config = plugin(SLOW).with_name("config.yaml")
    text = tiny_config.read_text().replace("SiamRPNTracker", "Slow")
    config.write_text(f"PLUGINS: [./my_plugin.py]\n{text}")
    root = tmp_path / "Drawn"
    for video in range(VIDEOS):
        (root / f"v{video}" / "img").mkdir(parents=True)
        boxes = [[20 + 3 * frame, 15 + video, 24, 18] for frame in range(5)]
        for frame, box in enumerate(boxes, 1):
            cv2.imwrite(str(root / f"v{video}" / "img" / f"{frame:04d}.png"), draw_frame(box))
        lines = "".join(",".join(map(str, box)) + "\n" for box in boxes)
        (root / f"v{video}" / "groundtruth_rect.txt").write_text(lines)
    return [
        *("--dataset", "Drawn", "--dataset-root", str(root)),
        *("--config", str(config), "--snapshot", str(tiny_snapshot)),
    ]


def contents(folder):
    paths = (path for path in folder.rglob("*") if ".runs" not in path.parts)
    files = [path for path in paths if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)


def test_a_run_outlives_a_node_and_writes_the_bytes_of_one_process(nodes, arguments, tmp_path):
    cluster, (_, second), starts = nodes
    there, here = tmp_path / "there", tmp_path / "here"

    def kill():
        wait_for(lambda: len(list(there.rglob("*.txt"))) >= 2)
        cluster.remove_node(second, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    ray = ["--executor", "ray", "--address", cluster.address]
    tool.main([*arguments, "--results", str(there), *ray])
    killer.join()
    assert len(list(starts.glob("1*.*"))) > VIDEOS  # one was begun again
    tool.main([*arguments, "--results", str(here)])
    assert contents(there) == contents(here)
    assert len(contents(here)) == VIDEOS + 1


def test_a_search_writes_the_bytes_of_one_process(nodes, arguments, tmp_path, capsys):
    cluster, _, _ = nodes
    command = [*arguments, "--sampler", "grid", "--no-prune", "--workers", "1"]
    command += ["--penalty-k", "0.1", "--window-influence", "0.4", "--lr", "0.2,0.8,0.3"]
    ray = ["--executor", "ray", "--address", cluster.address]
    found = []
    for name, where in (("there", ray), ("here", [])):
        tune.main([*command, "--output", str(tmp_path / name), *where])
        lines = capsys.readouterr().out.splitlines()
        found += [line for line in lines if line.startswith("best: ")]
    assert len(found) == 2 and found[0] == found[1]
    there, here = contents(tmp_path / "there" / "Drawn"), contents(tmp_path / "here" / "Drawn")
    assert there == here and sum(name.endswith(".txt") for name in here) == 2 * VIDEOS


def test_ctrl_c_ends_the_tasks_and_keeps_results(nodes, arguments, tmp_path):
    cluster, _, starts = nodes
    results = tmp_path / "results"
    command = [*arguments, "--results", str(results), "--executor", "ray"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pysot", "test", *command, "--address", cluster.address],
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    wait_for(lambda: list(results.rglob("*.txt")))
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 130, errors
    assert errors.splitlines()[-1] == "interrupted"
    kept = len(list(results.rglob("*.txt")))
    assert 1 <= kept < VIDEOS
    before = len(list(starts.glob("1*.*")))
    time.sleep(3)
    assert len(list(starts.glob("1*.*"))) == before


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "no-such-host.invalid:9"])
def test_an_address_that_does_not_answer_is_one_line(otb_set, tmp_path, address, capsys):
    pytest.importorskip("ray")
    start = time.monotonic()
    command = ["--dataset", "Tiny", "--dataset-root", str(otb_set), "--static"]
    command += ["--results", str(tmp_path / "results"), "--executor", "ray"]
    with pytest.raises(SystemExit) as stop:
        run(lambda: tool.main([*command, "--address", address]))
    assert (stop.value.code, time.monotonic() - start < 30) == (2, True)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: no Ray cluster answers at {address}: ")
    assert not (tmp_path / "results").exists()
