"""How good a model is on the development examples while it is being trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from polycompress.evaluation.decoding import decode_answers, decode_classes, decode_tags
from polycompress.evaluation.forward import BATCH_TOKENS, forward
from polycompress.evaluation.metrics.answers import answer_scores
from polycompress.evaluation.metrics.classification import accuracy
from polycompress.evaluation.metrics.entities import entity_f1
from polycompress.evaluation.models import TaskModel
from polycompress.evaluation.records import QuestionExample, TextExample, WordsExample
from polycompress.evaluation.task_spec import TaskSpec
from polycompress.moe.context import in_language
from polycompress.pipelines.tuning.config import DEV_SCORE
from polycompress.pipelines.tuning.data import EncodedPart
from polycompress.pipelines.tuning.inputs import FinetuneInputs
from polycompress.training.items import Item
from polycompress.training.optimisers import SplitAdamW
from polycompress.training.task_loss import classes_loss, span_loss
from polycompress.training.task_model import HeadKind


def dev_evaluation(
    inputs: FinetuneInputs, ready: TaskModel, head: HeadKind, optimiser: SplitAdamW
) -> Callable[[], dict[str, float]]:
    """Measures the task's metric and the loss on the development examples, each the mean over their parts.

    Args:
        inputs: With the examples.
        ready: Holds the model that is being trained.
        head: Which it has.
        optimiser: Of its parameters, which may owe weight decay.
    """
    parts = inputs.dev
    rows = torch.from_numpy(np.unique(np.concatenate([row.ids for part in parts for row in part.encoded])))
    budget = max(BATCH_TOKENS, ready.encoder.max_length + 8)

    def evaluate() -> dict[str, float]:
        scores, losses = [], []
        with optimiser.caught_up_within(rows):
            for part in parts:
                with in_language(ready.model, part.part.language):
                    logits = forward(ready, part.encoded, batch_tokens=budget)
                scores.append(score_part(inputs.task, part, logits))
                losses.append(mean_loss(head, logits, part.items))
        return {DEV_SCORE: float(np.mean(scores)), "dev_loss": float(np.mean(losses))}

    return evaluate


def score_part(task: TaskSpec, part: EncodedPart, logits: Sequence[NDArray[np.float32]]) -> float:
    """The task's metric on one part, 0 to 1.

    Args:
        task: Which.
        part: Its examples.
        logits: Of each of ``part.encoded``: (C,), or (T, C) of words, or (T, 2) of questions.
    """
    if task.kind == "token-classification":
        sentences = cast("Sequence[WordsExample]", part.examples)
        gold = [[task.labels[tag] for tag in sentence.tags] for sentence in sentences]
        return entity_f1(decode_tags(sentences, part.encoded, logits, task.labels), gold).f1
    if task.kind == "question-answering":
        questions = cast("Sequence[QuestionExample]", part.examples)
        answers = decode_answers(questions, part.encoded, logits)
        scores = [
            answer_scores(answers[each.key], [one.text for one in each.answers], part.part.language)[1]
            for each in questions
        ]
        return float(np.mean(scores))
    texts = cast("Sequence[TextExample]", part.examples)
    return accuracy(decode_classes(logits), np.array([each.label for each in texts]))


def mean_loss(head: HeadKind, logits: Sequence[NDArray[np.float32]], items: Sequence[Item]) -> float:
    """The loss of logits, as training has it, without weights of classes.

    Args:
        head: Which the logits are of.
        logits: As ``score_part`` takes them.
        items: With the labels.
    """
    found = [torch.from_numpy(each) for each in logits]
    if head == "span":
        losses = [
            span_loss(
                each[None, :, 0],
                each[None, :, 1],
                torch.from_numpy(item.labels)[None],
                torch.ones(1, len(each)),
            )
            for each, item in zip(found, items, strict=True)
        ]
        return float(torch.stack(losses).mean())
    labels = torch.from_numpy(np.concatenate([item.labels for item in items]))
    return float(classes_loss(torch.stack(found) if head == "sequence" else torch.cat(found), labels))
