"""Masking on the fly: which tokens are hidden depends on the seed, the epoch, the text and the place in it alone.

So the same text is masked alike whatever the batch, its order or its packing, and anew in every epoch, and nothing
about masking has to be kept in a snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError
from polycompress.training.errors import ConfigError
from polycompress.training.hashing import below, check_seed, hashed, name_word, uniform

if TYPE_CHECKING:
    from tokenizers import Tokenizer

IGNORED: Final = -100
"""Label of a token that is not to be predicted; what PyTorch's and transformers' losses leave out by default."""
_STREAM: Final = name_word("masking")
_WORD_MARKS: Final = ("▁", "Ġ", " ")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokens:
    """Tokens of some texts, one after another, and where each of them stands."""

    ids: NDArray[np.int64]
    """(T,)"""
    text_ids: NDArray[np.int64]
    """(T,) of which text."""
    positions: NDArray[np.int64]
    """(T,) in its text, from 0."""
    epochs: NDArray[np.int64]
    """(T,) how often the text was seen before."""


Objective = Callable[[Tokens], tuple[NDArray[np.int64], NDArray[np.int64]]]
"""From tokens to (T,) ids that the model sees and (T,) labels, ``IGNORED`` where there is nothing to predict."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Masking:
    """How much is masked, and by what.

    Reference:
        Devlin et al., "BERT" (2019), section 3.1: 15 % of the tokens; of them 80 % become the mask, 10 % a random
        token, 10 % stay.
    """

    rate: float = 0.15
    """Share of the ordinary tokens that are to be predicted; above 0, at most 1."""
    mask_share: float = 0.8
    """Of those, replaced by the mask."""
    random_share: float = 0.1
    """Of those, replaced by any ordinary token. The rest is left as it is."""
    whole_words: bool = False
    """Whether the tokens of a word are chosen together."""
    longest_word: int = 8
    """Tokens; longer runs without a word's start, as in scripts without spaces, are chosen in pieces of this length."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: Any are wrong; all are named.
        """
        wrong = []
        if not 0 < self.rate <= 1:
            wrong.append(f"rate is {self.rate!r}: give more than 0 and at most 1")
        for name in ("mask_share", "random_share"):
            if not 0 <= getattr(self, name) <= 1:
                wrong.append(f"{name} is {getattr(self, name)!r}: give 0 to 1")
        if not wrong and self.mask_share + self.random_share > 1 + 1e-9:
            wrong.append(
                f"mask_share and random_share add up to {self.mask_share + self.random_share:g}: at most 1"
            )
        if self.longest_word < 1:
            wrong.append(f"longest_word is {self.longest_word!r}: give at least 1")
        if wrong:
            raise ConfigError(wrong, "Masking")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MaskedLM:
    """The objective of masked language modelling: hide some tokens, predict them from the others."""

    masking: Masking
    seed: int
    """0 to 2 ** 64 - 1."""
    mask_id: int
    ordinary: NDArray[np.int64]
    """Ids that may be masked and that random tokens are drawn from, increasing: all but the special ones."""
    word_starts: NDArray[np.bool_] | None = None
    """(V,) whether a token begins a word; needed for whole words."""
    _is_ordinary: NDArray[np.bool_] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check what the parts need of each other.

        Raises:
            InputError: The seed is none, nothing may be masked, or whole words are asked for without their starts.
        """
        check_seed(self.seed)
        if not len(self.ordinary):
            raise InputError(
                "Masked language modelling needs ordinary tokens: the tokenizer has special ones only."
            )
        if self.masking.whole_words and self.word_starts is None:
            raise InputError("Masking whole words needs to know which tokens begin a word: give word_starts.")
        is_ordinary = np.zeros(int(self.ordinary[-1]) + 2, dtype=bool)  # the last stands for all higher ids
        is_ordinary[self.ordinary] = True
        object.__setattr__(self, "_is_ordinary", is_ordinary)

    def __call__(self, tokens: Tokens) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Masked ids and labels; see ``mask_tokens``."""
        ordinary = self._is_ordinary[np.minimum(tokens.ids, len(self._is_ordinary) - 1)]
        chosen_by = tokens.positions
        if self.masking.whole_words and self.word_starts is not None:
            starts = ~ordinary | ~np.roll(ordinary, 1) | (tokens.positions == 0)
            starts |= self.word_starts[np.minimum(tokens.ids, len(self.word_starts) - 1)]
            chosen_by = word_positions(tokens.positions, starts, self.masking.longest_word)
        return mask_tokens(tokens, ordinary, chosen_by, self.masking, self.seed, self.mask_id, self.ordinary)


def mask_tokens(
    tokens: Tokens,
    maskable: NDArray[np.bool_],
    chosen_by: NDArray[np.int64],
    masking: Masking,
    seed: int,
    mask_id: int,
    replacements: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hide some tokens.

    Whether a token is chosen depends on (seed, epoch, text id, ``chosen_by``), what it becomes on (seed, epoch, text
    id, position), each through a hash: on nothing else.

    Args:
        tokens: T tokens, of any number of texts in any order.
        maskable: (T,) False for special tokens.
        chosen_by: (T,) tokens of a text with the same number are chosen together; the positions, or those of words.
        masking: How much, and by what.
        seed: 0 to 2 ** 64 - 1.
        mask_id: Of the mask.
        replacements: Ids that random tokens are drawn from, with equal chances.

    Returns:
        (T,) ids, and (T,) labels: the true id of a chosen token, else ``IGNORED``.
    """
    text = hashed(_STREAM, seed, tokens.epochs, tokens.text_ids)
    chosen = maskable & (uniform(hashed(text, chosen_by)) < masking.rate)
    ids, labels = tokens.ids.copy(), np.full_like(tokens.ids, IGNORED)
    labels[chosen] = tokens.ids[chosen]
    fate = hashed(text[chosen], tokens.positions[chosen], 1)
    share = uniform(fate)
    random = share >= 1 - masking.random_share
    new = np.where(share < masking.mask_share, mask_id, tokens.ids[chosen])
    new[random] = replacements[below(hashed(fate[random], 2), len(replacements))]
    ids[chosen] = new
    return ids, labels


def word_positions(
    positions: NDArray[np.int64], starts: NDArray[np.bool_], longest: int
) -> NDArray[np.int64]:
    """For each token the position of the first token of its word.

    Args:
        positions: (T,) in their texts, counting up by one within each.
        starts: (T,) whether a word begins here; true for the first token of every text.
        longest: Longer words count as several of this length.

    Returns:
        (T,) equal within a word, different between the words of a text.
    """
    index = np.arange(len(positions))
    inside = index - np.maximum.accumulate(np.where(starts, index, 0))
    return positions - inside % longest


def causal_lm(tokens: Tokens) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The objective of causal language modelling: the ids, and as labels the ids again.

    Models shift labels themselves, so the label of a text's first token would be asked of the text before it where
    texts are packed: it is ``IGNORED``.
    """
    return tokens.ids, np.where(tokens.positions == 0, IGNORED, tokens.ids)


def masked_lm(
    tokenizer: Tokenizer, mask_token: str, masking: Masking, seed: int, *, special: Iterable[str] = ()
) -> MaskedLM:
    """The objective for a tokenizer.

    Args:
        tokenizer: Whose tokens may be masked: all but its special ones.
        mask_token: The mask as it is written.
        masking: How much, and by what.
        seed: 0 to 2 ** 64 - 1.
        special: Tokens that are special though the tokenizer does not say so.

    Raises:
        InputError: The tokenizer does not have the mask, or has special tokens only.
    """
    vocabulary: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
    if mask_token not in vocabulary:
        raise InputError(
            f"The tokenizer has no token {mask_token!r}, which masked language modelling needs. Name the mask, or "
            "train as a causal model."
        )
    added = tokenizer.get_added_tokens_decoder()
    apart = {index for index, token in added.items() if token.special}
    apart |= {vocabulary[token] for token in (mask_token, *special) if token in vocabulary}
    ordinary = np.array(sorted(set(vocabulary.values()) - apart), dtype=np.int64)
    starts = None
    if masking.whole_words:
        starts = np.ones(max(vocabulary.values()) + 1, dtype=bool)
        wordpiece = getattr(tokenizer.model, "continuing_subword_prefix", None)
        for token, index in vocabulary.items():
            starts[index] = not token.startswith(wordpiece) if wordpiece else token.startswith(_WORD_MARKS)
    return MaskedLM(
        masking=masking, seed=seed, mask_id=vocabulary[mask_token], ordinary=ordinary, word_starts=starts
    )
