"""A run while it goes: one line on a terminal, kept up to date; lines of the log elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from polycompress.cli import console

logger = logging.getLogger(__name__)


@contextmanager
def training_progress() -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Show records of a run as they come: loss, speed, time left, memory.

    Yields:
        What to call with each record.
    """
    if not sys.stderr.isatty():
        yield lambda record: logger.info("%s", describe(record))
        return
    from rich.progress import BarColumn, Progress, TextColumn

    bar = Progress(
        TextColumn("{task.completed}/{task.total}"),
        BarColumn(bar_width=20),
        TextColumn("{task.description}"),
        console=console.err(),
        transient=True,
    )
    task = bar.add_task("the first steps", total=None)

    def show(record: Mapping[str, Any]) -> None:
        bar.start()
        bar.update(
            task, completed=record["step"], total=record["steps"], description=describe(record, bare=True)
        )

    try:
        yield show
    finally:
        bar.stop()


def describe(record: Mapping[str, Any], *, bare: bool = False) -> str:
    """A record in one line."""
    left = (record["steps"] - record["step"]) * record["seconds"] / max(1, record["step"])
    facts = [
        f"loss {record['loss']:.3f}",
        *([f"held out {record['held_out_loss']:.3f}"] if "held_out_loss" in record else []),
        f"{console.number(record['tokens_per_second'])} tokens/s",
        f"{duration(left)} left",
        console.megabytes(record["memory_mib"] * 2**20),
    ]
    place = [] if bare else [f"step {record['step']} of {record['steps']}"]
    return ", ".join(place + facts)


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
