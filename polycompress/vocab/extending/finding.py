"""Find the pieces that a tokenizer lacks for some text: candidates of its own type, then the choice among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError
from polycompress.vocab.document import boundary_mark, dump_document, is_byte_level, model_type
from polycompress.vocab.extending.choosing import UNKNOWN_COST, choose
from polycompress.vocab.extending.document import extend_document
from polycompress.vocab.extending.joining import joined_pieces, marks, missing_symbols
from polycompress.vocab.extending.pieces import NewPiece, is_visible, is_word_part
from polycompress.vocab.extending.unigram import LONGEST, pieces_without, scaled_pieces, score_range
from polycompress.vocab.extending.words import count_words, segment_words
from polycompress.vocab.training.trainers import training, unigram_pieces

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CANDIDATES: Final = 2.0
"""For each piece wanted."""
UNIGRAM_EXTRA: Final = 4000
"""Pieces that a Unigram model is trained to have beyond the candidates: the old model has most of the commonest."""
LEAST: Final = 2
"""Occurrences of a candidate, or tokens that it saves."""
UNKNOWN_PRICE: Final = 10.0
"""How far below the smallest score the library's Unigram model prices an unknown character."""

Progress = Callable[[str, int, int | None], None]


def train_pieces(
    document: Mapping[str, Any],
    texts: Sequence[str],
    held_out: Iterable[str],
    *,
    most: int,
    progress: Progress | None = None,
) -> list[NewPiece]:
    """Find the pieces that would save a tokenizer the most tokens.

    Args:
        document: The state of a checked Unigram, BPE or WordPiece tokenizer.
        texts: To find pieces in; each counts as often as it comes. Normalised and cut by the tokenizer's own parts.
        held_out: To choose by; none of ``texts``.
        most: Pieces wanted.
        progress: Told of the work.

    Returns:
        At most so many pieces as ``extend_document`` takes them; fewer where no more would save anything. The same
        texts give the same pieces, in whatever order the texts come.

    Raises:
        InputError: The tokenizers library cannot segment the texts, or cannot train on them.
    """
    tokenizer = _load(document)
    say = progress or _silent
    say("reading words", 0, None)
    words = count_words(document, tokenizer, texts)
    judged = count_words(document, tokenizer, held_out)
    if not words:
        raise InputError("there are no words in the text that pieces are to be found in. Give more --corpus")
    say("finding candidates", 0, None)
    if model_type(document) == "unigram":
        candidates = _unigram_candidates(document, words, most)
    else:
        candidates = _joined_candidates(document, words, most)

    def count(kept: Sequence[NewPiece]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        say("choosing pieces", len(kept), None)
        return _uses(document, kept, judged), _uses(document, kept, words)

    def cost(kept: Sequence[NewPiece]) -> NDArray[np.int64]:
        return _costs(document, kept)

    return choose(candidates, most, count=count, cost=cost)


def _unigram_candidates(document: Mapping[str, Any], words: Mapping[str, int], most: int) -> list[NewPiece]:
    """What a Unigram model of the words alone has and the old one lacks, on the old one's scale."""
    size = int(CANDIDATES * most) + UNIGRAM_EXTRA
    # The words are normalised and cut already: one to a line, nothing more to do.
    lines = (word for word, count in words.items() for _ in range(count))
    with training():
        trained = unigram_pieces(lines, size, {}, longest=LONGEST)
    mark = boundary_mark(document)
    byte_level = is_byte_level(document)
    occurring = {letter for letter, count in _letters(words).items() if count >= LEAST and is_visible(letter)}
    return [
        piece
        for piece in scaled_pieces(document["model"], trained)
        if (
            piece.text in occurring
            if len(piece.text) == 1
            else is_word_part(piece.text, mark=mark, byte_level=byte_level)
        )
    ]


def _joined_candidates(document: Mapping[str, Any], words: Mapping[str, int], most: int) -> list[NewPiece]:
    """Symbols that the model lacks, then pairs of tokens."""
    symbols = missing_symbols(document, words, least=LEAST)
    with_symbols = extend_document(document, symbols).document
    segmented = segment_words(_load(with_symbols), words)
    joined = joined_pieces(with_symbols, words, segmented, most=int(CANDIDATES * most), least=LEAST)
    return [*symbols, *joined]


def _uses(
    document: Mapping[str, Any], kept: Sequence[NewPiece], words: Mapping[str, int]
) -> NDArray[np.int64]:
    """(n,) how often each piece is used in words, all of them added."""
    extended = extend_document(document, kept)
    totals = np.zeros(extended.added.stop, dtype=np.int64)
    for word, ids in segment_words(_load(extended.document), words).items():
        for number in ids:
            totals[number] += words[word]
    return totals[extended.old_size : extended.old_size + len(kept)]


def _costs(document: Mapping[str, Any], kept: Sequence[NewPiece]) -> NDArray[np.int64]:
    """(n,) tokens that each piece would cost without it, an unknown character counting for many."""
    model, kind = document["model"], model_type(document)
    if kind == "bpe":
        return np.array([2 if piece.merges else UNKNOWN_COST for piece in kept], dtype=np.int64)
    if kind == "wordpiece":
        prefix, _ = marks(model)
        known = {*model["vocab"], *(piece.text for piece in kept)}
        return np.array([_greedy_cost(piece.text, known, prefix) for piece in kept], dtype=np.int64)
    scores = {piece: float(score) for piece, score in model["vocab"] if score < 0}
    scores |= {piece.text: piece.score for piece in kept if piece.score is not None}
    unknown = score_range(model)[0] - UNKNOWN_PRICE
    costs = []
    for piece in kept:
        path = pieces_without(piece.text, scores, longest=LONGEST, unknown=unknown)
        costs.append(sum(UNKNOWN_COST if part is None else 1 for part in path))
    return np.array(costs, dtype=np.int64)


def _greedy_cost(text: str, known: set[str], prefix: str) -> int:
    """Tokens of a piece that WordPiece reads without it; ``UNKNOWN_COST`` where it cannot."""
    inside = text.startswith(prefix) and len(text) > len(prefix)
    body, place, cost = (text[len(prefix) :] if inside else text), 0, 0
    while place < len(body):
        mark = prefix if place or inside else ""
        ends = range(len(body), place, -1)
        end = next(
            (end for end in ends if (mark + body[place:end]) in known and mark + body[place:end] != text),
            None,
        )
        if end is None:
            return UNKNOWN_COST
        place, cost = end, cost + 1
    return cost


def _letters(words: Mapping[str, int]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for word, count in words.items():
        for letter in word:
            counts[letter] = counts.get(letter, 0) + count
    return counts


def _load(document: Mapping[str, Any]) -> Tokenizer:
    from tokenizers import Tokenizer

    tokenizer: Tokenizer = Tokenizer.from_buffer(dump_document(document))
    return tokenizer


def _silent(label: str, amount: int, total: int | None) -> None:
    """Say nothing."""
