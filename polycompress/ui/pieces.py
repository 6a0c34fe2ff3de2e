"""How a text is cut: its pieces as data, and the words that two tokenizers cut in different ways."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from polycompress.vocab.encoding import segmenting

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_CHARACTERS: Final = 5000
"""Of a text that is shown."""
_WORD: Final = re.compile(r"\S+")
_BYTE: Final = re.compile(r"<0x[0-9A-F]{2}>")
_UNKNOWN: Final = frozenset({"<unk>", "[UNK]", "UNK", "<|unk|>"})


@dataclass(frozen=True, slots=True)
class Piece:
    """A token of a text."""

    id: int
    token: str
    """As the vocabulary spells it."""
    text: str
    """What it stands for in the text; empty where it stands for nothing of its own."""
    start: int
    end: int
    """In characters of the text."""
    is_special: bool
    is_unknown: bool
    begins: bool
    """Whether a word begins with it."""

    @property
    def shown(self) -> str:
        """The text, or where there is none, or it is only a part of a character, the token."""
        own = self.text.strip()
        return self.token if self.is_special or not own or _BYTE.fullmatch(self.token) else own


def cut(tokenizer: Tokenizer, text: str) -> tuple[Piece, ...]:
    """The pieces of a text, special ones included.

    Args:
        tokenizer: Its padding and truncation are switched off.
        text: At most ``MAX_CHARACTERS`` of it are read.

    Raises:
        InputError: The tokenizer refuses the text.
    """
    text = text[:MAX_CHARACTERS]
    tokenizer.no_padding()
    tokenizer.no_truncation()
    with segmenting():
        found = tokenizer.encode(text)
    # Not the encoding's own tokens: of what is unknown they repeat the text.
    tokens = [tokenizer.id_to_token(number) or "" for number in found.ids]
    rows = zip(found.ids, tokens, found.offsets, found.special_tokens_mask, strict=True)
    return tuple(
        Piece(
            number,
            token,
            "" if special else text[begin:end],
            begin,
            end,
            bool(special),
            token in _UNKNOWN and begin < end,
            begin < end and (text[begin].isspace() or begin == 0 or text[begin - 1].isspace()),
        )
        for number, token, (begin, end), special in rows
    )


def words(text: str) -> tuple[tuple[int, int], ...]:
    """Begin and end of what stands between white space."""
    return tuple(match.span() for match in _WORD.finditer(text[:MAX_CHARACTERS]))


def cut_otherwise(text: str, one: Sequence[Piece], other: Sequence[Piece]) -> frozenset[tuple[int, int]]:
    """The words that two tokenizers cut at different places, or that only one of them knows.

    Args:
        text: Which both have cut.
        one: Pieces of the first.
        other: Pieces of the second.

    Returns:
        Their begins and ends; as many words are cut alike as ``words`` has others.
    """
    spans = words(text)
    first, second = _cuts(spans, one), _cuts(spans, other)
    return frozenset(span for span in spans if first[span] != second[span])


def _cuts(
    spans: Sequence[tuple[int, int]], pieces: Sequence[Piece]
) -> dict[tuple[int, int], list[tuple[int, int, bool]]]:
    """Of each word, the parts of it that its pieces stand for, and whether they are known."""
    found: dict[tuple[int, int], list[tuple[int, int, bool]]] = {span: [] for span in spans}
    at = 0
    for piece in pieces:
        if piece.is_special and not piece.is_unknown:
            continue
        while at < len(spans) and spans[at][1] <= piece.start:
            at += 1
        for begin, end in spans[at:]:
            if begin >= piece.end:
                break
            found[begin, end].append((max(begin, piece.start), min(end, piece.end), piece.is_unknown))
    return found
