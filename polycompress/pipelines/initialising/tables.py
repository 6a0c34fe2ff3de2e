"""Which tensors run over the vocabulary, and the rows that they get."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycompress.embeddings.blocks import ArrayTable
from polycompress.embeddings.factor_errors import (
    FactorError,
    language_errors,
    mixed_weights,
    row_errors,
    weighted_error,
)
from polycompress.embeddings.factorising import Factors, factorise
from polycompress.embeddings.initialising.applying import planned_rows
from polycompress.embeddings.initialising.drawing import Sampling
from polycompress.embeddings.stored_rows import check_rows, stored_rows
from polycompress.embeddings.stored_table import encode_rows, encoded_blocks
from polycompress.errors import InputError
from polycompress.modeldir.axes_table import coordinates_name, primitives_name
from polycompress.modeldir.rewriting import Entry
from polycompress.pipelines.factorising.tables import PlainTable, find_plain_table
from polycompress.pipelines.factorising.writing import rows_told
from polycompress.pipelines.initialising.request import OfaSettings
from polycompress.pipelines.initialising.tokens_plan import TokensPlan
from polycompress.pipelines.trimming.gathering import Progress
from polycompress.pipelines.trimming.loading import OpenModel


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Factorised:
    """A source table's factors, and what they miss."""

    plain: PlainTable
    factors: Factors
    overall: FactorError
    """Over all rows alike."""
    languages: Mapping[str, FactorError]
    """Rows counting by each language's use."""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json`` and the manifest."""
        return {
            "table": self.plain.table.name,
            "rank": self.factors.rank,
            "width": self.plain.table.shape[1],
            **self.overall.as_dict(),
            "languages": {code: each.as_dict() for code, each in self.languages.items()},
        }


def check_tables(opened: OpenModel, rank: int | None) -> PlainTable | None:
    """Refuse tables that cannot be worked on.

    Args:
        opened: The source.
        rank: Of the factorised table; None for a plain one.

    Returns:
        The table to factorise; None where none is to be, which a rank of the table's width means too.

    Raises:
        InputError: The rank is above the width, the model is factorised already, or rows cannot be averaged in a
            table's type.
    """
    for name in opened.axes.axes:
        check_rows(opened.checkpoint, name)
    if rank is None:
        return None
    plain = find_plain_table(opened)
    width = plain.table.shape[1]
    if rank > width:
        raise InputError(
            f"--rank {rank}: the table of {opened.source.path} is {width} wide, so the rank can be from 1 to {width}; "
            "a higher one would add parameters and nothing else"
        )
    return plain if rank < width else None


def factorise_source(
    plain: PlainTable,
    settings: OfaSettings,
    counted: Mapping[str, NDArray[Any]],
    uses: Mapping[str, NDArray[Any]],
    progress: Progress | None,
) -> Factorised:
    """Factorise the source's table.

    Args:
        plain: The table.
        settings: Rank and split.
        counted: Language -> (V_s,) counts of its tokens in text; these languages' rows lose less.
        uses: Further languages whose errors are reported.
        progress: Told of the work.
    """
    rows = plain.table.shape[0]
    assert settings.rank is not None
    factors = factorise(
        plain.table,
        settings.rank,
        split=settings.split,
        row_weights=mixed_weights(counted, rows) if counted else None,
        tell=rows_told(progress, "factorising", 2 * rows),
    )
    errors = row_errors(plain.table, factors, tell=rows_told(progress, "measuring errors", rows))
    asked = {code: np.pad(own, (0, rows - len(own))) for code, own in {**uses, **counted}.items()}
    return Factorised(
        plain=plain,
        factors=factors,
        overall=weighted_error(errors),
        languages=language_errors(errors, asked),
    )


def new_entries(
    opened: OpenModel, plan: TokensPlan, made: Factorised | None, seed: int
) -> dict[str, dict[str, Entry]]:
    """What stands for each tensor over the vocabulary in the new checkpoint; rows are made while they are written.

    Args:
        opened: The source.
        plan: What rows are made of.
        made: The factors, where the input table becomes factorised.
        seed: Of drawn rows: a table and its copies get the same.
    """
    found: dict[str, dict[str, Entry]] = {}
    for name in opened.axes.axes:
        info = opened.checkpoint.tensors[name]
        bias = name in opened.axes.biases
        shape = (*info.shape[:-1], plan.size) if bias else (plan.size, info.shape[1])
        if made is not None and name == made.plain.table.name:
            found[name] = _factor_entries(plan, made, seed)
        elif made is not None and name in made.plain.copies:
            found[name] = {}
        else:
            sampling: Sampling = "zero" if bias else plan.sampling
            found[name] = {name: (info.dtype, shape, _rows(opened, name, plan, seed, sampling))}
    return found


def new_sizes(
    opened: OpenModel, plan: TokensPlan, made: PlainTable | None, rank: int | None, before: Mapping[str, int]
) -> dict[str, int]:
    """Tokens, rows, parameters and bytes of the result.

    Args:
        opened: The source.
        plan: What rows are made of.
        made: The table that becomes factorised.
        rank: Of its factors.
        before: The source's.
    """
    grown = table = nbytes = 0
    for name in opened.axes.axes:
        info = opened.checkpoint.tensors[name]
        each = info.nbytes // info.itemsize // opened.axes.rows
        old, new = opened.axes.rows * each, plan.size * each
        if made is not None and rank is not None:
            if name == made.table.name:
                new = (plan.size + each) * rank
            elif name in made.copies:
                nbytes -= info.nbytes
                continue
        nbytes += (new - old) * info.itemsize
        if name == opened.axes.embedding:
            table = new - old
        grown += new - old if _counted(opened, name) else 0
    return {
        "vocab": int(plan.tokens.sum()),
        "parameters": before["parameters"] + grown,
        "embedding_parameters": before["embedding_parameters"] + table,
        "bytes": before["bytes"] + nbytes,
    }


def _counted(opened: OpenModel, name: str) -> bool:
    """Whether a tensor's parameters are its own: copies of the input table are not counted."""
    axes = opened.axes
    return name in (axes.embedding, *axes.heads, *axes.biases)


def _factor_entries(plan: TokensPlan, made: Factorised, seed: int) -> dict[str, Entry]:
    name, dtype = made.plain.table.name, made.plain.table.dtype
    factors = made.factors

    def coordinates() -> Iterator[NDArray[Any]]:
        for rows in planned_rows(plan.rows, factors.coordinates, seed=seed, sampling=plan.sampling):
            yield encode_rows(rows.astype(np.float32, copy=False), dtype)

    return {
        coordinates_name(name): (dtype, (plan.size, factors.rank), coordinates()),
        primitives_name(name): (
            dtype,
            factors.primitives.shape,
            encoded_blocks(ArrayTable(factors.primitives), dtype),
        ),
    }


def _rows(
    opened: OpenModel, name: str, plan: TokensPlan, seed: int, sampling: Sampling
) -> Iterator[NDArray[Any]]:
    dtype = opened.checkpoint.tensors[name].dtype
    with stored_rows(opened.checkpoint, name, opened.axes.rows) as source:
        for rows in planned_rows(plan.rows, source, seed=seed, sampling=sampling):
            yield encode_rows(rows, dtype)
