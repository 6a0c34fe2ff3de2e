"""How long the factorisation of a large table takes: 250,000 rows of 768, random, read as from a file."""

from __future__ import annotations

import time
from typing import Any, Final

import numpy as np

from polycompress.embeddings.factorising import factorise

ROWS: Final = 250_000
WIDTH: Final = 768
RANK: Final = 100


def measure(rows: int = ROWS, width: int = WIDTH, rank: int = RANK) -> dict[str, Any]:
    """Factorise a table once; the threads are those that numpy is allowed.

    Args:
        rows: Of the table.
        width: Of the table.
        rank: Of the factors.

    Returns:
        ``svd_seconds``, ``svd_product_seconds`` (one plain product of the table with a square matrix of its width, in
        float32), ``svd_ratio`` of the two, and the sizes.
    """
    table = np.random.default_rng(0).standard_normal((rows, width), dtype=np.float32)
    table *= (1.0 / np.arange(1, width + 1, dtype=np.float32)) ** 0.5
    square = np.eye(width, dtype=np.float32)
    begin = time.perf_counter()
    product = table @ square
    middle = time.perf_counter()
    factors = factorise(table, rank)
    end = time.perf_counter()
    assert product.shape == table.shape and factors.rank == rank
    return {
        "svd_seconds": round(end - middle, 2),
        "svd_product_seconds": round(middle - begin, 2),
        "svd_ratio": round((end - middle) / (middle - begin), 2),
        "svd_rows": rows,
        "svd_width": width,
        "svd_rank": rank,
    }
