"""Whether a model's configuration says that it has the head of a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from polycompress.evaluation.task_spec import TaskSpec

_ENDINGS: Final = {
    "token-classification": "ForTokenClassification",
    "question-answering": "ForQuestionAnswering",
}


def answers_task(config: Mapping[str, Any], task: TaskSpec) -> bool:
    """Whether a model is of a class that answers a kind of task, with that task's labels.

    Args:
        config: Of the model, as its ``config.json`` has it.
        task: Which.
    """
    ending = _ENDINGS.get(task.kind, "ForSequenceClassification")
    names = config.get("architectures")
    if not any(str(name).endswith(ending) for name in (names if isinstance(names, list) else [])):
        return False
    labels = config.get("id2label")
    if task.kind == "question-answering" or not isinstance(labels, Mapping):
        return task.kind == "question-answering"
    try:
        return tuple(str(labels[key]) for key in sorted(labels, key=int)) == task.labels
    except (TypeError, ValueError):
        return False
