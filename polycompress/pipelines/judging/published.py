"""Published scores beside ours, where both are of the same protocol."""

from __future__ import annotations

from typing import Any

from polycompress.evaluation.models import EMBEDDING_KINDS
from polycompress.evaluation.published import published_scores
from polycompress.pipelines.judging.request import Request


def published_beside(request: Request) -> tuple[list[dict[str, Any]], list[str]]:
    """Published scores of the same protocol, and what is to be said where there are none.

    A protocol says what is trained on too, so a model has to say what it was tuned on; ours do in their manifest.

    Returns:
        For JSON: the scores, and notes.
    """
    task, model = request.task, request.model
    known = published_scores(task.id)
    protocol = task.protocol_at(request.data)
    reason = None
    if request.data is not None and task.comparable is not True:
        reason = task.comparable if isinstance(task.comparable, str) else "other examples"
    elif request.split != "test" or request.limit is not None:
        reason = "they are of the whole test split"
    elif task.kind not in EMBEDDING_KINDS and (model.task != task.id or model.protocol != protocol):
        reason = f"not known, or not true, of this model: {protocol}"
    same = [each for each in known if each.protocol == protocol] if reason is None else []
    if known and not same:
        reason = reason or f"none is known of this protocol: {protocol}"
    told = known or (request.data is not None and isinstance(task.comparable, str))
    notes = [f"not comparable with published scores: {reason}"] if reason and told else []
    return [
        {
            "model": each.model,
            "protocol": each.protocol,
            "source": each.source,
            "scores": {str(part): score for part, score in each.scores.items()},
            "average": each.average,
            "average_over": each.average_over,
        }
        for each in same
    ], notes
