from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from polycompress.ui.guard import POLICY, LoopbackOnly

Message = MutableMapping[str, Any]
Headers = list[tuple[bytes, bytes]]
OURS = [(b"host", b"127.0.0.1:8420")]


async def page(scope: Message, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": scope.get("answer", [])})
        await send({"type": "http.response.body", "body": b"secret"})
    else:
        await send({"type": f"{scope['type']}.accepted"})


def ask(headers: Headers, kind: str = "http", answer: Headers | None = None) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {}

    scope = {"type": kind, "headers": headers, "answer": answer or []}
    asyncio.run(LoopbackOnly(page, 8420)(scope, receive, send))
    return sent


@pytest.mark.parametrize(
    "headers",
    [
        OURS,
        [(b"host", b"localhost:8420")],
        [(b"host", b"LOCALHOST:8420")],
        [*OURS, (b"origin", b"http://127.0.0.1:8420")],
        [(b"host", b"localhost:8420"), (b"origin", b"http://localhost:8420")],
    ],
)
def test_our_own_page_is_served(headers: Headers) -> None:
    start, body = ask(headers)
    assert (start["status"], body["body"]) == (200, b"secret")
    assert (b"content-security-policy", POLICY.encode()) in start["headers"]
    assert ask(headers, "websocket") == [{"type": "websocket.accepted"}]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"host", b"evil.example:8420")],
        [(b"host", b"evil.example")],
        [(b"host", b"127.0.0.1")],
        [(b"host", b"127.0.0.1:80")],
        [(b"host", b"127.0.0.1.evil.example:8420")],
        [*OURS, *OURS],
        [*OURS, (b"host", b"evil.example")],
        [*OURS, (b"origin", b"http://evil.example")],
        [*OURS, (b"origin", b"https://127.0.0.1:8420")],
        [*OURS, (b"origin", b"null")],
        [*OURS, (b"origin", b"http://127.0.0.1:8421")],
        [*OURS, (b"origin", b"http://127.0.0.1:8420"), (b"origin", b"http://evil.example")],
    ],
)
def test_others_are_refused(headers: Headers) -> None:
    start, body = ask(headers)
    assert start["status"] == 403
    assert b"secret" not in body["body"]
    assert ask(headers, "websocket") == [{"type": "websocket.close", "code": 1008}]


def test_a_policy_of_its_own_is_kept() -> None:
    own = (b"content-security-policy", b"sandbox")
    start, _ = ask(OURS, answer=[own])
    assert [value for name, value in start["headers"] if name == own[0]] == [own[1]]


def test_the_beginning_and_the_end_of_serving_pass() -> None:
    assert ask([], "lifespan") == [{"type": "lifespan.accepted"}]
