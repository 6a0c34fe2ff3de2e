"""Where text goes: results to stdout, everything else to stderr. The only room that makes rich consoles."""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from polycompress.cli import logs
from polycompress.cli.logs import visible
from polycompress.errors import PolycompressError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.table import Table

    from polycompress.pipelines.trimming.gathering import Progress

QUIET_SECONDS: Final = 1.0
"""No bar is shown for work that ends sooner."""

_WIDEST: Final = 100_000
"""Characters of a line where no terminal has fewer."""

LONGEST_ERROR: Final = 10_000
"""Characters of a message; what a hostile file holds may be quoted in it."""


class UnreadError(Exception):
    """Nobody reads stdout any more."""


@functools.cache
def out() -> Console:
    """Results. Off a terminal, tables are as wide as what is in them: what reads them wants no path broken."""
    is_wide = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return _console()(highlight=False, width=_WIDEST if is_wide else None)


@functools.cache
def err() -> Console:
    """Errors, warnings and bars."""
    return _console()(stderr=True, highlight=False)


def _console() -> type[Console]:
    from rich.console import Console

    class Raising(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # not rich's SystemExit

    return Raising


def prepare_streams() -> None:
    """Let no letter of a path or a token fail to be written, nor a stream that was closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))
        elif stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


def print_line(text: str) -> None:
    """Write a line to stdout."""
    with _writing():
        out().print(visible(text), markup=False, soft_wrap=True)


def print_json(value: Mapping[str, Any]) -> None:
    """Write one JSON object to stdout, and nothing else."""
    plain = not (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(value, ensure_ascii=plain, indent=2, default=_plain) + "\n"
    # A path that is not UTF-8 holds lone surrogates; their escapes are valid JSON.
    with _writing():
        sys.stdout.write(text.encode("utf-8", "backslashreplace").decode("utf-8"))
        sys.stdout.flush()


def print_error(message: str) -> None:
    """Write an error to stderr, and to the log file if there is one."""
    from rich.text import Text

    message = _middle_left_out(message)
    with suppress(OSError):  # nobody reads stderr, or its disk is full: the exit code still tells
        err().print(Text.assemble(("error: ", "bold red"), visible(message)), soft_wrap=True)
    logs.record(logging.ERROR, message)


def print_facts(rows: Sequence[tuple[str, ...]], title: str = "", header: Sequence[str] = ()) -> None:
    """Write a small table of facts to stdout: names left, values right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(visible(title)) if title else None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.show_header = bool(header)
    for index in range(max(map(len, rows))):
        name = header[index] if index < len(header) else ""
        table.add_column(name, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    print_table(table)


def print_table(table: Table) -> None:
    """Write a table to stdout."""
    with _writing():
        out().print(table)


@contextmanager
def progress_bars() -> Iterator[Progress | None]:
    """Bars on a terminal for whatever takes more than a moment; nothing elsewhere, nor with ``--quiet``."""
    if not sys.stderr.isatty() or logs.is_quiet():
        yield None
        return
    bars: Bars | None = None
    tasks: dict[str, Any] = {}
    done: dict[str, int] = {}
    started = time.monotonic()

    def report(label: str, amount: int, total: int | None) -> None:
        nonlocal bars
        done[label] = done.get(label, 0) + amount
        if bars is None:
            if time.monotonic() - started < QUIET_SECONDS:
                return
            bars = _make_bars()
            bars.start()
        if label not in tasks:
            tasks[label] = bars.add_task(label, total=total)
        bars.update(tasks[label], completed=done[label], total=total)

    try:
        yield report
    finally:
        if bars is not None:
            bars.stop()


def number(value: float) -> str:
    """12,345."""
    return f"{value:,.0f}"


def megabytes(value: float) -> str:
    """Bytes as megabytes (10**6) or gigabytes."""
    return f"{value / 1e9:.2f} GB" if value >= 1e9 else f"{value / 1e6:.1f} MB"


def millions(value: float) -> str:
    """Parameters in millions."""
    return f"{value / 1e6:.1f}M" if value >= 1e5 else f"{value:,.0f}"


def percent(share: float, digits: int = 1) -> str:
    """A share as a percentage, never rounded up to 100."""
    text = f"{100 * share:.{digits}f} %"
    if share < 1 and text.startswith("100"):
        return "> 99." + "9" * digits + " %"
    return text


@contextmanager
def _writing() -> Iterator[None]:
    """Say of a full disk that it is the one of stdout: what a command made is on another, and whole."""
    try:
        yield
    except BrokenPipeError as error:  # which click would end the program with, as with a failure
        raise UnreadError from error
    except OSError as error:
        raise PolycompressError(
            f"stdout could not be written ({error.strerror or error}); files that the command made are whole"
        ) from error


def _middle_left_out(message: str) -> str:
    if len(message) <= LONGEST_ERROR:
        return message
    end = LONGEST_ERROR // 2
    return f"{message[:end]} [... {len(message) - 2 * end:,} characters ...] {message[-end:]}"


def _make_bars() -> Bars:
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=err(),
        transient=True,
    )


def _plain(value: object) -> object:
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "as_dict"):
        return value.as_dict()
    return str(value)
