"""What is to be judged on what: found and checked, nothing loaded yet."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polycompress.evaluation.models import check_head
from polycompress.evaluation.records import Split
from polycompress.evaluation.task_spec import TaskSpec, hub_door
from polycompress.evaluation.tasks import find_task
from polycompress.pipelines.judging.models import JudgedModel, find_models, find_teacher
from polycompress.pipelines.judging.parts import ALL, Parts, choose_parts, choose_split
from polycompress.pipelines.judging.settings import EvaluationSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A model and what it is to be judged on, found and checked; nothing loaded yet."""

    model: JudgedModel
    teacher: JudgedModel | None
    task: TaskSpec
    split: Split
    parts: Parts
    data: Path | None
    limit: int | None
    settings: EvaluationSettings

    def identity(self) -> dict[str, Any]:
        """What decides the scores: another value of any, another result."""
        return {
            "model": self.model.fingerprints(),
            "teacher": None if self.teacher is None else self.teacher.fingerprints(),
            "task": self.task.id,
            "split": self.split,
            "parts": [str(part) for part in (*self.parts.found, *self.parts.missing)],
            "data": "local files" if self.data is not None else f"hub, {hub_door(self.task).revision}",
            "limit": self.limit,
            "settings": self.settings.as_dict(),
        }


def find_request(
    model: str | os.PathLike[str],
    *,
    task: str,
    langs: str | Sequence[str] = ALL,
    data: str | os.PathLike[str] | None = None,
    split: str = "test",
    teacher: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    tasks: Path | None = None,
    settings: EvaluationSettings | None = None,
) -> Request:
    """Find the model, the task and what there is of it; see ``evaluate``.

    Raises:
        InputError: Something is missing or wrong.
    """
    spec = find_task(task, tasks)
    chosen = choose_split(split)
    where = None if data is None else Path(data)
    parts = choose_parts(spec, langs, chosen, where)
    found = find_models(model)
    loyal_to = None if teacher is None else find_teacher(teacher)
    for path in (*found.paths, *(loyal_to.paths if loyal_to else ())):
        check_head(path, spec.kind, spec.id)
    return Request(
        model=found,
        teacher=loyal_to,
        task=spec,
        split=chosen,
        parts=parts,
        data=where,
        limit=limit,
        settings=settings or EvaluationSettings(),
    )
