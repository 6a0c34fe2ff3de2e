"""Unigram models (XLM-R, T5, mT5, mBART, NLLB): which pieces hold the others up, and how to cut the list.

A Unigram model is a list of (piece, score); a piece's position is its id. A text becomes the sequence of
pieces with the largest sum of scores, found left to right: the best path to a position is the first among
those with the largest sum. A character without a piece of its own costs ``minimum score of the list - 10``.

**Why kept texts stay the same.** Let P be the best path of a text, all of whose pieces are kept. After
trimming no sum to any position can grow: there are fewer candidates, and a removed single character is
replaced by an unknown at a lower price, provided that the price of an unknown is what it was. Sums along P
are what they were. At each position of P the candidate that won is still there, those before it were strictly
smaller and those after it not larger, so it wins again. Hence the rule "minimum score": one piece with the
smallest score always stays.

**Why encoding does not start to fail.** A missing ``unk_id`` is an error as soon as a character has no piece
of its own. So without one, all single characters stay; and if some piece contains a character that has no
piece of its own (no trainer makes such a list), nothing can be removed safely and everything stays.

A piece listed twice counts with its last entry (the earlier ones are never produced): whoever keeps an
earlier entry must keep the last one, or the score would change.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import compress
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError
from polycompress.vocab.alphabet import BYTE_PIECES, byte_symbols
from polycompress.vocab.checks import Closure, as_list, check_flags, wrong

_SENTINEL = re.compile(r"▁?<extra_id_\d+>")
_MAX_CONTROL_PIECES = 2000


def check(model: Mapping[str, Any]) -> None:
    """Check a Unigram model of a document that nobody has looked at yet.

    Args:
        model: The ``model`` object.

    Raises:
        InputError: A field has the wrong type, a score is not finite, or ``unk_id`` is outside the list.
    """
    vocab = as_list(model.get("vocab"), "model.vocab")
    if not set(map(type, vocab)) <= {list} or not set(map(len, vocab)) <= {2}:
        index = next(i for i, entry in enumerate(vocab) if type(entry) is not list or len(entry) != 2)
        raise wrong(f"model.vocab[{index}]", vocab[index], "a pair [piece, score]")
    if not set(map(type, map(itemgetter(0), vocab))) <= {str}:
        index = next(i for i, entry in enumerate(vocab) if type(entry[0]) is not str)
        raise wrong(f"model.vocab[{index}][0]", vocab[index][0], "a piece (a string)")
    if not set(map(type, map(itemgetter(1), vocab))) <= {float, int}:
        index = next(i for i, entry in enumerate(vocab) if type(entry[1]) not in (float, int))
        raise wrong(f"model.vocab[{index}][1]", vocab[index][1], "a score (a number)")
    try:
        finite = np.isfinite(_scores(model))
    except OverflowError:
        raise InputError("model.vocab has a score too large for a float; scores are logarithms") from None
    if not finite.all():
        index = int(np.argmin(finite))
        raise wrong(f"model.vocab[{index}][1]", vocab[index][1], "a finite score")
    unk_id = model.get("unk_id")
    if unk_id is not None and (type(unk_id) is not int or not 0 <= unk_id < len(vocab)):
        raise wrong("model.unk_id", unk_id, f"null or a position in model.vocab, 0 to {len(vocab) - 1}")
    check_flags(model, ("byte_fallback",))


def texts(model: Mapping[str, Any]) -> list[str | None]:
    """List the pieces by id."""
    return [entry[0] for entry in model["vocab"]]


def size(model: Mapping[str, Any]) -> int:
    """The number of ids that the vocabulary spans."""
    return len(model["vocab"])


def required(model: Mapping[str, Any], *, byte_level: bool) -> dict[int, str]:
    """Say which pieces stay whatever is selected, and by which rule.

    Args:
        model: A checked ``model`` object.
        byte_level: Whether the tokenizer turns text into byte symbols first.

    Returns:
        id -> rule: "unknown", "byte", "alphabet", "no unknown token", "minimum score", "sentinel" or
        "control".
    """
    rules: dict[int, str] = {}
    vocab = model["vocab"]
    if not vocab:
        return rules
    if model.get("unk_id") is not None:
        rules[model["unk_id"]] = "unknown"
    else:
        rules.update(_without_unknown(model))
    byte_pieces = set(BYTE_PIECES)
    for index in [index for index, entry in enumerate(vocab) if entry[0].endswith(">")]:
        if vocab[index][0] in byte_pieces:
            rules.setdefault(index, "byte")
        elif _SENTINEL.fullmatch(vocab[index][0]):
            rules.setdefault(index, "sentinel")
    if byte_level:
        symbols = set(byte_symbols())
        rules.update({index: "alphabet" for index, (piece, _) in enumerate(vocab) if piece in symbols})
    scores = _scores(model)
    rules.setdefault(int(scores.argmin()), "minimum score")
    # SentencePiece gives control and user-defined pieces the score 0; learnt pieces have negative logarithms.
    if scores.max() == 0.0:
        control = np.flatnonzero(scores == 0.0)
        if control.size <= min(_MAX_CONTROL_PIECES, len(vocab) // 2):
            for index in control.tolist():
                rules.setdefault(index, "control")
    return rules


def closure(model: Mapping[str, Any]) -> Closure:
    """Prepare the step that adds the entry that counts for each kept piece that is listed twice.

    Args:
        model: A checked ``model`` object.

    Returns:
        From kept ids to a superset, both as masks of shape (pieces,).
    """
    vocab = model["vocab"]
    counting = np.arange(len(vocab))
    if len(set(map(itemgetter(0), vocab))) < len(vocab):
        last = {entry[0]: index for index, entry in enumerate(vocab)}
        counting = np.array([last[entry[0]] for entry in vocab], dtype=np.int64)

    def close(keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
        closed = keep.copy()
        closed[counting[keep]] = True
        return closed

    return close


def trim(model: Mapping[str, Any], keep: NDArray[np.int64]) -> dict[str, Any]:
    """Cut the list to the kept pieces and move ``unk_id`` along.

    Args:
        model: A checked ``model`` object.
        keep: Increasing ids to keep, shape (kept,); contains ``unk_id``.

    Returns:
        A new ``model`` object that shares its [piece, score] entries with the old one.
    """
    chosen = np.zeros(len(model["vocab"]), dtype=np.bool_)
    chosen[keep] = True
    trimmed = {**model, "vocab": list(compress(model["vocab"], chosen.tolist()))}
    if model.get("unk_id") is not None:
        trimmed["unk_id"] = int(np.searchsorted(keep, model["unk_id"]))
    return trimmed


def _scores(model: Mapping[str, Any]) -> NDArray[np.float64]:
    vocab = model["vocab"]
    return np.fromiter(map(itemgetter(1), vocab), dtype=np.float64, count=len(vocab))


def _without_unknown(model: Mapping[str, Any]) -> dict[int, str]:
    """What must stay so that encoding does not begin to fail where there is no unknown piece."""
    vocab = model["vocab"]
    singles = {piece for piece, _ in vocab if len(piece) == 1}
    if any(not singles.issuperset(piece) for piece, _ in vocab):
        return dict.fromkeys(range(len(vocab)), "no unknown token")
    return {index: "alphabet" for index, (piece, _) in enumerate(vocab) if len(piece) == 1}
