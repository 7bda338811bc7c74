import hashlib
import json
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from pysot.zoo.download import fetch

CONTENT = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
OTHER = CONTENT[::-1]
DATE = "Thu, 26 Nov 2026 04:00:00 GMT"


@contextmanager
def server(*answers):
    """Serve the answers in turn, the last one for ever; yield the address and the Range headers."""
    left, asked = list(answers), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.headers.get("Range"))
            (left.pop(0) if len(left) > 1 else left[0])(self)

        def log_message(self, *args):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{http.server_port}/m.pth", asked
    finally:
        http.shutdown()
        http.server_close()


def send(
    handler, content=CONTENT, sent=None, ranges=True, tag="", length=None, promised=None, date=""
):
    """Answer with a content or the range that was asked for, or only ``sent`` bytes of it."""
    if handler.headers.get("If-Range", tag or date) != (tag or date):
        ranges = False
    start = int((handler.headers.get("Range") or "bytes=0-")[6:-1]) if ranges else 0
    if start >= len(content):
        handler.send_error(416)
        return
    handler.send_response(206 if start else 200)
    if start:
        first = start if promised is None else promised
        handler.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
    if tag:
        handler.send_header("ETag", tag)
    if date:
        handler.send_header("Last-Modified", date)
    if length != "":
        handler.send_header("Content-Length", str(length or len(content) - start))
    handler.end_headers()
    handler.wfile.write(content[start:][:sent])
    handler.wfile.flush()


def answer(**options):
    return lambda handler: send(handler, **options)


def stalls(handler):
    send(handler, sent=1000)
    time.sleep(0.5)


def circles(handler):
    handler.send_response(302)
    handler.send_header("Location", handler.path)
    handler.end_headers()


def to_a_file(handler):
    handler.send_response(302)
    handler.send_header("Location", "file:///etc/hostname")
    handler.end_headers()


def is_missing(handler):
    handler.send_error(404)


def says_nothing(handler):
    handler.wfile.write(b"\r\n\r\n")


whole = answer()
breaks_off = answer(sent=70000)
tagged = answer(sent=70000, tag='"1"')


@pytest.mark.parametrize(
    ("answers", "ranges"),
    [
        ([breaks_off, breaks_off, whole], [None, "bytes=70000-", "bytes=140000-"]),
        ([breaks_off, answer(ranges=False)], [None, "bytes=70000-"]),
        ([breaks_off, answer(promised=1), whole], [None, "bytes=70000-", None]),
    ],
    ids=["goes on", "no ranges", "another range than asked for"],
)
def test_a_download_that_breaks_off_is_completed(tmp_path, answers, ranges):
    path = tmp_path / "models" / "m.pth"
    with server(*answers) as (url, asked):
        fetch([url], path, DIGEST, len(CONTENT))
    assert path.read_bytes() == CONTENT
    assert asked == ranges
    assert [p.name for p in path.parent.iterdir() if "part" in p.name] == []


def test_a_later_call_goes_on_from_what_an_earlier_one_left(tmp_path):
    path = tmp_path / "m.pth"
    with server(breaks_off, is_missing) as (url, _), pytest.raises(OSError, match="HTTP 404"):
        fetch([url], path, DIGEST)
    assert not path.exists()
    with server(whole) as (url, asked):
        fetch([url], path, DIGEST)
    assert path.read_bytes() == CONTENT
    assert asked == ["bytes=70000-"]


@pytest.mark.parametrize(
    ("first", "again", "content", "second"),
    [
        (tagged, answer(tag='"1"'), CONTENT, "bytes=70000-"),
        (tagged, answer(content=OTHER, tag='"2"'), OTHER, "bytes=70000-"),
        (answer(sent=70000, date=DATE), answer(date=DATE), CONTENT, "bytes=70000-"),
        (breaks_off, answer(content=OTHER), OTHER, None),
        (answer(sent=70000, tag='W/"1"'), answer(content=OTHER), OTHER, None),
    ],
    ids=["the same file", "another file", "the same date", "no name", "a weak name"],
)
def test_without_a_hash_two_files_are_never_mixed(tmp_path, first, again, content, second):
    path = tmp_path / "m.pth"
    with server(first, again) as (url, asked):
        fetch([url], path)
    assert path.read_bytes() == content
    assert asked == [None, second]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (answer(content=b"<html>quota exceeded</html>"), "offers 27 bytes instead of 256000"),
        (answer(content=CONTENT + b"x"), "offers 256001 bytes instead of 256000"),
        (answer(content=CONTENT * 9, length=""), "bytes instead of 256000"),
        (answer(content=CONTENT[:5], length=""), "sent 5 bytes instead of 256000"),
        (answer(content=OTHER), "SHA-256"),
        (answer(length=1000), "offers 1000 bytes"),
        (answer(sent=0), "broke off after 0 of 256000 bytes"),
        (is_missing, "HTTP 404"),
        (says_nothing, "BadStatusLine"),
        (circles, "HTTP 302 .*infinite loop"),
        (to_a_file, "not allowed"),
        (stalls, "timed out"),
    ],
)
def test_a_mirror_stands_in_for_a_bad_server(tmp_path, bad, reason):
    path = tmp_path / "m.pth"
    with server(bad) as (bad, _), server(whole) as (good, _):
        with pytest.raises(OSError, match=reason) as caught:
            fetch([bad], path, DIGEST, len(CONTENT), timeout=0.1)
        assert "\n" not in str(caught.value)
        assert not path.exists()
        fetch([bad, good], path, DIGEST, len(CONTENT), timeout=0.1)
    assert path.read_bytes() == CONTENT


def test_a_stream_without_end_is_left_early(tmp_path):
    sent = []

    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        while sum(sent) < 9e7:
            sent.append(handler.wfile.write(CONTENT))

    with server(endless) as (url, _), pytest.raises(OSError, match=r"bytes instead of 256000"):
        fetch([url], tmp_path / "m.pth", DIGEST, len(CONTENT))
    assert sum(sent) < 9e7


def test_a_server_that_is_not_there_is_passed_over(tmp_path):
    with server(whole) as (gone, _):
        pass
    with server(whole) as (good, _):
        fetch([gone, good], tmp_path / "m.pth", DIGEST)
    with pytest.raises(OSError, match=f"{gone}: Connection refused"):
        fetch([gone], tmp_path / "n.pth")


@pytest.mark.parametrize("left", [b"x" * 5000, b"x" * len(CONTENT), b"x" * 300000])
def test_a_wrong_beginning_is_not_completed(tmp_path, left):
    path = tmp_path / "m.pth"
    (tmp_path / "m.part.pth").write_bytes(left)
    with server(whole) as (url, asked):
        fetch([url], path, DIGEST)
    assert path.read_bytes() == CONTENT
    assert asked == [f"bytes={len(left)}-", None]


def test_a_download_that_only_lacks_its_name_is_not_repeated(tmp_path):
    (tmp_path / "m.part.pth").write_bytes(CONTENT)
    with server(is_missing) as (url, asked):
        fetch([url], tmp_path / "m.pth", DIGEST)
    assert (tmp_path / "m.pth").read_bytes() == CONTENT
    assert asked == []


def test_without_a_hash_the_content_is_checked(tmp_path):
    def check(path):
        if path.read_bytes() != CONTENT:
            raise ValueError("no weights")

    with server(answer(content=b"<html>")) as (url, _), pytest.raises(OSError, match="no weights"):
        fetch([url], tmp_path / "m.pth", check=check)
    assert not (tmp_path / "m.pth").exists()
    with server(whole) as (url, _):
        fetch([url], tmp_path / "m.pth", check=check)
    assert (tmp_path / "m.pth").read_bytes() == CONTENT


def test_files_are_copied_by_their_address(tmp_path):
    source = tmp_path / "with space.pth"
    source.write_bytes(CONTENT)
    fetch([source.as_uri()], tmp_path / "m.pth", DIGEST)
    assert (tmp_path / "m.pth").read_bytes() == CONTENT


def test_processes_share_one_download(tmp_path):
    path = tmp_path / "m.pth"
    with server(whole) as (url, asked):
        threads = [threading.Thread(target=fetch, args=([url], path, DIGEST)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(asked) == 1


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "models").write_text("a file")
    with pytest.raises(OSError, match=r"cannot write .*models/m\.pth"):
        fetch([], tmp_path / "models" / "m.pth")


@pytest.fixture
def drive(monkeypatch):
    """Stand-in for gdown, whose ``files`` are on Google Drive, and ``calls``."""

    def download(id, output, quiet, resume, timeout):
        drive.calls.append(id)
        if id not in drive.files:
            raise RuntimeError("Cannot retrieve\n the public link")
        with open(output, "xb") as file:  # as gdown skips what is there already
            file.write(drive.files[id])

    drive = SimpleNamespace(download=download, files={}, calls=[])
    monkeypatch.setitem(sys.modules, "gdown", drive)
    return drive


def test_google_drive_is_asked_through_gdown(tmp_path, drive):
    drive.files["abc"] = CONTENT
    (tmp_path / "m.part.drive.pth").write_bytes(b"of a process that was killed")
    fetch(["gdrive://gone", "gdrive://abc"], tmp_path / "m.pth", DIGEST)
    assert (tmp_path / "m.pth").read_bytes() == CONTENT
    assert drive.calls == ["gone", "abc"]
    with pytest.raises(OSError, match="gdrive://gone: Cannot retrieve the public link"):
        fetch(["gdrive://gone"], tmp_path / "n.pth", DIGEST)


def test_a_lie_of_google_drive_is_not_kept(tmp_path, drive):
    drive.files["abc"] = OTHER
    (tmp_path / "m.part.pth").write_bytes(CONTENT[:100])
    (tmp_path / "m.part.pth.json").write_text(json.dumps(["gdrive://abc", ""]))
    with pytest.raises(OSError, match="SHA-256"):
        fetch(["gdrive://abc"], tmp_path / "m.pth", DIGEST)
    assert [path.name for path in tmp_path.glob("m*")] == []


def test_without_gdown_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(OSError, match="Google Drive needs gdown"):
        fetch(["gdrive://abc"], tmp_path / "m.pth")
