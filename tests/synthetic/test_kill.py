"""Tools that write data are killed at any moment and started again."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from pysot.cli.prepare import main

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")


def prepare(root, workers=2):
    """Cut the crops of forty frames, of which some are no images."""
    if not (root / "t.csv").exists():
        rows = ["video,frame,image,x,y,w,h,kind"]
        for number in range(40):
            image = np.random.default_rng(number).integers(0, 255, (60, 80, 3), np.uint8)
            cv2.imwrite(f"{root}/{number}.jpg", image)
            rows.append(f"v{number // 15},{number},{number}.jpg,10,10,{20 + number},20,cat")
        (root / "t.csv").write_text("\n".join(rows))
    argv = ["own", "--root", "t.csv", "--output", "out", "--workers", workers, "--template-crops"]
    return [sys.executable, "-m", "pysot", "prepare", *map(str, argv)]


def synthetic(root, workers=2):
    argv = ["--train-root", "out/t", "--test-root", "out/Mini", "--workers", workers]
    argv += ["--train-videos", 4, "--train-frames", 4, "--test-videos", 3, "--test-frames", 4]
    return [sys.executable, str(ROOT / "tools/make_synthetic.py"), *map(str, argv)]


def start(command, root):
    """Start a tool in a session of its own, which its workers belong to."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=root, env=environment, start_new_session=True, **quiet)


def finish(command, root):
    assert start(command, root).wait(300) == 0
    return digest(root / "out")


def digest(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def living(session):
    """Processes of a session that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, of, *_ = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(of) == session and state != "Z":
            found.append(path.parent.name)
    return found


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def kill_and_check(command, root, moment, number=signal.SIGKILL):
    """Kill a tool when the moment has come; nothing of it is left, nor writes on."""
    process = start(command, root)
    wait_for(lambda: moment() or process.poll() is not None)
    process.send_signal(number)
    process.wait()
    wait_for(lambda: not living(process.pid), 20)


def test_prepare_is_killed_and_goes_on(tmp_path, monkeypatch):
    command, crops = prepare(tmp_path), tmp_path / "out" / "crop511"
    kill_and_check(command, tmp_path, lambda: len(list(crops.rglob("*.x.jpg"))) > 3)
    assert not (tmp_path / "out" / "train.json").exists()
    monkeypatch.chdir(tmp_path)
    main([*command[4:], "--workers", "1"])
    found = digest(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "killed")
    main([*command[4:], "--workers", "1"])
    assert digest(tmp_path / "out") == found


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("tool", [prepare, synthetic])
def test_tools_are_killed_at_any_moment_and_go_on(tmp_path, tool, number):
    started = time.monotonic()
    whole, took = finish(tool(tmp_path), tmp_path), time.monotonic() - started
    (tmp_path / "out").rename(tmp_path / "whole")
    draw = random.Random(number)
    for _ in range(3):
        for _ in range(3):
            at = time.monotonic() + draw.uniform(0.1, took)
            kill_and_check(tool(tmp_path), tmp_path, lambda at=at: time.monotonic() > at, number)
        assert finish(tool(tmp_path), tmp_path) == whole
        (tmp_path / "out").rename(tmp_path / str(draw.random()))
