"""Run the command line in this process or in another, and look at everything it leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from polycompress.cli import console
from polycompress.cli.main import run

REPOSITORY = Path(__file__).resolve().parent.parent
PROGRAM = (sys.executable, "-m", "polycompress")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


def invoke(capsys: pytest.CaptureFixture[str], *arguments: str | os.PathLike[str]) -> Outcome:
    """Run a command in this process; its terminal is as wide as the environment says now."""
    capsys.readouterr()
    console.out.cache_clear()
    code = run([os.fspath(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return Outcome(code, captured.out, captured.err)


def environment(**changes: str | None) -> dict[str, str]:
    """Of this process, with the repository importable and some variables set, or with None taken away."""
    merged = {**os.environ, "PYTHONPATH": str(REPOSITORY), "RUST_BACKTRACE": "0", **changes}
    return {name: value for name, value in merged.items() if value is not None}


def start(*arguments: str | os.PathLike[str], cwd: Path | None = None) -> subprocess.Popen[str]:
    """Begin a command in a process of its own."""
    return subprocess.Popen(
        [*PROGRAM, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=environment(),
    )


def shell(
    script: str, cwd: Path, variables: Mapping[str, str | None] | None = None, timeout: float = 120
) -> Outcome:
    """Run a shell script in which ``polycompress`` is the program, in a directory of its own."""
    program = f'polycompress() {{ "{sys.executable}" -m polycompress "$@"; }}\n'
    done = subprocess.run(
        ["bash", "-c", program + script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=cwd,
        env=environment(**(variables or {})),
        timeout=timeout,
        check=False,
    )
    err = done.stderr.decode("utf-8", "replace")
    assert "Traceback" not in err, err
    return Outcome(done.returncode, done.stdout.decode("utf-8", "surrogateescape"), err)


def tree(folder: Path) -> list[str]:
    """Everything under a directory, hidden things among it; a link is not entered."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refused(
    capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str | os.PathLike[str], code: int = 2
) -> str:
    """Run a command that must fail with one message and leave nothing in a directory; the message."""
    before = tree(folder)
    outcome = invoke(capsys, *arguments)
    assert outcome.code == code, outcome
    assert tree(folder) == before
    assert not outcome.out
    assert outcome.err.startswith("error: ")
    assert sum(line.startswith(("error: ", "Error: ", "WARNING: ")) for line in outcome.err.splitlines()) == 1
    return outcome.err.removeprefix("error: ").rstrip("\n")
