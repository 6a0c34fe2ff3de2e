"""What a tokenizer is extended by, and what comes out."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any, Final

from polycompress.vocab.alphabet import symbol_bytes

MAX_CHARACTERS: Final = 32
"""Of a new piece."""
_APOSTROPHES: Final = frozenset("'’ʼ‘`´")
_JOINERS: Final = frozenset("\u200c\u200d")
"""The scripts of South Asia and Persian write them inside words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewPiece:
    """One piece for a vocabulary."""

    text: str
    """As the vocabulary writes it: with ``▁``, ``##`` or in byte symbols."""
    score: float | None = None
    """Of a Unigram model: the natural logarithm of its probability, on the scale of the model's own."""
    merges: tuple[tuple[str, str], ...] = ()
    """Of a BPE model: the pairs that it comes from; none for a single symbol."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Extended:
    """A tokenizer with new pieces."""

    document: dict[str, Any]
    """The state of its ``tokenizer.json``."""
    old_size: int
    """Ids below this are the source's, each for what it was; those from it on are new."""
    pieces: tuple[str, ...]
    """The new pieces; that of number i has the id ``old_size + i``."""
    promoted: tuple[str, ...]
    """Added tokens that have become pieces of the model too, so that they keep their ids."""

    @property
    def added(self) -> range:
        """The ids of the new pieces."""
        return range(self.old_size, self.old_size + len(self.pieces))


def is_visible(character: str) -> bool:
    """Whether a character is worth a piece of its own where there is none: no space, no control, no private one."""
    return unicodedata.category(character)[0] not in "ZC"


def is_word_part(
    piece: str, *, mark: str, prefix: str = "", suffix: str = "", byte_level: bool = False
) -> bool:
    """Whether a piece begins with a letter and is made of letters, with what stands among them: marks, apostrophes.

    Pieces of punctuation, digits and symbols, alone or glued to letters, belong to no language: they would change how
    texts of all of them are cut (``'s`` of Igbo reports would be used in English more than all others together).

    Args:
        piece: As the vocabulary writes it.
        mark: What stands for a space, at the beginning only.
        prefix: The model's mark of pieces inside words.
        suffix: The model's mark of pieces that end words.
        byte_level: Whether it is written in byte symbols; bytes that are no whole character are let through.

    Example:
        >>> [is_word_part(piece, mark="▁") for piece in ("▁n'ọ", "ọ́", "ọ,", "▁", "▁19")]
        [True, True, False, False, False]
    """
    text = piece.removeprefix(prefix).removesuffix(suffix)
    if byte_level:
        raw = symbol_bytes(text)
        if raw is None:
            return False
        text = raw.decode("utf-8", "ignore").removeprefix(" ")
        if not text:
            return raw.removeprefix(b" ") != b""
    else:
        text = text.removeprefix(mark)
    letters = [unicodedata.category(character)[0] in "LM" for character in text]
    return letters[:1] == [True] and all(
        letter or character in _APOSTROPHES or character in _JOINERS
        for letter, character in zip(letters, text, strict=True)
    )
