"""Which tokens to keep: from evidence per language to kept ids, every one with the rule that kept it.

All functions are pure: arrays in, arrays out. A language's evidence is a distribution over token ids (see
``evidence``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError

Ids = NDArray[np.int64]
Distribution = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """How many tokens to keep; exactly one way."""

    by: Literal["coverage", "size", "min_count", "min_share"]
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What is kept and why."""

    keep_ids: Ids
    """(K,) increasing."""
    rules: Mapping[str, Ids]
    """The ids that each rule kept; every kept id under exactly one."""
    coverage: Mapping[str, float]
    """Per language, the share of its expected tokens that are kept."""


def select_ids(
    shares: Mapping[str, Distribution],
    required: Mapping[int, str],
    limit: Limit,
    *,
    close: Callable[[Ids], Ids],
    counts: NDArray[np.int64] | None = None,
    frequencies: Distribution | None = None,
) -> Selection:
    """Choose the ids to keep.

    Several languages are balanced by the maximum of their shares, not by the size of what was counted; ties break by
    id. Whatever the limit, required ids are kept, and the result is closed under ``close``.

    Args:
        shares: (V,) per language.
        required: Ids that are kept whatever the limit, with the rule that says so.
        limit: Coverage in (0, 1]; size in tokens, required ones included; least count; or least share.
        close: Adds the ids that kept ids need (BPE merges).
        counts: (V,) largest count in any language's corpus, for ``min_count``.
        frequencies: (V,) largest relative frequency in any language's corpus, for ``min_share``: the rule of Ansell
            et al., "Distilling Efficient Language-Specific Models for Cross-Lingual Transfer" (2023).

    Returns:
        The selection.

    Raises:
        InputError: The size is smaller than what must be kept, or a least count or share was asked for without a
            corpus.
    """
    must = np.array(sorted(required), dtype=np.int64)
    base = close(must)
    order = ranking(shares, base)[len(base) :]
    if limit.by == "size":
        chosen = _by_size(order, base, int(limit.value), close)
    elif limit.by == "coverage":
        chosen = order[: _for_coverage(shares, order, base, limit.value)]
    else:
        found = counts if limit.by == "min_count" else frequencies
        if found is None:
            raise InputError(
                f"--{limit.by.replace('_', '-')} counts occurrences in a corpus; word frequencies have none. "
                "Give --corpus"
            )
        chosen = order[found[order] >= limit.value]
    keep = close(np.union1d(base, chosen))
    return Selection(
        keep_ids=keep,
        rules=_rules(keep, required, base, chosen, limit),
        coverage={code: float(share[keep].sum()) for code, share in shares.items()},
    )


def ranking(shares: Mapping[str, Distribution], base: Ids) -> Ids:
    """All ids in the order in which they are kept: those always kept, then by the largest share in any language.

    Args:
        shares: (V,) per language.
        base: Ids kept whatever the size.

    Returns:
        (at most V,) ids; those that no language uses are left out. Ties break by id.
    """
    score = np.maximum.reduce(list(shares.values()))
    order = np.lexsort((np.arange(len(score)), -score))
    return np.concatenate([base, order[(score[order] > 0) & ~np.isin(order, base)]])


def _for_coverage(shares: Mapping[str, Distribution], order: Ids, base: Ids, wanted: float) -> int:
    """Length of the shortest prefix of ``order`` that, with ``base``, gives every language its coverage."""
    needed = 0
    for share in shares.values():
        reached = share[base].sum() + np.concatenate([[0.0], np.cumsum(share[order])])
        target = min(wanted, float(reached[-1]))
        needed = max(needed, int(np.searchsorted(reached, target - 1e-12)))
    return needed


def _by_size(order: Ids, base: Ids, size: int, close: Callable[[Ids], Ids]) -> Ids:
    """The longest prefix found whose closure fits; closures only grow, so two passes narrow it down."""
    if len(base) > size:
        raise InputError(
            f"--size {size} is smaller than the {len(base)} tokens that must be kept "
            f"(special tokens, and the characters of the languages' scripts); ask for at least {len(base)}"
        )
    low, high = 0, min(size - len(base), len(order))
    best = 0
    guess = high
    for _ in range(24):
        length = len(close(np.union1d(base, order[:guess])))
        if length <= size:
            best = low = guess
        else:
            high = guess - 1
        if low >= high or length == size:
            break
        guess = max(low + 1, min(high, guess + (size - length)))
    return order[:best]


def _rules(keep: Ids, required: Mapping[int, str], base: Ids, chosen: Ids, limit: Limit) -> dict[str, Ids]:
    by_rule: dict[str, list[int]] = {}
    for token, rule in required.items():
        by_rule.setdefault(rule, []).append(token)
    rules = {rule: np.array(sorted(ids), dtype=np.int64) for rule, ids in by_rule.items()}
    explained = np.array(sorted(required), dtype=np.int64)
    rules[limit.by.replace("_", " ")] = np.setdiff1d(chosen, explained)
    explained = np.union1d(explained, chosen)
    rules["needed by kept tokens"] = np.setdiff1d(np.union1d(keep, base), explained)
    return {rule: ids for rule, ids in rules.items() if len(ids)}
