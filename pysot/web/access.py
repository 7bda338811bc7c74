"""Who may see the page: a token in the address or a cookie, or only this machine's own browsers."""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]

_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,}")
_REFUSED = "This page needs its token: open the whole address that the server printed.\n"
_FOREIGN = "This page is for browsers on its own machine; with a --token, others may come.\n"


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a host name or address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def token_for(host: str, token: str | None) -> str | None:
    """Return the token that a page on this address needs: the given one, a new one, or None.

    Raises:
        ValueError: If the given one is too short, or would not survive in an address.
    """
    if token is None:
        return None if is_loopback(host) else secrets.token_urlsafe()
    if not _TOKEN.fullmatch(token):
        raise ValueError("--token: expected at least 16 letters, digits and -._~ only")
    return token


class Guard:
    """Lets an ASGI application see only the requests and web sockets that may come.

    With a token, those that carry it in a cookie; a ``token`` in the query of the address becomes
    one. Without, those that name this machine as their host and come from no page of another one:
    any page that is open in a browser here could send some.
    """

    def __init__(self, app: _App, token: str | None, port: int) -> None:
        self.app = app
        self._token = token
        self._cookie = f"pysot_token_{port}"  # the pages of all ports share their cookies

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]
        }
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        given = dict(query).get("token")
        if self._token is None:
            if _is_own(headers):
                await self.app(scope, receive, send)
            else:
                await _refuse(scope, send, _FOREIGN)
        elif given is not None and scope["type"] == "http" and self._fits(given):
            rest = urlencode([pair for pair in query if pair[0] != "token"])
            await self._admit(quote(scope["path"]) + (f"?{rest}" if rest else ""), send)
        elif self._fits(_cookie(headers, self._cookie)):
            await self.app(scope, receive, send)
        else:
            await _refuse(scope, send, _REFUSED)

    def _fits(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), (self._token or "").encode())

    async def _admit(self, path: str, send: _Send) -> None:
        """Set the cookie, and lead on to the address without the token, which histories keep."""
        cookie = f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Lax"
        headers = {"location": "/" + path.lstrip("/"), "set-cookie": cookie}
        await _answer(send, 303, "", headers)


def _cookie(headers: dict[str, str], name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        found = None
    return found.value if found else ""


def _is_own(headers: dict[str, str]) -> bool:
    """Whether a request names a host of this machine, and no other one's page sent it."""
    host, origin = headers.get("host", ""), headers.get("origin")
    try:
        own = is_loopback(urlsplit(f"//{host}").hostname or "")
        return own and (origin is None or urlsplit(origin).netloc == host)
    except ValueError:  # of an address that is none
        return False


async def _refuse(scope: _Scope, send: _Send, text: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": text.strip()})
    else:
        await _answer(send, 403, text, {})


async def _answer(send: _Send, status: int, text: str, headers: dict[str, str]) -> None:
    body = text.encode()
    fields = {
        "content-type": "text/plain; charset=utf-8",
        "content-length": str(len(body)),
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
        **headers,
    }
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
