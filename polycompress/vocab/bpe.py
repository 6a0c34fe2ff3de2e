"""BPE models (GPT-2, Llama, Qwen, Gemma, CLIP): which tokens hold the others up, and how to cut them.

A word starts as single symbols; the adjacent pair with the smallest merge rank is merged, leftmost first,
until no pair is in the list. After trimming a merge exists if both parts and its result do; the order is the
old one.

**Why kept texts stay the same.** Let every token of a text be kept, and with it the intermediates of its own
derivation, which by the lemma in `derivation` are all the intermediates of the text. The new run starts from
the same symbols (they are intermediates). Suppose both runs agree so far. The next merge of the old run makes
an intermediate, so it survived; the new candidates are among the old ones, in the same order; so it is the
best of those too. At the end the old run has no candidate and the new one no more. Merges that were removed
can only have been made in texts with a token that was removed.

**How the closure is found.** A token that only one merge makes can only come about by that merge: its parts
stay. A token that several merges make (SentencePiece models converted to this format list every split) is
derived, so that only the parts in use stay, not those of all splits. ``ignore_merges`` makes a whole word
that is a token that token at once; the same word may also occur inside a longer one, where its derivation
counts, so the closure is the same. Where the unknown or byte-fallback tokens take part in merges, a token's
string no longer says which symbols it began with; then the parts of *all* merges that make a kept token stay.

**Why encoding does not start to fail or lose text.** A character without a token becomes its bytes (byte
fallback), else the unknown token, else it silently vanishes; an unknown token that is named but not in the
vocabulary is an error. So all 256 byte symbols or byte tokens stay; where nothing catches an unseen
character, all single characters stay, and with ``ignore_merges`` the tokens that cannot be spelt with those.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError
from polycompress.vocab.alphabet import BYTE_PIECES, byte_symbols
from polycompress.vocab.checks import Closure, as_text, check_flags, check_id_vocab, id_span, pieces_by_id
from polycompress.vocab.derivation import Deriver, MergeTable, merge_table, word_symbols


def check(model: Mapping[str, Any]) -> None:
    """Check a BPE model of a document that nobody has looked at yet.

    Args:
        model: The ``model`` object.

    Raises:
        InputError: A field has the wrong type or value, a merge names a token that does not exist, or dropout
            is on.
    """
    check_id_vocab(model)
    for name in ("unk_token", "continuing_subword_prefix", "end_of_word_suffix"):
        as_text(model.get(name), f"model.{name}", optional=True)
    check_flags(model, ("fuse_unk", "byte_fallback", "ignore_merges"))
    if model.get("dropout"):
        raise InputError(
            f"model.dropout is {model['dropout']!r}: with it the same text is split differently each time, "
            "so nothing can be promised; set it to null"
        )
    merge_table(model)


def texts(model: Mapping[str, Any]) -> list[str | None]:
    """List the tokens by id, None where an id has no token."""
    return pieces_by_id(model["vocab"])


def size(model: Mapping[str, Any]) -> int:
    """The number of ids that the vocabulary spans (the largest id + 1)."""
    return id_span(model["vocab"])


def required(model: Mapping[str, Any], *, byte_level: bool) -> dict[int, str]:
    """Say which tokens stay whatever is selected, and by which rule.

    Args:
        model: A checked ``model`` object.
        byte_level: Whether the tokenizer turns text into byte symbols first.

    Returns:
        id -> rule: "unknown", "byte", "alphabet" or "no unknown token".
    """
    vocab: dict[str, int] = model["vocab"]
    rules: dict[int, str] = {}
    unknown = vocab.get(model["unk_token"]) if model.get("unk_token") is not None else None
    if unknown is not None:
        rules[unknown] = "unknown"
    byte_ids = [vocab[piece] for piece in BYTE_PIECES if piece in vocab]
    for number in byte_ids:
        rules.setdefault(number, "byte")
    mark, suffix = _marks(model)
    caught = unknown is not None or (model.get("byte_fallback") and len(byte_ids) == len(BYTE_PIECES))
    symbols: list[str] = []
    if byte_level:
        symbols += byte_symbols()
    elif not caught:
        symbols += sorted({form[:1] for piece in vocab for form in (piece, piece.removeprefix(mark))})
    for symbol in symbols:
        for form in (symbol, mark + symbol, symbol + suffix, mark + symbol + suffix):
            if form in vocab:
                rules.setdefault(vocab[form], "alphabet")
    if model.get("ignore_merges") and not caught:
        for piece, number in vocab.items():
            spelt = word_symbols(piece, mark, suffix) if mark or suffix else piece
            if not vocab.keys() >= set(spelt):
                rules.setdefault(number, "no unknown token")
    return rules


def closure(model: Mapping[str, Any]) -> Closure:
    """Prepare the step that adds the intermediates of each kept token's own derivation.

    Args:
        model: A checked ``model`` object.

    Returns:
        From kept ids to a superset, both as masks of shape (largest id + 1,).
    """
    table = merge_table(model)
    if _merges_use_special_symbols(model, table):
        return partial(_close_over_all_merges, table)
    return _OwnDerivations(model, table)


class _OwnDerivations:
    """Closes kept ids under their own derivations; remembers those, as a search for a size asks often."""

    def __init__(self, model: Mapping[str, Any], table: MergeTable) -> None:
        self._names = texts(model)
        self._makers = np.bincount(table.result, minlength=len(self._names))
        self._parts = np.full((len(self._names), 2), -1, dtype=np.int64)
        self._parts[table.result] = np.stack((table.left, table.right), axis=1)
        self._deriver = Deriver(table, model) if (self._makers > 1).any() else None
        self._known: dict[int, tuple[int, ...]] = {}

    def __call__(self, keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Close a mask of kept ids, shape (largest id + 1,)."""
        closed = keep.copy()
        fresh = np.flatnonzero(closed)
        while fresh.size:
            before = closed.copy()
            closed[self._parts[fresh[self._makers[fresh] == 1]].ravel()] = True
            self._derive(fresh[self._makers[fresh] > 1].tolist(), closed)
            fresh = np.flatnonzero(closed & ~before)
        return closed

    def _derive(self, numbers: list[int], closed: NDArray[np.bool_]) -> None:
        """Add what these ids are derived from; the longest first, for they cover many of the others."""
        if self._deriver is None:
            return
        covered: set[int] = set()
        for number in sorted(numbers, key=lambda n: -len(self._names[n] or "")):
            if number in covered:
                continue
            if number not in self._known:
                self._known[number] = tuple(self._deriver.intermediates(self._names[number] or "", number))
            covered.update(self._known[number])
        closed[list(covered)] = True


def _close_over_all_merges(table: MergeTable, keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the parts of every merge that makes a kept token, and theirs in turn."""
    closed = keep.copy()
    while True:
        rows = closed[table.result]
        grown = closed.copy()
        grown[table.left[rows]] = True
        grown[table.right[rows]] = True
        if (grown == closed).all():
            return closed
        closed = grown


def trim(model: Mapping[str, Any], keep: NDArray[np.int64]) -> dict[str, Any]:
    """Cut the vocabulary to the kept ids, numbered from 0 in the old order, and drop merges that lost a part.

    Args:
        model: A checked ``model`` object.
        keep: Increasing ids to keep, shape (kept,).

    Returns:
        A new ``model`` object; merges keep their order and their way of writing and are shared with the old
        one.
    """
    by_id = texts(model)
    table = merge_table(model)
    kept = np.zeros(len(by_id), dtype=np.bool_)
    kept[keep] = True
    stays = np.ones(len(model["merges"]), dtype=np.bool_)
    stays[table.places] = kept[table.left] & kept[table.right] & kept[table.result]
    return {
        **model,
        "vocab": {by_id[old]: new for new, old in enumerate(keep.tolist())},
        "merges": list(compress(model["merges"], stays.tolist())),
    }


def _marks(model: Mapping[str, Any]) -> tuple[str, str]:
    return model.get("continuing_subword_prefix") or "", model.get("end_of_word_suffix") or ""


def _merges_use_special_symbols(model: Mapping[str, Any], table: MergeTable) -> bool:
    """Whether the unknown token or a byte-fallback token can be part of a merge as a symbol of its own."""
    vocab: dict[str, int] = model["vocab"]
    special = [vocab[piece] for piece in BYTE_PIECES if piece in vocab] if model.get("byte_fallback") else []
    unknown = model.get("unk_token")
    plain = unknown is not None and len(unknown) == 1 and not any(_marks(model))
    if unknown in vocab and not plain:
        special.append(vocab[unknown])
    return bool(np.isin(special, table.left).any() or np.isin(special, table.right).any())
