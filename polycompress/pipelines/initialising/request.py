"""What is asked of an initialisation, checked before anything is read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polycompress.embeddings.factorising import SPLITS, Split
from polycompress.embeddings.initialising.material import NEIGHBOURS, TEMPERATURE, Initialiser
from polycompress.embeddings.initialising.registry import initialiser
from polycompress.errors import InputError

PIECES = 5000
"""New pieces of an extended tokenizer, where no number is given."""
MAX_PIECES = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class OfaSettings:
    """How rows are made."""

    init: str = "ofa"
    """Name of the way, see ``embeddings.initialising.registry``."""
    rank: int | None = None
    """Of the factorised table; None, or the table's width, for a plain one."""
    split: Split = "balanced"
    neighbours: int = NEIGHBOURS
    temperature: float = TEMPERATURE
    fold_case: bool = True
    """Whether a token is copied from one that differs in upper and lower case only."""
    words: int | None = None
    """Words of each language whose vectors are used, the most frequent; None for all."""
    seed: int = 0
    force: bool = False
    """Whether to go on although most tokens of a language fall back, or vectors are not of one space."""

    @property
    def way(self) -> Initialiser:
        """The way to make rows.

        Raises:
            InputError: There is none of this name.
        """
        return initialiser(self.init)

    def as_dict(self) -> dict[str, Any]:
        """For the record."""
        return {
            "init": self.init,
            "rank": self.rank,
            "split": self.split,
            "neighbours": self.neighbours,
            "temperature": self.temperature,
            "fold_case": self.fold_case,
            "words": self.words,
            "force": self.force,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class NewTokens:
    """Where the new tokens come from: another tokenizer, or pieces that the model's own is extended by."""

    tokenizer: str | None = None
    """A directory with a tokenizer."""
    extend: tuple[str, ...] = ()
    """Languages that the model's own tokenizer gets pieces for."""
    corpus: tuple[str, ...] = ()
    """``[LANG=]PATTERN``."""
    pieces: int = PIECES
    check: tuple[str, ...] = ()
    """``LANG[=PATTERN]``: languages whose segmentation is compared."""
    field: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For the record."""
        source: Mapping[str, Any] = (
            {"tokenizer": self.tokenizer}
            if self.tokenizer is not None
            else {"extend": list(self.extend), "pieces": self.pieces, "check": list(self.check)}
        )
        return {**source, "corpus": list(self.corpus), "field": self.field}


def check_request(
    asked: NewTokens, settings: OfaSettings, vectors: Sequence[str], *, out: str | None, dry_run: bool
) -> None:
    """Refuse a request that cannot be carried out, with all its faults at once.

    Raises:
        InputError: It names every fault.
    """
    faults = []
    if out is None and not dry_run:
        faults.append("no output directory was given: name one with --out, or plan only with --dry-run")
    if asked.tokenizer is not None and asked.extend:
        faults.append("--tokenizer and --extend are two sources of new tokens: give one of them")
    if asked.tokenizer is None and not asked.extend:
        faults.append(
            "there are no new tokens: give a tokenizer with --tokenizer DIR, or languages that the model's own is to "
            "be extended for with --extend yo,ig --corpus yo=FILES --corpus ig=FILES"
        )
    if asked.extend and not asked.corpus:
        faults.append(
            f"--extend {','.join(asked.extend)} needs text of each language: --corpus {asked.extend[0]}=FILES"
        )
    if asked.check and not asked.extend:
        faults.append("--check compares how an extended tokenizer cuts text: give it with --extend")
    if not 1 <= asked.pieces <= MAX_PIECES:
        faults.append(f"--pieces {asked.pieces:,}: give 1 to {MAX_PIECES:,}")
    faults += [*_number_faults(settings), *_way_faults(asked, settings, vectors)]
    if faults:
        raise InputError(faults[0] if len(faults) == 1 else "\n".join(f"- {fault}" for fault in faults))


def _number_faults(settings: OfaSettings) -> list[str]:
    faults = []
    if settings.rank is not None and settings.rank < 1:
        faults.append(f"--rank {settings.rank}: give 1 to the width of the model's table")
    if settings.split not in SPLITS:
        faults.append(f"--split {settings.split!r}: it can be {' or '.join(SPLITS)}")
    if settings.neighbours < 1:
        faults.append(f"--neighbours {settings.neighbours}: at least 1 source token is averaged")
    if not (settings.temperature > 0 and math.isfinite(settings.temperature)):
        faults.append(
            f"--temperature {settings.temperature}: give a number above 0, such as {TEMPERATURE} (the paper's)"
        )
    if settings.words is not None and settings.words < 1:
        faults.append(f"--words {settings.words}: at least 1 word of each language")
    if settings.seed < 0:
        faults.append(f"--seed {settings.seed}: give 0 or more")
    return faults


def _way_faults(asked: NewTokens, settings: OfaSettings, vectors: Sequence[str]) -> list[str]:
    try:
        way = settings.way
    except InputError as error:
        return [f"--init: {error}"]
    if "source" in way.needs and not vectors:
        return [
            f"--init {way.name} needs word vectors of one space: give --vectors DIR, made by polycompress vectors "
            "train and vectors align. --init pieces, covariance and random need none"
        ]
    if "auxiliary" in way.needs and not (vectors or asked.corpus):
        return [
            f"--init {way.name} trains vectors of the new tokenizer's tokens on text: give --corpus LANG=FILES (or, "
            "with --vectors FILE, vectors of these tokens)"
        ]
    return []
