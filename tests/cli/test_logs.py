"""``--verbose``, ``--quiet``, ``--log-file``: before a command's name or after it."""

from __future__ import annotations

import io
import logging
import re
from contextlib import redirect_stderr
from pathlib import Path

import pytest

from polycompress.cli import console, logs
from tests.command_line import invoke, refused

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \d+ [A-Z]+ polycompress[\w.]*: .*")


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_log_file_has_everything_with_its_time(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    asked, command = ["--log-file", str(log)], ["languages", "Deutsh"]
    outcome = invoke(capsys, *(asked + command if place == "before" else command + asked))
    assert outcome.code == 2
    lines = log.read_text(encoding="utf-8").splitlines()
    assert all(LINE.fullmatch(line) for line in lines)
    assert " INFO polycompress: polycompress " in lines[0]
    assert any(" ERROR polycompress: " in line and "Deutsh" in line for line in lines)
    assert lines[-1].endswith("INFO polycompress: ended with exit code 2")


def test_a_log_file_grows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    for _ in range(2):
        assert invoke(capsys, "languages", "de", "--log-file", log).code == 0
    assert log.read_text(encoding="utf-8").count("ended with exit code 0") == 2


def test_a_usage_error_is_in_the_log_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    assert invoke(capsys, "--log-file", log, "languages", "--colour").code == 2
    assert "ERROR polycompress: No such option: --colour" in log.read_text(encoding="utf-8")


def test_a_fault_of_the_program_is_in_the_log_file_with_its_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("broken")

    monkeypatch.setattr("polycompress.pipelines.trim.trim", fail)
    log = tmp_path / "log"
    with pytest.raises(ZeroDivisionError):
        invoke(capsys, "trim", "demo", "--langs", "de", "--log-file", log)
    text = log.read_text(encoding="utf-8")
    assert "CRITICAL polycompress: a fault of the program" in text
    assert "ZeroDivisionError: broken" in text


def test_a_log_file_that_cannot_be_written_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(capsys, tmp_path, "languages", "de", "--log-file", tmp_path / "none" / "log")
    assert message == (
        f"--log-file {tmp_path}/none/log: cannot be written (No such file or directory). "
        "Name a file in a directory that is there."
    )


def test_a_log_file_without_room_is_said_once_and_the_work_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    outcome = invoke(capsys, "--verbose", "languages", "de", "--log-file", "/dev/full")
    assert outcome.code == 0
    assert "German" in outcome.out
    warning = "WARNING: --log-file /dev/full: cannot be written any more (No space left on device)\n"
    assert [line for line in outcome.err.splitlines(keepends=True) if "full" in line] == [warning]
    assert "Logging error" not in outcome.err


def test_what_is_shown_and_what_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("polycompress.test")
    shown = {}
    for level in (logging.DEBUG, logging.WARNING, logging.ERROR):
        logs.begin()
        logs.write_to(tmp_path / f"{level}")
        logs.show_from(level)
        logger.debug("small")
        logger.warning("large \x1b[31m")
        shown[level] = capsys.readouterr().err
        lines = (tmp_path / f"{level}").read_text(encoding="utf-8").splitlines()
        assert [line.partition(" polycompress.test: ")[2] for line in lines] == ["small", "large \\x1b[31m"]
    assert shown == {
        logging.DEBUG: "DEBUG: small\nWARNING: large \\x1b[31m\n",
        logging.WARNING: "WARNING: large \\x1b[31m\n",
        logging.ERROR: "",
    }


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("level", "bars"), [(logging.ERROR, False), (logging.WARNING, True)])
def test_quiet_shows_no_bars(level: int, bars: bool) -> None:
    with redirect_stderr(Terminal()):
        logs.begin()
        logs.show_from(level)
        with console.progress_bars() as report:
            assert (report is not None) is bars


@pytest.mark.parametrize("arguments", [("--quiet", "languages", "de"), ("languages", "de", "-q")])
def test_quiet_leaves_results(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    outcome = invoke(capsys, *arguments)
    assert (outcome.code, outcome.err) == (0, "")
    assert "German" in outcome.out
    assert logs.is_quiet()
    assert invoke(capsys, "languages", "de").code == 0
    assert not logs.is_quiet(), "what one command was asked for holds for it alone"


@pytest.mark.parametrize("arguments", [("--quiet", "languages", "-v"), ("languages", "--quiet", "--verbose")])
def test_quiet_and_verbose_exclude_each_other(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = invoke(capsys, *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert (
        outcome.err == "error: --quiet shows nothing but errors and --verbose everything: give one of them.\n"
    )


def test_every_command_has_them(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    for command in (("trim",), ("bistil", "general"), ("ofa", "MODEL")):
        shown = invoke(capsys, *command, "--help").out
        for option in ("--verbose", "--quiet", "--log-file"):
            assert shown.count(option) == 1
