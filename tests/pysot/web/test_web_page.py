"""The page in headless Chromium, served by ``pysot demo --web``.

``pip install nicegui av playwright`` and a Chromium, which PYSOT_CHROMIUM names (default:
/usr/bin/chromium). PYSOT_SCREENSHOTS names a folder for pictures of each state.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from toolkit.io.video import open_source
from toolkit.io.video_writer import VideoSink

pytestmark = pytest.mark.extras

ROOT = Path(__file__).parents[3]
CHROMIUM = os.environ.get("PYSOT_CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
PATIENCE = 120_000  # milliseconds, for machines that do much else
NUM_FRAMES, STEP = 30, 3
BOX = (60, 70, 50, 40)  # in the first frame, of 320 x 240 pixels


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Folder of a clip, in which a patch moves to the right over noise."""
    folder = tmp_path_factory.mktemp("clips")
    random = np.random.default_rng(0)
    back = random.integers(60, 100, (240, 320, 3), np.uint8)
    patch = np.kron(random.integers(0, 255, (8, 10, 3), np.uint8), np.ones((5, 5, 1), np.uint8))
    with VideoSink(folder / "moving.mp4", 25) as sink:
        for i in range(NUM_FRAMES):
            image = back.copy()
            x = BOX[0] + STEP * i
            image[70:110, x : x + 50] = patch
            sink.write(image)
    return folder


class Server:
    """A page's server in a process; its temporary files lie in ``folder``."""

    def __init__(self, folder, *options):
        self.folder = folder
        command = [sys.executable, "-m", "pysot", "demo", "--web", "--port", "0", *options]
        environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        line = self.process.stdout.readline()
        self.url = re.match(r"open (http://\S+)", line)[1]

    def folders(self):
        """Folders of visitors."""
        return list(self.folder.glob("pysot-web-*/visitor-*"))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture(scope="module")
def server(clips, tmp_path_factory):
    options = ("--clips", str(clips), "--max-upload", "1", "--max-visitors", "2")
    server = Server(tmp_path_factory.mktemp("server"), *options)
    yield server
    assert server.stop() == 0
    assert list(server.folder.iterdir()) == []


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api")
    if not shutil.which(CHROMIUM):
        pytest.skip(f"no {CHROMIUM}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=PATIENCE)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, server):
    """Function that opens the page as a new visitor; nothing may come from other hosts."""
    contexts, wrong = [], []

    def open_page(size="desktop", url=server.url):
        width, height = SIZES[size]
        phone = size == "phone"
        context = chromium.new_context(
            viewport={"width": width, "height": height}, has_touch=phone, is_mobile=phone
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: wrong.extend(foreign(request.url)))
        page.goto(url)
        page.size = size
        return page

    yield open_page
    for context in contexts:
        context.close()
    until(lambda: not server.folders())  # those who left take their files with them
    assert wrong == []


def foreign(url):
    return [] if re.match(r"(http|ws)://127\.0\.0\.1:|data:|blob:", url) else [url]


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def shoot(page, name):
    if folder := os.environ.get("PYSOT_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{folder}/{page.size}_{name}.png", full_page=page.size == "phone")


def says(page, text):
    page.get_by_text(text).first.wait_for()


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def choose(page, clip="moving.mp4"):
    says(page, "Choose a clip")
    page.get_by_label("Clip or camera").click()
    page.get_by_role("option", name=clip).click()
    says(page, "Drag a box")
    page.wait_for_selector("tracking-view[filled]")


def corners(page, box):
    """Two corners of a box in the frame, in pixels of the screen."""
    area = page.locator("tracking-view canvas").bounding_box()
    x, y, w, h = box
    scale = area["width"] / 320
    return [(area["x"] + scale * u, area["y"] + scale * v) for u, v in ((x, y), (x + w, y + h))]


def drag(page, box, name=None):
    (x1, y1), (x2, y2) = corners(page, box)
    page.mouse.move(x1, y1)
    page.mouse.down()
    page.mouse.move((x1 + x2) / 2, (y1 + y2) / 2)
    page.mouse.move(x2, y2)
    if name:
        shoot(page, name)
    page.mouse.up()


def touch(page, box):
    """Draw a box with a finger."""
    (x1, y1), (x2, y2) = corners(page, box)
    line = page.context.new_cdp_session(page)
    for kind, points in (
        ("touchStart", [{"x": x1, "y": y1}]),
        ("touchMove", [{"x": x2, "y": y2}]),
        ("touchEnd", []),
    ):
        line.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def download(page, name, folder):
    with page.expect_download() as waiting:
        press(page, name)
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def boxes_of(path, number=0):
    frames = json.loads(path.read_text())["frames"]
    found = [one for frame in frames for one in frame.get("objects", [{"id": 0, **frame}])]
    return np.array([one["bbox"] for one in found if one["id"] == number])


@pytest.mark.parametrize("size", SIZES)
def test_a_drawn_box_is_tracked_and_downloaded(visit, size, tmp_path):
    page = visit(size)
    shoot(page, "0_empty")
    choose(page)
    shoot(page, "1_chosen")
    if size == "phone":
        touch(page, BOX)
    else:
        drag(page, BOX, "2_drawing")
    says(page, "Object 0")
    shoot(page, "3_drawn")
    press(page, "Start")
    says(page, re.compile(r"Frame \d\d of 30"))
    shoot(page, "4_tracking")
    says(page, "Finished")
    shoot(page, "5_finished")
    json_path = download(page, "Download JSON", tmp_path)
    video_path = download(page, "Download Video", tmp_path)
    assert [json_path.name, video_path.name] == ["moving_tracked.json", "moving_tracked.mp4"]
    boxes = boxes_of(json_path)
    np.testing.assert_allclose(boxes[0], BOX, atol=1)
    moved = boxes[:, 0] - boxes[0, 0]
    np.testing.assert_allclose(moved, STEP * np.arange(NUM_FRAMES), atol=6)
    images = [frame.image for frame in open_source(video_path)]
    assert len(images) == NUM_FRAMES and images[0].shape == (240, 320, 3)


def test_pausing_correcting_adding_and_removing(visit, tmp_path):
    page = visit()
    choose(page)
    drag(page, (150, 160, 40, 40))
    says(page, "Object 0")
    press(page, "Step")
    says(page, "Frame 2 of 30")
    press(page, "Redraw Object 0")
    says(page, "Draw the new box of object 0")
    shoot(page, "6_redraw")
    drag(page, (BOX[0] + STEP, *BOX[1:]))
    says(page, "Paused")
    drag(page, (10, 10, 30, 30))
    says(page, "Object 1")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Remove Object 1").click()
    page.get_by_text("Object 1").wait_for(state="detached")
    page.locator("tracking-view canvas").focus()  # a third object, without the mouse
    for key in ("Enter", *["ArrowRight"] * 8, *["ArrowDown"] * 8):
        page.keyboard.press(key)
    shoot(page, "7_keyboard")
    page.keyboard.press("Enter")
    says(page, "Object 2")
    page.keyboard.press("Space")
    says(page, re.compile(r"Frame \d\d of 30"))
    drag(page, (3, 3, 1, 1))  # no box, but it pauses
    says(page, "Paused")
    press(page, "Finish")
    says(page, "Finished")
    path = download(page, "Download JSON", tmp_path)
    boxes = boxes_of(path)
    np.testing.assert_allclose(boxes[0], (150, 160, 40, 40), atol=1)
    np.testing.assert_allclose(boxes[1], (BOX[0] + STEP, *BOX[1:]), atol=1)
    assert len(boxes_of(path, 1)) == 0
    np.testing.assert_allclose(boxes_of(path, 2)[0], (160, 120, 0.16 * 320, 0.16 * 240), atol=1)


def upload(page, path):
    with page.expect_file_chooser() as waiting:
        press(page, "Upload a video")
    waiting.value.set_files(path)


def test_uploads(visit, clips, tmp_path):
    page = visit()
    says(page, "Choose a clip")
    text = tmp_path / "notes.mp4"
    text.write_text("I am no video.\n" * 100)
    upload(page, text)
    says(page, "notes.mp4 is no video")
    shoot(page, "8_wrong_file")
    large = tmp_path / "large.mp4"
    large.write_bytes((clips / "moving.mp4").read_bytes().ljust(1_000_001, b"\0"))
    upload(page, large)
    says(page, "large.mp4 is too large: at most 1 MB")
    good = shutil.copy(clips / "moving.mp4", tmp_path / "my own.mp4")
    upload(page, good)
    says(page, "Drag a box")
    page.get_by_text("too large").wait_for(state="hidden")
    damaged = tmp_path / "bad.mp4"
    damaged.write_bytes(Path(good).read_bytes()[:200])
    upload(page, damaged)
    says(page, "bad.mp4 is damaged")
    drag(page, BOX)  # the video before it is still there
    says(page, "Object 0")
    key = page.locator("tracking-view").get_attribute("visitor")
    assert post(f"{page.url}upload/{key}?name=a.mp4", large.read_bytes()) == 413
    assert post(f"{page.url}upload/another?name=a.mp4", b"") == 410


def post(url, data):
    try:
        return urllib.request.urlopen(urllib.request.Request(url, data)).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:  # the server hangs up before it has read all
        return 413


def test_visitors_do_not_see_each_other_and_wait_for_a_place(visit, server):
    first = visit()
    choose(first)
    drag(first, BOX)
    says(first, "Object 0")
    second = visit("phone")
    says(second, "Choose a clip")
    assert second.get_by_text("Object 0").count() == 0
    assert second.locator("tracking-view[filled]").count() == 0
    third = visit("phone")
    says(third, "All places are taken")
    shoot(third, "9_full")
    assert len(server.folders()) == 2
    first.close()
    says(third, "Choose a clip")
    assert len(server.folders()) == 2
    assert second.get_by_text("None yet").count() == 1


def test_other_hosts_need_the_token(chromium, clips, tmp_path):
    server = Server(tmp_path, "--host", "0.0.0.0", "--clips", str(clips), "--idle-minutes", "0.02")
    try:
        port, token = re.search(r":(\d+)/\?token=(\S+)", server.url).groups()
        context = chromium.new_context(viewport={"width": 390, "height": 844})
        page = context.new_page()
        page.size = "phone"
        page.set_default_timeout(PATIENCE)
        assert page.goto(f"http://127.0.0.1:{port}/").status == 403
        says(page, "needs its token")
        assert page.goto(f"http://127.0.0.1:{port}/?token={token[:-1]}").status == 403
        assert page.goto(f"http://127.0.0.1:{port}/static/view.js").status == 403
        page.goto(f"http://127.0.0.1:{port}/?token={token}")
        says(page, "Choose a clip")
        assert page.url == f"http://127.0.0.1:{port}/"
        says(page, "This session has ended")  # as nothing was done
        shoot(page, "10_idle")
        assert server.folders() == []
        context.close()
    finally:
        assert server.stop() == 0
    assert list(tmp_path.iterdir()) == []
