"""Factorise an embedding table: coordinates of its rows over a few primitive embeddings that all rows share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from polycompress.embeddings.bases import Basis, Floats, Tell, gram_basis, randomised_basis, thin_basis
from polycompress.embeddings.blocks import RowTable, as_table
from polycompress.errors import InputError

Split = Literal["balanced", "paper"]
Method = Literal["auto", "thin", "gram", "randomised"]
METHODS: Final[Mapping[str, Callable[[RowTable, int, Floats | None, Tell | None], Basis]]] = {
    "thin": thin_basis,
    "gram": gram_basis,
    "randomised": randomised_basis,
}
SPLITS: Final[tuple[Split, ...]] = ("balanced", "paper")

_THIN_BELOW: Final = 1 << 21
"""Values of a table that the thin decomposition takes in well under a second."""
_GRAM_BELOW: Final = 8192
"""Width up to which the [d, d] products are cheaper than random directions."""
_FLOOR: Final = 1e-6
"""Of the largest singular value: what smaller ones are scaled by, so that no direction is divided by zero."""


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """A factorised table: ``coordinates @ primitives`` stands for it."""

    coordinates: NDArray[np.float32]
    """F, [V, r]: one row a token."""
    primitives: NDArray[np.float32]
    """P, [r, d]: shared by all tokens, orthogonal rows."""
    singular_values: Floats
    """[r], of the (weighted) table along the primitives, falling."""
    dropped: float
    """Sum of (weighted) squares that the rank leaves out: sum_i w_i ||e_i - f_i P||^2."""
    energy: float
    """Sum of (weighted) squares of the whole table."""

    @property
    def rank(self) -> int:
        """How many primitive embeddings there are."""
        return len(self.primitives)

    @property
    def parameters(self) -> int:
        """V r + r d."""
        return self.coordinates.size + self.primitives.size

    def rows(self, part: slice | NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Some rows of the table that the factors stand for, [n, d] float32."""
        found: NDArray[np.float32] = self.coordinates[part] @ self.primitives
        return found


def factorise(
    table: NDArray[Any] | RowTable,
    rank: int,
    *,
    split: Split = "balanced",
    row_weights: NDArray[Any] | None = None,
    method: Method = "auto",
    tell: Tell | None = None,
) -> Factors:
    r"""Truncate the singular value decomposition of a table, E = U S R^T, to the first ``rank`` directions.

    With weights the basis minimises sum_i w_i ||e_i - f_i P||^2: it is that of diag(sqrt w) E, and the coordinates
    are those of the plain rows in it. The ``paper`` split puts all of S into the basis, F = U and P = S R^T; then F's
    entries are about 1/sqrt(V), and an optimiser that moves every parameter by the same amount moves F far faster than
    P. The ``balanced`` one gives both the same share, F = U S^(1/2) and P = S^(1/2) R^T. The product is the same.

    Args:
        table: E, [V, d]: an array, or rows that come in blocks; it is read twice or more and never copied whole,
            except by ``thin``.
        rank: r, from 1 to d.
        split: ``balanced`` or ``paper``.
        row_weights: [V], not negative, at least one above 0: how much each row's error counts. Only their proportions
            matter, except for ``dropped`` and the singular values, which are of weights with a mean of 1.
        method: ``auto`` takes ``thin`` for small tables, ``gram`` for wider than 8192 ``randomised``.
        tell: Told how many rows were read, as work goes on.

    Returns:
        The factors. At rank d they give the table back to float32's precision.

    Raises:
        InputError: The rank is out of range, the table is empty or has values that are not numbers, or weights do not
            fit it.

    Reference:
        OFA (Liu et al. 2024), section 3.1, equation 1.

    Example:
        >>> table = np.outer([1.0, 2.0, 3.0], [2.0, 0.0]).astype(np.float32)
        >>> np.allclose(factorise(table, 1).rows(slice(None)), table, atol=1e-6)
        True
    """
    rows = as_table(table)
    count, width = rows.shape
    _check(count, width, rank, split, method)
    weights = None if row_weights is None else _checked_weights(row_weights, count)
    basis = METHODS[_chosen(method, count, width, rank)](rows, rank, weights, tell)
    coordinates = np.empty((count, rank), np.float32)
    into = np.ascontiguousarray(basis.directions, dtype=np.float32)
    squares, first = np.zeros(rank), 0
    for block in rows.blocks():
        inside = np.matmul(block, into, out=coordinates[first : first + len(block)])
        squares += np.square(inside, dtype=np.float64).sum(axis=0)
        first += len(block)
        if tell is not None:
            tell(len(block))
    lengths = np.sqrt(squares)  # the singular values, where rows have no weights
    scale = np.maximum(lengths, lengths.max() * _FLOOR) if lengths.max() > 0 else np.ones(rank)
    power = 1.0 if split == "paper" else 0.5
    coordinates *= (scale**-power).astype(np.float32)
    primitives = np.ascontiguousarray((basis.directions * scale**power).T, dtype=np.float32)
    kept = float(np.square(basis.singular_values).sum())
    return Factors(
        coordinates, primitives, basis.singular_values, max(0.0, basis.energy - kept), basis.energy
    )


def _chosen(method: Method, count: int, width: int, rank: int) -> str:
    if method != "auto":
        return method
    if count * width <= _THIN_BELOW:
        return "thin"
    return "gram" if width <= _GRAM_BELOW or 4 * rank > width else "randomised"


def _check(count: int, width: int, rank: int, split: str, method: str) -> None:
    if not count or not width:
        raise InputError(f"the table has {count} rows of width {width}: there is nothing to factorise")
    if not 1 <= rank <= width:
        raise InputError(
            f"rank {rank}: the table is {width} wide, so the rank can be from 1 to {width}; a higher one would add "
            "parameters and nothing else"
        )
    if split not in SPLITS:
        raise InputError(f"split is {split!r}; it can be {' or '.join(SPLITS)}")
    if method not in ("auto", *METHODS):
        raise InputError(f"method is {method!r}; it can be auto, {', '.join(METHODS)}")


def _checked_weights(given: NDArray[Any], count: int) -> Floats:
    weights = np.asarray(given, dtype=np.float64)
    if weights.shape != (count,):
        raise InputError(
            f"weights of shape {weights.shape} do not fit a table of {count} rows: give one for each"
        )
    if not np.isfinite(weights).all() or (weights < 0).any():
        place = int(np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))[0])
        raise InputError(f"the weight of row {place} is {weights[place]}; weights are numbers from 0 up")
    if not weights.any():
        raise InputError("all weights are 0, so no row counts; give at least one above 0")
    normal: Floats = weights / weights.mean()
    return normal
