"""WordPiece models (BERT, mBERT, DistilBERT, MPNet): which pieces hold the others up, and how to cut them.

A word is read left to right, each time taking the longest piece of the vocabulary that matches; inside the
word the pieces carry a prefix (``##``). If at some position nothing matches, the whole word becomes one
unknown token.

**Why kept texts stay the same.** If all pieces of a word are kept, each is still the longest match at its
place: a longer one in the cut vocabulary would have been in the old one too. A word that *became the unknown
token* needs more care, since the pieces tried on the way to the failure do not show in the result. Example:
from ``ab``, ``a``, ``##bcd``, ``##c`` the word ``abcd`` fails at ``d`` (``ab`` ``##c`` and then nothing);
without ``ab`` it would read ``a ##bcd``. For the new reading to get past a position where nothing at all
matches, some kept piece must bridge it: a prefixed piece with a later character that has no prefixed piece of
its own. A trained vocabulary has no such piece (all characters are in it). Where one is kept all the same,
every piece is kept at whose inner positions the new reading could slip out of step with the old one
(`_close_bridges`). A piece at the start of a word never bridges: both readings begin there and the old one
chose the longest.

The pieces of the single characters of a kept piece stay too, so that what we write is complete again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycompress.vocab.alphabet import byte_symbols
from polycompress.vocab.checks import Closure, as_text, check_id_vocab, id_span, pieces_by_id, wrong


def check(model: Mapping[str, Any]) -> None:
    """Check a WordPiece model of a document that nobody has looked at yet.

    Args:
        model: The ``model`` object.

    Raises:
        InputError: A field has the wrong type or value.
    """
    check_id_vocab(model)
    as_text(model.get("unk_token", "[UNK]"), "model.unk_token")
    as_text(model.get("continuing_subword_prefix", "##"), "model.continuing_subword_prefix")
    limit = model.get("max_input_chars_per_word", 100)
    if type(limit) is not int or limit < 0:
        raise wrong("model.max_input_chars_per_word", limit, "a whole number of characters, 0 or more")


def texts(model: Mapping[str, Any]) -> list[str | None]:
    """List the pieces by id, None where an id has no piece."""
    return pieces_by_id(model["vocab"])


def size(model: Mapping[str, Any]) -> int:
    """The number of ids that the vocabulary spans (the largest id + 1)."""
    return id_span(model["vocab"])


def prefix(model: Mapping[str, Any]) -> str:
    """The mark of a piece that continues a word (the library's default is ``##``)."""
    mark: str = model.get("continuing_subword_prefix", "##")
    return mark


def required(model: Mapping[str, Any], *, byte_level: bool) -> dict[int, str]:
    """Say which pieces stay whatever is selected, and by which rule.

    Args:
        model: A checked ``model`` object.
        byte_level: Whether the tokenizer turns text into byte symbols first.

    Returns:
        id -> rule: "unknown", "alphabet" or "no unknown token".
    """
    vocab, mark = model["vocab"], prefix(model)
    rules: dict[int, str] = {}
    unknown = vocab.get(model.get("unk_token", "[UNK]"))
    if unknown is not None:
        rules[unknown] = "unknown"
    else:
        # Without it an unreadable word is an error, so whatever can be read must stay readable.
        if any(not vocab.keys() >= set(_characters(piece, mark)) for piece in vocab):
            return dict.fromkeys(vocab.values(), "no unknown token")
        for piece, number in vocab.items():
            if len(piece) == 1 or (piece.startswith(mark) and len(piece) == len(mark) + 1):
                rules[number] = "alphabet"
    if byte_level:
        for symbol in byte_symbols():
            for piece in (symbol, mark + symbol):
                if piece in vocab:
                    rules.setdefault(vocab[piece], "alphabet")
    return rules


def closure(model: Mapping[str, Any]) -> Closure:
    """Prepare the step that adds the single characters of kept pieces, and what keeps unreadable words so.

    Args:
        model: A checked ``model`` object.

    Returns:
        From kept ids to a superset, both as masks of shape (largest id + 1,).
    """
    vocab, mark = model["vocab"], prefix(model)

    def close(keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
        kept = {piece for piece, number in vocab.items() if keep[number]}
        before = -1
        while before < len(kept):
            before = len(kept)
            kept |= vocab.keys() & {part for piece in kept for part in _characters(piece, mark)}
            kept |= _close_bridges(vocab, kept, mark)
        closed = keep.copy()
        closed[[vocab[piece] for piece in kept]] = True
        return closed

    return close


def trim(model: Mapping[str, Any], keep: NDArray[np.int64]) -> dict[str, Any]:
    """Cut the vocabulary to the kept ids and number it from 0 in the old order.

    Args:
        model: A checked ``model`` object.
        keep: Increasing ids to keep, shape (kept,).

    Returns:
        A new ``model`` object.
    """
    by_id = texts(model)
    return {**model, "vocab": {by_id[old]: new for new, old in enumerate(keep.tolist())}}


def _characters(piece: str, mark: str) -> list[str]:
    """The single-character pieces that spell this one: the first as it stands, the others with the mark."""
    if piece.startswith(mark) and len(piece) > len(mark):
        return [mark + character for character in piece[len(mark) :]]
    return [piece[:1], *(mark + character for character in piece[1:])]


def _bridges(vocab: Mapping[str, int], kept: Iterable[str], mark: str) -> list[str]:
    """Kept continuing pieces, without their mark, with a character that has no piece inside words."""
    bodies = (piece[len(mark) :] for piece in kept if piece.startswith(mark))
    return [body for body in bodies if any(mark + character not in vocab for character in body[1:])]


def _close_bridges(vocab: Mapping[str, int], kept: set[str], mark: str) -> set[str]:
    """Keep every piece whose removal could make a word readable that was not (see the module's text).

    The old reading S ends in front of a character that the new reading T bridges with a kept piece. Where
    that piece begins S has no boundary (it would have chosen the bridge itself), so a piece s of S covers
    that place: s ends with a beginning of the bridge. If s is kept then T cannot start a piece where s
    starts, so a kept piece of T covers *that* place, and so on to the left: overlaps are followed in turn
    until nothing new is found. Each step keeps a little more than it must.
    """
    wanted: set[str] = set()
    beginnings = _beginnings(_bridges(vocab, kept, mark))
    while beginnings:
        found = {piece for piece in vocab if piece not in wanted and _ends_with(piece, beginnings)}
        if not found:
            break
        wanted |= found
        inner = _beginnings(body for piece in found for body in {piece, piece.removeprefix(mark)})
        continuing = {piece[len(mark) :] for piece in kept | wanted if piece.startswith(mark)}
        bridges = _bridges(vocab, kept | wanted, mark)
        beginnings = _beginnings([*bridges, *(body for body in continuing if _ends_with(body, inner))])
    return wanted


def _beginnings(bodies: Iterable[str]) -> set[str]:
    return {body[:length] for body in bodies for length in range(1, len(body))}


def _ends_with(body: str, beginnings: set[str]) -> bool:
    """Whether a proper ending of the body is among the beginnings."""
    return any(body[start:] in beginnings for start in range(1, len(body)))
