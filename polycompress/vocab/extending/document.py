"""Add new pieces to a tokenizer's state. Pure functions.

**Ids.** Every token keeps its id. New pieces take the ids behind the last token of all, in the order given. Where added
tokens stand behind the model's vocabulary (a ``<mask>`` that is no piece), the library would count them on from the new
size; so they become pieces of the model at the ids they have, as XLM-R's ``<mask>`` is one. No text reaches those
pieces but one that becomes their name by normalisation. Tables that are padded past the tokenizer have rows at the
new ids that no token ever read: these are the new tokens' rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from polycompress.errors import InputError
from polycompress.vocab.checks import MAX_ID
from polycompress.vocab.document import added_token_ids, model_size, model_type, pieces
from polycompress.vocab.extending.joining import marks
from polycompress.vocab.extending.pieces import Extended, NewPiece
from polycompress.vocab.extending.unigram import score_range
from polycompress.vocab.kinds import KINDS


def check_extendable(document: object) -> None:
    """Refuse a tokenizer of a type that takes no new pieces, before anything else is asked of it.

    Args:
        document: What JSON parsing gave.

    Raises:
        InputError: It is no Unigram, BPE or WordPiece model; the message says what to do.
    """
    model = document.get("model") if isinstance(document, dict) else None
    kind = model.get("type") if isinstance(model, dict) else None
    if isinstance(kind, str) and kind not in {each.spelling for each in KINDS}:
        known = ", ".join(each.spelling for each in KINDS)
        raise InputError(
            f"model.type is {kind!r}, which cannot be extended: words are not made of its pieces. Types that "
            f"can: {known}. Train a tokenizer of its own instead: polycompress tokenizer train"
        )


def extend_document(document: Mapping[str, Any], new_pieces: Sequence[NewPiece]) -> Extended:
    """Add pieces to a tokenizer.

    Args:
        document: The state of a checked tokenizer; not changed, but large parts are shared with the result.
        new_pieces: Distinct, and none of them a token already. Unigram: scores from the model's smallest to 0. BPE:
            merges whose parts are tokens or among the new pieces.

    Returns:
        The new state. Without new pieces it is the old one. WordPiece may get more than was asked for: pieces of single
        characters that are only parts of others so far (see ``complete_alphabet``).

    Raises:
        ValueError: A piece is not as it must be.
        InputError: There would be more ids than a vocabulary may have.

    Example:
        >>> model = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0]]}
        >>> done = extend_document({"model": model}, [NewPiece(text="aa", score=-1.0)])
        >>> done.old_size, done.document["model"]["vocab"][-1]
        (2, ['aa', -1.0])
    """
    names = pieces(document)
    kind, model = model_type(document), document["model"]
    wanted = list(new_pieces)
    if kind == "wordpiece" and wanted:
        wanted += complete_alphabet(model, wanted)
    _check(wanted, names, model, kind)
    if len(names) + len(wanted) > MAX_ID:
        raise InputError(
            f"{len(names)} tokens and {len(wanted)} new pieces are more than the {MAX_ID} ids there may be"
        )
    span = model_size(document)
    numbers = added_token_ids(document)
    tokens = document.get("added_tokens") or []
    behind = {
        number: token["content"] for token, number in zip(tokens, numbers, strict=True) if number >= span
    }
    extended: dict[str, Any] = dict(document)
    if not wanted:
        behind = {}
    if wanted and tokens:
        extended["added_tokens"] = [
            {**token, "id": number} for token, number in zip(tokens, numbers, strict=True)
        ]
    if kind == "unigram":
        least, _ = score_range(model)
        entries = [[behind[number], least] for number in sorted(behind)]
        fresh: list[list[Any]] = [[piece.text, piece.score] for piece in wanted]
        new_model = {**model, "vocab": [*model["vocab"], *entries, *fresh]}
    else:
        numbered = {piece.text: len(names) + place for place, piece in enumerate(wanted)}
        by_text = {content: number for number, content in sorted(behind.items())}
        new_model = {**model, "vocab": {**model["vocab"], **by_text, **numbered}}
        if kind == "bpe":
            new_model["merges"] = _with_merges(model["merges"], wanted)
    extended["model"] = new_model
    return Extended(
        document=extended,
        old_size=len(names),
        pieces=tuple(piece.text for piece in wanted),
        promoted=tuple(behind[number] for number in sorted(behind)),
    )


def complete_alphabet(model: Mapping[str, Any], new_pieces: Sequence[NewPiece]) -> list[NewPiece]:
    """The continuing single characters that a WordPiece model needs so that no longer choice leads nowhere.

    WordPiece takes the longest piece and never goes back. A new piece may end where the rest of the word can no longer
    be read, if some character inside words has no piece of its own; with all of them there is always a next piece.

    Args:
        model: A checked WordPiece ``model`` object.
        new_pieces: About to be added.

    Returns:
        Pieces for the characters of continuing pieces, old and new, that have none; usually none at all.
    """
    prefix, _ = marks(model)
    known = {*model["vocab"], *(piece.text for piece in new_pieces)}
    characters = {
        character
        for piece in known
        if piece.startswith(prefix) and len(piece) > len(prefix)
        for character in piece[len(prefix) :]
    }
    return [
        NewPiece(text=prefix + character)
        for character in sorted(characters)
        if prefix + character not in known
    ]


def _with_merges(merges: Sequence[Any], new_pieces: Sequence[NewPiece]) -> list[Any]:
    """Old merges, then the new ones in the order of their pieces, written in the way of the old ones."""
    pairs = [pair for piece in new_pieces for pair in piece.merges]
    if merges and isinstance(merges[0], str):
        if not any(" " in part for pair in pairs for part in pair):
            return [*merges, *(" ".join(pair) for pair in pairs)]
        merges = [merge.split(" ", 1) for merge in merges]
    return [*merges, *map(list, pairs)]


def _check(
    new_pieces: Sequence[NewPiece], names: Sequence[str | None], model: Mapping[str, Any], kind: str
) -> None:
    texts = [piece.text for piece in new_pieces]
    known = {name for name in names if name is not None}
    if "" in texts:
        raise ValueError("a new piece has no text")
    if len(set(texts)) < len(texts):
        raise ValueError("a new piece is given twice")
    if taken := known.intersection(texts):
        raise ValueError(f"{min(taken)!r} is a token already")
    if kind == "unigram":
        least, _ = score_range(model)
        for piece in new_pieces:
            if (
                piece.score is None
                or not math.isfinite(piece.score)
                or not least <= piece.score <= max(0.0, least)
            ):
                raise ValueError(
                    f"the score of {piece.text!r} is {piece.score}; it must lie between the smallest of the model, "
                    f"{least}, which sets the price of unknown characters, and 0"
                )
    if kind == "bpe":
        prefix, _ = marks(model)
        known.update(texts)
        for piece in new_pieces:
            for left, right in piece.merges:
                fits = right.startswith(prefix) and left + right.removeprefix(prefix) == piece.text
                if left not in known or right not in known or not fits:
                    raise ValueError(
                        f"the merge of {left!r} and {right!r} does not make {piece.text!r} of tokens"
                    )
