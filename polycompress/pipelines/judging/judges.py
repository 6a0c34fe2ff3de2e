"""One model on the examples of one part: what it says of each, and what each scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from polycompress.evaluation.decoding import decode_answers, decode_classes, decode_tags
from polycompress.evaluation.encoding import Encoded
from polycompress.evaluation.forward import forward, forward_with_states
from polycompress.evaluation.metrics.answers import answer_scores
from polycompress.evaluation.metrics.entities import entity_counts
from polycompress.evaluation.models import EMBEDDING_KINDS, TaskModel, load_task_model
from polycompress.evaluation.records import Example, QuestionExample, TextExample, WordsExample
from polycompress.evaluation.scoring import correct
from polycompress.evaluation.task_spec import TaskSpec
from polycompress.moe.context import in_language
from polycompress.pipelines.judging.settings import EvaluationSettings


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Response:
    """What a model said of the examples of a part."""

    counts: NDArray[Any]
    """(n, k) the metric's columns of each example."""
    logits: NDArray[np.float32] | None = None
    """(m, c) of each example, or of each word that has a token."""
    places: NDArray[np.int64] | None = None
    """(m, 2) example and word of each row of ``logits``, where rows are words; sorted."""
    answers: tuple[object, ...] = ()
    """Of each example, where there are no classes: the answer in words, or which neighbour was found."""
    hidden: NDArray[np.float32] | None = None
    """(n, d) the last hidden states' mean of each example, where they were asked for."""


class Judge(Protocol):
    """A loaded model."""

    @property
    def model(self) -> TaskModel:
        """The model."""

    def respond(self, examples: Sequence[Example], language: str, *, hidden: bool) -> Response:
        """What the model says of examples in a language; ``hidden``: with hidden states."""


def open_judge(path: Path, task: TaskSpec, settings: EvaluationSettings) -> Judge:
    """Load a model directory for a task.

    Raises:
        InputError: It cannot be loaded, or has not the head that the task needs.
    """
    model = load_task_model(
        path,
        task.kind,
        task.labels,
        device=settings.device,
        precision=settings.precision,
        max_length=settings.max_length,
        task=task.id,
    )
    if task.kind in EMBEDDING_KINDS:
        from polycompress.pipelines.judging.embeddings import EmbeddingJudge

        return EmbeddingJudge(model, settings, pivot=task.pivot)
    return HeadJudge(model, settings)


class HeadJudge:
    """A model with the head of a task."""

    def __init__(self, model: TaskModel, settings: EvaluationSettings) -> None:
        self.model = model
        self._settings = settings

    def respond(self, examples: Sequence[Example], language: str, *, hidden: bool) -> Response:
        """What the model says of each example."""
        with in_language(self.model.model, language):
            if self.model.kind == "token-classification":
                return self._tag(cast("Sequence[WordsExample]", examples), hidden=hidden)
            if self.model.kind == "question-answering":
                return self._answer(cast("Sequence[QuestionExample]", examples), language, hidden=hidden)
            return self._classify(cast("Sequence[TextExample]", examples), hidden=hidden)

    def _classify(self, examples: Sequence[TextExample], *, hidden: bool) -> Response:
        logits, states = self._forward(self.model.encoder.encode_texts(examples), hidden)
        gold = np.array([example.label for example in examples])
        return Response(
            counts=correct(decode_classes(logits), gold),
            logits=np.stack(logits),
            hidden=states,
        )

    def _tag(self, examples: Sequence[WordsExample], *, hidden: bool) -> Response:
        encoded = self.model.encoder.encode_words(examples)
        logits, states = self._forward(encoded, hidden)
        labels = self.model.labels
        predicted = decode_tags(examples, encoded, logits, labels)
        gold = [[labels[tag] for tag in example.tags] for example in examples]
        places, of_words = _word_logits(encoded, logits)
        return Response(
            counts=entity_counts(predicted, gold).astype(np.uint16),
            logits=of_words,
            places=places,
            hidden=_over_windows(encoded, states, len(examples)),
        )

    def _answer(self, examples: Sequence[QuestionExample], language: str, *, hidden: bool) -> Response:
        encoded = self.model.encoder.encode_questions(examples)
        logits, states = self._forward(encoded, hidden)
        answers = decode_answers(examples, encoded, logits)
        scores = [
            answer_scores(answers[example.key], [each.text for each in example.answers], language)
            for example in examples
        ]
        return Response(
            counts=np.array([(f1, exact) for exact, f1 in scores], np.float32),
            answers=tuple(answers[example.key] for example in examples),
            hidden=_over_windows(encoded, states, len(examples)),
        )

    def _forward(
        self, encoded: Sequence[Encoded], hidden: bool
    ) -> tuple[list[NDArray[np.float32]], NDArray[np.float32] | None]:
        if hidden:
            return forward_with_states(self.model, encoded, batch_tokens=self._settings.batch_tokens)
        return forward(self.model, encoded, batch_tokens=self._settings.batch_tokens), None


def _word_logits(
    encoded: Sequence[Encoded], logits: Sequence[NDArray[np.float32]]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Places and logits of all words that have a token, in order."""
    places, rows = [], []
    for row, scores in zip(encoded, logits, strict=True):
        assert row.word_starts is not None
        at = np.flatnonzero(row.word_starts >= 0)
        places.append(np.stack([np.full(len(at), row.example), row.word_starts[at]], axis=1))
        rows.append(scores[at])
    found = np.concatenate(places).astype(np.int64)
    order = np.lexsort((found[:, 1], found[:, 0]))
    return found[order], np.concatenate(rows)[order]


def _over_windows(
    encoded: Sequence[Encoded], states: NDArray[np.float32] | None, examples: int
) -> NDArray[np.float32] | None:
    """(n, d) of each example the mean over its windows' (w, d)."""
    if states is None:
        return None
    owners = np.array([row.example for row in encoded])
    sums = np.zeros((examples, states.shape[1]), np.float64)
    np.add.at(sums, owners, states)
    means: NDArray[np.float32] = (sums / np.bincount(owners, minlength=examples)[:, None]).astype(np.float32)
    return means
