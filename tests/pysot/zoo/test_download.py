import hashlib
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pysot.zoo.download import fetch

CONTENT = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


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
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{http.server_port}/m.pth", asked
    finally:
        http.shutdown()
        http.server_close()


def whole(handler, content=CONTENT):
    start = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    handler.send_header("Content-Length", str(len(content) - start))
    handler.end_headers()
    handler.wfile.write(content[start:])


def without_ranges(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.end_headers()
    handler.wfile.write(CONTENT)


def breaks_off(handler):
    start = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
    handler.send_response(206 if start else 200)
    handler.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
    handler.send_header("Content-Length", str(len(CONTENT) - start))
    handler.end_headers()
    handler.wfile.write(CONTENT[start : start + 70000])
    handler.connection.close()


def stalls(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.end_headers()
    handler.wfile.write(CONTENT[:1000])
    handler.wfile.flush()
    time.sleep(1)


def lies(handler):
    whole(handler, b"<html>quota exceeded</html>")


def is_missing(handler):
    handler.send_error(404)


def test_a_download_that_breaks_off_goes_on_where_it_was(tmp_path):
    path = tmp_path / "models" / "m.pth"
    with server(breaks_off, breaks_off, whole) as (url, asked):
        fetch([url], path, DIGEST, len(CONTENT))
    assert path.read_bytes() == CONTENT
    assert asked == [None, "bytes=70000-", "bytes=140000-"]
    assert not list(path.parent.glob("*.part"))


def test_a_later_call_goes_on_from_what_an_earlier_one_left(tmp_path):
    path = tmp_path / "m.pth"
    with server(breaks_off, is_missing) as (url, _), pytest.raises(OSError, match="Not Found"):
        fetch([url], path, DIGEST)
    assert not path.exists()
    with server(whole) as (url, asked):
        fetch([url], path, DIGEST)
    assert path.read_bytes() == CONTENT
    assert asked == ["bytes=70000-"]


def test_a_server_without_ranges_sends_all_again(tmp_path):
    path = tmp_path / "m.pth"
    with server(breaks_off, without_ranges) as (url, _):
        fetch([url], path, DIGEST)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "answer, reason",
    [(lies, "27 bytes instead of"), (is_missing, "404|Not Found"), (stalls, "timed out")],
)
def test_a_mirror_stands_in_for_a_bad_server(tmp_path, answer, reason):
    path = tmp_path / "m.pth"
    with server(answer) as (bad, _), server(whole) as (good, _):
        with pytest.raises(OSError, match=reason) as caught:
            fetch([bad], path, DIGEST, len(CONTENT), timeout=0.2)
        assert str(path) in str(caught.value)
        fetch([bad, good], path, DIGEST, len(CONTENT), timeout=0.2)
    assert path.read_bytes() == CONTENT


def test_a_wrong_beginning_is_not_completed(tmp_path):
    path = tmp_path / "m.pth"
    (tmp_path / "m.pth.part").write_bytes(b"x" * 5000)
    with server(whole) as (url, asked):
        fetch([url], path, DIGEST)
    assert path.read_bytes() == CONTENT
    assert asked == ["bytes=5000-", None]


def test_a_file_of_another_hash_is_never_taken(tmp_path):
    with server(whole) as (url, _), pytest.raises(OSError, match="SHA-256"):
        fetch([url], tmp_path / "m.pth", "0" * 64)
    assert not (tmp_path / "m.pth").exists()


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
