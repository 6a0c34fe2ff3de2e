"""What a factorised table misses of the original: row by row, and for the rows that a language uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycompress.embeddings.bases import Floats, Tell
from polycompress.embeddings.blocks import RowTable, as_table
from polycompress.embeddings.factorising import Factors
from polycompress.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class RowErrors:
    """Of every row e_i and its stand-in f_i P."""

    squared: Floats
    """[V], ||e_i - f_i P||^2."""
    energy: Floats
    """[V], ||e_i||^2."""
    cosine: Floats
    """[V], between the two; 1 where both are zero, 0 where one of them is."""


@dataclass(frozen=True, slots=True)
class FactorError:
    """The error over rows that count by their use."""

    relative: float
    """sqrt(sum_i w_i ||e_i - f_i P||^2 / sum_i w_i ||e_i||^2), 0 where nothing is lost."""
    cosine: float
    """The weighted mean of cosines."""

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return {"relative_error": self.relative, "mean_cosine": self.cosine}


def row_errors(table: NDArray[Any] | RowTable, factors: Factors, *, tell: Tell | None = None) -> RowErrors:
    """Compare a table with what its factors stand for, block by block.

    Args:
        table: [V, d], as it was factorised.
        factors: Of the same V and d.
        tell: Told how many rows were read.

    Raises:
        InputError: The factors are of another shape.
    """
    rows = as_table(table)
    count, width = rows.shape
    if (len(factors.coordinates), factors.primitives.shape[1]) != (count, width):
        raise InputError(
            f"factors of a table of {len(factors.coordinates)} rows of {factors.primitives.shape[1]} do not belong to "
            f"one of {count} rows of {width}"
        )
    squared, energy, cosine = np.empty(count), np.empty(count), np.empty(count)
    first = 0
    for block in rows.blocks():
        part = slice(first, first + len(block))
        made = factors.rows(part)
        squared[part] = np.square(block - made, dtype=np.float64).sum(axis=1)
        energy[part] = np.square(block, dtype=np.float64).sum(axis=1)
        other = np.square(made, dtype=np.float64).sum(axis=1)
        both = np.einsum("ij,ij->i", block, made, dtype=np.float64)
        length = np.sqrt(energy[part] * other)
        cosine[part] = np.where(
            length > 0, both / np.where(length > 0, length, 1.0), energy[part] + other == 0
        )
        first = part.stop
        if tell is not None:
            tell(len(block))
    return RowErrors(squared, energy, np.clip(cosine, -1.0, 1.0))


def weighted_error(errors: RowErrors, weights: NDArray[Any] | None = None) -> FactorError:
    """One figure for all rows, each counting by its weight.

    Args:
        errors: By row.
        weights: [V], not negative, such as how often a language uses each token; None: all rows count alike.

    Raises:
        InputError: The weights do not fit, or none is above 0.
    """
    count = len(errors.squared)
    given = np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64)
    if given.shape != (count,) or (given < 0).any() or not np.isfinite(given).all():
        raise InputError(f"weights have to be {count} numbers from 0 up, one for each row of the table")
    if not given.any():
        raise InputError("all weights are 0, so no row counts; give at least one above 0")
    energy = float(given @ errors.energy)
    lost = float(given @ errors.squared)
    return FactorError(
        relative=float(np.sqrt(lost / energy)) if energy > 0 else 0.0,
        cosine=float(given @ errors.cosine / given.sum()),
    )


def language_errors(errors: RowErrors, uses: Mapping[str, NDArray[Any]]) -> dict[str, FactorError]:
    """The error for each language: rows count by how often it uses them.

    Args:
        errors: By row.
        uses: Of each language, [V] counts.

    Raises:
        InputError: Counts do not fit, or a language uses no row; it is named.
    """
    found = {}
    for code, counts in uses.items():
        try:
            found[code] = weighted_error(errors, counts)
        except InputError as error:
            raise InputError(f"{code}: {error}") from error
    return found


def mixed_weights(uses: Mapping[str, NDArray[Any]], rows: int) -> Floats:
    """How much each row counts: half by use, the languages alike, half by being there.

    A row that no corpus shows is still some text's; without the second half its error would cost nothing.

    Args:
        uses: Of each language, [V] counts; each is made to sum to 1.
        rows: V.

    Returns:
        [V] with a mean of 1.

    Raises:
        InputError: There is no language, or one uses no row.
    """
    if not uses:
        raise InputError("no language's counts were given to weigh rows by")
    shares = np.zeros(rows)
    for code, counts in uses.items():
        given = np.asarray(counts, dtype=np.float64)
        if given.shape != (rows,):
            raise InputError(
                f"{code}: {len(given)} counts do not fit a table of {rows} rows: give one for each"
            )
        if not given.sum() > 0:
            raise InputError(f"{code}: its counts are all 0; count text that the tokenizer knows")
        shares += given / given.sum() / len(uses)
    return 0.5 * rows * shares + 0.5
