"""Text of a made-up language with words of its own, and tokenizers that were made without it."""

from __future__ import annotations

from typing import Any

import numpy as np

from polycompress.vocab.training.trainers import train_model

SYLLABLES = ("ko", "ru", "mạ", "zi", "ndọ", "we", "ha", "lụ", "bi", "shé", "ñu", "gwa")
OLD = (
    "the cat sat on the mat and ran",
    "a dog and a cat ran to the old man",
    "she said: no, not on that mat!",
)


def sentences(seed: int, count: int = 600) -> list[str]:
    """Sentences of words whose frequencies fall as in real text."""
    generator = np.random.default_rng(seed)
    words = ["".join(np.random.default_rng(number).choice(SYLLABLES, 3)) for number in range(300)]
    shares = 1 / np.arange(1, len(words) + 1)
    draws = generator.choice(words, size=(count, 8), p=shares / shares.sum())
    return [" ".join(draw) + "." for draw in draws]


def old_tokenizer(kind: str, size: int = 120) -> dict[str, Any]:
    """A small tokenizer of English."""
    texts = [text for text in OLD for _ in range(20)] + ["abcdefghijklmnopqrstuvwxyz " * 3] * 5
    return train_model(kind, texts, size)  # type: ignore[arg-type]
