"""A run while it goes: one line on a terminal, kept up to date; lines of the log elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from polycompress.cli import console

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """What a pipeline calls."""

    prepare: Callable[[str, int, int | None], None]
    """With what is being prepared, how much more of it is done, and how much there is."""
    record: Callable[[Mapping[str, Any]], None]
    """With each record of ``metrics.jsonl``."""


@contextmanager
def training_progress() -> Iterator[TrainingProgress]:
    """Show a run: first what is prepared, then loss, speed, time left and memory."""
    if not sys.stderr.isatty():
        yield TrainingProgress(
            lambda what, amount, total: None, lambda record: logger.info("%s", describe(record))
        )
        return
    from rich.progress import BarColumn, Progress, TextColumn

    bar = Progress(
        BarColumn(bar_width=20), TextColumn("{task.description}"), console=console.err(), transient=True
    )
    task = bar.add_task("", total=None)
    done: dict[str, int] = {}

    def prepare(what: str, amount: int, total: int | None) -> None:
        done[what] = done.get(what, 0) + amount
        bar.start()
        bar.update(task, description=f"{what} {console.number(done[what]) if done[what] else ''}")

    def record(found: Mapping[str, Any]) -> None:
        bar.start()
        bar.update(task, completed=found["step"], total=found["steps"], description=describe(found))

    try:
        yield TrainingProgress(prepare, record)
    finally:
        bar.stop()


def describe(record: Mapping[str, Any]) -> str:
    """A record in one line."""
    left = (record["steps"] - record["step"]) * record["seconds"] / max(1, record["step"])
    facts = [
        f"step {record['step']} of {record['steps']}",
        f"loss {record['loss']:.3f}",
        *([f"held out {record['held_out_loss']:.3f}"] if "held_out_loss" in record else []),
        *([f"dev {record['dev_score']:.3f}"] if "dev_score" in record else []),
        f"{console.number(record['tokens_per_second'])} tokens/s",
        f"{duration(left)} left",
        console.megabytes(record["memory_mib"] * 2**20),
    ]
    return ", ".join(facts)


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
