"""Which target tokens the source has too: by role, by form, by form in lower case."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from polycompress.embeddings.initialising.plans import RowsPlan, Rule, copies

_COUNTERPARTS: Final = {"bos": "cls", "cls": "bos", "eos": "sep", "sep": "eos"}
"""Roles that stand in for each other: what begins a text, and what ends one."""

Form = bytes | None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Vocabulary:
    """What matching needs to know of a tokenizer."""

    forms: Sequence[Form]
    """By id, the bytes that a token stands for; None for special tokens and ids without a token."""
    names: Mapping[int, str] = field(default_factory=dict)
    """Special and added tokens: id -> what is written for them."""
    roles: Mapping[str, int] = field(default_factory=dict)
    """Role ("bos", "eos", "unk", "sep", "pad", "cls", "mask") -> id."""
    fallback: NDArray[np.bool_] | None = None
    """(ids,) tokens that write single bytes of unknown characters, if there are any."""

    @property
    def textual(self) -> NDArray[np.bool_]:
        """(ids,) tokens that stand for text."""
        return np.array([form is not None for form in self.forms], dtype=np.bool_)

    @property
    def tokens(self) -> NDArray[np.bool_]:
        """(ids,) ids that have a token."""
        there = self.textual
        there[list(self.names)] = True
        return there


def match_tokens(
    source: Vocabulary,
    target: Vocabulary,
    *,
    kept: NDArray[np.integer] | None = None,
    fold_case: bool = True,
    ignore_space: bool = False,
) -> RowsPlan:
    """Find the source token of each target token, by the first rule that has one.

    The rules in order: what the caller says; the role (what begins a text is a counterpart of a classification token,
    what ends one of a separator) or the name of a special token; the form; the form in folded case; the form without
    a space in front. Among source tokens of exactly one form, that of the same id comes first (so that a tokenizer
    matches itself); else the lowest id, which in most vocabularies is the commonest. Tokens of byte fallback prefer
    their kind. Ids that have no token in either vocabulary are copied, so that a table padded or with gaps stays.

    Args:
        source: The source's tokens.
        target: The target's tokens.
        kept: (V_t,) source ids of target tokens that are to stay what they are; -1 for the others.
        fold_case: Whether forms that differ in case only match.
        ignore_space: Whether forms match that differ in a leading space only.

    Returns:
        A plan that copies what was found and draws the rest.

    Raises:
        ValueError: ``kept`` has another length, or names ids that the source lacks.

    Reference:
        Liu et al. 2024 (OFA), section 3. The authors' code keeps whichever cased variant sorts last and misses source
        id 0; here the lowest id wins and 0 is an id.
    """
    size = len(target.forms)
    rule = np.full(size, Rule.SAMPLED, dtype=np.uint8)
    found = np.full(size, -1, dtype=np.int32)
    if kept is not None:
        if len(kept) != size or (size and int(np.max(kept)) >= len(source.forms)):
            raise ValueError(f"{len(kept)} kept ids for {size} tokens and {len(source.forms)} source tokens")
        found[kept >= 0], rule[kept >= 0] = kept[kept >= 0], Rule.KEPT
    for number, match in _special(source, target):
        if found[number] < 0:
            found[number], rule[number] = match, Rule.ROLE
    unused = ~target.tokens[: len(source.forms)] & ~source.tokens[:size]
    for number in np.flatnonzero(unused & (found[: len(unused)] < 0)).tolist():
        found[number], rule[number] = number, Rule.KEPT
    steps: list[tuple[Rule, Callable[[bytes], Form]]] = [(Rule.EXACT, lambda form: form)]
    if fold_case:
        steps.append((Rule.FOLDED, folded))
    if ignore_space:
        steps.append((Rule.UNSPACED, lambda form: form.removeprefix(b" ") or None))
        if fold_case:
            steps.append((Rule.UNSPACED, lambda form: folded(form.removeprefix(b" "))))
    for step, key in steps:
        _by_form(source, target, step, key, rule, found)
    return copies(rule, found, source.tokens)


def folded(form: bytes) -> Form:
    """A form in folded case; None where it is empty or not whole characters, whose bytes mean nothing by themselves."""
    try:
        return form.decode("utf-8").casefold().encode("utf-8") or None
    except UnicodeDecodeError:
        return None


def _special(source: Vocabulary, target: Vocabulary) -> list[tuple[int, int]]:
    """(target id, source id) of special tokens, the better reasons first."""
    # By name, so that a token with two roles (the end of a text, which also pads) has one match in any order of roles.
    roles = sorted(target.roles.items())
    own = [(number, source.roles[role]) for role, number in roles if role in source.roles]
    others = [
        (number, source.roles[_COUNTERPARTS[role]])
        for role, number in roles
        if _COUNTERPARTS.get(role) in source.roles
    ]
    ids: dict[str, int] = {}
    for number, name in sorted(source.names.items()):
        ids.setdefault(name, number)
    named = [(number, ids[name]) for number, name in target.names.items() if name in ids]
    return own + others + named


def _by_form(
    source: Vocabulary,
    target: Vocabulary,
    step: Rule,
    key: Callable[[bytes], Form],
    rule: NDArray[np.uint8],
    found: NDArray[np.int32],
) -> None:
    """Match the tokens that are still without a source."""
    first: dict[tuple[bytes, bool], int] = {}
    keys = [key(form) if form is not None else None for form in source.forms]
    for number, text in enumerate(keys):
        if text is not None:
            first.setdefault((text, _is_fallback(source, number)), number)
    for number in np.flatnonzero(found < 0).tolist():
        form = target.forms[number]
        text = key(form) if form is not None else None
        if text is None:
            continue
        byte = _is_fallback(target, number)
        match = first.get((text, byte), first.get((text, not byte)))
        if step is Rule.EXACT and number < len(keys) and keys[number] == text:
            match = number if _is_fallback(source, number) == byte else match
        if match is not None:
            found[number], rule[number] = match, step


def _is_fallback(vocabulary: Vocabulary, number: int) -> bool:
    return vocabulary.fallback is not None and bool(vocabulary.fallback[number])
