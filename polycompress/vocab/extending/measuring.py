"""What a tokenizer costs texts, and how much another one changes them. Figures, no judgement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from polycompress.vocab.encoding import LINES_PER_BATCH, batched, encode

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What texts take in tokens, special ones left out."""

    texts: int
    words: int
    """Stretches between white space."""
    characters: int
    tokens: int
    unknown: int
    """Tokens that are the unknown one."""

    @property
    def fertility(self) -> float:
        """Tokens per word."""
        return self.tokens / max(1, self.words)

    @property
    def characters_per_token(self) -> float:
        """For languages that are written without spaces too."""
        return self.characters / max(1, self.tokens)

    def as_dict(self) -> dict[str, float]:
        """For ``--json``."""
        return {
            "texts": self.texts,
            "words": self.words,
            "tokens": self.tokens,
            "unknown": self.unknown,
            "fertility": self.fertility,
            "characters_per_token": self.characters_per_token,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """How much of some texts another tokenizer cuts otherwise."""

    texts: float
    """Texts, or the sum of their weights."""
    texts_changed: float
    words: float
    """Running words, each alone as the tokenizers see it."""
    words_changed: float

    def as_dict(self) -> dict[str, float]:
        """For ``--json``: amounts and shares."""
        return {
            "texts": self.texts,
            "texts_changed": self.texts_changed / max(self.texts, 1e-300),
            "words": self.words,
            "words_changed": self.words_changed / max(self.words, 1e-300),
        }


def cost_of(tokenizer: Tokenizer, texts: Sequence[str], unknown: int | None) -> Cost:
    """Count what texts take.

    Args:
        tokenizer: Padding and truncation off.
        texts: One a line.
        unknown: Id of the unknown token, if there is one.

    Raises:
        InputError: The tokenizers library cannot segment a text.
    """
    tokens = lost = 0
    for batch in batched(texts, LINES_PER_BATCH):
        for encoding in encode(tokenizer, batch):
            tokens += len(encoding.ids)
            lost += encoding.ids.count(unknown) if unknown is not None else 0
    return Cost(
        texts=len(texts),
        words=sum(len(text.split()) for text in texts),
        characters=sum(map(len, texts)),
        tokens=tokens,
        unknown=lost,
    )


def change_of(
    before: Tokenizer,
    after: Tokenizer,
    texts: Mapping[str, float],
    *,
    old_ids: NDArray[np.int64] | None = None,
    lead: str = "",
) -> Change:
    """Compare how two tokenizers cut the same texts.

    Args:
        before: One tokenizer.
        after: The other.
        texts: With their weights.
        old_ids: (V,) for each token of the second the first's token that says the same, -1 where none does; None where
            ids mean the same in both, as far as both have them.
        lead: What a word that is not the first of its text carries in front: a space, where that makes a difference.

    Returns:
        Shares by weight. A word counts as often as it occurs in the texts, by their weights.

    Raises:
        InputError: The tokenizers library cannot segment a text.
    """
    words: dict[str, float] = {}
    for text, weight in texts.items():
        for word in text.split():
            words[lead + word] = words.get(lead + word, 0.0) + weight
    return Change(
        texts=sum(texts.values()),
        texts_changed=_changed(before, after, texts, old_ids),
        words=sum(words.values()),
        words_changed=_changed(before, after, words, old_ids),
    )


def same_tokens(before: Iterable[str | None], after: Iterable[str | None]) -> NDArray[np.int64]:
    """Match two vocabularies by what their tokens say.

    Args:
        before: Surface text by id (``surface.piece_text``), None where an id has no token.
        after: The other's.

    Returns:
        (V,) for each token of the second the smallest id of the first with this text, or -1.

    Example:
        >>> same_tokens(["a", " b"], [" b", "c", None]).tolist()
        [1, -1, -1]
    """
    known: dict[str, int] = {}
    for number, text in enumerate(before):
        if text is not None:
            known.setdefault(text, number)
    return np.array([-1 if text is None else known.get(text, -1) for text in after], dtype=np.int64)


def _changed(
    before: Tokenizer, after: Tokenizer, texts: Mapping[str, float], old_ids: NDArray[np.int64] | None
) -> float:
    changed = 0.0
    for batch in batched(texts, LINES_PER_BATCH):
        for text, one, other in zip(batch, encode(before, batch), encode(after, batch), strict=True):
            ids = other.ids if old_ids is None else old_ids[other.ids].tolist() if other.ids else []
            changed += texts[text] if one.ids != ids else 0.0
    return changed
