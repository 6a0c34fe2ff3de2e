"""A run's directory belongs to one process at a time."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from polycompress.errors import InputError
from polycompress.training.claims import claim, release
from polycompress.training.runs import open_run

RUN = {"model": "a", "training": {"steps": 5}}


def hold_in_a_child(out: Path) -> tuple[int, int]:
    """A child that begins a run and stays at work; its process id, and a pipe whose closing ends it."""
    ready, say = os.pipe()
    wait, end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(end)
        open_run(out, {}, RUN, resume=False)
        os.write(say, b"x")
        os.read(wait, 1)
        os._exit(0)
    os.close(wait)
    os.close(say)
    assert os.read(ready, 1) == b"x"
    os.close(ready)
    return child, end


def test_two_processes(tmp_path: Path) -> None:
    out = tmp_path / "run"
    child, end = hold_in_a_child(out)
    message = re.escape(f"{out}: another process is at work in it. Wait for it, or choose another directory.")
    with pytest.raises(InputError, match=message):
        open_run(out, {}, RUN, resume=True)
    os.close(end)
    os.waitpid(child, 0)
    assert open_run(out, {}, RUN, resume=True) is None
    release(out)


def test_a_killed_process_lets_go(tmp_path: Path) -> None:
    out = tmp_path / "run"
    child, end = hold_in_a_child(out)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(end)
    claim(out)
    release(out)


def test_one_process_may_claim_again_and_lets_go(tmp_path: Path) -> None:
    claim(tmp_path)
    claim(tmp_path / "x" / "..")
    release(tmp_path)
    release(tmp_path)
    child, end = hold_in_a_child(tmp_path)
    os.close(end)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
