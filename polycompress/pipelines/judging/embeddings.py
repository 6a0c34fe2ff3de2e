"""Sentence retrieval and word translation: no training, only vectors and their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from polycompress.evaluation.forward import embed
from polycompress.evaluation.metrics.retrieval import cosine_nearest, csls, translation_hits
from polycompress.evaluation.models import TaskModel
from polycompress.evaluation.records import Example, SentencePair, WordPair
from polycompress.moe.context import in_language
from polycompress.pipelines.judging.judges import Response
from polycompress.pipelines.judging.settings import EvaluationSettings


class EmbeddingJudge:
    """A model that gives each text a vector: pooled as its directory says, else the mean of its hidden states."""

    def __init__(self, model: TaskModel, settings: EvaluationSettings, *, pivot: str | None) -> None:
        self.model = model
        self._settings = settings
        self._pivot = pivot
        self._known: dict[str, NDArray[np.float32]] = {}

    def respond(self, examples: Sequence[Example], language: str, *, hidden: bool) -> Response:
        """The neighbours of each sentence or word."""
        if self.model.kind == "retrieval":
            return self._retrieve(cast("Sequence[SentencePair]", examples), language)
        return self._translate(cast("Sequence[WordPair]", examples), language)

    def _retrieve(self, pairs: Sequence[SentencePair], language: str) -> Response:
        pivots = self._remembered([pair.pivot for pair in pairs])
        texts = self._embed([pair.text for pair in pairs], language)
        right = np.arange(len(pairs))
        to_pivot = cosine_nearest(texts, pivots)
        found = (to_pivot, cosine_nearest(pivots, texts), csls(texts, pivots), csls(pivots, texts))
        return Response(
            counts=np.stack([each == right for each in found], axis=1).astype(np.uint16),
            answers=tuple(to_pivot.tolist()),
            hidden=texts,
        )

    def _translate(self, pairs: Sequence[WordPair], language: str) -> Response:
        targets = list(dict.fromkeys(word for pair in pairs for word in pair.translations))
        places = {word: place for place, word in enumerate(targets)}
        accepted = [{places[word] for word in pair.translations} for pair in pairs]
        words, vectors = self._remembered([pair.word for pair in pairs]), self._embed(targets, language)
        by_csls, by_cosine = csls(words, vectors), cosine_nearest(words, vectors)
        hits = [translation_hits(found, accepted) for found in (by_csls, by_cosine)]
        return Response(
            counts=np.stack(hits, axis=1).astype(np.uint16),
            answers=tuple(targets[place] for place in by_csls.tolist()),
            hidden=words,
        )

    def _embed(self, texts: Sequence[str], language: str | None) -> NDArray[np.float32]:
        with in_language(self.model.model, language or ""):
            return embed(
                self.model, texts, batch_tokens=self._settings.batch_tokens, prefix=self._settings.prompt
            )

    def _remembered(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of the pivot's texts, which are the same for many languages."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, self._embed(new, self._pivot), strict=True))
        found: NDArray[Any] = np.stack([self._known[text] for text in texts])
        return found
