"""A hub of our own on loopback: the few calls that sending a folder makes, so that the real library runs."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Hub:
    """What it was asked, and what it answers."""

    address: str = ""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path, authorisation."""
    created: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    """By ``branch:name``."""
    message: str = ""
    private: bool | None = None
    """Of a repository that is there already."""
    failing: dict[str, int] = field(default_factory=dict)
    """Status that paths with some ending are answered with."""

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        for ending, status in self.failing.items():
            if path.endswith(ending):
                return status, {"error": f"status {status}, made up"}
        if path.endswith("/api/repos/create"):
            self.created = json.loads(body)
            if self.private is not None:
                return 409, {"error": "it is there already", "url": f"{self.address}/me/tiny"}
            return 200, {
                "url": f"{self.address}/{self.created.get('organization', 'me')}/{self.created['name']}"
            }
        if method == "GET" and path.startswith("/api/models/"):
            if not self.created and self.private is None:
                return 404, {"error": "Repository not found"}
            made = self.created.get("private") or self.created.get("visibility") == "private"
            private = bool(made) if self.private is None else self.private
            return 200, {
                "id": "me/tiny",
                "modelId": "me/tiny",
                "private": private,
                "sha": "0" * 40,
                "siblings": [],
            }
        if "/preupload/" in path:
            asked = [each["path"] for each in json.loads(body)["files"]]
            return 200, {
                "files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in asked]
            }
        if "/commit/" in path:
            return self._commit(path.rpartition("/")[2], body)
        if "/branch/" in path:
            return 200, {}
        if path.endswith("/api/validate-yaml"):
            return 200, {"errors": [], "warnings": []}
        return 404, {"error": f"{method} {path} is not known here"}

    def _commit(self, branch: str, body: bytes) -> tuple[int, Any]:
        for line in body.decode().splitlines():
            record = json.loads(line)
            if record["key"] == "header":
                self.message = record["value"]["summary"]
            else:
                self.files[f"{branch}:{record['value']['path']}"] = base64.b64decode(
                    record["value"]["content"]
                )
        return 200, {"commitUrl": f"{self.address}/me/tiny/commit/{'1' * 40}", "commitOid": "1" * 40}


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub until the end of the block."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            hub.requests.append((self.command, self.path, self.headers.get("authorization", "")))
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, value = hub.answer(self.command, self.path.partition("?")[0], body)
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _serve

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
