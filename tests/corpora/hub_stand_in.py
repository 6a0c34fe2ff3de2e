"""A server that answers like the Hugging Face hub for one data set, as far as streaming it asks."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


@contextmanager
def hub_stand_in(name: str, commit: str, files: Mapping[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """Serve a data set; gives the address and the list of paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(self.path).partition("?")[0]
            asked.append(path)
            if path.startswith(f"/api/datasets/{name}/tree/"):
                self._answer(json.dumps(_tree(files)).encode())
            elif path.startswith(f"/api/datasets/{name}"):
                names = [{"rfilename": file} for file in files]
                self._answer(json.dumps({"id": name, "sha": commit, "siblings": names}).encode())
            else:
                content = files.get(path.removeprefix(f"/datasets/{name}/resolve/{commit}/"))
                self._answer(content or b"", 404 if content is None else 200)

        def _answer(self, body: bytes, status: int = 200) -> None:
            span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            headers = {"X-Repo-Commit": commit, "ETag": f'"{_blob(body)}"', "Accept-Ranges": "bytes"}
            if status == 404:
                headers["X-Error-Code"] = "EntryNotFound"
            elif span is not None:
                first, last = int(span[1]), min(int(span[2] or len(body)), len(body) - 1)
                headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
                status, body = 206, body[first : last + 1]
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def _tree(files: Mapping[str, bytes]) -> list[dict[str, object]]:
    directories = {file.rpartition("/")[0] for file in files} - {""}
    return [{"type": "directory", "path": path, "oid": "0" * 40} for path in sorted(directories)] + [
        {"type": "file", "path": path, "size": len(body), "oid": _blob(body)} for path, body in files.items()
    ]


def _blob(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()
