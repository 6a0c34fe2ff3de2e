"""Decide what each row of the new tables is made of, and say so before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from polycompress.embeddings.initialising.drawing import Sampling
from polycompress.embeddings.initialising.matching import Vocabulary, match_tokens
from polycompress.embeddings.initialising.material import Initialiser, Material
from polycompress.embeddings.initialising.plans import RowsPlan, Rule
from polycompress.embeddings.initialising.registry import plan_rows
from polycompress.embeddings.initialising.word_subwords import counts_by_language
from polycompress.pipelines.initialising.request import NewTokens, OfaSettings
from polycompress.pipelines.initialising.spaces import GivenVectors, TokenSpace, token_space
from polycompress.pipelines.initialising.target import Target, keeps_ids, vocabulary
from polycompress.pipelines.initialising.token_vectors import given_token_vectors, trained_token_vectors
from polycompress.pipelines.initialising.tokens_plan import RULES, TokensPlan
from polycompress.pipelines.trimming.gathering import Progress
from polycompress.pipelines.trimming.loading import OpenModel
from polycompress.vocab.document import pieces
from polycompress.vocab.recutting import cut_forms


def plan_tokens(
    opened: OpenModel,
    target: Target,
    given: GivenVectors | None,
    asked: NewTokens,
    settings: OfaSettings,
    *,
    factorised: bool,
    token_vectors: Sequence[str] = (),
    progress: Progress | None = None,
) -> tuple[TokensPlan, dict[str, NDArray[np.bool_]]]:
    """Plan the rows of a model's new tables.

    Where the new tokenizer has all of the model's tokens at their ids, these keep their rows, and so do the rows of a
    table that is padded past them, until new tokens take them. Else the tables end with the last token.

    Args:
        opened: The source.
        target: The new tokenizer.
        given: Word vectors, if there are any. Ways that need none still report by their languages.
        asked: Where the tokens come from.
        settings: How rows are made.
        factorised: Whether the rows are coordinates: their values are all but uncorrelated, so drawn rows need no
            covariance.
        token_vectors: A file with vectors of the new tokenizer's tokens, for FOCUS without text.
        progress: Told of the work.

    Returns:
        The plan, and by language code, (V_t,) which tokens it holds.

    Raises:
        InputError: Token vectors cannot be read or trained.
    """
    same = keeps_ids(opened.vocabulary.document, target.document)
    old_rows = opened.axes.rows if same else opened.vocabulary.size
    rows = max(old_rows, target.size) if same else target.size
    source = vocabulary(opened.vocabulary.document, opened.source.path, old_rows)
    wanted = vocabulary(target.document, target.root, rows)
    kept = None
    if same:
        kept = np.full(rows, -1, dtype=np.int64)
        own = np.flatnonzero(source.tokens)
        kept[own] = own
    matched = match_tokens(source, wanted, kept=kept, fold_case=settings.fold_case)
    way = settings.way
    spaces = _spaces(opened, target, source, wanted, given, progress)
    material = _material(
        opened, target, source, wanted, matched, spaces, asked, settings, token_vectors, progress
    )
    plan = plan_rows(way, material)
    used = {code: _padded(mask, rows) for code, mask in target.used.items()}
    uses: Mapping[str, NDArray[np.float64]] = {}
    covered = None
    if spaces is not None and given is not None:
        used = {**spaces[1].held(given.vectors), **used}
        uses = spaces[0].uses(given.vectors)
        covered = {
            "source": _said(spaces[0], source),
            "target": _said(spaces[1], wanted),
        }
    tokens = wanted.tokens
    return (
        TokensPlan(
            rows=plan,
            way=way,
            sampling=_sampling(way, factorised),
            tokens=tokens,
            textual=wanted.textual,
            keeps_ids=same,
            counts=dict(
                zip(RULES, np.bincount(plan.rule[tokens], minlength=len(Rule)).tolist(), strict=True)
            ),
            languages=_by_language(plan, tokens, used),
            covered=covered,
            uses=uses,
        ),
        used,
    )


def _said(space: TokenSpace, tokens: Vocabulary) -> int:
    """Tokens with a vector; a space alone, which stands before words of any kind, says nothing."""
    blank = np.array([form is not None and not form.strip() for form in tokens.forms], dtype=np.bool_)
    return int((space.space.covered & ~blank).sum())


def _sampling(way: Initialiser, factorised: bool) -> Sampling:
    """Coordinates are nearly uncorrelated and a table's columns are not; ``random`` leaves that out on purpose."""
    return "diagonal" if factorised or way.name == "random" else "covariance"


def _spaces(
    opened: OpenModel,
    target: Target,
    source: Vocabulary,
    wanted: Vocabulary,
    given: GivenVectors | None,
    progress: Progress | None,
) -> tuple[TokenSpace, TokenSpace] | None:
    if given is None:
        return None
    return (
        token_space(
            opened.vocabulary.tokenizer,
            given.vectors,
            source.textual,
            label="cutting words as before",
            progress=progress,
        ),
        token_space(
            target.opened.tokenizer,
            given.vectors,
            wanted.textual,
            label="cutting words anew",
            progress=progress,
        ),
    )


def _material(
    opened: OpenModel,
    target: Target,
    source: Vocabulary,
    wanted: Vocabulary,
    matched: RowsPlan,
    spaces: tuple[TokenSpace, TokenSpace] | None,
    asked: NewTokens,
    settings: OfaSettings,
    token_vectors: Sequence[str],
    progress: Progress | None,
) -> Material:
    missing = int((matched.rule == Rule.SAMPLED).sum())
    material = Material(
        matched=matched,
        textual=source.textual,
        source=spaces[0].space if spaces else None,
        target=spaces[1].space if spaces else None,
        neighbours=settings.neighbours,
        temperature=settings.temperature,
        progress=None if progress is None else lambda done: progress("finding similar tokens", done, missing),
    )
    needs = settings.way.needs
    if "source_pieces" in needs:
        asked_for = matched.rule == Rule.SAMPLED
        forms = [form if new else None for form, new in zip(wanted.forms, asked_for.tolist(), strict=True)]
        cut = cut_forms(opened.vocabulary.document, opened.vocabulary.tokenizer, forms)
        return replace(material, source_pieces=cut)
    if "auxiliary" in needs:
        rows = len(wanted.forms)
        if token_vectors:
            names = pieces(target.document)
            return replace(
                material,
                auxiliary=given_token_vectors(token_vectors, [*names, *[None] * (rows - len(names))]),
            )
        trained = trained_token_vectors(
            target.opened.tokenizer,
            rows,
            asked.corpus,
            target.languages,
            field=asked.field,
            seed=settings.seed,
            progress=progress,
        )
        return replace(material, auxiliary=trained)
    return material


def _by_language(
    plan: RowsPlan, tokens: NDArray[np.bool_], used: Mapping[str, NDArray[np.bool_]]
) -> dict[str, dict[str, int]]:
    if not used:
        return {}
    held = np.stack(list(used.values()))[:, tokens]
    return counts_by_language(plan.rule[tokens], held, list(used), RULES)


def _padded(mask: NDArray[np.bool_], rows: int) -> NDArray[np.bool_]:
    return np.pad(mask, (0, rows - len(mask)))
