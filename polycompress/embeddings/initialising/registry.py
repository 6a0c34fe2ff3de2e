"""The ways to make rows for new tokens, in one table."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final

from polycompress.embeddings.initialising.focus import focus
from polycompress.embeddings.initialising.material import Initialiser, Material
from polycompress.embeddings.initialising.own_pieces import own_pieces
from polycompress.embeddings.initialising.plans import RowsPlan
from polycompress.embeddings.initialising.similarity import ofa, wechsel
from polycompress.errors import InputError


def _matched(material: Material) -> RowsPlan:
    """Copy the tokens that the source has, and draw the others."""
    return material.matched


_TABLE: Final = (
    Initialiser(
        name="ofa",
        summary="weighted average of the source tokens most similar in the space of aligned word vectors",
        paper="Liu et al., OFA, Findings of NAACL 2024 (https://aclanthology.org/2024.findings-naacl.68)",
        needs=("source", "target"),
        plan=ofa,
    ),
    Initialiser(
        name="focus",
        summary="sparse combination of overlapping tokens, by static vectors trained on target tokens",
        paper="Dobler and de Melo, FOCUS, EMNLP 2023 (https://aclanthology.org/2023.emnlp-main.829)",
        needs=("auxiliary",),
        plan=focus,
    ),
    Initialiser(
        name="wechsel",
        summary="like ofa, for overlapping tokens too; by the paper with vectors of character n-grams",
        paper="Minixhofer et al., WECHSEL, NAACL 2022 (https://aclanthology.org/2022.naacl-main.293)",
        needs=("source", "target"),
        plan=wechsel,
    ),
    Initialiser(
        name="pieces",
        summary="mean of the pieces into which the source's tokenizer cuts the token",
        paper="Gee et al., Fast Vocabulary Transfer, EMNLP 2022 (https://aclanthology.org/2022.emnlp-industry.41)",
        needs=("source_pieces",),
        plan=own_pieces,
    ),
    Initialiser(
        name="covariance",
        summary="drawn with the mean and the covariance of the source's rows",
        paper="Hewitt, Initializing New Word Embeddings for Pretrained Language Models, 2021",
        needs=(),
        plan=_matched,
        sampling="covariance",
    ),
    Initialiser(
        name="random",
        summary="drawn with the mean and the standard deviation of each value of the source's rows",
        paper="",
        needs=(),
        plan=_matched,
    ),
)
INITIALISERS: Final[Mapping[str, Initialiser]] = {each.name: each for each in _TABLE}
"""Name -> the way to make rows."""


def initialiser(name: str) -> Initialiser:
    """Find a way to make rows by its name.

    Raises:
        InputError: There is none of this name; the message lists all, and the nearest.
    """
    if name in INITIALISERS:
        return INITIALISERS[name]
    near = difflib.get_close_matches(name, INITIALISERS, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise InputError(f"no initialisation is called {name!r:.60}. {hint}There are {', '.join(INITIALISERS)}")


def plan_rows(way: Initialiser, material: Material) -> RowsPlan:
    """Decide what each row of a new table is made of.

    Args:
        way: How (see `initialiser`).
        material: What is known of the tokens.

    Raises:
        ValueError: The way needs a part of the material that is not there.
    """
    missing = [field for field in way.needs if getattr(material, field) is None]
    if missing:
        raise ValueError(f"{way.name} needs {', '.join(missing)}, which the material lacks")
    return way.plan(material)
