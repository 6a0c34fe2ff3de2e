"""The environment: what the code reads is what the help names."""

from __future__ import annotations

import os
import pty
import re
import subprocess

import pytest

from polycompress.cli.settings import SETTINGS
from tests.command_line import PROGRAM, REPOSITORY, environment, invoke


def test_the_help_names_what_the_code_reads(capsys: pytest.CaptureFixture[str]) -> None:
    code = "\n".join(
        path.read_text(encoding="utf-8") for path in sorted((REPOSITORY / "polycompress").rglob("*.py"))
    )
    # What begins with an underscore is between the shell and typer.
    assert set(re.findall(r"(?<!_)\bPOLYCOMPRESS_[A-Z_]+", code)) == set(SETTINGS)
    shown = invoke(capsys, "--help").out
    assert all(name in shown for name in (*SETTINGS, "NO_COLOR"))


def on_a_terminal(*arguments: str, **variables: str | None) -> bytes:
    """What a command writes to a terminal, both streams."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*PROGRAM, *arguments],
        stdout=theirs,
        stderr=theirs,
        env=environment(TERM="xterm-256color", CI=None, FORCE_COLOR=None, **variables),
    ):
        os.close(theirs)
        shown = b""
        try:
            while block := os.read(ours, 1 << 16):
                shown += block
        except OSError:  # how a terminal says that the other end is closed
            pass
    os.close(ours)
    return shown


@pytest.mark.parametrize("arguments", [("--help",), ("trim", "/none", "--langs", "de")])
def test_colours_are_for_terminals(arguments: tuple[str, ...]) -> None:
    coloured = re.compile(rb"\x1b\[[0-9;]*3[0-9]")
    assert coloured.search(on_a_terminal(*arguments, NO_COLOR=None))
    assert not coloured.search(on_a_terminal(*arguments, NO_COLOR="1"))
    done = subprocess.run(
        [*PROGRAM, *arguments],
        capture_output=True,
        env=environment(TERM="xterm-256color", NO_COLOR=None, FORCE_COLOR=None),
        check=False,
    )
    assert b"\x1b" not in done.stdout + done.stderr
