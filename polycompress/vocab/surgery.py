"""Cutting a tokenizer down to the kept ids: closing a selection, and writing the smaller tokenizer.

Pure functions on the state of a ``tokenizer.json``. What holds for every kept text, and why, stands in
`unigram`, `bpe` and `wordpiece`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycompress.vocab.document import added_token_ids, dump_document, pieces, special_ids
from polycompress.vocab.kinds import kind_of
from polycompress.vocab.postprocessor import renumber_post_processor

__all__ = ["close_ids", "closer", "dump_document", "trim_document"]


def close_ids(doc: Mapping[str, Any], keep: NDArray[np.int64]) -> NDArray[np.int64]:
    """Add to a selection everything that it needs in order to behave as before.

    Args:
        doc: The state of a checked tokenizer.
        keep: Ids to keep, in any order, shape (selected,).

    Returns:
        Increasing ids, shape (kept,): the selection, the ids that always stay (`document.special_ids`), and
        what kept tokens are made of (BPE derivations, entries of pieces listed twice, characters of WordPiece
        tokens).

    Raises:
        ValueError: An id has no token.

    Example:
        >>> vocab = [["<unk>", 0.0], ["a", -1.0], ["b", -2.0], ["c", -3.0]]
        >>> doc = {"model": {"type": "Unigram", "unk_id": 0, "vocab": vocab}}
        >>> close_ids(doc, np.array([1]))
        array([0, 1, 3])
    """
    return closer(doc)(keep)


def closer(
    doc: Mapping[str, Any], always: Iterable[int] | None = None
) -> Callable[[NDArray[np.int64]], NDArray[np.int64]]:
    """Prepare `close_ids` for many selections of one tokenizer.

    Args:
        doc: The state of a checked tokenizer; it must not change while the result is in use.
        always: What `document.special_ids` gave for it, where that is at hand.

    Returns:
        The function from selected to kept ids.
    """
    names = pieces(doc)
    required = list(special_ids(doc) if always is None else always)
    size = kind_of(doc).size(doc["model"])
    close_model = kind_of(doc).closure(doc["model"])

    def close(keep: NDArray[np.int64]) -> NDArray[np.int64]:
        kept = np.zeros(len(names), dtype=np.bool_)
        selected = np.asarray(keep)
        if selected.size:
            _check_selection(selected, names)
            kept[selected] = True
        kept[required] = True
        kept[:size] = close_model(kept[:size])
        return np.flatnonzero(kept).astype(np.int64)

    return close


def trim_document(
    doc: Mapping[str, Any],
    keep: NDArray[np.int64],
    close: Callable[[NDArray[np.int64]], NDArray[np.int64]] | None = None,
) -> dict[str, Any]:
    """Cut a tokenizer to the kept ids and number them from 0 in the old order.

    Vocabulary, merges, ``unk_id``, added tokens, post-processor and padding get the new ids; everything else
    (normaliser, pre-tokeniser, decoder, truncation, fields unknown to us) is carried over as it is.

    Args:
        doc: The state of a checked tokenizer; not changed, but large parts are shared with the result.
        keep: Increasing ids, closed under `close_ids`, shape (kept,).
        close: What `closer` gave for the tokenizer, where that is at hand.

    Returns:
        The state of the new tokenizer; the new id of old id ``keep[j]`` is ``j``.

    Raises:
        ValueError: The ids are not increasing, have no token, or are not closed.
    """
    keep = np.asarray(keep)
    if keep.ndim != 1 or (np.diff(keep) <= 0).any():
        raise ValueError("keep must be one row of increasing ids")
    closed = (close or closer(doc))(keep)
    if closed.size != keep.size:
        missing = int(np.setdiff1d(closed, keep)[0])
        raise ValueError(
            f"keep is not closed: {closed.size - keep.size} ids that the others need are missing, "
            f"the first is {missing} ({pieces(doc)[missing]!r}); call close_ids first"
        )
    new = np.full(int(keep.max(initial=-1)) + 1, -1, dtype=np.int64)
    new[keep] = np.arange(keep.size)

    def new_id(old: int) -> int:
        return int(new[old])

    kind, model = kind_of(doc), doc["model"]
    trimmed = dict(doc)
    trimmed["model"] = kind.trim(model, keep[keep < kind.size(model)])
    if doc.get("added_tokens"):
        numbers = added_token_ids(doc)
        trimmed["added_tokens"] = [
            {**token, "id": new_id(number)}
            for token, number in zip(doc["added_tokens"], numbers, strict=True)
        ]
    if doc.get("post_processor") is not None:
        trimmed["post_processor"] = renumber_post_processor(doc["post_processor"], new_id)
    if doc.get("padding") is not None:
        trimmed["padding"] = {**doc["padding"], "pad_id": new_id(doc["padding"].get("pad_id", 0))}
    return trimmed


def _check_selection(selected: NDArray[Any], names: list[str | None]) -> None:
    if selected.ndim != 1 or not np.issubdtype(selected.dtype, np.integer):
        raise ValueError(
            f"keep must be one row of whole numbers, not {selected.dtype} of shape {selected.shape}"
        )
    low, high = int(selected.min()), int(selected.max())
    if low < 0 or high >= len(names):
        raise ValueError(
            f"keep contains id {low if low < 0 else high}, but ids run from 0 to {len(names) - 1}"
        )
    if None in names:
        holes = [number for number in selected.tolist() if names[number] is None]
        if holes:
            raise ValueError(f"keep contains id {holes[0]}, but no token has it")
