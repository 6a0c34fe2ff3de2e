"""Train a tokenizer's model on text: the trainers of the tokenizers library, with their lots drawn out.

The library keeps words in tables of random order. Its BPE trainer is indifferent to that; the others are not, and what
they leave to chance is settled here, so that the same text gives the same tokenizer:

- Unigram adds up expectations in that order, so scores differ in their last digits and so does the order of equals.
  Scores are rounded to ``DIGITS``, pieces sorted by score, then by text, and a few more than needed are trained, so
  that it is not the library that cuts between equals.
- WordPiece numbers the characters inside words in that order, and ties between pairs fall by number. It is BPE with
  marked characters; so BPE is trained, with a private character for every character that is not the first of its
  word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import orjson

from polycompress.errors import InputError, PolycompressError
from polycompress.vocab.alphabet import byte_symbols
from polycompress.vocab.training.layouts import LAYOUTS, Layout, TokenizerType

if TYPE_CHECKING:
    from tokenizers import Tokenizer

DIGITS: Final = 6
"""Decimal places of scores."""
SLACK: Final = 0.05
"""Share of pieces that are trained beyond those kept."""
LEAST_FREQUENCY: Final = 2
"""Of a pair of symbols that is merged."""
_CHARACTER_STEP: Final = 1e-4
"""Between the scores of characters that training did not keep; a constant of the library."""
_WORDS_PER_LINE: Final = 1000
_PRIVATE: Final = (*range(0xF0000, 0xFFFFE), *range(0x100000, 0x10FFFE))
"""Code points that no text means anything by."""


def train_model(kind: TokenizerType, texts: Iterable[str], size: int) -> dict[str, Any]:
    """Train a tokenizer.

    Args:
        kind: Its type.
        texts: To learn from; each counts as often as it comes.
        size: Tokens in all, special ones included. Fewer come out where the text does not give so many; more than that
            only where the characters alone (Unigram: all that occur) are more.

    Returns:
        The state of a ``tokenizer.json``.

    Raises:
        InputError: There is no text, or too little of it.
    """
    layout = LAYOUTS[kind]
    with training():
        if kind == "unigram":
            pieces = unigram_pieces(texts, size - len(layout.special), layout.fields)
            vocab = [[token, 0.0] for token in layout.special]
            vocab += [[piece, score] for piece, score in pieces]
            unk_id = layout.special.index(layout.unknown)
            model: dict[str, Any] = {
                "type": "Unigram",
                "unk_id": unk_id,
                "vocab": vocab,
                "byte_fallback": False,
            }
        elif kind == "wordpiece":
            model = _wordpiece_model(texts, size, layout)
        else:
            model = _bpe_model(texts, size, layout, byte_level=kind == "byte-bpe")
    if len(model["vocab"]) <= len(layout.special):
        raise InputError("there is nothing to learn pieces from: the text has no letters. Give more --corpus")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added(number, token) for number, token in enumerate(layout.special)],
        **layout.fields,
        "post_processor": layout.post_processor(),
        "model": model,
    }


def unigram_pieces(
    texts: Iterable[str], size: int, fields: Mapping[str, Any], *, longest: int = 16
) -> list[tuple[str, float]]:
    """Train a Unigram model.

    Args:
        texts: To learn from.
        size: Pieces, at least as many as there are characters: these all stay.
        fields: Normaliser and pre-tokeniser as in ``tokenizer.json``.
        longest: Characters of a piece.

    Returns:
        Pieces with the natural logarithms of their probabilities, by falling score, then by text.

    Reference:
        Kudo, "Subword Regularization" (ACL 2018), section 3.2; https://arxiv.org/abs/1804.10959.
    """
    from tokenizers.trainers import UnigramTrainer

    unknown = "<unk>"
    tokenizer = blank({"type": "Unigram", "unk_id": None, "vocab": []}, fields)
    trainer = UnigramTrainer(
        vocab_size=int(size * (1 + SLACK)) + 1,
        special_tokens=[unknown],
        unk_token=unknown,
        max_piece_length=longest,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    found = orjson.loads(tokenizer.to_str())["model"]["vocab"]
    scored = _settled([(piece, round(score, DIGITS)) for piece, score in found if piece != unknown])
    scored.sort(key=lambda entry: (-entry[1], entry[0]))
    room = max(0, size - sum(len(piece) == 1 for piece, _ in scored))
    kept = set(islice((piece for piece, _ in scored if len(piece) > 1), room))
    return [(piece, score) for piece, score in scored if len(piece) == 1 or piece in kept]


def _settled(scored: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Give the smallest score to the characters that stay only for being characters.

    The library puts them just above it, one step further each, in random order.
    """
    least = min((score for _, score in scored), default=0.0)
    until = least + _CHARACTER_STEP * (1 + sum(len(piece) == 1 for piece, _ in scored))
    return [(piece, least if len(piece) == 1 and score < until else score) for piece, score in scored]


def blank(model: Mapping[str, Any], fields: Mapping[str, Any]) -> Tokenizer:
    """A tokenizer of the library around a model, with some normaliser and pre-tokeniser and no added tokens."""
    from tokenizers import Tokenizer

    names = ("normalizer", "pre_tokenizer")
    empty: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "post_processor": None,
    }
    state = {**empty, "decoder": None, **{name: fields.get(name) for name in names}, "model": dict(model)}
    tokenizer: Tokenizer = Tokenizer.from_buffer(orjson.dumps(state))
    return tokenizer


@contextmanager
def training() -> Iterator[None]:
    """Turn what the tokenizers library raises while it trains into errors of ours.

    Raises:
        InputError: It refuses.
        PolycompressError: It panics.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, MemoryError, PolycompressError, OSError):
        raise
    except Exception as error:
        raise InputError(
            f"the tokenizers library cannot train on this text: {error}. Give more text, or ask for another number of "
            "pieces"
        ) from error
    except BaseException as error:  # a panic of the library is no Exception
        raise PolycompressError(
            f"the tokenizers library panicked in training: {error}. Give more text, or ask for another number of pieces"
        ) from error


def _bpe_model(texts: Iterable[str], size: int, layout: Layout, *, byte_level: bool) -> dict[str, Any]:
    from tokenizers.trainers import BpeTrainer

    unknown = None if byte_level else layout.unknown
    model: dict[str, Any] = {
        "type": "BPE",
        "unk_token": unknown,
        "fuse_unk": not byte_level,
        "vocab": {},
        "merges": [],
    }
    tokenizer = blank(model, layout.fields)
    trainer = BpeTrainer(
        vocab_size=size,
        min_frequency=LEAST_FREQUENCY,
        special_tokens=layout.special,
        initial_alphabet=list(byte_symbols()) if byte_level else [],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    trained: dict[str, Any] = orjson.loads(tokenizer.to_str())["model"]
    return trained


def _wordpiece_model(texts: Iterable[str], size: int, layout: Layout) -> dict[str, Any]:
    from tokenizers.trainers import BpeTrainer

    words = _pre_tokens(texts, layout.fields)
    characters = sorted({character for word in words for character in word[1:]})
    private = {ord(character): chr(_PRIVATE[number]) for number, character in enumerate(characters)}
    tokenizer = blank(
        {"type": "BPE", "vocab": {}, "merges": []}, {"pre_tokenizer": {"type": "WhitespaceSplit"}}
    )
    trainer = BpeTrainer(
        vocab_size=size, min_frequency=LEAST_FREQUENCY, special_tokens=layout.special, show_progress=False
    )
    lines = (
        " ".join([word[:1] + word[1:].translate(private)] * min(_WORDS_PER_LINE, count - begin))
        for word, count in words.items()
        for begin in range(0, count, _WORDS_PER_LINE)
    )
    tokenizer.train_from_iterator(lines, trainer)
    plain = {ord(mark): chr(character) for character, mark in private.items()}
    trained = orjson.loads(tokenizer.to_str())["model"]["vocab"]
    vocab = {
        ("##" if ord(piece[0]) in plain else "") + piece.translate(plain): number
        for piece, number in trained.items()
    }
    return {
        "type": "WordPiece",
        "unk_token": layout.unknown,
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": dict(sorted(vocab.items(), key=lambda entry: entry[1])),
    }


def _pre_tokens(texts: Iterable[str], fields: Mapping[str, Any]) -> dict[str, int]:
    """Words as the pre-tokeniser cuts them, with how often each occurs."""
    tokenizer = blank({"type": "WordPiece", "vocab": {}, "unk_token": "", "max_input_chars_per_word": 100,
                       "continuing_subword_prefix": "##"}, fields)  # fmt: skip
    words: Counter[str] = Counter()
    for text in texts:
        normal = tokenizer.normalizer.normalize_str(text)
        words.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal))
    return dict(words)


def _added(number: int, token: str) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": token == "<mask>", "rstrip": False, "normalized": False}
    return {"id": number, "content": token, **flags, "special": True}
