"""Nobody but this machine's browser, on our own page: names other than loopback's are refused, and pages of others.

A server on loopback can be reached by any page in the same browser: by a request to 127.0.0.1, or under a name of the
attacker's that resolves to it (DNS rebinding). The first carries a foreign ``Origin``, the second a foreign ``Host``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

HOST: Final = "127.0.0.1"
NAMES: Final = (HOST, "localhost")
POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; frame-src 'self'; frame-ancestors 'self'; "
    "object-src 'none'; base-uri 'self'; form-action 'self'"
)
"""Of the page: the browser itself lets nothing leave. The library compiles its templates in the browser."""
REPORT_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; sandbox"
)
"""Of a report: no script, no request."""
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
Application = Callable[[_Message, _Receive, _Send], Awaitable[None]]


class LoopbackOnly:
    """An ASGI application that lets through to another only what comes from our own page."""

    def __init__(self, app: Application, port: int) -> None:
        """Take an application.

        Args:
            app: That is guarded.
            port: Where it is served.
        """
        self.app = app  # the library looks for its own application behind this name
        self._hosts = {f"{name}:{port}".encode() for name in NAMES}
        self._origins = {b"http://" + host for host in self._hosts}

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Serve a request."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        elif not self.allows(scope["headers"]):
            await _refuse(scope["type"], send)
        else:
            await self.app(scope, receive, _with_headers(send))

    def allows(self, headers: list[tuple[bytes, bytes]]) -> bool:
        """Whether a request's headers are those of our own page: one host, which is ours, and no foreign origin."""
        hosts = [value.lower() for name, value in headers if name == b"host"]
        origins = [value.lower() for name, value in headers if name == b"origin"]
        return len(hosts) == 1 and hosts[0] in self._hosts and self._origins.issuperset(origins)


def _with_headers(send: _Send) -> _Send:
    async def sending(message: _Message) -> None:
        if message["type"] == "http.response.start":
            own = list(message.get("headers", []))
            policy = (
                []
                if any(name == b"content-security-policy" for name, _ in own)
                else [(b"content-security-policy", POLICY.encode())]
            )
            message = {**message, "headers": [*own, *policy, *_HEADERS]}
        await send(message)

    return sending


async def _refuse(kind: str, send: _Send) -> None:
    if kind == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": b"Only this machine's own page is served.\n"})
