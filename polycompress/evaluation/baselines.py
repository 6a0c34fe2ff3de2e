"""Baselines that know no language: logistic regression on words or on runs of characters (extra ``train``).

A pretrained model that loses to them was loaded, tuned or read out wrongly. Pairs are told apart by the words that only
one side has, texts by their character n-grams.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError, MissingExtraError
from polycompress.evaluation.records import Kind, TextExample

METHODS: Final[Mapping[Kind, str]] = {
    "pair-classification": "logistic regression on the words of each side that the other has not",
    "text-classification": "logistic regression on character n-grams (TF-IDF, 1 to 4)",
}
"""Kinds of task that have a baseline, and what it is."""

_INVERSE_PENALTY: Final[Mapping[Kind, float]] = {"pair-classification": 1.0, "text-classification": 10.0}


class Baseline:
    """A classifier that was fitted to one language."""

    def __init__(self, kind: Kind, train: Sequence[TextExample]) -> None:
        """Fit it.

        Args:
            kind: One of ``METHODS``.
            train: What to learn from; of at least two classes.

        Raises:
            InputError: Nothing can be learnt from these.
            MissingExtraError: scikit-learn is not installed.
        """
        try:
            from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
            from sklearn.linear_model import LogisticRegression
            from sklearn.pipeline import make_pipeline
        except ImportError as error:
            raise MissingExtraError("the bag-of-words baseline", "train") from error
        if kind == "pair-classification":
            features: Any = CountVectorizer(analyzer=only_on_one_side, binary=True)
        else:
            features = TfidfVectorizer(
                preprocessor=_text, analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True
            )
        self._model = make_pipeline(features, LogisticRegression(C=_INVERSE_PENALTY[kind], max_iter=1000))
        try:
            self._model.fit(list(train), np.array([example.label for example in train]))
        except ValueError as error:
            raise InputError(f"nothing can be learnt from the training examples: {error}") from error

    def predict(self, examples: Sequence[TextExample]) -> NDArray[np.int64]:
        """(n,) the class of each example."""
        return np.asarray(self._model.predict(list(examples)), dtype=np.int64)

    def accuracy(self, examples: Sequence[TextExample]) -> float:
        """Share of examples whose class it finds."""
        gold = np.array([example.label for example in examples])
        return float(np.mean(self.predict(examples) == gold))


def only_on_one_side(example: TextExample) -> list[str]:
    """Words of the hypothesis that the premise has not, and the reverse, marked by side.

    Words are what spaces separate, without case and without punctuation at their ends.
    """
    first, second = set(_words(example.text)), set(_words(example.second or ""))
    return [f"+{word}" for word in sorted(second - first)] + [f"-{word}" for word in sorted(first - second)]


def _words(text: str) -> list[str]:
    stripped = (word.strip(".,;:!?\"'()[]«»“”„¿¡。、，？！") for word in text.casefold().split())
    return [word for word in stripped if word]


def _text(example: TextExample) -> str:
    return example.text.casefold()
