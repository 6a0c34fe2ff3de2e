"""Streams, bars and the few ways in which numbers are shown."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import redirect_stderr

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.cli import console, logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm")
    console.err.cache_clear()
    yield Terminal()
    console.err.cache_clear()


def test_there_are_no_bars_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress_bars() as report:
        assert report is None
    assert capsys.readouterr().err == ""


def test_short_work_shows_no_bar(terminal: Terminal) -> None:
    with redirect_stderr(terminal), console.progress_bars() as report:
        assert report is not None
        report("counting", 5, 10)
    assert terminal.getvalue() == ""


def test_long_work_shows_what_is_done(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with redirect_stderr(terminal), console.progress_bars() as report:
        assert report is not None
        report("counting", 3, 10)
        now[0] = console.QUIET_SECONDS
        report("counting", 4, 10)
        report("writing", 1, None)
    shown = terminal.getvalue()
    assert "counting" in shown
    assert "70%" in shown, "what was done before the bar appeared counts"
    assert "writing" in shown


def test_a_bar_goes_away_when_work_fails(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "QUIET_SECONDS", 0.0)
    broken = pytest.raises(ValueError, match="broken")
    with broken, redirect_stderr(terminal), console.progress_bars() as report:
        assert report is not None
        report("counting", 3, 10)
        raise ValueError("broken")
    assert terminal.getvalue().endswith(("\x1b[?25h", "\x1b[2K", "\r", "\x1b[1A\x1b[2K"))


@given(st.text())
def test_no_control_character_reaches_a_terminal(text: str) -> None:
    shown = logs.visible(text)
    assert all(character == "\n" or character.isprintable() or ord(character) > 0x9F for character in shown)
    assert logs.visible(shown) == shown


def test_errors_and_logs_are_shown_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin()
    console.print_error("file \x1b]0;evil\x07\nsecond [bold]line[/bold]")
    logging.getLogger("polycompress.test").warning("file \x1b[31m")
    logging.getLogger("polycompress.test").info("hidden")
    assert capsys.readouterr().err == (
        "error: file \\x1b]0;evil\\x07\nsecond [bold]line[/bold]\nWARNING: file \\x1b[31m\n"
    )


def test_tables_show_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_facts([("[red]name", "\x1b[1m1")], "model [x]", ("a", "b"))
    shown = capsys.readouterr().out
    for text in ("[red]name", "\\x1b[1m1", "model [x]"):
        assert text in shown


def test_json_is_whole_whatever_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"path": "o\udcff", "name": "Yorùbá", "ids": np.arange(3), "n": np.float64(0.5), "where": io}
    console.print_json(value)
    text = capsys.readouterr().out
    assert "Yorùbá" in text
    assert json.loads(text) == {
        "path": "o\udcff", "name": "Yorùbá", "ids": [0, 1, 2], "n": 0.5, "where": str(io),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (console.number(1234567), "1,234,567"),
        (console.megabytes(177_400_000), "177.4 MB"),
        (console.megabytes(2.2e9), "2.20 GB"),
        (console.millions(117_500_000), "117.5M"),
        (console.millions(4272), "4,272"),
        (console.percent(0.2381), "23.8 %"),
        (console.percent(1.0), "100.0 %"),
        (console.percent(0.99999), "> 99.9 %"),
        (console.percent(0.9999999, 3), "> 99.999 %"),
    ],
)
def test_numbers(shown: str, expected: str) -> None:
    assert shown == expected


def test_a_long_error_loses_its_middle(capsys: pytest.CaptureFixture[str]) -> None:
    console.err.cache_clear()
    console.print_error("begin" + "x" * 200_000 + "end")
    shown = capsys.readouterr().err
    assert shown.startswith("error: beginxxx")
    assert "xxx [... 190,008 characters ...] xxx" in shown
    assert shown.endswith("xxxend\n")
    assert len(shown) < 11_000
    console.err.cache_clear()


@pytest.mark.parametrize(("columns", "is_whole"), [(None, True), ("40", False)])
def test_a_table_that_is_piped_breaks_no_path(
    columns: str | None, is_whole: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    console.out.cache_clear()
    path = f"each/{'long/' * 30}ukr-Cyrl"
    console.print_facts([("Ukrainian", path)])
    console.out.cache_clear()
    lines = capsys.readouterr().out.splitlines()
    assert (path in "".join(lines)) == is_whole
    assert max(map(len, lines)) < len(path) + 20


def test_a_table_on_a_terminal_is_as_wide_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(console.sys, "stdout", terminal)
    console.out.cache_clear()
    console.print_facts([("Ukrainian", "each/" + "long/" * 30)])
    console.out.cache_clear()
    assert max(map(len, terminal.getvalue().splitlines())) <= 80
