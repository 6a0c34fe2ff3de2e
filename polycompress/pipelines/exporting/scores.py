"""Score a model and its graph on a task, through the same evaluation."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.pipelines.evaluate import evaluate_request
from polycompress.pipelines.judging.parts import ALL
from polycompress.pipelines.judging.request import Request, find_request
from polycompress.pipelines.judging.settings import EvaluationSettings
from polycompress.pipelines.trimming.gathering import Progress

_PLAIN: Final = EvaluationSettings(precision="fp32", device="cpu")
"""A graph runs on the processor, and in fp32 where it is not quantised: so does the model beside it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskRequest:
    """On what both are scored."""

    task: str
    """Id of the task."""
    langs: str | Sequence[str] = ALL
    data: str | os.PathLike[str] | None = None
    """A data directory; None: the data sets of the hub."""
    tasks: Path | None = None
    """A directory of further task files."""
    limit: int | None = None
    """First examples of each language only."""


def find_scores(model: str | os.PathLike[str], asked: TaskRequest) -> Request:
    """Find task, languages and data before anything is loaded.

    Raises:
        InputError: Something is missing or wrong.
    """
    return find_request(
        model, task=asked.task, langs=asked.langs, data=asked.data, tasks=asked.tasks, limit=asked.limit,
        settings=_PLAIN,
    )  # fmt: skip


def measure_scores(
    model: str | os.PathLike[str], graph: Path, asked: TaskRequest, *, progress: Progress | None = None
) -> dict[str, Any]:
    """Score both.

    Args:
        model: The source.
        graph: The exported directory, which may lack its manifest.
        asked: On what.
        progress: Called as work goes on.

    Returns:
        The task, its metric, and for each language the examples and both scores.

    Raises:
        InputError: A model cannot be judged so.
    """
    before, after = (evaluate_request(find_scores(each, asked), progress=progress) for each in (model, graph))
    return {
        "task": before["task"],
        "metric": before["metric"],
        "split": before["split"],
        "parts": [_row(old, new) for old, new in zip(before["scores"], after["scores"], strict=True)],
    }


def _row(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "language": before["language"],
        "subset": before["subset"],
        "examples": before["examples"],
        "before": before["score"],
        "after": after["score"],
    }
