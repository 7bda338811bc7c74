"""The command line of ``pysot demo --web``; the page itself is in tests/pysot/web."""

import socket

import pytest

from pysot.cli import demo as tool
from pysot.cli import demo_web
from pysot.web import server
from pysot.web.visitors import Offer
from toolkit.io.packages import PackageMissing


def fails(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        tool.parse_args([*arguments])
    assert stop.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--host", "0.0.0.0"),
        ("--port", "80"),
        ("--token", "a-token-of-enough-letters"),
        ("--clips", "videos"),
        ("--offer", "0"),
        ("--max-upload", "5"),
        ("--max-visitors", "5"),
        ("--idle-minutes", "5"),
    ],
)
def test_options_of_the_page_need_it(capsys, arguments):
    assert fails(capsys, *arguments).endswith(f"error: {arguments[0]} needs --web")
    tool.parse_args(["--web", *arguments])


@pytest.mark.parametrize("option", ["--output=t.mp4", "--json=t.json", "--init-rect=1,2,3,4"])
def test_what_is_chosen_on_the_page_is_no_option(capsys, option):
    name = option.partition("=")[0]
    assert fails(capsys, "--web", option).endswith(f"error: {name} has no effect with --web")


@pytest.mark.parametrize(
    ("option", "value"),
    [("--port", "65536"), ("--port", "x"), ("--max-upload", "0"), ("--idle-minutes", "-1")],
)
def test_bad_numbers_are_refused(capsys, option, value):
    assert option in fails(capsys, "--web", f"{option}={value}")


@pytest.fixture
def served(monkeypatch):
    """What `serve` is called with."""
    calls = []
    monkeypatch.setattr(server, "serve", lambda *arguments: calls.append(arguments))
    return calls


def test_the_page_gets_what_the_operator_allows(
    served, tmp_path, draw_frame, tiny_config, tiny_snapshot
):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mp4").touch()
    tool.main(
        [
            *("--web", "--config", str(tiny_config), "--snapshot", str(tiny_snapshot)),
            *("--clips", str(tmp_path / "clips"), "--offer", "door=rtsp://u:p@host/", "--video=0"),
            *("--max-upload", "3", "--idle-minutes", "0.5", "--max-visitors", "7"),
        ]
    )
    ((settings, new_tracker),) = served
    clip = Offer("a.mp4", str(tmp_path / "clips" / "a.mp4"))
    stream = Offer("door", "rtsp://u:p@host/")
    assert set(settings.offers) >= {clip, stream, Offer("camera 0", "0")}
    assert settings.tracker_name == tiny_config.parent.name
    assert (settings.host, settings.port, settings.token) == ("127.0.0.1", 8080, None)
    assert settings.most_bytes == 3_000_000 and settings.most_visitors == 7
    assert settings.idle_seconds == 30
    one, other = new_tracker(), new_tracker()
    frame = draw_frame((20, 15, 24, 18))
    one.add(frame, (20, 15, 24, 18))
    assert not other.trackers
    assert one.track(frame)[0].score > 0


def test_a_folder_of_clips_must_be_there(served, tmp_path):
    with pytest.raises(OSError, match="missing"):
        tool.main(["--web", "--clips", str(tmp_path / "missing")])


def test_a_port_in_use_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port}.*choose others by --host and --port"):
            server._listen("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "token", "address"),
    [
        ("127.0.0.1", None, "http://127.0.0.1:8080/"),
        ("::1", None, "http://[::1]:8080/"),
        ("0.0.0.0", "abc", f"http://{socket.gethostname()}:8080/?token=abc"),
    ],
)
def test_the_address_that_is_printed(host, token, address):
    assert server._address(host, 8080, token) == address


def test_a_missing_package_is_named(monkeypatch):
    def missing(module, package, purpose):
        raise PackageMissing(f"{purpose} {package}")

    monkeypatch.setattr(server, "load_package", missing)
    with pytest.raises(ValueError, match="the page needs nicegui"):
        server.serve(server.WebSettings("any"), lambda: None)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ([], "siamrpn_lite0"),
        (["--model", "siamfc_lite0"], "siamfc_lite0"),
        (["--config", "siamrpn_alex_dwxcorr", "--snapshot", "m.pth"], "siamrpn_alex_dwxcorr"),
        (["--config", "a/siamese/config.yaml", "--snapshot", "m.pth"], "siamese"),
        (["--snapshot", "exported"], "exported"),
    ],
)
def test_the_page_names_its_tracker(options, name):
    assert demo_web._tracker_name(tool.parse_args(["--web", *options])) == name
