"""Which requests the page's server answers."""

import asyncio

import pytest

from pysot.web.access import Guard, is_loopback, token_for

TOKEN = "a-token-of-enough-letters"


def ask(token, path="/", query="", kind="http", **headers):
    """Send one request through a guard; return its answer, or what the application was asked."""
    sent = []

    async def app(scope, receive, send):
        sent.append("application")

    async def send(message):
        sent.append(message)

    scope = {
        "type": kind,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), text.encode()) for name, text in headers.items()],
    }
    asyncio.run(Guard(app, token, 8080)(scope, None, send))
    return sent[0]


def passes(*arguments, **options):
    return ask(*arguments, **options) == "application"


def cookie(token, port=8080):
    return f"other=1; pysot_token_{port}={token}"


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("path", ["/", "/frame/key", "/upload/key", "/download/key/json"])
def test_every_address_needs_the_token(kind, path):
    assert passes(TOKEN, path, kind=kind, cookie=cookie(TOKEN))
    for wrong in ("", TOKEN[:-1], TOKEN + "x", TOKEN.upper()):
        assert not passes(TOKEN, path, kind=kind, cookie=cookie(wrong))
    assert not passes(TOKEN, path, kind=kind, cookie=cookie(TOKEN, port=8081))
    assert not passes(TOKEN, path, kind=kind, host="127.0.0.1:8080")


def test_what_is_refused_says_what_is_missing():
    assert ask(TOKEN)["status"] == 403
    assert ask(TOKEN, kind="websocket")["type"] == "websocket.close"
    assert ask(TOKEN, query="token=wrong", cookie='pysot_token_8080="ü')["status"] == 403


def test_a_token_in_the_address_becomes_a_cookie():
    answer = ask(TOKEN, "/", f"a=1&token={TOKEN}")
    headers = dict(answer["headers"])
    assert answer["status"] == 303
    assert headers[b"location"] == b"/?a=1"
    assert headers[b"set-cookie"].decode().startswith(f"pysot_token_8080={TOKEN};")
    assert b"HttpOnly" in headers[b"set-cookie"] and b"SameSite=Lax" in headers[b"set-cookie"]
    assert not passes(TOKEN, "/", f"token={TOKEN}", kind="websocket")


@pytest.mark.parametrize("path", ["//evil.example", "/a\r\nset-cookie: b=c", "/\\evil.example"])
def test_the_way_on_stays_on_this_server(path):
    location = dict(ask(TOKEN, path, f"token={TOKEN}")["headers"])[b"location"]
    assert location.startswith(b"/") and not location.startswith((b"//", b"/\\"))
    assert b"\r" not in location and b"\n" not in location


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "127.1.2.3"])
def test_without_a_token_browsers_of_this_machine_may_come(host):
    assert passes(None, host=host)
    assert passes(None, kind="websocket", host=host, origin=f"http://{host}")


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("evil.example", None),  # a name that its owner lets point to this machine
        ("", None),
        ("localhost.evil.example:8080", None),
        ("127.0.0.1:8080", "https://evil.example"),
        ("127.0.0.1:8080", "http://127.0.0.1:8081"),
        ("127.0.0.1:8080", "null"),
        ("[:8080", None),
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_without_a_token_pages_of_others_may_not(kind, host, origin):
    headers = {"host": host, **({"origin": origin} if origin else {})}
    assert not passes(None, kind=kind, **headers)


def test_the_end_of_the_server_passes():
    sent = []

    async def app(scope, receive, send):
        sent.append(scope["type"])

    asyncio.run(Guard(app, TOKEN, 1)({"type": "lifespan"}, None, None))
    assert sent == ["lifespan"]


def test_other_machines_need_a_token():
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "[::1]")] == [True] * 4
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.5", "example.org", "", "127")))
    assert token_for("127.0.0.1", None) is None
    assert token_for("127.0.0.1", TOKEN) == TOKEN
    made = [token_for("0.0.0.0", None) for _ in range(2)]
    assert made[0] != made[1] and min(map(len, made)) >= 32


@pytest.mark.parametrize("token", ["", "short", "with a blank in it and more", "a&b=ccccccccccccc"])
def test_a_token_that_is_weak_or_no_part_of_an_address_is_refused(token):
    with pytest.raises(ValueError, match="--token: expected at least 16"):
        token_for("127.0.0.1", token)
