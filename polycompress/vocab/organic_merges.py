"""The merges of a BPE tokenizer that its training can have made, and the pairs that it would not make."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.vocab.alphabet import symbol_bytes
from polycompress.vocab.derivation import Deriver, MergeTable, merge_table

Ints = NDArray[np.int64]

TELLING_MERGES: Final = 1000
"""With fewer merges, a kind of pair that none of them makes may just be rare."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Joins:
    """Which kinds of characters the tokenizer's training let stand together in a token.

    SentencePiece never joins letters of two scripts, or a letter and a full stop, however often they meet. Such rules
    are not in the file, but a kind of pair that none of thousands of merges makes was not allowed.
    """

    first: Ints
    """(V,) kind of each token's first character."""
    last: Ints
    """(V,) kind of its last."""
    allowed: NDArray[np.bool_]
    """(kinds, kinds) whether some merge joins a last character of one kind and a first of another."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Organic:
    """The merges of a tokenizer that its training can have made, in order."""

    left: Ints
    """(T,) ids of the left parts."""
    right: Ints
    """(T,) ids of the right parts."""
    result: Ints
    """(T,) ids of what they make."""
    blank: NDArray[np.bool_]
    """(T,) whether the result is white space only: such merges are often put in by hand."""
    redundant: Ints
    """(R, 2) parts of merges that a converter listed beside the one that training made."""
    joins: Joins | None
    """None: nothing is known to be forbidden."""
    listed: int
    """All merges that the tokenizer lists."""


def organic_merges(model: Mapping[str, Any], limit: int, *, byte_level: bool, mark: str = "▁") -> Organic:
    """Take the first merges that training can have made.

    Converters of SentencePiece and tiktoken vocabularies list every split of a token one after the other. Of such a
    group the split by which the token is built from its own characters with the merges before it is kept.

    Args:
        model: A checked BPE ``model`` object.
        limit: At most so many are returned.
        byte_level: Whether pieces are written in byte symbols.
        mark: What stands for a space in pieces otherwise.

    Returns:
        The merges in order, and the parts of those left out on the way.
    """
    table = merge_table(model)
    names = {number: piece for piece, number in model["vocab"].items()}
    deriver: Deriver | None = None
    rows: list[int] = []
    redundant: list[tuple[int, int]] = []
    results = table.result.tolist()
    for _, group in groupby(range(len(results)), key=results.__getitem__):
        if len(rows) >= limit:
            break
        splits = list(group)
        kept = splits[0]
        if len(splits) > 1:
            deriver = deriver or Deriver(table, model)
            kept = _own_split(deriver, table, splits, names[results[kept]])
        rows.append(kept)
        redundant += [(int(table.left[row]), int(table.right[row])) for row in splits if row != kept]
    chosen = np.array(rows, dtype=np.int64)
    return Organic(
        left=table.left[chosen],
        right=table.right[chosen],
        result=table.result[chosen],
        blank=np.array([_is_blank(names[results[row]], byte_level, mark) for row in rows], dtype=np.bool_),
        redundant=np.array(redundant, dtype=np.int64).reshape(-1, 2),
        joins=None if byte_level or len(results) < TELLING_MERGES else _joins(model, table),
        listed=len(results),
    )


def _own_split(deriver: Deriver, table: MergeTable, splits: Sequence[int], name: str) -> int:
    """Of several splits of one token the one that its own derivation uses; the first where that does not tell."""
    made = deriver.intermediates(name, int(table.result[splits[0]]))
    for row in splits:
        if int(table.left[row]) in made and int(table.right[row]) in made:
            return row
    return splits[0]


def _joins(model: Mapping[str, Any], table: MergeTable) -> Joins:
    mark, suffix = model.get("continuing_subword_prefix") or "", model.get("end_of_word_suffix") or ""
    kinds: dict[str, int] = {}
    size = 1 + max(model["vocab"].values())
    first, last = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    for piece, number in model["vocab"].items():
        text = piece.removeprefix(mark).removesuffix(suffix) or piece
        first[number] = kinds.setdefault(_character_kind(text[:1]), len(kinds))
        last[number] = kinds.setdefault(_character_kind(text[-1:]), len(kinds))
    # Two letters of one script may always stand together: that no merge joins such letters says that there was no text.
    allowed = np.diag([len(kind) > 1 for kind in kinds])
    allowed[last[table.left], first[table.right]] = True
    return Joins(first=first, last=last, allowed=allowed)


@lru_cache(maxsize=1 << 16)
def _character_kind(character: str) -> str:
    """A letter's script (by its Unicode name), and of other characters the class: N, M, P, S, Z or C."""
    kind = unicodedata.category(character)[0] if character else ""
    return unicodedata.name(character, "").partition(" ")[0] if kind == "L" else kind


def _is_blank(piece: str, byte_level: bool, mark: str) -> bool:
    raw = symbol_bytes(piece) if byte_level else None
    return not (raw.decode("utf-8", "replace") if raw is not None else piece).replace(mark, " ").strip()
