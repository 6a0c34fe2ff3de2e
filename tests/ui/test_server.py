from __future__ import annotations

import http.client
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen

import pytest

from polycompress.cli.commands import COMMANDS
from tests.command_line import invoke, refused, start, tree
from tests.ui.tiny import HOSTILE, make_training

ONE = ["runs/one/config.json", "runs/one/final", "runs/one/metrics.jsonl"]

pytest.importorskip("nicegui", reason="the page needs nicegui (extra ui)")


def address_of(process: Popen[str]) -> tuple[str, int]:
    """Host and port that the command prints when it is ready."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("serving http://127.0.0.1:"), (line, process.stderr and process.stderr.read())
    return "127.0.0.1", int(line.split(":")[2].split("/")[0])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    root = tmp_path_factory.mktemp("served")
    make_training(root / "runs" / "one")
    (root / "secret.txt").write_text("secret")
    process = start("ui", root / "runs", "--port", "0", "--no-browser", cwd=root)
    try:
        yield address_of(process)
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert "Traceback" not in err
    assert tree(root) == ["runs", "runs/one", *ONE, "secret.txt"]


def get(served: tuple[str, int], path: str, **headers: str) -> tuple[int, str, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection(*served, timeout=60)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, answer.read().decode("utf-8", "replace"), answer.headers
    connection.close()
    return found


def test_the_page_and_reports_are_served(served: tuple[str, int]) -> None:
    status, text, headers = get(served, "/")
    assert (status, "polycompress" in text) == (200, True)
    assert "default-src 'self'" in headers["content-security-policy"]
    status, text, headers = get(served, "/report?run=one")
    assert (status, "finished after 2 steps" in text) == (200, True)
    assert "sandbox" in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/report?run=../secret.txt",
        "/report?run=%2e%2e",
        "/report?run=/etc/passwd",
        "/file=/etc/passwd",
        "/secret.txt",
        "/_nicegui/client/../../secret.txt",
        "/docs",
        "/openapi.json",
        "/_nicegui/x/static/../../../../../../../../etc/passwd",
        "/%2e%2e/secret.txt",
    ],
)
def test_no_other_file_is_reached(served: tuple[str, int], path: str) -> None:
    status, text, _ = get(served, path)
    assert status in (403, 404)
    assert "root:" not in text
    assert "secret" not in text.replace(path, "").replace("secret.txt", "")


def test_other_hosts_and_pages_are_refused(served: tuple[str, int]) -> None:
    own = f"127.0.0.1:{served[1]}"
    assert get(served, "/", Host=own)[0] == 200
    assert get(served, "/", Host="evil.example")[0] == 403
    assert get(served, "/report?run=one", Host=f"evil.example:{served[1]}")[0] == 403
    assert get(served, "/", Host=own, Origin="http://evil.example")[0] == 403
    socket_path = "/_nicegui_ws/socket.io/?EIO=4&transport=polling"
    assert get(served, socket_path, Host=own, Origin="http://evil.example")[0] == 403
    assert get(served, socket_path, Host=own)[0] != 403


def test_only_loopback_is_listened_to(served: tuple[str, int]) -> None:
    port = f"{served[1]:04X}"
    listening = [
        line.split()[1]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{port}")
    ]
    assert listening == [f"0100007F:{port}"]


def test_a_port_that_is_taken_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_training(tmp_path / "one")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        message = refused(capsys, tmp_path, "ui", tmp_path, "--port", port)
    assert message.startswith(f"--port {port}: 127.0.0.1:{port} cannot be served (Address already in use)")
    assert "--port 70000" in refused(capsys, tmp_path, "ui", tmp_path, "--port", "70000")


def test_what_is_not_there_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "runs: no such directory" in refused(capsys, tmp_path, "ui")
    assert "none/: no such directory" in refused(capsys, tmp_path, "ui", "--model", "none/")
    (tmp_path / HOSTILE.replace("/", "")).touch()
    assert "is a file" in refused(capsys, tmp_path, "ui", HOSTILE)


def test_a_missing_extra_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    outcome = invoke(capsys, "ui", tmp_path, "--port", "0", "--no-browser")
    assert outcome.code == 2
    assert "pip install 'polycompress[ui]'" in outcome.err


def test_the_command_is_listed() -> None:
    assert COMMANDS["ui"] == "ui.ui"
